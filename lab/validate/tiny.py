# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the tiny guest as root partition of a stand-in and read what it says.

It speaks in lines on the serial console: ``case NAME: ok`` or ``case NAME: FAIL ...`` for each case, and
``TINY END ...`` when all is done. Then it halts, so that the host can look at tables and ledger.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lab.build.tiny import TinyGuest
from lab.hypervisor.record_text import format_record
from lab.hypervisor.view import ROOT_PARTITION, HypervisorView
from lab.machine import state
from lab.machine.argv import below_4g
from lab.machine.files import BootFiles
from lab.machine.process import Machine
from lab.machine.qemu import choose_accel, find_qemu
from lab.machine.watch import Watch
from lab.model.errors import GuestDied
from lab.model.machine import MachineSpec
from lab.validate.tiny_holds import HoldScript

MEMORY = 512 << 20
END = re.compile(r"^TINY END (.*)\n", re.MULTILINE)
_CASE = re.compile(r"^case (?P<name>.*?): (?:(?P<ok>ok)|FAIL (?P<why>.*))$", re.MULTILINE)
_BEGUN = re.compile(r"^case (?P<name>[^:\n]*): ?$", re.MULTILINE)
_TAIL_RECORDS = 30


@dataclass(frozen=True, slots=True)
class TinyStart:
    """How to start: images, arguments of guest and stand-in, LPs."""

    guest: TinyGuest
    standin: Path
    symbols: Path
    """The stand-in's ELF64 image."""
    arguments: tuple[str, ...] = ()
    hypervisor_args: tuple[str, ...] = ()
    cpus: int = 1
    budget: float = 60.0
    qemu: str | None = None


@dataclass(slots=True)
class TinyRun:
    """What a run has shown. ``failures`` maps a case to its line, ``died`` says why it did not end."""

    console: str = ""
    passed: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    end: str = ""
    died: str = ""
    ledger: list[str] = field(default_factory=list)
    seconds: float = 0.0
    tsc_hz: int = 0
    problems: list[str] = field(default_factory=list)
    """What the host found wrong with the stand-in after the guest had ended."""

    @property
    def ok(self) -> bool:
        """Whether it ended, and nothing was wrong."""
        return bool(self.end) and not self.failures and not self.died and not self.problems

    def evidence(self) -> str:
        """The last calls, for the message of a failed test."""
        died = f"{self.died}\n" if self.died else ""
        return died + "last records of the ledger:\n" + "\n".join(self.ledger)


Inspect = Callable[[HypervisorView, TinyRun], None]


@dataclass(frozen=True, slots=True)
class Group:
    """How the cases of one group are started. ``host`` makes the host's part in them, for one run: it is
    called again and again while the guest runs, and when it has ended."""

    cpus: int = 1
    hypervisor_args: tuple[str, ...] = ()
    host: Callable[[], Inspect] | None = None


GROUPS = {
    "one": Group(),
    "two": Group(cpus=2),
    "core": Group(cpus=2, hypervisor_args=("scheduler=core",)),
    "l1vh": Group(hypervisor_args=("parent=l1vh",)),
    "hold": Group(cpus=2, host=HoldScript),
}
"""Every group of cases that images/tiny names, but for FUZZ."""
FUZZ = "fuzz"
"""The group of the fuzzer, which has arguments of its own: lab/validate/fuzz.py."""


def run_tiny(start: TinyStart, inspect: Inspect | None = None, during: Inspect | None = None) -> TinyRun:
    """Start the guest and wait for its end. ``inspect`` may look at the stand-in before it is gone.

    ``during`` is called again and again while the guest runs, and must not block for longer than a second.

    A guest or stand-in that dies or hangs is a result, not an exception. Raises LabUnavailable when
    QEMU cannot be started.
    """
    spec = MachineSpec(
        name="tiny",
        cpus=start.cpus,
        memory=MEMORY,
        devices=(),
        kernel_args=(*start.arguments, f"cpus={start.cpus}"),
        hypervisor_args=start.hypervisor_args,
    )
    qemu = find_qemu(start.qemu)
    files = BootFiles(start.guest.image, start.guest.initramfs, start.standin)
    lab = state.create(prefix="tiny")
    result = TinyRun()
    began = time.monotonic()
    try:
        with Machine.start(spec, qemu, choose_accel(spec, qemu), files, lab) as machine:
            view = HypervisorView(Path(lab.record.ram), start.symbols, below_4g(MEMORY))
            with view:
                _follow(machine, view, start.budget, result, inspect, during)
    except GuestDied as death:
        result.died = result.died or f"{death}\n{death.detail}"
    finally:
        result.seconds = time.monotonic() - began
        lab.remove()
    return result


def run_group(
    group: str,
    guest: TinyGuest,
    standin: Path,
    symbols: Path,
    *arguments: str,
    qemu: str | None = None,
    budget: float = 60.0,
) -> TinyRun:
    """All cases of a group, and a look at what they left behind. KeyError for an unknown group."""
    how = GROUPS[group]
    words = (f"group={group}", *arguments)
    start = TinyStart(guest, standin, symbols, words, how.hypervisor_args, how.cpus, budget=budget, qemu=qemu)
    host = how.host() if how.host is not None else None

    def at_the_end(view: HypervisorView, result: TinyRun) -> None:
        if host is not None and not result.died:
            host(view, result)
        nothing_left(view, result)

    return run_tiny(start, at_the_end, host)


def nothing_left(view: HypervisorView, result: TinyRun) -> None:
    """An :data:`Inspect`: every partition but the root is gone, and no page is still deposited."""
    if result.died or result.problems:
        return
    for info in view.partitions():
        if info.id != ROOT_PARTITION:
            result.problems.append(f"partition {info.id} is still there, {info.state}")
        elif info.pool_total:
            result.problems.append(f"{info.pool_total} pages of the root are still deposited")


def _follow(
    machine: Machine,
    view: HypervisorView,
    budget: float,
    result: TinyRun,
    inspect: Inspect | None,
    during: Inspect | None,
) -> None:
    def ended() -> str | None:
        if found := END.search(machine.console.text(0)):
            return found[1].strip()
        if during is not None and view.ready() and not view.panicked():
            during(view, result)
        return None

    try:
        result.end = Watch(machine).wait(ended, budget, "tiny", "the last line of the tiny guest", poll=0.005)
    except GuestDied as death:
        result.died = f"{death}\n{death.detail}"
    result.console = machine.console.text(0)
    for match in _CASE.finditer(result.console):
        if match["ok"]:
            result.passed.append(match["name"])
        else:
            result.failures[match["name"]] = match["why"].strip()
    if result.died:
        for match in _BEGUN.finditer(result.console):
            result.failures[match["name"]] = "the guest did not come back: " + result.died.splitlines()[0]
    if view.ready():
        result.tsc_hz = view.tsc_hz()
        if panic := view.panicked():
            result.problems.append(panic)
        if inspect is not None:
            inspect(view, result)
        head = view.position()
        tail = view.since(max(0, head - _TAIL_RECORDS))
        result.ledger = [format_record(record, tsc_hz=view.tsc_hz()) for record in tail.records]
