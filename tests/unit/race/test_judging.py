# SPDX-License-Identifier: GPL-2.0-or-later
"""Attempts become verdicts, and doubt is never a pass."""

from __future__ import annotations

import itertools

import pytest

from lab.model.race import Attempt, Outcome
from lab.model.verdict import Verdict
from lab.race.judging import verdict_of


def attempt(outcome: Outcome) -> Attempt:
    evidence = ("8 pages are left",) if outcome is Outcome.REACHED else ()
    return Attempt(outcome, "because", 0.1, evidence=evidence)


@pytest.mark.parametrize("pair", list(itertools.product(Outcome, Outcome)), ids=lambda p: "-".join(p))
def test_two_attempts_pass_only_when_both_say_that_nothing_happened(pair):
    verdict, reasons = verdict_of([attempt(outcome) for outcome in pair])
    if set(pair) <= {Outcome.CLEAN, Outcome.BLOCKED}:
        assert (verdict, reasons) == (Verdict.PASS, ())
    elif set(pair) == {Outcome.REACHED}:
        assert (verdict, reasons) == (Verdict.FAIL, ("8 pages are left",))
    else:
        assert verdict is Verdict.INCONCLUSIVE and reasons


def test_no_attempt_is_doubt():
    assert verdict_of([])[0] is Verdict.INCONCLUSIVE
