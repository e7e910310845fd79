# SPDX-License-Identifier: GPL-2.0-or-later
"""One try to run a variant on this machine: bounded, alone in its folder, with nothing left behind."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress

from lab.model.errors import LabUnavailable
from lab.nightly import guard
from lab.nightly.outcome import FILE, Place

COMMAND = (sys.executable, "-P", "-m", "lab.nightly.variant")
"""What is run; the task's record is appended."""
GRACE = 20.0
"""Seconds that a variant has to tidy up once it is told to end."""
DYING_SECONDS = GRACE + guard.REAP_SECONDS + 5.0
"""After this long nothing is left of a variant that was told to end."""
PULSE = 1.0
"""Seconds until a silent variant is said to be still running."""

_CHUNK = 1 << 16
_TAIL = 40


def run(place: Place, command: Sequence[str], wanted: Callable[[], bool]) -> Generator[bytes, None, bool]:
    """Run ``command`` with the record's path appended; yields its output as it comes, b"" as a sign of life.

    Ends with True when a result is in the folder, if only one that says why there is none; with False when
    it was ended because ``wanted`` said no: it then has no result. Closing the generator ends the variant
    and all that it started too. LabUnavailable when somebody else goes on running it.
    """
    place.folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(place.folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _take(lock, place)
        place.forget()
        return (yield from _guarded(place, command, wanted, lock))
    finally:
        os.close(lock)


def wait_until_ended(place: Place) -> None:
    """Wait until nothing of a variant that is ending runs here any more; LabUnavailable when it goes on."""
    if place.folder.is_dir():
        lock = os.open(place.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _take(lock, place)
        finally:
            os.close(lock)


def _take(lock: int, place: Place) -> None:
    """What a killed run left may still be dying: its guard holds the lock until all is gone."""
    deadline = time.monotonic() + DYING_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LabUnavailable(
                    "another process runs this variant",
                    where=str(place.folder),
                    hint="wait for it, or end it",
                ) from None
            time.sleep(0.1)


def _guarded(
    place: Place, command: Sequence[str], wanted: Callable[[], bool], lock: int
) -> Generator[bytes, None, bool]:
    budget, started = place.task.variant.budget, time.monotonic()
    process = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", guard.__name__),
            *(str(budget), str(GRACE), str(place.folder / FILE)),
            *command,
            str(place.file),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=(lock,),
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdin is not None and process.stdout is not None
    tail: deque[bytes] = deque(maxlen=_TAIL)
    deadline = started + budget + DYING_SECONDS
    stopped, rest = False, b""
    try:
        while True:
            if not stopped and not wanted():
                process.stdin.close()
                stopped = True
                deadline = time.monotonic() + DYING_SECONDS
            data = _read(process.stdout.fileno(), 0.0 if process.poll() is not None else PULSE)
            if data is not None:
                *lines, rest = (rest + data).split(b"\n")
                tail.extend(lines)
                rest = rest[-_CHUNK:]
            elif process.returncode is not None:
                break
            if time.monotonic() > deadline:
                break  # the guard itself hangs
            yield data or b""
    finally:
        process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()) if stopped else DYING_SECONDS)
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
    if stopped:
        return False
    if place.result() is None:
        evidence = [line.decode(errors="replace") for line in [*tail, rest] if line.strip()]
        place.lose(_why(process.returncode, budget), evidence, wall=time.monotonic() - started)
    return True


def _read(fd: int, seconds: float) -> bytes | None:
    """What can be read within ``seconds``; b"" when that is nothing, None at the end or after no wait."""
    if not select.select([fd], [], [], seconds)[0]:
        return b"" if seconds else None
    return os.read(fd, _CHUNK) or None


def _why(code: int, budget: float) -> str:
    if code == guard.OVER_BUDGET:
        return f"not done within its budget of {budget:g} s"
    if code < 0:
        return f"its guard was killed by signal {-code}"
    if code == guard.STOPPED:
        return "it was told to end"
    how = f"was killed by signal {code - 128}" if code > 128 else f"ended with exit code {code}"
    return f"the runner {how} and left no result"
