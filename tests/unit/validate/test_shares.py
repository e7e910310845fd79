# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenarios in several processes: nothing is lost, nothing is run twice, and one report comes of it."""

from __future__ import annotations

import os
import threading

import pytest

from lab.model.result import ScenarioOutcome
from lab.model.verdict import Verdict
from lab.validate import shares
from lab.validate.exchange import Report


def report(*names: str, complete: bool = True, quick: bool = False, cpu: float = 1.0) -> Report:
    outcomes = [ScenarioOutcome(name, (), Verdict.PASS) for name in names]
    return Report(outcomes=outcomes, complete=complete, quick_done=quick, cpu=cpu, abilities={names[0]: True})


def test_reports_become_one_that_is_complete_only_if_all_are() -> None:
    parts = [report("d", "a", "c"), report("b", complete=False, cpu=2.5)]
    for part in parts:
        part.plan = ["a", "b", "c", "d"]
    whole = shares.merged(parts)
    assert [o.id for o in whole.outcomes] == ["a", "b", "c", "d"]
    assert (whole.complete, whole.cpu, whole.abilities) == (False, 3.5, {"d": True, "b": True})
    assert shares.merged([report("a"), report("b")]).complete


def test_quick_set_is_told_once_when_the_last_share_is_through_with_it() -> None:
    told: list[list[str]] = []
    quick = shares._Quick(2, lambda r: told.append([o.id for o in r.outcomes]))
    quick.done(2, report("b", quick=True))
    assert told == []
    quick.done(1, report("a", quick=True))
    quick.done(1, report("a", "c", quick=True))
    assert told == [["a", "b"]]


def test_quick_set_that_no_share_finished_is_not_told() -> None:
    quick = shares._Quick(2, lambda r: pytest.fail("told of a set that was not done"))
    quick.done(1, report("a", complete=False))
    quick.done(2, report("b", complete=False))


def test_a_kernel_alone_gets_two_processors_where_there_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    for processors, alone, beside in ((1, 1, 1), (2, 2, 1), (8, 2, 2)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=processors: set(range(n)))
        assert (shares.shares_for(0), shares.shares_for(1)) == (alone, beside)


def test_either_event_ends_a_share() -> None:
    outer = threading.Event()
    both = shares._Either(outer)
    assert not both.is_set()
    outer.set()
    assert both.is_set()
    alone = shares._Either(None)
    alone.set()
    assert alone.is_set()
