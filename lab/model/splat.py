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


@dataclass(frozen=True, slots=True)
class Splat:
    """A complaint. ``line`` is its 0-based first line in the log, ``frames`` functions, innermost first.

    ``id`` is stable over boots (class, title without numbers, frames) and serves to dedupe.
    ``corrupted`` says that the report is cut short or mixed with another. ``after`` is the id of the
    first splat of the same log, empty for that one itself: what comes later may be its consequence.
    """

    cls: SplatClass
    title: str
    frames: tuple[str, ...]
    line: int
    text: tuple[str, ...]
    id: str
    task: str = ""
    cpu: int | None = None
    corrupted: bool = False
    after: str = ""
