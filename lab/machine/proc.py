# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes by identity: a pid alone may be somebody else's by now, pid and start time may not."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_POLL = 0.01


@dataclass(frozen=True, slots=True)
class ProcessId:
    """``pid`` and ``start`` (clock ticks after boot: field 22 of /proc/PID/stat, see proc(5))."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Identity of a running process, None when there is none."""
        fields = _stat(pid)
        return cls(pid, int(fields[19])) if fields else None

    @classmethod
    def me(cls) -> ProcessId:
        """Identity of this process."""
        me = cls.of(os.getpid())
        assert me is not None, "/proc is not mounted"
        return me

    def alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        fields = _stat(self.pid)
        return bool(fields) and int(fields[19]) == self.start and fields[0] not in ("Z", "X")

    def kill(self, budget: float = 5.0) -> bool:
        """SIGKILL, if it is still the same process; True when it is gone within ``budget`` seconds.

        The signal goes through a pidfd, so the pid cannot be reused between the check and the kill.
        """
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.alive():
                return True
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)
        deadline = time.monotonic() + budget
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
        return True


def find_by_argument(prefix: str) -> list[ProcessId]:
    """Processes of this user that have an argument beginning with ``prefix``."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if entry.stat().st_uid != os.getuid():
                continue
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        wanted = os.fsencode(prefix)
        identity = ProcessId.of(int(entry.name))
        if identity is not None and any(argument.startswith(wanted) for argument in arguments):
            found.append(identity)
    return found


def cpu_seconds(pid: int) -> float | None:
    """User and system CPU seconds of a process with its threads; a zombie still has them."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else None


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third (state) on; the second may contain anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rsplit(")", 1)[1].split()
    except OSError:
        return []
