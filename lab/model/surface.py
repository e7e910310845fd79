# SPDX-License-Identifier: GPL-2.0-or-later
"""The hypervisor interface as data: what can be asked for, and what the stand-in does then."""

from __future__ import annotations

from dataclasses import dataclass
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
