# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants behind a posted series: what is told of each, and when no more are begun."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

import pytest

from lab.model.mutant import DriverMutant, MutantResult
from lab.model.nightly import MutantFate, MutantState
from lab.model.series import Patch
from lab.nightly import mutated
from lab.progress import NullProgress


def result(name: str, **values: str) -> MutantResult:
    return MutantResult(
        name, "lock", values.pop("by", ""), values.pop("evidence", ""), 1.0, flavour="plain", **values
    )


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            result("m", by="a_scenario", evidence="8 pages are left"),
            MutantState("m", "lock", MutantFate.KILLED, "a_scenario", "8 pages are left"),
        ),
        (result("m"), MutantState("m", "lock", MutantFate.SURVIVED)),
        (
            result("m", doubt="does not apply"),
            MutantState("m", "lock", MutantFate.UNDECIDED, why="does not apply"),
        ),
        (
            result("m", equivalent="nobody can see it"),
            MutantState("m", "lock", MutantFate.UNDECIDED, why="nobody can see it"),
        ),
        (
            result("m", by="s", evidence="e", equivalent="nobody can see it"),
            MutantState("m", "lock", MutantFate.KILLED, "s", "e"),
        ),
    ],
)
def test_only_what_was_judged_without_doubt_survives(found: MutantResult, told: MutantState) -> None:
    assert mutated.state_of(found) == told


class Runner:
    """Gives a result for each mutant, and notes how many were asked for and that it was ended."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self.ended = False

    def run(self, mutants: tuple[DriverMutant, ...]) -> Generator[MutantResult, None, None]:
        try:
            for mutant in mutants:
                self.given.append(mutant.id)
                yield result(mutant.id)
        finally:
            self.ended = True


def mutant(name: str) -> DriverMutant:
    patch = Patch("s", "a", "", b"", ())
    return DriverMutant(name, "t", "base", "lock", patch, "k", str(Path(name)))


@pytest.mark.parametrize(("left", "given"), [(60.0, ["a", "b"]), (-1.0, [])])
def test_nothing_is_begun_when_the_time_is_over(left: float, given: list[str]) -> None:
    runner, found = Runner(), {}
    mutated._try(runner, [mutant("a"), mutant("b")], found, time.monotonic() + left, NullProgress())
    assert (runner.given, list(found)) == (given, given)


def test_time_that_ends_meanwhile_ends_the_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, clock = NullProgress(), iter([0.0, 0.5, 2.0])
    monkeypatch.setattr(mutated.time, "monotonic", lambda: next(clock))
    runner, found = Runner(), {}
    mutated._try(runner, [mutant(n) for n in "abc"], found, 1.0, progress)
    assert (list(found), runner.ended) == (["a", "b"], True)
