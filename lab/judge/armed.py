# SPDX-License-Identifier: GPL-2.0-or-later
"""Detectors that must have been tripped on purpose before a pass counts.

Each detector is tripped on the very kernel under test in a throw-away boot; the proof says whether it
was then reported. A detector without proof may be dead, and a lab with a dead detector passes anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lab.model.result import DetectorProof
from lab.model.splat import Splat, SplatClass

_LOCKDEP = frozenset({"lockdep", "debug"})
_KASAN = frozenset({"kasan", "debug"})
_UBSAN = frozenset({"ubsan", "debug"})
_KCSAN = frozenset({"kcsan"})
"""KCSAN is in no other flavour: it excludes KASAN."""


@dataclass(frozen=True, slots=True)
class Detector:
    """One detector: how it is tripped and what must then be reported.

    ``splat`` is the class that the kernel log must show, or None for the lab's own oracles; ``shows``
    is a pattern that must then be found in title and frames (one a line), so that the report of one trip
    is not taken for that of another. ``flavours`` limits it to kernels of those flavours; None means
    every flavour.
    """

    name: str
    trip: str
    proof: str
    splat: SplatClass | None = None
    shows: str = ""
    flavours: frozenset[str] | None = None

    def reported(self, splats: Iterable[Splat]) -> Splat | None:
        """The first splat that is this detector's report of its trip."""
        for splat in splats:
            said = "\n".join((splat.title, *splat.frames))
            if splat.cls is self.splat and re.search(self.shows, said, re.DOTALL):
                return splat
        return None


def _kernel(
    name: str, trip: str, splat: SplatClass, shows: str, flavours: frozenset[str] | None = None
) -> Detector:
    return Detector(
        name, trip, f"the log parser reports a splat of class {splat.value}", splat, shows, flavours
    )


DETECTORS: tuple[Detector, ...] = (
    _kernel("warn", "a WARN raised on purpose in the root", SplatClass.WARNING, "lkdtm"),
    Detector(
        "panic",
        trip="a crash asked for through LKDTM in the root",
        proof="the log parser reports a panic and the watch ends the wait",
        splat=SplatClass.PANIC,
    ),
    _kernel(
        "hung-task",
        "a task kept in uninterruptible sleep beyond the shortened timeout",
        SplatClass.HUNG_TASK,
        "",
    ),
    Detector(
        "ledger-leak",
        trip="a mapping left behind while its region is removed",
        proof="the ledger expectation reports a map without its unmap",
    ),
    Detector(
        "slat-leak",
        trip="a SLAT entry that no live region explains",
        proof="the SLAT audit reports the entry",
    ),
    Detector(
        "ledger-overflow",
        trip="the ledger's ring runs on by more records than it holds before it is read",
        proof="the ledger oracle reports the lost records as doubt",
    ),
    _kernel(
        "lockdep",
        "two mutexes taken in both orders",
        SplatClass.LOCKDEP,
        r"circular locking dependency.*arm_(first|second)",
        _LOCKDEP,
    ),
    _kernel(
        "wait-context",
        "a spinlock taken under a raw spinlock",
        SplatClass.LOCKDEP,
        r"invalid wait context.*arm_spin",
        _LOCKDEP,
    ),
    _kernel(
        "atomic-sleep",
        "a function that may sleep is called with preemption off",
        SplatClass.ATOMIC_SLEEP,
        "hvlab_arm_atomic_sleep",
        _LOCKDEP,
    ),
    _kernel(
        "rcu",
        "a pointer under RCU read outside a read-side section",
        SplatClass.LOCKDEP,
        r"suspicious RCU usage.*hvlab_arm_rcu",
        _LOCKDEP,
    ),
    _kernel(
        "debug-objects",
        "memory freed with a pending timer in it",
        SplatClass.DEBUG_OBJECTS,
        # Not the function: kfree() is its last call, which a compiler makes a jump.
        r"ODEBUG: free active timer_list",
        _LOCKDEP,
    ),
    _kernel(
        "list",
        "an entry added to a list whose links were bent",
        SplatClass.LIST_CORRUPTION,
        "lkdtm_CORRUPT_LIST_ADD",
        _LOCKDEP,
    ),
    _kernel(
        "kmemleak",
        "objects whose only pointers go out of scope, then a scan",
        SplatClass.KMEMLEAK,
        "hvlab_arm_kmemleak",
        _LOCKDEP,
    ),
    _kernel(
        "irq-state",
        "interrupts restored while they are on",
        SplatClass.IRQ_STATE,
        "hvlab_arm_irq_state",
        _LOCKDEP,
    ),
    _kernel(
        "kasan",
        "freed memory of kmalloc read",
        SplatClass.KASAN,
        r"use-after-free.*lkdtm_READ_AFTER_FREE",
        _KASAN,
    ),
    _kernel(
        "kasan-vmalloc",
        "memory of vmalloc read past its end",
        SplatClass.KASAN,
        r"out-of-bounds.*hvlab_arm_kasan_vmalloc",
        _KASAN,
    ),
    _kernel(
        "ubsan-bounds",
        "an array indexed past its end",
        SplatClass.UBSAN,
        r"array-index-out-of-bounds.*lkdtm_ARRAY_BOUNDS",
        _UBSAN,
    ),
    _kernel(
        "ubsan-shift",
        "a number shifted by more bits than it has",
        SplatClass.UBSAN,
        r"shift-out-of-bounds.*hvlab_arm_ubsan_shift",
        _UBSAN,
    ),
    _kernel(
        "kcsan",
        "two threads that write one plain variable",
        SplatClass.KCSAN,
        "hvlab_arm_race",
        _KCSAN,
    ),
)


BY_NAME = {d.name: d for d in DETECTORS}

PROVOKED = {
    "warn": "WARNING",
    "hung-task": "HUNG_TASK",
    "panic": "PANIC",
    "list": "CORRUPT_LIST_ADD",
    "kasan": "READ_AFTER_FREE",
    "ubsan-bounds": "ARRAY_BOUNDS",
}
"""Detectors that LKDTM trips, which every kernel of ours has, and the name of its trip."""


def required(flavour: str) -> tuple[str, ...]:
    """Names of the detectors that a kernel of ``flavour`` must prove."""
    return tuple(d.name for d in DETECTORS if d.flavours is None or flavour in d.flavours)


def by_module(name: str) -> bool:
    """Whether it takes the lab's own module (images/arming) to trip this detector."""
    return BY_NAME[name].splat is not None and name not in PROVOKED


def needs_module(flavour: str) -> bool:
    """Whether any detector of the flavour takes the lab's own module."""
    return any(by_module(name) for name in required(flavour))


def lacking(flavour: str, wanted: Iterable[str]) -> list[str]:
    """Those of ``wanted`` that a kernel of ``flavour`` does not have, in their order."""
    have = set(required(flavour))
    return [name for name in dict.fromkeys(wanted) if name not in have]


def unarmed(proofs: Iterable[DetectorProof], required: Iterable[str]) -> list[str]:
    """Why a pass does not count: one line per required detector without a proof that it fires.

    A detector that was tripped several times must have fired every time.
    """
    by_name: dict[str, list[DetectorProof]] = {}
    for proof in proofs:
        by_name.setdefault(proof.name, []).append(proof)
    problems = []
    for name in dict.fromkeys(required):
        found = by_name.get(name, [])
        silent = [proof for proof in found if not proof.fired]
        if not found:
            problems.append(f"detector {name} was not tripped on this kernel")
        elif silent:
            detail = f" ({silent[0].detail})" if silent[0].detail else ""
            problems.append(f"detector {name} stayed silent when tripped{detail}")
    return problems
