# SPDX-License-Identifier: GPL-2.0-or-later
"""How a machine dies, told from its logs and its exit. Pure: lines and times in, a verdict out."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

PANIC_SETTLE = 1.0
"""Seconds after the panic line in which the rest of the splat may still arrive."""
HYPERVISOR_SETTLE = 0.3

_PANIC = re.compile(r"Kernel panic - not syncing(: .*)?")
_HV_PANIC = re.compile(r"HV PANIC: (.*)")
_TRIPWIRE = re.compile(r"tripwire|hypervisor state in the VMCB", re.IGNORECASE)
_TRIPLE_FAULT = re.compile(r"triple fault", re.IGNORECASE)
_NOISE = re.compile(r"warning: TCG doesn't support|info: QEMU waiting for connection")
_DEBUG_EXIT = 0x7F << 1 | 1
"""Exit status of isa-debug-exit when the stand-in panics: (value << 1) | 1."""

_RANK = {"panic": 1, "triple-fault": 2, "hypervisor-panic": 3, "tripwire": 4}
"""A tripwire explains whatever else went wrong, a hypervisor panic explains a kernel's."""


@dataclass(frozen=True, slots=True)
class Death:
    """``kind`` as in GuestDied, ``what`` in one line."""

    kind: str
    what: str


def without_noise(errors: str) -> str:
    """QEMU's own messages without those of every start."""
    return "\n".join(line for line in errors.splitlines() if not _NOISE.search(line))


class DeathDetector:
    """Collects signs of death; :meth:`settled` is the result once all of it can be in the logs."""

    def __init__(self) -> None:
        self._sign: Death | None = None
        self._due = 0.0
        self._final: Death | None = None
        self.shutdown_reason = ""
        """Reason of QMP's SHUTDOWN event, if there was one (``guest-reset``, ``guest-shutdown``...)."""

    def console_line(self, line: str, now: float) -> None:
        """A line of the serial console; an unfinished one may be given again when it is complete."""
        if "end Kernel panic" not in line and (match := _PANIC.search(line)):
            self._note(Death("panic", match[0].strip()), now + PANIC_SETTLE)

    def hypervisor_line(self, line: str, now: float) -> None:
        """A line of the stand-in's log."""
        if match := _HV_PANIC.search(line):
            kind = "hypervisor-panic"
            if _TRIPWIRE.search(match[1]):
                kind = "tripwire"
            elif _TRIPLE_FAULT.search(match[1]):
                kind = "triple-fault"
            self._note(Death(kind, match[0].strip()), now + HYPERVISOR_SETTLE)

    def exited(self, status: int | None, reset_log: str, errors: str) -> None:
        """QEMU has ended and every line of its logs was given. ``status`` is negative for a signal,
        None when QEMU is not our child."""
        self._final = self._sign or self._of_exit(status, reset_log, errors)

    def settled(self, now: float) -> Death | None:
        """The death, once it is certain and its last words have had time to arrive."""
        if self._final is None and self._sign is not None and now >= self._due:
            self._final = self._sign
        return self._final

    def _note(self, sign: Death, due: float) -> None:
        if self._sign is None:
            self._due = due
        old = self._sign
        # The rest of a line that was read unfinished decides: "HV PANIC: " alone has the wrong kind.
        fuller = old is not None and sign.what.startswith(old.what)
        if old is None or fuller or _RANK[sign.kind] > _RANK[old.kind]:
            self._sign = sign

    def _of_exit(self, status: int | None, reset_log: str, errors: str) -> Death:
        if _TRIPLE_FAULT.search(reset_log):
            return Death("triple-fault", "triple fault outside of any guest: the machine was reset")
        if status == _DEBUG_EXIT:
            return Death("hypervisor-panic", "the stand-in ended the machine without a word")
        if status is not None and status < 0:
            name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
            room = " (was there no room left for the guest's RAM file?)" if name == "SIGBUS" else ""
            return Death("qemu-exit", f"QEMU was killed by {name}{room}")
        if self.shutdown_reason == "guest-reset":
            return Death("qemu-exit", "the guest reset the machine")
        if self.shutdown_reason == "guest-shutdown":
            return Death("qemu-exit", "the guest powered the machine off")
        said = without_noise(errors).splitlines()
        how = "QEMU has ended" if status is None else f"QEMU ended with status {status}"
        return Death("qemu-exit", how + (f": {said[-1]}" if said else ""))
