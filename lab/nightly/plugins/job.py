# SPDX-License-Identifier: GPL-2.0-or-later
"""The process that runs Avocado's job for ``lab.nightly.matrix``.

Avocado replaces standard output, log handlers and the event loop of its process, so it has one of its own.
It is told what to do in one line of JSON on standard input, and stops when that is closed. On standard
output it writes lines ``[KIND, TEXT]``: ``note``, ``step``, ``retired`` (a host), ``done`` (a record's path).
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avocado.core.job import Job
from avocado.core.nrunner.runnable import RUNNERS_REGISTRY_STANDALONE_EXECUTABLE, Runnable
from avocado.core.suite import TestSuite

from lab.nightly.attempt import DYING_SECONDS
from lab.nightly.hosts import Host
from lab.nightly.outcome import Place
from lab.nightly.plugins import runner

_SOCKET = "status.sock"
_TEMP = "tmp"


class MatrixJob(Job):
    """Avocado's job with what our spawners need of it."""

    def __init__(self, config: dict[str, Any], suite: TestSuite, hosts: Sequence[Host], events: Any) -> None:
        super().__init__(config, [suite])
        self.hosts = tuple(hosts)
        self.events = events
        self.aborted = threading.Event()


def config(folder: Path, parallel: int, spawner: str) -> dict[str, Any]:
    """Avocado's settings: everything it writes lies below ``folder``, nothing is asked of the machine."""
    return {
        "run.results_dir": str(folder),
        "run.keep_tmp": True,  # below the results: what a killed job leaves is not in /tmp
        "run.max_parallel_tasks": parallel,
        "run.spawner": spawner,
        "run.status_server_auto": False,
        "run.status_server_listen": _reachable(folder),
        "run.status_server_uri": _reachable(folder),
        "run.job_category": None,
        "run.failfast": False,
        "run.shuffle": False,
        "run.dry_run.enabled": False,
        "task.timeout.running": None,  # guards keep the budgets
        "job.run.timeout": 0,
        "sysinfo.collect.enabled": False,
        "core.show": ["app"],
        "hvlab.matrix": None,
    }


def runnable(place: Place, command: Sequence[str]) -> Any:
    """The task as Avocado runs it."""
    words = {"command": list(command)} if command else {}
    return Runnable(runner.KIND, str(place.file), identifier=place.task.id, parent=str(os.getpid()), **words)


def main() -> int:
    """Run the job that standard input describes; Avocado's exit code."""
    events = _events()
    request = json.loads(sys.stdin.buffer.readline())
    folder = Path(request["folder"])
    lock = _alone(folder)
    _use_for_temporary_files(folder / _TEMP)
    hosts = [Host(h[0], h[1], Path(h[2]), Path(h[3]), h[4]) for h in request["hosts"]]
    # The one of this environment, not whichever comes first in PATH.
    RUNNERS_REGISTRY_STANDALONE_EXECUTABLE[runner.KIND] = [sys.executable, "-P", "-m", runner.__name__]
    settings = config(folder, len(hosts) or request["parallel"], "hvlab-ssh" if hosts else "hvlab-process")
    tests = [runnable(Place.of(Path(task)), request["command"]) for task in request["tasks"]]
    job = MatrixJob(settings, TestSuite("hvlab", settings, tests), hosts, events)
    threading.Thread(target=_watch, args=(job.aborted,), name="hvlab-stdin", daemon=True).start()
    with job:
        code = int(job.run())
    _close_loop()
    shutil.rmtree(folder / _TEMP, ignore_errors=True)
    os.close(lock)
    return code


def _alone(folder: Path) -> int:
    """Lock the folder against another job; one that was killed a moment ago may still be ending."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    deadline = time.monotonic() + DYING_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                sys.exit(f"another run works in {folder}: wait for it, or end it")
            time.sleep(0.2)


def _use_for_temporary_files(folder: Path) -> None:
    """Avocado's go here and no further: variants have the machine's own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    tempfile.tempdir = str(folder)


def _events() -> Any:
    """A function that writes events; whatever else is printed goes to standard error."""
    pipe = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    lock = threading.Lock()

    def event(kind: str, text: str) -> None:
        try:
            with lock:
                pipe.write(json.dumps([kind, text]) + "\n")
        except BrokenPipeError:
            pass  # nobody listens any more: standard input has closed too

    return event


def _watch(aborted: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    aborted.set()


def _reachable(folder: Path) -> str:
    """A path to the socket in ``folder`` that is short enough for one, however deep the folder lies."""
    global _folder
    if _folder is None:
        _folder = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    return f"/proc/{os.getpid()}/fd/{_folder}/{_SOCKET}"


_folder: int | None = None


def _close_loop() -> None:
    """Avocado leaves its loop as it is, with tasks in it."""
    try:
        loop = asyncio.get_event_loop_policy().get_event_loop()
    except RuntimeError:
        return  # it never got so far
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


if __name__ == "__main__":
    sys.exit(main())
