# SPDX-License-Identifier: GPL-2.0-or-later
"""The relative verdict: one row per rule, and doubt is never a pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.judge.armed import required
from lab.judge.verdict import CUT_SHORT, compare_runs, exit_code, kernel_verdict, series_verdict, settle
from lab.model.errors import ExitCode
from lab.model.result import DetectorProof, KernelRun, ScenarioOutcome
from lab.model.verdict import Change, Judgement, Verdict

PASS, FAIL, DOUBT = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
ARMED = tuple(DetectorProof(name, fired=True) for name in required("debug"))


def outcome(verdict: Verdict | None, **more: Any) -> ScenarioOutcome:
    fields: dict[str, Any] = {"id": "s", "claims": ("C16",), "observations": {"spa": 1}}
    fields.update(more)
    if verdict is not PASS:
        fields.setdefault("reasons", ("because",))
    return ScenarioOutcome(verdict=verdict, **fields)


def run(side: str, *outcomes: ScenarioOutcome, **more: Any) -> KernelRun:
    fields: dict[str, Any] = {"detectors": ARMED, "flavour": "plain", "verdict": PASS}
    fields.update(more)
    return KernelRun(side=side, release="7.3.4", key="k", outcomes=outcomes, **fields)


def judge(
    base: KernelRun | None,
    patched: KernelRun,
    *,
    fixes: tuple[str, ...] = (),
    expects: tuple[str, ...] = (),
    guards: tuple[str, ...] = (),
) -> tuple[Judgement, ExitCode]:
    pairs = compare_runs(base, patched, fixes=fixes, expects_changed=expects, flavour="plain")
    judgement = series_verdict(pairs, patched, base, fixes, guards=guards)
    return judgement, exit_code(judgement, base)


@dataclass(frozen=True)
class Rule:
    name: str
    base: ScenarioOutcome | None
    patched: ScenarioOutcome | None
    change: Change
    code: int
    fixes: tuple[str, ...] = ()
    expects: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()
    says: str = ""


OTHER = {"observations": {"spa": 2}}
RULES = (
    Rule("passes on both", outcome(PASS), outcome(PASS), Change.SAME, 0),
    Rule(
        "pass with other observations is still the same",
        outcome(PASS),
        outcome(PASS, **OTHER),
        Change.SAME,
        0,
    ),
    Rule("fixed", outcome(FAIL), outcome(PASS), Change.FIXED, 0, says="fixed"),
    Rule("fixed as claimed", outcome(FAIL), outcome(PASS), Change.FIXED, 0, fixes=("C16",)),
    Rule("regressed", outcome(PASS), outcome(FAIL), Change.REGRESSED, 1, says="passes on base"),
    Rule("still failing alike", outcome(FAIL), outcome(FAIL), Change.STILL_FAILING, 0, says="still failing"),
    Rule("fails otherwise", outcome(FAIL), outcome(FAIL, **OTHER), Change.CHANGED, 3, says="different"),
    Rule(
        "fails otherwise, claim expected",
        outcome(FAIL),
        outcome(FAIL, **OTHER),
        Change.CHANGED,
        0,
        expects=("C16",),
    ),
    Rule(
        "fails otherwise, id expected",
        outcome(FAIL),
        outcome(FAIL, **OTHER),
        Change.CHANGED,
        0,
        expects=("s",),
    ),
    Rule(
        "nothing observed on either side",
        outcome(FAIL, observations={}),
        outcome(FAIL, observations={}),
        Change.CHANGED,
        3,
    ),
    Rule(
        "same splat on both",
        outcome(FAIL, splats=("x",)),
        outcome(FAIL, splats=("x",)),
        Change.STILL_FAILING,
        0,
    ),
    Rule(
        "new splat in a failing scenario",
        outcome(FAIL),
        outcome(FAIL, splats=("x",)),
        Change.CHANGED,
        1,
        says="new splat x",
    ),
    Rule(
        "new splat, though a change is expected",
        outcome(FAIL),
        outcome(FAIL, splats=("x",)),
        Change.CHANGED,
        1,
        expects=("C16",),
        says="new splat x",
    ),
    Rule("new splat in a passing scenario", outcome(PASS), outcome(PASS, splats=("x",)), Change.REGRESSED, 1),
    Rule(
        "claim to be fixed still fails alike",
        outcome(FAIL),
        outcome(FAIL),
        Change.STILL_FAILING,
        1,
        fixes=("C16",),
        says="said to be fixed",
    ),
    Rule(
        "claim to be fixed fails otherwise, expected",
        outcome(FAIL),
        outcome(FAIL, **OTHER),
        Change.CHANGED,
        1,
        fixes=("C16",),
        expects=("C16",),
    ),
    Rule(
        "claim to be fixed is not shown by base",
        outcome(PASS),
        outcome(PASS),
        Change.SAME,
        3,
        fixes=("C16",),
        says="base does not show it",
    ),
    Rule(
        "claim to be fixed is inconclusive on base",
        outcome(DOUBT),
        outcome(PASS),
        Change.UNDECIDED,
        3,
        fixes=("C16",),
        says="inconclusive on base",
    ),
    Rule(
        "claim to be fixed has no scenario",
        outcome(PASS),
        outcome(PASS),
        Change.SAME,
        3,
        fixes=("C17",),
        says="claim C17 is to be fixed, but no scenario",
    ),
    Rule(
        "claim to be fixed whose scenario no kernel can run",
        outcome(None),
        outcome(None),
        Change.NOT_APPLICABLE,
        3,
        fixes=("C16",),
        says="no scenario of it ran",
    ),
    Rule(
        "claim to be fixed where base lacks the ability",
        outcome(None),
        outcome(PASS),
        Change.NEW,
        0,
        fixes=("C16",),
    ),
    Rule("base lacks the ability, patched passes", outcome(None), outcome(PASS), Change.NEW, 0),
    Rule(
        "base lacks the ability, patched fails",
        outcome(None),
        outcome(FAIL),
        Change.NEW,
        1,
        says="judged alone",
    ),
    Rule("base lacks the ability, patched inconclusive", outcome(None), outcome(DOUBT), Change.NEW, 3),
    Rule(
        "neither has the ability",
        outcome(None),
        outcome(None),
        Change.NOT_APPLICABLE,
        3,
        says="no scenario was judged",
    ),
    Rule(
        "the series takes the ability away",
        outcome(PASS),
        outcome(None),
        Change.NOT_APPLICABLE,
        3,
        says="ran on base but not",
    ),
    Rule("not run on the patched kernel", outcome(PASS), None, Change.NOT_APPLICABLE, 3),
    Rule("not run on base, patched fails", None, outcome(FAIL), Change.NEW, 1),
    Rule("patched inconclusive", outcome(PASS), outcome(DOUBT), Change.UNDECIDED, 3),
    Rule("inconclusive on both", outcome(DOUBT), outcome(DOUBT), Change.UNDECIDED, 3),
    Rule(
        "base inconclusive, patched fails", outcome(DOUBT), outcome(FAIL), Change.UNDECIDED, 3, says="base is"
    ),
    Rule(
        "base inconclusive, patched passes, nothing claimed",
        outcome(DOUBT),
        outcome(PASS),
        Change.UNDECIDED,
        0,
    ),
    Rule(
        "guard fails though base fails for its own reason",
        outcome(FAIL),
        outcome(FAIL, guards=True, **OTHER),
        Change.CHANGED,
        1,
        says="guarded",
    ),
    Rule(
        "guarded claim fails alike on both",
        outcome(FAIL),
        outcome(FAIL),
        Change.STILL_FAILING,
        1,
        guards=("C16",),
    ),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name.replace(" ", "-"))
def test_rule(rule: Rule) -> None:
    base = run("base", *([rule.base] if rule.base else []))
    # Another scenario that passes, so that the rule alone decides, except where nothing else ran.
    patched = run("patched", *([rule.patched] if rule.patched else []))
    pairs = compare_runs(base, patched, fixes=rule.fixes, expects_changed=rule.expects, flavour="plain")
    assert pairs[0].change == rule.change
    judgement, code = judge(base, patched, fixes=rule.fixes, expects=rule.expects, guards=rule.guards)
    assert code == rule.code, judgement
    assert rule.says in " | ".join(judgement.reasons)
    assert judgement.verdict is PASS or judgement.reasons


def test_fail_comes_before_inconclusive() -> None:
    base = run("base", outcome(PASS, id="a"), outcome(PASS, id="b"))
    patched = run("patched", outcome(DOUBT, id="a"), outcome(FAIL, id="b"))
    judgement, code = judge(base, patched)
    assert code == 1
    assert judgement.reasons[0].startswith("b [plain]: passes on base"), "the fail is told first"
    assert any(reason.startswith("a [plain]: inconclusive") for reason in judgement.reasons)


def test_pass_with_an_unarmed_detector_is_inconclusive() -> None:
    silent = (replace(ARMED[0], fired=False, detail="no WARN in the log"), *ARMED[1:])
    base = run("base", outcome(PASS))
    judgement, code = judge(base, run("patched", outcome(PASS), detectors=silent))
    assert code == 3
    assert "detector warn stayed silent when tripped (no WARN in the log)" in judgement.reasons[0]


def test_a_scenario_leans_only_on_the_detectors_it_names() -> None:
    only = ARMED[:1]
    assert settle(outcome(PASS, detectors=(only[0].name,)), only, "plain").verdict is PASS
    assert settle(outcome(PASS), only, "plain").verdict is DOUBT


def test_unarmed_base_does_not_hide_a_regression_as_pass() -> None:
    base = run("base", outcome(PASS), detectors=())
    _, code = judge(base, run("patched", outcome(FAIL)))
    assert code == 3


def test_settle_is_idempotent() -> None:
    for o in (
        outcome(PASS, splats=("x",)),
        outcome(PASS),
        outcome(FAIL, reasons=()),
        outcome(None, reasons=()),
    ):
        once = settle(o, (), "plain")
        assert settle(once, (), "plain") == once
        assert once.reasons


@pytest.mark.parametrize("phase", ["build", "boot", "image"])
def test_patched_kernel_that_ends_early_fails_the_series(phase: str) -> None:
    patched = run("patched", verdict=FAIL, failed_phase=phase, reasons=("error: x",))
    judgement, code = judge(run("base", outcome(PASS)), patched, fixes=("C16",))
    assert code == 1
    assert f"ended in phase {phase}: error: x" in judgement.reasons[0]
    assert not any("ran on base" in reason for reason in judgement.reasons), (
        "one reason, not one per scenario"
    )


def test_infrastructure_trouble_is_inconclusive() -> None:
    patched = run("patched", verdict=DOUBT, failed_phase="boot", reasons=("infrastructure: tripwire",))
    judgement, code = judge(run("base", outcome(PASS)), patched)
    assert code == 3
    assert "infrastructure: tripwire" in judgement.reasons[0]


@pytest.mark.parametrize(
    "base", [None, run("base", verdict=FAIL, failed_phase="boot", reasons=("no console",))]
)
def test_base_that_does_not_run_is_exit_4(base: KernelRun | None) -> None:
    judgement, code = judge(base, run("patched", outcome(FAIL)))
    assert code == 4
    assert judgement.verdict is DOUBT
    assert "base" in judgement.reasons[0]


def test_series_that_does_not_apply_fails_whatever_base_does() -> None:
    patched = run("patched", verdict=FAIL, failed_phase="apply", reasons=("hunk 2 of drivers/hv/a.c",))
    judgement, code = judge(None, patched)
    assert code == 1
    assert "hunk 2" in judgement.reasons[0]


def test_new_splat_outside_every_scenario_fails_and_a_known_one_does_not() -> None:
    base = run("base", outcome(PASS), splats=("old",))
    assert judge(base, run("patched", outcome(PASS), splats=("old",)))[1] == 0
    judgement, code = judge(base, run("patched", outcome(PASS), splats=("old", "x")))
    assert code == 1
    assert "outside every scenario: new splat x" in judgement.reasons[0]


def test_new_warning_of_the_compiler_fails_and_one_that_base_has_too_does_not() -> None:
    base, patched = outcome(PASS), outcome(PASS)
    moved = run("patched", patched, warnings=("drivers/hv/a.c:9: unused",))
    judgement, code = judge(run("base", base, warnings=("drivers/hv/a.c:1: unused",)), moved)
    assert code == 0, judgement
    judgement, code = judge(run("base", base), moved)
    assert code == 1
    assert any("drivers/hv/a.c:9: unused" in reason for reason in judgement.reasons)


def test_splat_known_from_another_scenario_of_base_is_not_new() -> None:
    base = run("base", outcome(FAIL, id="a", splats=("x",)), outcome(FAIL, id="b"))
    patched = run("patched", outcome(FAIL, id="a", splats=("x",)), outcome(FAIL, id="b", splats=("x",)))
    judgement, code = judge(base, patched)
    assert code == 3
    assert not any("new splat" in reason for reason in judgement.reasons)


def test_doubtful_run_with_clean_scenarios_is_no_pass() -> None:
    patched = run("patched", outcome(PASS), verdict=DOUBT, reasons=("ledger lost 12 records",))
    judgement, code = judge(run("base", outcome(PASS)), patched)
    assert code == 3
    assert "ledger lost 12 records" in judgement.reasons[0]


@pytest.mark.parametrize("more", [(), ("ledger lost 12 records",)])
def test_run_that_ended_early_is_no_pass_though_a_failure_explains_its_doubt(more: tuple[str, ...]) -> None:
    """What had no turn, base may lack: then nothing else tells that it is missing."""
    cut = f"{CUT_SHORT} (status -9), see pytest.log"
    patched = run("patched", outcome(FAIL), verdict=FAIL, reasons=("s: because", *more, cut))
    judgement, code = judge(run("base", outcome(FAIL)), patched)
    assert (judgement.verdict, code) == (DOUBT, 3)
    assert judgement.reasons[0] == f"the patched kernel (plain): {cut}"
    clean = run("patched", outcome(PASS), verdict=DOUBT, reasons=(*more, cut))
    judgement, code = judge(run("base", outcome(PASS)), clean)
    assert code == 3 and len(judgement.reasons) == 1 + len(more)


def test_one_flavour_that_fails_fails_the_series() -> None:
    pairs = []
    runs: dict[str, list[KernelRun]] = {"base": [], "patched": []}
    for flavour, verdict in (("plain", PASS), ("debug", FAIL)):
        base = run("base", outcome(PASS), flavour=flavour)
        patched = run("patched", outcome(verdict), flavour=flavour)
        pairs += compare_runs(base, patched, fixes=(), expects_changed=(), flavour=flavour)
        runs["base"].append(base)
        runs["patched"].append(patched)
    judgement = series_verdict(pairs, runs["patched"], runs["base"], ())
    assert judgement.verdict is FAIL
    assert "[debug]" in judgement.reasons[0]


def test_two_outcomes_of_one_scenario_are_refused() -> None:
    with pytest.raises(ValueError, match="scenario s has two outcomes on the patched kernel"):
        compare_runs(
            None, run("patched", outcome(PASS), outcome(PASS)), fixes=(), expects_changed=(), flavour="plain"
        )


def test_scenarios_of_claims_to_be_fixed_come_first() -> None:
    patched = run("patched", outcome(PASS, id="a", claims=()), outcome(PASS, id="b"))
    pairs = compare_runs(None, patched, fixes=("C16",), expects_changed=(), flavour="plain")
    assert [pair.id for pair in pairs] == ["b", "a"]


def test_kernel_verdict() -> None:
    assert kernel_verdict([outcome(PASS), outcome(None)], ARMED).verdict is PASS
    assert kernel_verdict([outcome(PASS)], ()).verdict is DOUBT
    assert kernel_verdict([outcome(FAIL), outcome(DOUBT)], ARMED).verdict is FAIL
    assert kernel_verdict([], ARMED) == Judgement(DOUBT, ("no scenario was judged on this kernel",))
    judgement = kernel_verdict([outcome(PASS)], ARMED, splats=("x",))
    assert judgement == Judgement(FAIL, ("splat x outside every scenario",))


verdicts = st.sampled_from([PASS, FAIL, DOUBT, None])
outcomes = st.builds(
    outcome,
    verdicts,
    id=st.sampled_from("abcd"),
    claims=st.sets(st.sampled_from(["C4", "C16"])).map(lambda s: tuple(sorted(s))),
    observations=st.dictionaries(st.just("spa"), st.integers(0, 1)),
    splats=st.sampled_from([(), (), ("x",)]),
    guards=st.booleans(),
)
runs = st.builds(
    lambda side, many, proofs, phase: run(
        side, *many, detectors=proofs, failed_phase=phase, verdict=FAIL if phase else PASS
    ),
    st.just("any"),
    st.lists(outcomes, max_size=4, unique_by=lambda o: o.id),
    st.sampled_from([ARMED, ARMED, ARMED[1:], (replace(ARMED[0], fired=False), *ARMED[1:])]),
    st.sampled_from(["", "", "", "boot"]),
)
fix_lists = st.sets(st.sampled_from(["C4", "C16", "C17"])).map(lambda s: tuple(sorted(s)))


@given(base=st.none() | runs, patched=runs, fixes=fix_lists, expects=fix_lists)
def test_doubt_is_never_a_pass(
    base: KernelRun | None, patched: KernelRun, fixes: tuple[str, ...], expects: tuple[str, ...]
) -> None:
    judgement, code = judge(base, patched, fixes=fixes, expects=expects)
    assert (code == 0) == (judgement.verdict is PASS)
    assert judgement.verdict is PASS or judgement.reasons
    if code:
        return
    assert base is not None and not base.failed_phase and not patched.failed_phase
    settled = [settle(o, patched.detectors, "plain") for o in patched.outcomes]
    known = {splat for o in base.outcomes for splat in o.splats}
    before = {o.id: settle(o, base.detectors, "plain") for o in base.outcomes}
    assert any(o.verdict for o in settled), "something was judged"
    for o in settled:
        assert o.verdict is not DOUBT
        assert set(o.splats) <= known
        if o.verdict is PASS:
            assert all(p.fired for p in patched.detectors) and len(patched.detectors) == len(ARMED)
        if o.verdict is FAIL:
            assert before[o.id].verdict is FAIL and not o.guards and not set(o.claims) & set(fixes)
    for claim in fixes:
        assert any(claim in o.claims and o.verdict is PASS for o in settled)


@given(base=runs, patched=runs, fixes=fix_lists)
def test_more_doubt_never_improves_the_exit_code(
    base: KernelRun, patched: KernelRun, fixes: tuple[str, ...]
) -> None:
    _, code = judge(base, patched, fixes=fixes)
    worse = replace(
        patched,
        outcomes=tuple(
            replace(o, verdict=DOUBT, reasons=("doubt",)) if o.verdict is PASS else o
            for o in patched.outcomes
        ),
    )
    if code == 0 and worse != patched:
        assert judge(base, worse, fixes=fixes)[1] != 0
    if code == 0 and any(o.verdict is PASS and not o.splats for o in patched.outcomes):
        assert judge(base, replace(patched, detectors=()), fixes=fixes)[1] != 0
