# SPDX-License-Identifier: GPL-2.0-or-later
"""Run make in a workplace: progress while it works, its log on disk, no process left behind."""

from __future__ import annotations

import errno
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import IO

from lab.build.jobs import JobPool, Jobs
from lab.build.workplace import Workplace
from lab.model.errors import LabUnavailable
from lab.progress import Progress

BUILD_ENV = {
    # Fixed, so that the same source gives the same kernel.
    "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 1970",
    "KBUILD_BUILD_USER": "hvlab",
    "KBUILD_BUILD_HOST": "hvlab",
    "KBUILD_BUILD_VERSION": "1",
    "ARCH": "x86",
}

_STEP = re.compile(r"^  ([A-Z][A-Z0-9_+-]*) +(?:\[M\] +)?(\S+)$")
_DISK_FULL = "No space left on device"
_TICK = 0.5
MAX_OUTPUT = 128 << 20
"""Bytes that a build may print; a whole kernel with every command shown takes 30 MiB."""
_DYING_BUDGET = 10.0


class MakeFailed(Exception):
    """make ended with an error; ``lines`` is what it said besides its progress lines."""

    def __init__(self, code: int, lines: list[str]) -> None:
        super().__init__(f"make exited with {code}")
        self.code = code
        self.lines = lines


def run_make(
    place: Workplace,
    args: Sequence[str],
    *,
    jobs: Jobs,
    progress: Progress,
    log: Path,
    label: str,
    total: int | None,
    budget: float,
) -> int:
    """Run ``make args`` on the workplace's source and objects; return how many steps it took.

    Raises MakeFailed; OSError (ENOSPC) when the disk ran full; LabUnavailable after ``budget``
    seconds, or when the pool of ``jobs`` is stopped. Whatever happens, the whole build is dead when this
    returns.
    """
    pool = jobs if isinstance(jobs, JobPool) else None
    with pool.one() if pool else nullcontext():
        return _run(place, args, jobs, pool, progress, log, label, total, budget)


def _run(
    place: Workplace,
    args: Sequence[str],
    jobs: Jobs,
    pool: JobPool | None,
    progress: Progress,
    log: Path,
    label: str,
    total: int | None,
    budget: float,
) -> int:
    cmd = ["make", "-C", place.src, f"O={place.obj}", *([] if pool else [f"-j{jobs}"]), *args]
    env = BUILD_ENV | ({"MAKEFLAGS": pool.makeflags} if pool else {})
    process = subprocess.Popen(
        place.argv(cmd, env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=pool.fds if pool else (),
    )
    stopped = pool.stopped.is_set if pool else lambda: False
    said: list[str] = []
    steps = 0
    try:
        with log.open("a") as out:
            for line in _lines(process, time.monotonic() + budget, label, stopped):
                out.write(line + "\n")
                step = _STEP.match(line)
                if step is None:
                    said.append(line)
                    continue
                steps += 1
                progress.step(steps, total, f"{label}: {step[1]} {step[2]}")
        code = process.wait()
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            _drain(process.stdout)
            process.stdout.close()
    if code != 0:
        if any(_DISK_FULL in line for line in said):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(log.parent))
        raise MakeFailed(code, said)
    return steps


def _drain(stream: IO[bytes]) -> None:
    """Wait until nobody holds the other end: what a killed sandbox started takes a moment to die."""
    deadline = time.monotonic() + _DYING_BUDGET
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if selector.select(left) and not os.read(stream.fileno(), 1 << 16):
                return


def _lines(
    process: subprocess.Popen[bytes], deadline: float, label: str, stopped: Callable[[], bool]
) -> Iterator[str]:
    assert process.stdout is not None
    fd = process.stdout.fileno()
    rest, read = b"", 0
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while True:
            if stopped():
                raise LabUnavailable(f"{label} was stopped")
            if time.monotonic() > deadline:
                raise LabUnavailable(
                    f"{label} took longer than its budget", hint="is the machine overloaded? try fewer jobs"
                )
            if not selector.select(_TICK):
                continue
            data = os.read(fd, 1 << 16)
            if not data:
                break
            read += len(data)
            if read > MAX_OUTPUT:
                raise MakeFailed(1, [f"error: the build printed more than {MAX_OUTPUT >> 20} MiB"])
            *complete, rest = (rest + data).split(b"\n")
            yield from (line.decode(errors="replace") for line in complete)
    if rest:
        yield rest.decode(errors="replace")
