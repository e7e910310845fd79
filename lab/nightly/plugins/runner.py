# SPDX-License-Identifier: GPL-2.0-or-later
"""Avocado's runner of kind ``hvlab``: the runnable's URI is the record file of a VariantTask.

Keyword arguments: ``command`` (a list of words to run instead of ``lab.nightly.variant``; the record's path
is appended) and ``parent`` (the process whose end ends the variant). A runnable with a variant of the matrix
runs that variant instead of the record's own, with its result below the runnable's output folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

from avocado.core.nrunner.app import BaseRunnerApp
from avocado.core.nrunner.runner import BaseRunner

from lab.model.errors import LabError
from lab.nightly import attempt, outcome, store
from lab.nightly.outcome import Place
from lab.nightly.plugins.varianter import variant_of
from lab.unwind import unwind_on_signals

KIND = "hvlab"
EXTRA = "hvlab"
"""What a ``finished`` message has under this key: ``verdict``, ``folder`` (absolute) and ``id``."""


MOST_SAID = 1 << 24
"""Bytes of a variant's output that are passed on: Avocado keeps them in memory."""


class HvlabRunner(BaseRunner):
    """Runs one variant and tells how it went on."""

    name = KIND
    description = "Runner of one variant of a series"

    wanted: Callable[[], bool] | None = None
    """Asked about once a second whether to go on; default: while the parent process lives."""

    def run(self, runnable: Any) -> Generator[dict[str, Any], None, None]:
        """Avocado's messages: started, running (with what the variant says), finished."""
        yield self.prepare_status("started")
        try:
            place = place_of(runnable)
            yield self.prepare_status("running", _log(f"{place.task.id} in {place.folder}\n".encode()))
            tries = attempt.run(place, _command(runnable), self.wanted or _parent_lives(runnable))
            total = 0
            try:
                while True:
                    said = next(tries)
                    total += len(said)
                    if total - len(said) <= MOST_SAID < total:
                        said += b"\n(and more)\n"
                    elif total > MOST_SAID:
                        said = b""
                    yield self.prepare_status("running", _log(said) if said else None)
            except StopIteration as end:
                done = bool(end.value)
            finally:
                tries.close()
        except (LabError, OSError) as e:
            yield self.prepare_status("finished", {"result": "error", "fail_reason": str(e)})
            return
        yield self.prepare_status("finished", finished(place) if done else _interrupted())


class RunnerApp(BaseRunnerApp):
    """The command ``avocado-runner-hvlab``."""

    PROG_NAME = "avocado-runner-hvlab"
    PROG_DESCRIPTION = "Runs one variant of a series"
    RUNNABLE_KINDS_CAPABLE = (KIND,)


def main() -> None:
    """Entry point; a signal that ends it ends the variant first."""
    unwind_on_signals()
    try:
        RunnerApp(print).run()
    except KeyboardInterrupt as e:
        sys.exit(f"interrupted: {e}")


def finished(place: Place) -> dict[str, Any]:
    """What the last message says of the result in ``place``."""
    result = place.result()
    if result is None:
        return {"result": "error", "fail_reason": "there is no result"}
    status, reason = outcome.told(result)
    extra = {"verdict": str(result.verdict), "folder": str(place.folder), "id": place.task.id}
    return {"result": status, "fail_reason": reason, EXTRA: extra}


def _interrupted() -> dict[str, Any]:
    return {"result": "interrupted", "fail_reason": "ended before it was done"}


def _log(data: bytes) -> dict[str, Any]:
    return {"type": "stdout", "log": data}


def _command(runnable: Any) -> tuple[str, ...]:
    words = runnable.kwargs.get("command")
    return tuple(words) if words else attempt.COMMAND


def _parent_lives(runnable: Any) -> Callable[[], bool]:
    parent = int(runnable.kwargs.get("parent", os.getppid()))
    return lambda: os.getppid() == parent


def place_of(runnable: Any) -> Place:
    """Where a runnable's record and result are. With a variant of the matrix, the record is made for it."""
    place = Place.of(Path(runnable.uri))
    variant = variant_of(runnable.variant)
    if variant is None:
        return place
    home, task, here = Path(runnable.output_dir).absolute(), place.task, place.file.parent
    moved = outcome.relocated(task, "result", lambda _, name: os.path.relpath(here / name, home))
    series = task.id.removesuffix("/" + task.variant.id)
    store.save(home / "task.json", replace(moved, id=f"{series}/{variant.id}", variant=variant))
    return Place.of(home / "task.json")


if __name__ == "__main__":
    main()
