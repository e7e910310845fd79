# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for a machine without waiting in vain.

Every wait has a cause, a budget and this watch: death of QEMU, a kernel panic, a hypervisor panic or a
triple fault end it within two seconds, and a boot that stopped talking ends it too.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TypeVar

from lab.machine import hang
from lab.machine.process import Machine
from lab.machine.symbols import SymbolTable
from lab.model.errors import GuestDied

BOOT_SILENCE = 30.0
"""Seconds without console output after which a boot is called a hang, times the flavour's factor."""

_POLL = 0.02
_GONE = rb"note: [^\r\n]*\[%b\] exited with [^\r\n]*"
_OOPS = rb"Oops: [^\r\n]*(?=[^\0]{0,600}?PID: %b Comm)"
"""What comes between the two is a few lines of the same report."""

_T = TypeVar("_T")


class Watch:
    """Ends waits on a machine. ``factor`` stretches the silence of slow kernels, ``symbols`` make the
    registers of a hung machine readable."""

    def __init__(self, machine: Machine, *, factor: float = 1.0, symbols: SymbolTable | None = None) -> None:
        self.machine = machine
        self.factor = factor
        self.symbols = symbols

    def check(self, phase: str) -> None:
        """Raise GuestDied if the machine is dead (its last words are waited for: a second at most)."""
        self.machine.check(phase)

    def lost_task(self, pid: int) -> str:
        """The kernel's words for a task's own accident, "" where there was none: such a task answers no more,
        and whatever lock it held nobody will get (die() in arch/x86, make_task_dead() in kernel/exit.c)."""
        said, task = self.machine.console.raw(), str(pid).encode()
        for pattern in (_GONE, _OOPS):
            if found := re.search(pattern % task, said):
                return found[0].decode("utf-8", "replace")
        return ""

    def check_progress(self, phase: str) -> None:
        """Like :meth:`check`; also a console silent for 30 s (times the factor) is a hang at boot."""
        self.check(phase)
        silent = time.monotonic() - self.machine.console.last_output
        if silent > BOOT_SILENCE * self.factor:
            raise self.hung("boot-hang", phase, f"nothing on the console for {silent:.0f} s")

    def wait(
        self,
        condition: Callable[[], _T | None],
        budget: float,
        phase: str,
        cause: str,
        *,
        booting: bool = False,
        poll: float = _POLL,
    ) -> _T:
        """The first true value of ``condition()``, which must not block for longer than a second.

        ``cause`` says what is waited for, in words that complete "waiting for ...". Raises GuestDied:
        kinds as in :mod:`lab.machine.deaths`, ``boot-hang`` (``booting``) or ``driver-hang`` when the budget
        (seconds; not stretched here) is used up.
        """
        deadline = time.monotonic() + budget
        while True:
            if value := condition():
                return value
            if booting:
                self.check_progress(phase)
            else:
                self.check(phase)
            if time.monotonic() >= deadline:
                kind = "boot-hang" if booting else "driver-hang"
                raise self.hung(kind, phase, f"waited {budget:g} s for {cause}")
            time.sleep(poll)

    def hung(self, kind: str, phase: str, what: str) -> GuestDied:
        """A hang as an error that says where the CPUs are. The machine keeps running."""
        where = hang.report(self.machine, self.symbols)
        return self.machine.died(kind, what, phase, where)
