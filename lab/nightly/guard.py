# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a command so that nothing of it outlives its budget, or whoever asked for it.

    python -m lab.nightly.guard BUDGET GRACE RESULT COMMAND...

The guard ends the command when BUDGET seconds are over, when it is told to (SIGTERM, SIGINT, SIGHUP), and
when its own standard input closes: whoever holds the other end has then died, however that happened. The
command gets SIGTERM and GRACE seconds to tidy up. After it everything that it started is killed, also what
went into sessions of its own or was left by its parent: the guard is the reaper of all of them. A command
that was not let run to the end of its budget has no result: what it left in the file RESULT is removed.

Exit code: the command's (128 + N for signal N), or one of the constants here.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

OVER_BUDGET = 124
STOPPED = 125
NOT_STARTED = 126

REAP_SECONDS = 10.0
"""How long killed processes may take to disappear."""
_PR_SET_CHILD_SUBREAPER = 36
_POLL = 0.02


def main(argv: Sequence[str]) -> int:
    """Run ``argv`` (BUDGET GRACE RESULT COMMAND...)."""
    budget, grace, result = float(argv[0]), float(argv[1]), Path(argv[2])
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    told, tell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    command = list(argv[3:])
    if setpriv := shutil.which("setpriv"):  # nor may it outlive the guard
        command = [setpriv, "--pdeathsig", "KILL", "--", *command]
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as e:
        print(f"{argv[3]}: {e.strerror}", file=sys.stderr)
        return NOT_STARTED
    code = STOPPED
    try:
        code = _watch(child, told, time.monotonic() + budget, grace)
    finally:
        sweep()
        if code == STOPPED:
            result.unlink(missing_ok=True)
    return code


def _watch(child: subprocess.Popen[bytes], told: int, deadline: float, grace: float) -> int:
    ended = os.pidfd_open(child.pid)
    with selectors.DefaultSelector() as selector:
        for fd in (0, told, ended):
            with suppress(PermissionError):  # epoll takes no regular file or /dev/null: that never closes
                selector.register(fd, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            ready = {key.fd for key, _ in selector.select(max(0.0, left))}
            if ended in ready:
                code = child.wait()
                return code if code >= 0 else 128 - code
            if told in ready or (0 in ready and not os.read(0, 4096)):
                return _end(child, ended, grace, STOPPED)
            if left <= 0:
                return _end(child, ended, grace, OVER_BUDGET)


def _end(child: subprocess.Popen[bytes], ended: int, grace: float, code: int) -> int:
    signal.pidfd_send_signal(ended, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        child.wait(grace)
    return code


def sweep() -> None:
    """Kill and reap all descendants of this process, until there is none."""
    deadline = time.monotonic() + REAP_SECONDS
    while alive := list(descendants(os.getpid())):
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if time.monotonic() > deadline:
            return
        time.sleep(_POLL)


def descendants(pid: int) -> Iterator[int]:
    """Processes below ``pid``, zombies too: they may have children that are none."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text(errors="replace").rsplit(")", 1)[1].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    waiting = list(children.get(pid, []))
    while waiting:
        found = waiting.pop()
        yield found
        waiting += children.get(found, [])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
