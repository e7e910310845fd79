# SPDX-License-Identifier: GPL-2.0-or-later
"""A validation's result as a nightly tells it."""

from __future__ import annotations

from dataclasses import replace

from lab.judge.armed import required
from lab.judge.verdict import compare_runs, series_verdict
from lab.model.claim import ClaimRow, ClaimTable, Finding, Standing
from lab.model.nightly import Variant
from lab.model.result import DetectorProof, KernelRun, PhaseTime, ScenarioOutcome, ValidateResult
from lab.model.verdict import Verdict
from lab.nightly import store
from lab.nightly.variant import from_result

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
