# SPDX-License-Identifier: GPL-2.0-or-later
"""What two versions differ in: nothing is called better that was not shown to be."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sample

from lab.model.nightly import (
    CheckResult,
    ClaimState,
    Delta,
    Difference,
    MutantFate,
    MutantState,
    Rate,
    Scenario,
    Timing,
    VariantResult,
    VersionReport,
)
from lab.model.verdict import Change, Verdict
from lab.nightly import delta

PASS, FAIL, DOUBT = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def version(number: int, *variants: VariantResult, checks: tuple[CheckResult, ...] = ()) -> VersionReport:
    of = sample.MMIO_V1 if number == 1 else sample.MMIO_V2
    return replace(of, variants=variants, checks=checks, delta=None)


def ran(*scenarios: Scenario, **values: object) -> VariantResult:
    found = replace(sample.MMIO_V1.variants[0], scenarios=scenarios, claims=(), splats=(), changed_lines=None)
    return replace(found, **values)  # type: ignore[arg-type]


def one(patched: Verdict | None, **values: object) -> Scenario:
    found = Scenario("s", (), PASS, patched, Change.SAME.value, patched)
    return replace(found, **values)  # type: ignore[arg-type]


def compare(before: VariantResult, now: VariantResult) -> Delta:
    return delta.compare(version(1, before), version(2, now))


def told(found: Delta) -> list[tuple[str, str, str, bool | None]]:
    return [(d.id, d.before, d.now, d.better) for d in found.differences]


@pytest.mark.parametrize(
    ("before", "now"), [(sample.MMIO_V1, sample.MMIO_V2), (sample.VP_V1, sample.VP_V2)], ids=["mmio", "vp"]
)
def test_the_samples_deltas_are_what_comparing_gives(before: VersionReport, now: VersionReport) -> None:
    found = delta.compare(before, now)
    assert now.delta is not None
    assert found.differences == now.delta.differences
    assert now.delta.note.startswith(found.note) and found.note


@pytest.mark.parametrize("report", sample.VERSIONS, ids=lambda r: r.series.id)
def test_nothing_differs_from_itself(report: VersionReport) -> None:
    assert delta.compare(report, report).differences == ()


@pytest.mark.parametrize(
    ("before", "now", "better"),
    [
        (one(FAIL), one(PASS), True),
        (one(PASS), one(FAIL), False),
        (one(DOUBT), one(FAIL), False),
        (one(FAIL), one(DOUBT), None),
        (one(PASS), one(DOUBT), None),
        (one(DOUBT), one(PASS), None),
        (one(FAIL), one(None), None),
        (one(None), one(PASS), None),
        (one(None), one(FAIL), None),
        (one(FAIL, rerun_new=Rate(1, 3, 0.06, 0.79)), one(PASS), None),
        (one(FAIL, rerun_same=Rate(0, 3, 0.0, 0.56)), one(PASS), None),
        (one(FAIL, rerun_new=Rate(3, 3, 0.44, 1.0)), one(PASS), True),
        (one(FAIL, quarantined="slow"), one(PASS), None),
        (one(PASS), one(FAIL, quarantined="slow"), None),
    ],
)
def test_only_a_firm_failure_that_now_passes_is_better(
    before: Scenario, now: Scenario, better: bool | None
) -> None:
    [difference] = compare(ran(before), ran(now)).differences
    assert (difference.kind, difference.id, difference.better) == ("scenario", "s", better)


def test_a_scenario_that_one_side_does_not_know_was_not_run_there() -> None:
    assert told(compare(ran(one(FAIL)), ran())) == [("s", "fail", "not run", None)]
    assert told(compare(ran(), ran(one(FAIL)))) == [("s", "not run", "fail", None)]
    assert told(compare(ran(), ran(one(None)))) == []


@pytest.mark.parametrize(
    ("before", "now", "note"),
    [
        ((ran(one(FAIL)),), (), "plain was not run now"),
        ((), (ran(one(PASS)),), "plain was not run before"),
        ((ran(one(FAIL)),), (ran(lost="the host died twice"),), "plain has no result now: the host died"),
        ((ran(lost="budget"),), (ran(one(PASS)),), "plain has no result before: budget"),
    ],
)
def test_a_variant_missing_on_one_side_is_said_and_never_fixed(
    before: tuple[VariantResult, ...], now: tuple[VariantResult, ...], note: str
) -> None:
    found = delta.compare(version(1, *before), version(2, *now))
    assert found.differences == ()
    assert note in found.note


def test_a_kernel_that_no_longer_builds_fixes_nothing() -> None:
    before = ran(one(FAIL), splats=("warning/x/1",))
    found = compare(before, ran(failed_phase="build"))
    assert told(found) == [(delta.REACHED, "yes", "ended in build", False)]
    assert found.note == "plain ended in build now"
    assert told(compare(ran(failed_phase="build"), ran(failed_phase="boot"))) == [
        (delta.REACHED, "ended in build", "ended in boot", None)
    ]


def test_variants_are_compared_each_with_itself() -> None:
    debug = replace(ran(one(PASS)), variant=sample.DEBUG)
    before = version(1, ran(one(FAIL)), debug)
    now = version(2, replace(debug, scenarios=(one(FAIL),)), ran(one(PASS)))
    found = delta.compare(before, now)
    assert [(d.variant, d.better) for d in found.differences] == [("debug", False), ("plain", True)]


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (ran(one(PASS), splats=("a",)), ran(one(PASS)), [("a", "seen", "not seen", True)]),
        (ran(one(PASS), splats=("a",)), ran(one(DOUBT)), [("a", "seen", "not seen", None)]),
        (ran(one(PASS)), ran(one(PASS), splats=("a",)), [("a", "not seen", "seen", False)]),
        (ran(one(PASS, splats=("a",))), ran(one(None)), [("a", "seen", "not seen", None)]),
        (ran(one(None)), ran(one(PASS, splats=("a",))), [("a", "not seen", "seen", None)]),
        (ran(one(PASS, splats=("a",))), ran(one(PASS), splats=("a",)), []),
    ],
)
def test_a_splat_is_gone_only_where_it_would_have_been_seen(
    before: VariantResult, now: VariantResult, expected: list[object]
) -> None:
    found = compare(before, now)
    assert [(d.id, d.before, d.now, d.better) for d in found.differences if d.kind == "splat"] == expected


@pytest.mark.parametrize(
    ("before", "now", "differs"),
    [
        (40.0, 49.0, False),
        (40.0, 51.0, True),
        (400.0, 420.0, False),
        (400.0, 501.0, True),
        (1.0, 9.0, False),
        (100.0, 60.0, True),
    ],
)
def test_times_differ_only_beyond_both_noise_bounds(before: float, now: float, differs: bool) -> None:
    def took(seconds: float, side: str = "patched") -> VariantResult:
        return ran(one(PASS), timings=(Timing("boot", side, seconds, seconds),))

    found = compare(took(before), took(now)).differences
    assert [d.better for d in found] == ([now < before] if differs else [])
    assert compare(took(before, "base"), took(now, "base")).differences == ()


def test_times_of_another_host_are_not_compared() -> None:
    slow = ran(one(PASS), host="far", timings=(Timing("boot", "patched", 900.0, 1.0),))
    found = compare(ran(one(PASS)), slow)
    assert found.differences == ()
    assert "times are not compared" in found.note


def test_coverage_is_better_when_the_share_is_larger() -> None:
    def covered(lines: tuple[int, int] | None) -> VariantResult:
        return ran(one(PASS), changed_lines=lines)

    assert told(compare(covered((5, 10)), covered((9, 20)))) == [
        ("changed lines run", "5 of 10", "9 of 20", False)
    ]
    assert told(compare(covered((5, 10)), covered((10, 20))))[0][3] is None
    found = compare(covered(None), covered((1, 2)))
    assert found.differences == () and "coverage was measured only now" in found.note


@pytest.mark.parametrize(
    ("before", "now", "better"),
    [
        (MutantFate.KILLED, MutantFate.SURVIVED, False),
        (MutantFate.SURVIVED, MutantFate.KILLED, True),
        (MutantFate.KILLED, MutantFate.UNDECIDED, None),
        (MutantFate.UNDECIDED, MutantFate.SURVIVED, None),
    ],
)
def test_a_mutant_that_nobody_notices_any_more_is_worse(
    before: MutantFate, now: MutantFate, better: bool | None
) -> None:
    def tried(fate: MutantFate, by: str = "a_scenario") -> VariantResult:
        killed = fate is MutantFate.KILLED
        states = (MutantState("m", "lock", fate, by if killed else "", "" if killed else "why"),)
        return ran(one(PASS), mutants=states)

    (found,) = compare(tried(before), tried(now)).differences
    assert (found.kind, found.id, found.better) == ("mutant", "m", better)
    words = {
        MutantFate.KILLED: "killed by a_scenario",
        MutantFate.SURVIVED: "survived: why",
        MutantFate.UNDECIDED: "not decided: why",
    }
    assert (found.before, found.now) == (words[before], words[now])
    assert compare(tried(MutantFate.KILLED), tried(MutantFate.KILLED, "another")).differences == ()


def test_a_mutant_that_was_tried_behind_one_version_only_is_no_difference() -> None:
    tried = ran(one(PASS), mutants=(MutantState("m", "lock", MutantFate.SURVIVED),))
    assert compare(ran(one(PASS)), tried).differences == ()
    assert compare(tried, ran(one(PASS))).differences == ()


def test_checks_follow_the_patch_and_not_its_number() -> None:
    """A patch is put in front: what W=1 said of the second patch it says of the third."""
    before = replace(sample.MMIO_V1, variants=(), checks=(CheckResult("W=1", 2, FAIL, ("x",)),))
    first = sample.patch("mmio-on-demand", 2, 1, 3, "mshv: Add a helper", sample.ROOT)
    series = replace(sample.MMIO_2, patches=(first, *before.series.patches))
    now = replace(
        before,
        series=series,
        checks=(
            CheckResult("W=1", 1, PASS),
            CheckResult("W=1", 2, PASS),
            CheckResult("W=1", 3, FAIL, ("x",)),
        ),
    )
    assert delta.compare(before, now).differences == ()
    fixed = replace(now, checks=(CheckResult("W=1", 1, FAIL, ("y", "z")), CheckResult("W=1", 3, PASS)))
    assert told(delta.compare(before, fixed)) == [
        ("W=1 patch 1", "not made", "fail, 2 lines", False),
        ("W=1 patch 3", "fail, 1 line", "pass", True),
    ]


def test_a_dropped_patch_hands_its_failures_to_nobody() -> None:
    before = version(1, checks=(CheckResult("sparse", 1, FAIL, ("x",)),))
    second = before.series.patches[1]
    now = replace(before, series=replace(sample.MMIO_2, patches=(second,)))
    assert delta.compare(before, replace(now, checks=(CheckResult("sparse", 1, PASS),))).differences == ()


@pytest.mark.parametrize(
    ("lines", "better"), [((), True), (("x",), True), (("x", "y"), None), (("x", "y", "z"), False)]
)
def test_a_check_that_still_fails_is_better_with_fewer_lines(
    lines: tuple[str, ...], better: bool | None
) -> None:
    before = version(1, checks=(CheckResult("W=1", 1, FAIL, ("x", "y")),))
    now = version(2, checks=(CheckResult("W=1", 1, FAIL, lines),))
    found = delta.compare(before, now).differences
    assert [d.better for d in found] == ([] if better is None else [better])


def test_a_patch_with_another_subject_takes_the_number_of_the_one_it_replaces() -> None:
    before = version(1, checks=(CheckResult("sparse", 1, FAIL, ("x",)),))
    other = sample.patch("mmio-on-demand", 2, 1, 1, "mshv: Map it differently", sample.REGIONS)
    now = replace(
        before,
        series=replace(sample.MMIO_2, patches=(other,)),
        checks=(CheckResult("sparse", 1, DOUBT, note="gone"),),
    )
    assert told(delta.compare(before, now)) == [("sparse patch 1", "fail, 1 line", "not decided", None)]


@pytest.mark.parametrize(
    ("before", "now", "answer"),
    [
        ({"plain": "reproduced"}, {"plain": "not reproduced"}, "addressed"),
        ({"plain": "reproduced"}, {"plain": "reproduced"}, "not addressed"),
        ({"plain": "not reproduced"}, {"plain": "reproduced"}, "came back"),
        ({}, {"plain": "reproduced"}, "not addressed"),
        ({"plain": "not decided"}, {"plain": "not reproduced"}, "not reproduced"),
        ({"plain": "reproduced"}, {"plain": "not decided"}, "not decided"),
        ({"plain": "reproduced"}, {}, "not decided"),
        ({"plain": "reproduced", "debug": "reproduced"}, {"plain": "not reproduced"}, "not decided"),
        (
            {"plain": "reproduced", "debug": "reproduced"},
            {"plain": "not reproduced", "debug": "reproduced"},
            "not addressed",
        ),
    ],
)
def test_a_comment_is_addressed_only_where_all_who_saw_it_decide_so(
    before: dict[str, str], now: dict[str, str], answer: str
) -> None:
    def said(of: dict[str, str]) -> tuple[VariantResult, ...]:
        kinds = {"plain": sample.PLAIN, "debug": sample.DEBUG}
        return tuple(
            ran(variant=kinds[name], claims=(ClaimState("C1", "x", "reproduced", standing),))
            for name, standing in of.items()
        )

    [found] = delta.answers(version(1, *said(before)), version(2, *said(now)))
    assert (found.id, found.answer) == ("C1", answer)


def test_a_lost_variant_answers_no_claim() -> None:
    claim = ClaimState("C1", "x", "reproduced", "reproduced")
    lost = ran(claims=(replace(claim, patched="not reproduced"),), lost="budget")
    [found] = delta.answers(version(1, ran(claims=(claim,))), version(2, lost))
    assert (found.answer, found.variants) == ("not decided", ("plain",))


def test_a_version_that_cannot_be_judged_is_told_in_the_note() -> None:
    found = delta.compare(sample.IRQFD_V1, sample.IRQFD_V2)
    assert found.differences == ()
    assert "v2 (now) cannot be judged: patch 2/2 is missing" in found.note


def test_claims_change_for_better_only_from_reproduced() -> None:
    def state(standing: str) -> VariantResult:
        return ran(one(PASS), claims=(ClaimState("C1", "x", "", standing),))

    def better(before: str, now: str) -> list[bool | None]:
        return [d.better for d in compare(state(before), state(now)).differences]

    assert better("reproduced", "not reproduced") == [True]
    assert better("not decided", "reproduced") == [False]
    assert better("reproduced", "not decided") == [None]
    assert better("reproduced", "reproduced") == []
    assert [d.better for d in compare(state("reproduced"), ran(one(PASS))).differences] == [None]
    assert compare(ran(one(PASS)), state("reproduced")).differences == (
        Difference("claim", "C1", "plain", "not decided", "reproduced", False),
    )
