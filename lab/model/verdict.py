# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts and how they combine. Doubt is never a pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Outcome of a scenario, a kernel or a series."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Change(StrEnum):
    """What became of a scenario between base and the patched kernel."""

    SAME = "same"
    """Passes on both."""
    FIXED = "fixed"
    """Fails on base, passes on the patched kernel."""
    REGRESSED = "regressed"
    """Passes on base, fails on the patched kernel."""
    STILL_FAILING = "still-failing"
    """Fails on both with the same observations."""
    CHANGED = "changed"
    """Fails on both, but not in the same way (or nothing was observed that could be compared)."""
    NEW = "new"
    """Base lacks the ability or did not run it; the patched kernel is judged absolutely."""
    UNDECIDED = "undecided"
    """At least one side is inconclusive."""
    NOT_APPLICABLE = "n/a"
    """The patched kernel could not run it."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with the reasons that led to it; a non-pass always has at least one reason."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Fail beats inconclusive beats pass; nothing judged is inconclusive."""
    seen = set(verdicts)
    if Verdict.FAIL in seen:
        return Verdict.FAIL
    if Verdict.INCONCLUSIVE in seen or not seen:
        return Verdict.INCONCLUSIVE
    return Verdict.PASS
