# SPDX-License-Identifier: GPL-2.0-or-later
"""The hypercall fuzzer of images/tiny, started and judged from outside."""

from __future__ import annotations

import dataclasses
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lab.build.tiny import TinyGuest
from lab.hypervisor import names
from lab.hypervisor.elf import find_symbol
from lab.hypervisor.view import ROOT_PARTITION, HypervisorView
from lab.model.errors import LabUnavailable
from lab.model.ledger import RecordKind
from lab.validate.tiny import FUZZ, TinyRun, TinyStart, nothing_left, run_tiny

SYMBOL = "fuzz_block"
MAGIC = 0x315A5A5546594E49
STATUSES = 256
CODES = 512
LPS = 2
"""MAX_CPUS of images/tiny/layout.h."""
_NOTE = 12
_BLOCK = struct.Struct(f"<3Q {LPS * _NOTE}Q 2Q 5Q {STATUSES}Q {CODES}Q {CODES}Q")
"""``struct fuzz_block`` of images/tiny/fuzz.h."""
SECONDS_PER_CALL = 0.002
"""Patience: ten times what a busy host needs."""
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class LastCall:
    """The call that an LP was making when the run ended."""

    lp: int
    number: int
    control: int
    input: int
    output: int
    words: tuple[int, ...]

    @property
    def text(self) -> str:
        """In a line."""
        words = " ".join(f"{w:#x}" for w in self.words)
        return (
            f"LP {self.lp}, call {self.number}: {names.hypercall(self.control & 0xFFFF)} "
            f"control {self.control:#x} input {self.input:#x} output {self.output:#x}, input words {words}"
        )


@dataclass(slots=True)
class FuzzRun:
    """A run of one seed. ``number`` counts the calls that were made, or tried."""

    seed: int
    calls: int
    tiny: TinyRun
    cpus: int = 1
    hypervisor_args: tuple[str, ...] = ()
    number: int = 0
    last: tuple[LastCall, ...] = ()
    """Of each LP."""
    seconds: float = 0.0
    """Guest time of the calls alone."""
    dispatched: int = 0
    messages: int = 0
    msr_accesses: int = 0
    msr_faults: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    codes: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Code to calls made and calls that succeeded."""
    intercepts: int = 0
    """Records of intercepts in what is left of the ledger."""
    looks: int = 0
    """How often the host looked at the children's tables meanwhile."""
    leaves: int = 0
    """The leaves that it saw, over all looks."""

    @property
    def ok(self) -> bool:
        """Whether it came to its end and nothing was wrong."""
        return self.tiny.ok

    @property
    def replay(self) -> str:
        """The command line that does the same again, up to the last call."""
        words = [f"--seed {self.seed} --calls {self.number or self.calls}"]
        words += [f"--cpus {self.cpus}"] if self.cpus > 1 else []
        words += [f"--hypervisor-arg {word}" for word in self.hypervisor_args]
        return f"python ci/fuzz.py {' '.join(words)}"

    def why(self) -> str:
        """What went wrong, in lines."""
        lines = [*self.tiny.failures.values(), *self.tiny.problems]
        if not self.tiny.end and not lines:
            lines.append("it did not end")
        return "\n".join(
            [*lines, *(last.text for last in self.last), f"again: {self.replay}", self.tiny.evidence()]
        )


def run_fuzz(
    seed: int,
    calls: int,
    guest: TinyGuest,
    standin: Path,
    symbols: Path,
    *,
    hypervisor_args: tuple[str, ...] = (),
    cpus: int = 1,
    qemu: str | None = None,
) -> FuzzRun:
    """Make so many calls. The result says what was wrong; only a QEMU that does not start raises."""
    at = find_symbol(guest.symbols, SYMBOL)
    found: list[bytes] = []

    intercepts: list[int] = []
    watch = SlatWatch()

    def look(view: HypervisorView, result: TinyRun) -> None:
        found.append(view.root_memory(at, _BLOCK.size))
        if result.end:
            nothing_left(view, result)
            intercepts.append(sum(r.kind is RecordKind.INTERCEPT for r in view.since(0).records))

    start = TinyStart(
        guest,
        standin,
        symbols,
        (f"group={FUZZ}", "fuzz", f"seed={seed}", f"calls={calls}"),
        hypervisor_args,
        cpus,
        budget=PATIENCE + SECONDS_PER_CALL * calls,
        qemu=qemu,
    )
    run = FuzzRun(seed, calls, run_tiny(start, look, watch), cpus, hypervisor_args)
    run.looks, run.leaves = watch.looks, watch.leaves
    run.intercepts = sum(intercepts)
    if found:
        _fill(run, _BLOCK.unpack(found[0]), run.tiny.tsc_hz)
    return run


class SlatWatch:
    """Looks at the children's tables while the guest makes calls: in the end they are all gone.

    All LPs wait in the stand-in meanwhile, so that nothing changes under the walk.
    """

    INTERVAL = 0.2
    PARK_SECONDS = 0.5

    def __init__(self) -> None:
        self.looks = 0
        self.leaves = 0
        self._next = 0.0

    def __call__(self, view: HypervisorView, result: TinyRun) -> None:
        """An Inspect: at most one problem of a kind is kept."""
        if time.monotonic() < self._next or result.problems:
            return
        try:
            view.park(self.PARK_SECONDS)
        except LabUnavailable:  # it is ending, or hangs: both are noticed elsewhere
            return
        try:
            result.problems += self._problems(view)[:1]
        finally:
            view.unpark()
        self.looks += 1
        self._next = time.monotonic() + self.INTERVAL

    def _problems(self, view: HypervisorView) -> list[str]:
        """Leaves that point at the stand-in's own memory."""
        first, end = view.private_range()
        problems = []
        for info in view.partitions():
            runs = [] if info.id == ROOT_PARTITION else view.slat(info.id)
            self.leaves += len(runs)
            problems += [
                f"partition {info.id}: GFN {run.gfn:#x} maps page {run.spa:#x} of the stand-in"
                for run in runs
                if not run.no_access and run.spa << 12 < end and (run.spa + run.pages) << 12 > first
            ]
        return problems


def shrink(failed: FuzzRun, again: Callable[[int], FuzzRun]) -> FuzzRun:
    """The run that ends with the failing call, if it fails once more; else the run as it was."""
    if failed.cpus > 1 or not failed.number or failed.number >= failed.calls:
        return failed
    shorter = again(failed.number)
    return dataclasses.replace(failed) if shorter.ok else shorter


def _fill(run: FuzzRun, block: tuple[int, ...], tsc_hz: int) -> None:
    magic, _seed, _planned = block[:3]
    if magic != MAGIC:
        return
    notes = [block[3 + _NOTE * lp : 3 + _NOTE * (lp + 1)] for lp in range(run.cpus)]
    run.last = tuple(LastCall(lp, n[0], n[1], n[2], n[3], n[4:]) for lp, n in enumerate(notes))
    run.number = sum(last.number for last in run.last)
    block = block[3 + _NOTE * LPS :]
    begun, ended, run.dispatched, run.messages, reads, writes, run.msr_faults = block[:7]
    run.msr_accesses = reads + writes
    run.seconds = (ended - begun) / tsc_hz if ended > begun and tsc_hz else 0.0
    statuses, codes = block[7 : 7 + STATUSES], block[7 + STATUSES : 7 + STATUSES + CODES]
    good = block[7 + STATUSES + CODES :]
    run.statuses = {status: n for status, n in enumerate(statuses) if n}
    run.codes = {code: (n, good[code]) for code, n in enumerate(codes) if n}
