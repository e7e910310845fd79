# SPDX-License-Identifier: GPL-2.0-or-later
"""Forced interleavings as data: what a recipe asks for, and what came of trying it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

DONE = "done"
"""The point at which an actor's action has ended."""


@dataclass(frozen=True, slots=True)
class HypercallSpec:
    """A hypercall of the root: ``partition`` is its target, ``child``, ``root`` or empty for any; ``pages``
    are the first and the last page of the region of which it must name one, None for any call."""

    code: int
    name: str
    partition: str = ""
    pages: tuple[int, int] | None = None

    def __str__(self) -> str:
        target = f" of the {self.partition}" if self.partition else ""
        return f"hypercall {self.name}{target}" + (
            f" for pages {self.pages[0]} to {self.pages[1]}" if self.pages else ""
        )


@dataclass(frozen=True, slots=True)
class PointSpec:
    """A place in the kernel, as a recipe names it.

    ``function`` alone is its first instruction, ``offset`` bytes behind that; ``source`` is the ``nth`` line
    of the function that contains this text; ``file`` and ``line`` name a line; ``hypercall`` is the ``nth``
    such call since the actor's step before. ``done`` ends an action.
    """

    function: str = ""
    offset: int = 0
    source: str = ""
    nth: int = 1
    file: str = ""
    line: int = 0
    hypercall: HypercallSpec | None = None

    @property
    def done(self) -> bool:
        """Whether this is the end of the actor's action."""
        return not self.function and not self.file and self.hypercall is None

    def __str__(self) -> str:
        if self.done:
            return DONE
        if self.file:
            return f"{self.file}:{self.line}"
        nth = f" (no. {self.nth})" if self.nth > 1 else ""
        if self.hypercall is not None:
            return f"{self.hypercall}{nth}"
        if self.source:
            return f"{self.function}: {self.source}{nth}"
        return f"{self.function}+{self.offset:#x}" if self.offset else self.function


class HoldKind(StrEnum):
    """How a thread is kept at a point."""

    AUTO = "auto"
    SPIN = "spin"
    """It goes round in a loop of two instructions: its CPU takes interrupts, grace periods go on."""
    FREEZE = "freeze"
    """Its CPU stands still, and so does whoever waits for that CPU."""
    HYPERCALL = "hypercall"
    """The hypervisor does not complete its call. Its CPU takes interrupts if the kernel has them on there."""
    NONE = "none"
    """It is seen there and goes on at once."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who takes part: the task of this name (``comm``), or whoever runs in interrupt context.

    ``does`` is its action in words of lab.race.stage, empty for somebody who acts by himself. ``cpu``: the
    only one that the task may run on, None for any.
    """

    name: str
    comm: str = ""
    interrupt: bool = False
    does: tuple[str, ...] = ()
    cpu: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """``actor`` gets to ``at`` and is held there until its next step, or until the order is complete."""

    actor: str
    at: PointSpec
    hold: HoldKind = HoldKind.AUTO


@dataclass(frozen=True, slots=True)
class Setup:
    """What is there before the actors begin: a child with ``vps`` VPs and a region of ``pages`` of a BAR (0:
    none) or, with ``ram``, of memory of the VMM.

    ``touched`` pages of it are mapped already. ``kernel_args`` go to the boot, those of the driver to it.
    """

    vps: int = 1
    pages: int = 8
    touched: tuple[int, ...] = ()
    ram: bool = False
    lapic: bool = False
    kernel_args: tuple[str, ...] = ()
    flavour: str = "plain"


@dataclass(frozen=True, slots=True)
class Proof:
    """What shows the race. Any one of what is given does.

    ``splat``: classes of complaints in the kernel log; ``pages_left``: frames of a removed region in the SLAT
    once all is over; ``pages_left_held``: at the last step of the order, with everybody still held;
    ``freed``: an actor who holds a pointer to freed memory then: what was unmapped since, or is poisoned
    (boot with slub_debug=P).
    """

    splat: tuple[str, ...] = ()
    pages_left: bool = False
    pages_left_held: bool = False
    freed: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """A kernel of a recipe: with a mutant (and what that is made on), with a series of tests/series, or as it
    is released."""

    mutant: str = ""
    series: str = ""
    stock: bool = False

    def __str__(self) -> str:
        if self.mutant:
            return f"mutant {self.mutant}"
        return "the kernel without a series" if self.stock else f"series {self.series}"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A reported race. ``racy`` is the kernel that has it, ``fixed`` the one that has not."""

    id: str
    title: str
    claims: tuple[str, ...]
    wording: str
    setup: Setup
    actors: tuple[Actor, ...]
    order: tuple[Step, ...]
    proof: Proof
    racy: Side
    fixed: Side | None
    where: str = ""

    def actor(self, name: str) -> Actor:
        """The actor of that name. KeyError."""
        return {actor.name: actor for actor in self.actors}[name]


class Outcome(StrEnum):
    """What came of one attempt."""

    REACHED = "reached"
    """The order came about and the proof was seen."""
    CLEAN = "clean"
    """The order came about, and nothing of the proof."""
    BLOCKED = "blocked"
    """Somebody waits for another whom the order holds: the reason says for what."""
    NOT_REACHED = "not reached"
    """The point did not come within the budget."""
    BROKEN = "broken"
    """The lab could not say: an actor or the guest died otherwise."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in an attempt. ``at`` in seconds of wall time since it began."""

    at: float
    actor: str
    what: str
    cpu: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try. ``holds`` says for each held actor which hold was used; ``passed`` counts hits of points by
    others than the actor, ``foreign`` those outside of the root's kernel (another guest, the hypervisor).
    ``notes`` say what to bear in mind of the holds."""

    outcome: Outcome
    reason: str
    seconds: float
    events: tuple[Event, ...] = ()
    holds: dict[str, HoldKind] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()
    passed: int = 0
    foreign: int = 0
    notes: tuple[str, ...] = ()
