# SPDX-License-Identifier: GPL-2.0-or-later
"""Attempts become verdicts, and doubt is never a pass."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from lab.model.race import Attempt, Outcome
from lab.model.verdict import Verdict
from lab.race.judging import judge, verdict_of
from lab.race.recipes import load_all, recipes_dir


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


def test_what_is_to_be_borne_in_mind_of_a_hold_is_evidence_once():
    class Runner:
        def attempt(self, recipe, kernel):
            return replace(attempt(Outcome.CLEAN), notes=("vp was held with interrupts off",))

    outcome = judge(load_all(recipes_dir())[0], None, Runner())
    assert outcome.verdict is Verdict.PASS
    assert outcome.evidence.count("vp was held with interrupts off") == 1
