# SPDX-License-Identifier: GPL-2.0-or-later
"""The hypervisor interface as data: what can be asked for, and what the stand-in does then."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class State(StrEnum):
    """What the stand-in does with an entry of the surface."""

    IMPLEMENTED = "implemented"
    REFUSED = "refused"
    IGNORED = "ignored"
    UNKNOWN = "unknown"
    """Not in the list: refused by accident, if at all."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name of the interface. ``count`` numbers from ``number`` on belong to it.

    ``answer`` is how a refusal looks: a status of a hypercall, ``#GP`` for an MSR, ``zeros`` for a
    CPUID leaf, ``never sent`` for a message. ``why`` says why it is refused or ignored.
    """

    kind: str
    name: str
    number: int
    state: State
    count: int = 1
    answer: str = ""
    why: str = ""
    by: str = ""
    """Who asks for it where no call site in the kernel does: ``qemu``, or a section of the TLFS."""

    l1vh: str = ""
    """What an L1VH parent gets where that differs: ``implemented``, or the answer of a refusal."""

    child: bool = False
    """A child partition has it as well, where its VMM gave it the feature; else it is refused there."""

    def for_l1vh(self) -> Entry:
        """The entry as an L1VH parent sees it."""
        if not self.l1vh:
            return self
        if self.l1vh == State.IMPLEMENTED:
            return replace(self, state=State.IMPLEMENTED, answer="", why="")
        return replace(self, state=State.REFUSED, answer=self.l1vh, why=self.why or "the root's alone")

    @property
    def numbers(self) -> range:
        return range(self.number, self.number + self.count)


@dataclass(frozen=True, slots=True)
class Addition:
    """Something that a series issues and its base does not, with what the stand-in does then."""

    kind: str
    name: str
    number: int | None
    sites: tuple[str, ...]
    state: State
    answer: str = ""
    why: str = ""
    text: str = ""
    """The sentence for a reader."""

    @property
    def counts(self) -> bool:
        """Scenarios that reach it may be inconclusive."""
        return self.state is not State.IMPLEMENTED
