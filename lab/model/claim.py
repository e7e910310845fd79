# SPDX-License-Identifier: GPL-2.0-or-later
"""Review claims as data, and what was found out about them by running."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Decider:
    """Scenarios that decide a claim, by name without parameters: all parameters count.

    ``flavours`` limits them to kernels of those flavours, empty means any. ``fails_with`` is a regular
    expression on the reasons of a failure (or the ids of its splats): only such a failure shows the
    defect; empty means every failure that the scenario words itself. ``refutes`` False: the scenario may
    show the defect, but its passing does not show that there is none.
    """

    scenarios: tuple[str, ...]
    flavours: tuple[str, ...] = ()
    fails_with: str = ""
    refutes: bool = True


@dataclass(frozen=True, slots=True)
class Claim:
    """A remark of a review, as data: who said it where about which version, in our words.

    ``message`` is the Message-ID, empty where it is not known; ``source`` then says how to find it.
    ``property`` is what must hold on a kernel without the defect. ``undecided`` says why running does not
    settle it, or not all of it; ``recipe`` names the race recipe that will.
    """

    id: str
    title: str
    cls: str
    source: str
    version: str
    wording: str
    property: str
    message: str = ""
    deciders: tuple[Decider, ...] = ()
    undecided: str = ""
    recipe: str = ""


class Standing(StrEnum):
    """What running says about a claim on one kernel."""

    REPRODUCED = "reproduced"
    """The defect shows on this kernel."""
    NOT_REPRODUCED = "not reproduced"
    """Every scenario that decides the claim passed."""
    NOT_DECIDED = "not decided"


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim on one kernel. ``why`` is the evidence in one line, or the reason why nothing was decided;
    ``scenario`` and ``flavour`` say where it is from, empty where no scenario does."""

    standing: Standing
    why: str
    scenario: str = ""
    flavour: str = ""
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """One claim on every kernel of a table, in the table's order."""

    id: str
    title: str
    cls: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class ClaimTable:
    """Claims by kernels. ``kernels`` are their names; ``[0]`` is the base, the last one the newest."""

    kernels: tuple[str, ...]
    rows: tuple[ClaimRow, ...]
