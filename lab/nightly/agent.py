# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs one variant on this host for somebody at the other end of standard input and output.

    python -m lab.nightly.agent

Started by ``lab.nightly.remote`` over SSH. It ends, and all that it started with it, when its standard input
closes or is silent for too long: a connection that is cut need not be noticed by the SSH server. It works in
a folder of its own below the lab's state; a folder whose agent was killed goes when the next one starts.
"""

from __future__ import annotations

import json
import os
import queue
import select
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avocado.core.nrunner.runnable import Runnable
from avocado.core.nrunner.task import json_dumps

import lab
from lab.hashing import digest, tree_digest
from lab.machine.proc import ProcessId
from lab.model.errors import LabError
from lab.nightly import parcel, store
from lab.nightly.frames import CHUNK, MAGIC, SILENCE_SECONDS, BadFrame, Kind, Parser, pack
from lab.nightly.plugins.runner import KIND, HvlabRunner
from lab.paths import repo_root, state_root
from lab.unwind import unwind_on_signals

_CODE = ("lab", "images", "templates", "tests")
"""Folders of the checkout that decide what a variant's result is."""


class Gone(Exception):
    """Nobody is at the other end any more."""


class Other:
    """The other end. ``gone`` says whether it still lives."""

    def __init__(self) -> None:
        self._frames: queue.SimpleQueue[tuple[Kind, bytes]] = queue.SimpleQueue()
        self._heard = time.monotonic()
        self._closed = False
        os.set_blocking(1, False)
        threading.Thread(target=self._listen, name="hvlab-agent", daemon=True).start()

    def gone(self) -> bool:
        """Whether it closed the connection or has been silent for too long."""
        return self._closed or time.monotonic() - self._heard > SILENCE_SECONDS

    def next(self) -> tuple[Kind, bytes]:
        """The next frame that is no beat. Gone when there will be none."""
        while True:
            try:
                return self._frames.get(timeout=0.5)
            except queue.Empty:
                if self.gone():
                    raise Gone from None

    def send(self, data: bytes) -> None:
        """Say something; Gone when nobody takes it."""
        while data:
            if self.gone():
                raise Gone
            if select.select([], [1], [], 0.5)[1]:
                try:
                    data = data[os.write(1, data[:CHUNK]) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    raise Gone from None

    def _listen(self) -> None:
        parser = Parser()
        try:
            while data := os.read(0, CHUNK):
                self._heard = time.monotonic()
                for kind, payload in parser.feed(data):
                    if kind is not Kind.BEAT:
                        self._frames.put((kind, payload))
        except (BadFrame, OSError) as e:
            print(f"hvlab-agent: {e}", file=sys.stderr)
        self._closed = True


def main() -> int:
    """Serve one task; 0 when it was told to the end."""
    unwind_on_signals()
    other = Other()
    try:
        other.send(MAGIC + pack(Kind.HELLO, json.dumps(about()).encode()))
        try:
            with _workplace() as folder:
                _serve(other, folder)
        except (LabError, OSError) as e:
            other.send(pack(Kind.ERROR, str(e).encode()))
            return 1
    except Gone:
        return 1
    except KeyboardInterrupt as e:
        print(f"hvlab-agent: interrupted: {e}", file=sys.stderr)
        return 1
    return 0


def about() -> dict[str, str | int]:
    """What both sides must agree on: results of other code are other results."""
    code = digest(*(tree_digest(repo_root() / part) for part in _CODE))
    return {"lab": lab.__version__, "schema": store.SCHEMA, "code": code}


def _serve(other: Other, folder: Path) -> None:
    command: list[str] = []
    with tempfile.TemporaryFile(dir=folder) as tar:
        while True:
            kind, payload = other.next()
            if kind is Kind.TASK:
                command = json.loads(payload)["command"]
            elif kind is Kind.DATA:
                tar.write(payload)
            elif kind is Kind.END:
                break
        tar.seek(0)
        parcel.unpack(tar, folder)
    runner = HvlabRunner()
    runner.wanted = lambda: not other.gone()
    messages = runner.run(Runnable(KIND, str(folder / parcel.RECORD), command=command))
    try:
        for message in messages:
            other.send(pack(Kind.STATUS, json_dumps(message).encode()))
    finally:
        messages.close()
    with tempfile.TemporaryFile(dir=folder) as tar:
        parcel.pack_folder(folder / parcel.RESULT, tar)
        tar.seek(0)
        while piece := tar.read(CHUNK):
            other.send(pack(Kind.DATA, piece))
    other.send(pack(Kind.END))


@contextmanager
def _workplace() -> Iterator[Path]:
    """A folder named after this process; those of processes that are dead go."""
    home = state_root() / "nightly-agent"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in home.iterdir():
        pid, _, start = old.name.partition("-")
        if not (pid.isdigit() and start.isdigit() and ProcessId(int(pid), int(start)).alive()):
            shutil.rmtree(old, ignore_errors=True)
    me = ProcessId.me()
    folder = home / f"{me.pid}-{me.start}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            home.rmdir()
        except OSError:
            pass  # another agent works there


if __name__ == "__main__":
    sys.exit(main())
