# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the driver: one defect each, and what is known of it before it runs."""

from __future__ import annotations

from dataclasses import dataclass

from lab.model.series import Patch

CLASSES = (
    "sleep in atomic",
    "unlocked lookup",
    "dangling mapping",
    "wrong PFN arithmetic",
    "wrong PFN",
    "lifetime",
    "remap contract",
    "one page or all",
    "intercept to the VMM",
    "validation",
    "overflow",
    "stale PFN",
    "permissions",
    "uninitialised use",
    "build",
    "architecture stub",
    "RCU lifetime",
    "unpublish order",
    "interrupts left disabled",
    "wait context",
    "huge-page stride",
    "error path",
    "reference",
    "lock",
    "arithmetic",
    "flag",
    "leak",
    "event delivery",
    "scheduling",
    "trace",
)
"""What kind of defect a mutant is: the classes of the review claims, then those of our own."""

SERIES = "mmio-on-demand"
"""The series of tests/series that a mutant may be made on; the other choice is ``base``."""

PLAIN = ("plain",)


@dataclass(frozen=True, slots=True)
class DriverMutant:
    """A patch that puts one defect into the driver.

    ``on``: ``base`` or a series' name. ``scenarios``: a pytest -k expression of what is tried first.
    ``equivalent``: why no test can tell it from the driver as it is, or "". ``path``: where it was read.
    """

    id: str
    title: str
    on: str
    kind: str
    patch: Patch
    key: str
    path: str
    claims: tuple[str, ...] = ()
    flavours: tuple[str, ...] = PLAIN
    scenarios: str = ""
    equivalent: str = ""


@dataclass(frozen=True, slots=True)
class MutantResult:
    """What became of a mutant. ``by``: the scenario that noticed first (or ``build``, ``boot``, ``splat``),
    "" when none did. ``also``: the others, when all were asked. ``doubt``: why a survivor may be none.
    ``seconds``: build and drive."""

    id: str
    kind: str
    by: str
    evidence: str
    seconds: float
    flavour: str = ""
    equivalent: str = ""
    doubt: str = ""
    also: tuple[str, ...] = ()

    @property
    def killed(self) -> bool:
        """Whether something noticed."""
        return bool(self.by)

    @property
    def survived(self) -> bool:
        """Whether the scenarios are too weak for it. An equivalent mutant cannot survive."""
        return not self.by and not self.equivalent
