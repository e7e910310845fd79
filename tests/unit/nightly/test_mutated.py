# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants behind a posted series: what is told of each, and when no more are begun."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from lab.model.errors import LabUnavailable
from lab.model.mutant import DriverMutant, MutantResult
from lab.model.nightly import MutantFate, MutantState, Variant, VariantResult
from lab.model.result import ValidateResult
from lab.model.series import Patch
from lab.model.verdict import Verdict
from lab.nightly import mutated
from lab.progress import NullProgress
from lab.validate.kernels import Selectors
from lab.validate.walk import ValidateRequest


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
    """Gives a result for each mutant; the one called ``endless`` comes when the runner is stopped."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self.stopped = threading.Event()
        self.ended = False

    def stop(self) -> None:
        self.stopped.set()

    def run(self, mutants: tuple[DriverMutant, ...]) -> Generator[MutantResult, None, None]:
        try:
            for mutant in mutants:
                if mutant.id == "endless":
                    assert self.stopped.wait(20), "nobody stops it"
                self.given.append(mutant.id)
                yield result(mutant.id)
        finally:
            self.ended = True


def mutant(name: str) -> DriverMutant:
    patch = Patch("s", "a", "", b"", ())
    return DriverMutant(name, "t", "base", "lock", patch, "k", str(Path(name)))


def tried(runner: Runner, seconds: float, *names: str) -> list[str]:
    found: dict[str, MutantState] = {}
    deadline = time.monotonic() + seconds
    mutated._try(runner, [mutant(n) for n in names], found, deadline, NullProgress())  # type: ignore[arg-type]
    return list(found)


def test_all_are_tried_when_there_is_time() -> None:
    runner = Runner()
    assert tried(runner, 60.0, "a", "b") == ["a", "b"]
    assert runner.ended and not runner.stopped.is_set()


def test_what_takes_too_long_is_ended_and_says_nothing() -> None:
    runner = Runner()
    assert tried(runner, 0.3, "a", "endless", "c") == ["a"]
    assert runner.given == ["a", "endless"] and runner.ended


def test_nothing_is_told_when_the_time_is_over() -> None:
    runner = Runner()
    assert tried(runner, -1.0, "a", "b") == []
    assert runner.given == ["a"]


def told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception | None) -> VariantResult:
    def run(*_: object) -> None:
        if error:
            raise error

    monkeypatch.setattr(mutated, "_try", run)
    monkeypatch.setenv("HVLAB_CACHE", str(tmp_path))
    before = VariantResult(Variant(), Verdict.PASS, notes=("first",))
    request = ValidateRequest(Selectors(), ("plain",), tmp_path)
    found = ValidateResult(Verdict.PASS, 0, (), "s", (), "7.3", {}, (), (), (), started="")
    return mutated.mutated(request, found, before, ["leaked-region"], time.monotonic() + 60, NullProgress())


@pytest.mark.parametrize(
    ("error", "note"),
    [(None, ""), (LabUnavailable("no kernel"), "no kernel"), (KeyError("gone"), "KeyError: 'gone'")],
)
def test_what_breaks_is_a_note_and_the_verdict_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception | None, note: str
) -> None:
    told = told_of(monkeypatch, tmp_path, error)
    assert told.verdict is Verdict.PASS
    assert [(m.id, m.fate, m.why) for m in told.mutants] == [
        ("leaked-region", MutantFate.UNDECIDED, mutated.NOT_TRIED)
    ]
    assert told.notes[0] == "first" and (note in told.notes[-1])
    assert len(told.notes) == (2 if error else 1)
