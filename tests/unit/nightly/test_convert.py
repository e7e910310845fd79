# SPDX-License-Identifier: GPL-2.0-or-later
"""A validation's result as a nightly tells it, and its verdict when failures are known better."""

from __future__ import annotations

import datetime
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lab.judge.armed import required
from lab.judge.verdict import compare_runs, series_verdict
from lab.model.claim import ClaimRow, ClaimTable, Finding, Standing
from lab.model.errors import BadInput
from lab.model.nightly import BaseFound, BaseGuess, Variant, VariantTask
from lab.model.result import DetectorProof, KernelRun, PhaseTime, ScenarioOutcome, ValidateResult
from lab.model.series import Series
from lab.model.verdict import Verdict
from lab.nightly import examine as closer
from lab.nightly import store
from lab.nightly.bisect import Culprit
from lab.nightly.quarantine import Entry
from lab.nightly.rejudge import rejudge
from lab.nightly.variant import from_result
from lab.progress import NullProgress
from lab.validate.kernels import Selectors
from lab.validate.walk import ValidateRequest

ARMED = tuple(DetectorProof(name, fired=True) for name in required("plain"))
P, F = Verdict.PASS, Verdict.FAIL


def outcome(name: str, verdict: Verdict | None, **more: object) -> ScenarioOutcome:
    why = () if verdict is P else (f"{name} says why",)
    return ScenarioOutcome(
        name,
        ("C1",),
        verdict,
        why,
        ("a line",),
        {"seen": str(verdict)},
        files=(f"evidence/{name}/ledger.txt",),
        seconds=1.5,
        **more,  # type: ignore[arg-type]
    )


def kernel(side: str, *outcomes: ScenarioOutcome, **more: object) -> KernelRun:
    worst = F if any(o.verdict is F for o in outcomes) else P
    return KernelRun(side, "7.3.4-hvlab", "plain", "k", worst, (), outcomes, ARMED, **more)  # type: ignore[arg-type]


def result(base: KernelRun, patched: KernelRun, **more: object) -> ValidateResult:
    pairs = compare_runs(base, patched, fixes=(), expects_changed=(), flavour="plain")
    judged = series_verdict(pairs, patched, base, ())
    return ValidateResult(
        verdict=judged.verdict,
        exit_code=1,
        reasons=judged.reasons,
        series_name="s",
        patches=("p",),
        base_version="7.3.4",
        base_lock={},
        runs=(base, patched),
        scenarios=pairs,
        phases=(PhaseTime("drive", "patched", 2.0, 1.0),),
        **more,  # type: ignore[arg-type]
    )


def test_each_scenario_says_what_it_counts_as() -> None:
    both = result(
        kernel("base", outcome("a", P), outcome("b", F), outcome("c", F), outcome("gone", P)),
        kernel("patched", outcome("a", F), outcome("b", P), outcome("c", F)),
    )
    told = from_result(both, Variant(), wall=9.0, host="h", folder="d/v1/plain")
    by_id = {s.id: s for s in told.scenarios}
    assert (by_id["a"].change, by_id["a"].counts) == ("regressed", F)
    assert (by_id["b"].change, by_id["b"].counts, by_id["b"].base) == ("fixed", P, F)
    assert (by_id["c"].change, by_id["c"].counts) == ("still-failing", None)
    assert (by_id["gone"].patched, by_id["gone"].counts) == (None, Verdict.INCONCLUSIVE)
    assert by_id["a"].files == ("patched/evidence/a/ledger.txt",)
    assert by_id["gone"].files == ("base/evidence/gone/ledger.txt",)
    assert by_id["a"].reasons == ("a says why",)
    assert (told.verdict, told.release, told.wall, told.host) == (F, "7.3.4-hvlab", 9.0, "h")
    assert told.timings[0].name == "drive"
    assert told.detectors == tuple((d.name, True) for d in ARMED)


def test_a_failure_that_base_has_too_counts_when_a_splat_comes_with_the_series() -> None:
    before = kernel("base", outcome("a", F, splats=("old",)), outcome("b", F), outcome("c", F))
    new = outcome("a", F, splats=("new",)), outcome("b", F, splats=("old",)), outcome("c", F)
    told = from_result(result(before, kernel("patched", *new)), Variant())
    assert [(s.change, s.counts) for s in told.scenarios] == [
        ("changed", F),
        ("changed", Verdict.INCONCLUSIVE),
        ("still-failing", None),
    ]
    assert told.verdict is F


def test_its_culprit_is_looked_for_by_that_splat(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[list[str], dict[str, frozenset[str]]]] = []

    class Look:
        def __init__(self, *_: object) -> None: ...
        def prefixes(self) -> Look:
            return self

        def culprits(self, ids: list[str], signs: dict[str, frozenset[str]]) -> dict[str, Culprit]:
            asked.append((ids, signs))
            return {i: Culprit(2, 2, 2) for i in ids}

    monkeypatch.setattr(closer, "_Look", Look)
    monkeypatch.setattr(closer.kernels, "read_series", lambda _: Series("s", ()))
    before = kernel("base", outcome("a", F, splats=("old",)), outcome("b", F))
    both = result(before, kernel("patched", outcome("a", F, splats=("new",)), outcome("b", F)))
    told = closer.examine(
        replace(TASK, reruns=0), REQUEST, both, from_result(both, Variant()), (), 0.0, NullProgress()
    )
    assert asked[0][0] == ["a"] and asked[0][1]["a"] == {"new"}
    assert [s.culprit for s in told.scenarios] == [2, 0]


def test_a_kernel_that_ended_early_says_where_and_shows_how() -> None:
    dead = replace(kernel("patched"), verdict=F, failed_phase="boot", evidence=("panic",), reasons=("x",))
    told = from_result(result(kernel("base"), dead), Variant())
    assert (told.failed_phase, told.evidence, told.verdict) == ("boot", ("panic",), F)
    assert told.scenarios == ()


def test_claims_are_told_on_base_and_on_the_last_kernel() -> None:
    findings = (Finding(Standing.REPRODUCED, "seen"), Finding(Standing.NOT_REPRODUCED, "gone"))
    table = ClaimTable(("7.3.4", "s"), (ClaimRow("C1", "title", "class", findings),))
    told = from_result(result(kernel("base"), kernel("patched"), claims=table), Variant())
    assert [(c.base, c.patched) for c in told.claims] == [("reproduced", "not reproduced")]
    assert store.loads(store.dumps(told), type(told), "here") == told


BASE = kernel("base", outcome("a", P), outcome("b", P))
BOTH_FAIL = kernel("patched", outcome("a", F), outcome("b", F))
ONE_FAILS = kernel("patched", outcome("a", F), outcome("b", P))


def test_nothing_known_changes_nothing() -> None:
    both = result(BASE, ONE_FAILS)
    judged = rejudge(both, (), doubtful={}, ignored={})
    assert (judged.verdict, judged.reasons) == (both.verdict, both.reasons)
    assert judged.verdict is F


def test_a_flaky_failure_is_doubt_and_says_so() -> None:
    judged = rejudge(result(BASE, ONE_FAILS), (), doubtful={"a": "flaky: 2 of 6"}, ignored={})
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert any("flaky: 2 of 6" in r for r in judged.reasons)


def test_a_failure_in_quarantine_does_not_count_and_is_told() -> None:
    judged = rejudge(result(BASE, ONE_FAILS), (), doubtful={}, ignored={"a": "known"})
    assert judged.verdict is P
    assert judged.reasons[-1] == "a: its failure does not count: known"


@pytest.mark.parametrize(
    "known", [{"doubtful": {"a": "x"}, "ignored": {}}, {"doubtful": {}, "ignored": {"a": "x"}}]
)
def test_the_other_failure_still_fails_the_series(known: dict[str, dict[str, str]]) -> None:
    judged = rejudge(result(BASE, BOTH_FAIL), (), **known)
    assert judged.verdict is F
    assert any(r.startswith("b [plain]: passes on base") for r in judged.reasons)
    assert not any(r.startswith("a [plain]: passes on base") for r in judged.reasons)


def test_a_new_splat_of_a_flaky_failure_is_doubt_too_and_elsewhere_it_is_not() -> None:
    splat = outcome("a", F, splats=("kasan-1",))
    alone = kernel("patched", splat, outcome("b", P))
    assert result(BASE, alone).verdict is F
    assert rejudge(result(BASE, alone), (), doubtful={"a": "x"}, ignored={}).verdict is Verdict.INCONCLUSIVE
    outside = replace(alone, splats=("kasan-2",))
    assert rejudge(result(BASE, outside), (), doubtful={"a": "x"}, ignored={}).verdict is F


def test_a_run_that_was_cut_short_stays_in_doubt() -> None:
    cut = replace(ONE_FAILS, reasons=("the scenario run ended early, see pytest.log",))
    judged = rejudge(result(BASE, cut), (), doubtful={}, ignored={"a": "known"})
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert any("ended early" in r for r in judged.reasons)


TASK = VariantTask("s/v1/plain", "s.mbox", BaseGuess(BaseFound.GIVEN, ""), Variant(), "out")
REQUEST = ValidateRequest(Selectors(), ("plain",), Path("out"))
FOREVER, LONG_AGO = datetime.date(9999, 1, 1), datetime.date(2020, 1, 1)


def test_a_variant_whose_failures_are_all_in_quarantine_passes_and_shows_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(closer.kernels, "read_series", lambda _: Series("s", ()))
    entries = (Entry("a", "known", FOREVER), Entry("b", "was known", LONG_AGO, where="q.toml:9"))
    both = result(BASE, ONE_FAILS)
    told = closer.examine(
        TASK, REQUEST, both, from_result(both, Variant()), entries, time.monotonic(), NullProgress()
    )
    (a, _) = told.scenarios
    assert (told.verdict, a.quarantined, a.patched, a.counts) == (P, "known", F, None)
    assert any("quarantine of b ended on 2020-01-01" in note for note in told.notes)


def test_a_closer_look_that_fails_leaves_the_verdict_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: object) -> Series:
        raise BadInput("the series is gone")

    monkeypatch.setattr(closer.kernels, "read_series", gone)
    both = result(BASE, ONE_FAILS)
    told = closer.examine(TASK, REQUEST, both, from_result(both, Variant()), (), 0.0, NullProgress())
    assert (told.verdict, told.reasons) == (both.verdict, both.reasons)
    assert told.notes[-1] == "failures were not looked at more closely: the series is gone"
