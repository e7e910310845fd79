# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs variants through Avocado, here or on other hosts, until each has a result."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from lab.model.errors import BadInput, LabUnavailable
from lab.nightly.attempt import DYING_SECONDS, wait_until_ended
from lab.nightly.hosts import Host
from lab.nightly.outcome import Place
from lab.progress import Progress

FOLDER = "avocado"
"""Below the output: Avocado's own results and logs."""
LOG = "job-process.log"
SILENT_SECONDS = 180.0
"""The job tells something every second while a variant runs. After so long without, it hangs."""
END_SECONDS = DYING_SECONDS + 30.0
"""Until a job that was told to end has ended everything that it runs."""
_TAIL = 30


def run_matrix(
    tasks: Sequence[Path],
    out: Path,
    hosts: Sequence[Host],
    progress: Progress,
    on_done: Callable[[Path], None],
    *,
    parallel: int = 1,
    command: Sequence[str] = (),
) -> None:
    """Run the tasks (record files of a VariantTask) and return when each has its ``variant.json``.

    A task that has a result is not run again, unless the result says that it was lost: after a kill, simply
    run again. ``on_done`` is called once for each task, in this thread, also for those that were done before.
    Without ``hosts`` the tasks run here, ``parallel`` at a time (one uses all processors); with them one on
    each host. A host that is lost is retired and told, and its task goes to another one; a task that loses
    two, or finds none left, gets a result that says so. ``command`` replaces ``lab.nightly.variant``.

    BadInput for a record that is none or a task given twice, LabUnavailable when Avocado itself fails.
    Nothing runs any more when this returns or raises, whatever the exception is.
    """
    places = [Place.of(task) for task in tasks]
    _check(places)
    waiting = []
    for task, place in zip(tasks, places, strict=True):
        if place.finished():
            progress.note(f"{place.task.id} has its result already")
            on_done(task)
        else:
            place.forget()
            waiting.append((task, place))
    if not waiting:
        return
    folder = (out / FOLDER).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    request = {
        "folder": str(folder),
        "tasks": [str(place.file) for _, place in waiting],
        "hosts": [[h.address, h.checkout, str(h.identity), str(h.known_hosts), h.python] for h in hosts],
        "parallel": parallel,
        "command": list(command),
    }
    names = {str(place.file): task for task, place in waiting}
    try:
        _follow(request, folder / LOG, names, progress, on_done)
    finally:
        for _, place in waiting:  # of a job that was killed something may still be ending
            wait_until_ended(place)
    for name in names:
        raise LabUnavailable(
            f"Avocado ended without a result of {len(names)} variants",
            where=name,
            hint=f"look at {folder / LOG}",
            detail=_tail(folder / LOG),
        )


def _check(places: Sequence[Place]) -> None:
    seen: dict[Path, Place] = {}
    for place in places:
        if other := seen.get(place.folder):
            raise BadInput(f"has the same result folder as {other.file}", where=str(place.file))
        seen[place.folder] = place


def _follow(
    request: dict[str, object],
    log: Path,
    names: dict[str, Path],
    progress: Progress,
    on_done: Callable[[Path], None],
) -> None:
    """Run the job's process; takes what is done out of ``names``."""
    total = len(names)
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "lab.nightly.plugins.job"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # a Ctrl-C is ours: the job ends when its standard input closes
        )
    assert process.stdin is not None and process.stdout is not None
    try:
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        for kind, text in _events(process.stdout, log):
            if kind == "step":
                progress.step(total - len(names), total, text)
            elif kind == "done" and text in names:
                on_done(names.pop(text))
            elif kind == "retired":
                progress.note(f"host retired: {text}")
            elif kind == "note":
                progress.note(text)
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        _drain(process.stdout, time.monotonic() + END_SECONDS)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5.0)
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()


def _events(stream: IO[bytes], log: Path) -> Iterator[tuple[str, str]]:
    rest = b""
    while True:
        if not select.select([stream], [], [], SILENT_SECONDS)[0]:
            raise LabUnavailable(
                f"Avocado's job has said nothing for {SILENT_SECONDS:g} s", where=str(log), detail=_tail(log)
            )
        data = os.read(stream.fileno(), 1 << 16)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            kind, text = json.loads(line)
            yield kind, text


def _drain(stream: IO[bytes], deadline: float) -> None:
    """Wait until the job's process has closed its end."""
    while (left := deadline - time.monotonic()) > 0:
        if select.select([stream], [], [], left)[0] and not os.read(stream.fileno(), 1 << 16):
            return


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-_TAIL:])
