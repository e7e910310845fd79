# SPDX-License-Identifier: GPL-2.0-or-later
"""A mutant whose kernel lost a base fix: killed only by what the twin without that fix does not show."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.judge.mutants import Seen
from lab.model.kernel import KernelImage
from lab.model.mutant import MutantResult
from lab.model.result import ScenarioOutcome
from lab.model.verdict import Verdict
from lab.progress import NullProgress
from lab.validate.driver_mutants import MutantRunner, Twin
from lab.validate.sides import Side

AT = Path("/nonexistent")
BARE = KernelImage("bare", "7.3", "debug", AT, AT, AT, AT)
FIXED = KernelImage("fixed", "7.3", "debug", AT, AT, AT, AT, fixes=("late",), unfixed=BARE)
MUTANT = KernelImage("mutant", "7.3", "debug", AT, AT, AT, AT)
PASSED = ScenarioOutcome(id="touch", claims=(), verdict=Verdict.PASS)
FAILED = ScenarioOutcome(id="touch", claims=(), verdict=Verdict.FAIL, reasons=("splat",), splats=("wait-1",))
MISSING = "without base fix late: it does not apply"


def judged(
    monkeypatch: pytest.MonkeyPatch, runs: dict[str, ScenarioOutcome], missing: str
) -> tuple[MutantResult, list[str]]:
    driven = []

    def drive(_: MutantRunner, kernel: KernelImage, *__: Any, **___: Any) -> Any:
        driven.append(kernel.key)
        outcomes = [runs[kernel.key]]
        report = SimpleNamespace(outcomes=outcomes, boot_failure=None, splats=[], abilities={}, complete=True)
        return SimpleNamespace(report=report, wall=1.0)

    monkeypatch.setattr(MutantRunner, "_drive", drive)
    nothing: Any = None
    runner = MutantRunner(nothing, nothing, NullProgress(), AT)
    mutant: Any = SimpleNamespace(id="some", scenarios="")
    result = MutantResult("some", "leak", "", "", 0.0, flavour="debug")
    twin = Twin(Side(FIXED, {}), Seen((PASSED,)), "")
    return runner._judged(mutant, MUTANT, twin, missing, result), driven


def test_without_a_lost_fix_the_twin_alone_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    result, driven = judged(monkeypatch, {"mutant": FAILED}, "")
    assert (result.by, result.evidence, result.doubt) == ("touch", "splat; wait-1", "")
    assert driven == ["mutant"]


def test_failure_that_the_twin_without_the_fix_shows_too_is_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    result, driven = judged(monkeypatch, {"mutant": FAILED, "bare": FAILED}, MISSING)
    assert not result.killed
    assert result.doubt.startswith(MISSING)
    assert "splat; wait-1" in result.doubt
    assert driven == ["mutant", "bare"]


def test_failure_that_the_twin_without_the_fix_does_not_show_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = judged(monkeypatch, {"mutant": FAILED, "bare": PASSED}, MISSING)
    assert (result.by, result.doubt) == ("touch", "")


def test_survivor_without_a_fix_is_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    result, driven = judged(monkeypatch, {"mutant": PASSED}, MISSING)
    assert not result.killed and result.doubt == MISSING
    assert driven == ["mutant"]
