# SPDX-License-Identifier: GPL-2.0-or-later
"""One kernel complaint in a log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SplatClass(StrEnum):
    """Families of kernel complaints that the lab knows."""

    BUG = "bug"
    WARNING = "warning"
    OOPS = "oops"
    GPF = "gpf"
    LOCKDEP = "lockdep"
    ATOMIC_SLEEP = "atomic-sleep"
    KASAN = "kasan"
    KCSAN = "kcsan"
    UBSAN = "ubsan"
    RCU_STALL = "rcu-stall"
    HUNG_TASK = "hung-task"
    SOFT_LOCKUP = "soft-lockup"
    HARD_LOCKUP = "hard-lockup"
    PANIC = "panic"
    LIST_CORRUPTION = "list-corruption"
    DEBUG_OBJECTS = "debug-objects"
    REFCOUNT = "refcount"
    KMEMLEAK = "kmemleak"
    IRQ_STATE = "irq-state"
    """Interrupts left disabled (or enabled) where they must not be."""
    KFENCE = "kfence"
    KMSAN = "kmsan"
    HYPERVISOR = "hypervisor"


HANGS = (
    SplatClass.HUNG_TASK,
    SplatClass.RCU_STALL,
    SplatClass.SOFT_LOCKUP,
    SplatClass.HARD_LOCKUP,
)
"""Reports of a hang, which are no reason for one: stacks of who is stuck say more."""


class Damage(StrEnum):
    """What may be wrong with a report as the log shows it."""

    CUT_SHORT = "cut short"
    """Its end is not in the log: the machine or the log ended, or its caller fell silent."""
    TORN = "torn by another report"
    """Another report began in the same stream before it had ended."""
    NOISE = "serial noise"
    """Bytes inside the report are no text; frames may be missing."""
    LINES_LOST = "lines lost"
    """The kernel says that it dropped messages meanwhile."""


@dataclass(frozen=True, slots=True)
class Splat:
    """A complaint. ``line`` is its 0-based first line in the log, ``frames`` functions, innermost first.

    ``id`` is stable over boots (class, title without numbers, frames) and serves to dedupe.
    ``also`` are titles by which other tools know the same report. ``damage`` says what is wrong with the
    report itself, None for a whole one. ``after`` is the id of the first splat of the same log, empty for
    that one itself: what comes later may be its consequence.
    """

    cls: SplatClass
    title: str
    frames: tuple[str, ...]
    line: int
    text: tuple[str, ...]
    id: str
    task: str = ""
    cpu: int | None = None
    after: str = ""
    also: tuple[str, ...] = ()
    damage: Damage | None = None

    @property
    def corrupted(self) -> bool:
        """True for a report that is cut short, torn by another one, or has lost lines."""
        return self.damage is not None
