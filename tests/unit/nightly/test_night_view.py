# SPDX-License-Identifier: GPL-2.0-or-later
"""Words, order and figures that the voices of a nightly share."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sample

from lab.model.nightly import CheckResult, ClaimState, Difference, Rate, VersionReport
from lab.model.verdict import Verdict
from lab.report import night_view
from lab.report.site_pages import range_diff_lines


def test_series_come_with_the_worst_first_and_versions_in_order() -> None:
    found = night_view.topics(replace(sample.REPORT, versions=tuple(reversed(sample.VERSIONS))))
    assert [t.topic for t in found] == ["mmio-on-demand", "irqfd-rework", "vp-lifetime"]
    assert [v.series.version for v in found[0].versions] == [1, 2]
    assert found[0].newest is sample.MMIO_V2


def test_every_verdict_but_a_pass_has_reasons_of_its_own_weight() -> None:
    for version in sample.VERSIONS:
        found = night_view.reasons(version)
        assert bool(found) == (version.verdict is not Verdict.PASS)
        if found:
            assert found[0].verdict is version.verdict, "the worst first"
    assert night_view.reasons(sample.MMIO_V2)[-1].verdict is Verdict.INCONCLUSIVE
    nothing = replace(sample.VP_V2, checks=(), variants=())
    assert [r.text for r in night_view.reasons(nothing)] == ["nothing was run"]


def test_what_counts_neither_way_is_no_reason_and_bears_its_own_sign() -> None:
    facts = ("fixed by the series (claims C1): a [plain]", "b [plain]: still failing, as on base")
    failing = next(v for v in sample.MMIO_V1.variants if v.verdict is Verdict.FAIL)
    failing = replace(failing, reasons=("c [plain]: fails", *facts))
    assert [r.text for r in night_view.variant_reasons(failing) if r.verdict is Verdict.PASS] == list(facts)
    [told] = night_view.reasons(replace(sample.MMIO_V1, checks=(), variants=(failing,)))
    assert told.verdict is Verdict.FAIL and told.text.endswith("c [plain]: fails")


def test_matters_of_style_are_no_reason() -> None:
    check = CheckResult("checkpatch", 1, Verdict.FAIL, ("WARNING: x",), advisory=True)
    assert night_view.reasons(replace(sample.VP_V2, checks=(check,))) == []


@pytest.mark.parametrize(
    ("base", "before", "now", "answer"),
    [
        ("reproduced", "", "not reproduced", "addressed"),
        ("reproduced", "", "reproduced", "not addressed"),
        ("not reproduced", "", "reproduced", "introduced"),
        ("not reproduced", "", "not reproduced", "no problem"),
        ("reproduced", "not reproduced", "reproduced", "came back"),
        ("not reproduced", "reproduced", "not reproduced", "addressed"),
        ("reproduced", "", "not decided", "open"),
        ("not decided", "", "not reproduced", "no problem"),
    ],
)
def test_was_that_comment_addressed(base: str, before: str, now: str, answer: str) -> None:
    assert night_view.answered(base, before, now) == answer


def claims(*states: ClaimState) -> VersionReport:
    return replace(sample.VP_V2, variants=(replace(sample.VP_V2.variants[0], claims=states),))


def test_an_undecided_version_does_not_make_one_forget() -> None:
    versions = [
        claims(ClaimState("C1", "t", "reproduced", "not reproduced")),
        claims(ClaimState("C1", "t", "reproduced", "not decided")),
        replace(sample.VP_V2, variants=()),
        claims(ClaimState("C1", "t", "reproduced", "reproduced")),
    ]
    (row,) = night_view.claim_rows(versions)
    assert [a and a.answer for a in row.answers] == ["addressed", "open", None, "came back"]


def test_claims_stand_in_the_order_of_their_numbers() -> None:
    ids = ("C10", "C9", "X", "C2", "B3")
    rows = night_view.claim_rows([claims(*(ClaimState(i, "", "", "") for i in ids))])
    assert [row.id for row in rows] == ["B3", "C2", "C9", "C10", "X"]


def test_a_claim_that_shows_in_one_variant_shows() -> None:
    assert night_view.merged(["not reproduced", "reproduced", "not decided"]) == "reproduced"
    assert night_view.merged(["not decided", "not reproduced"]) == "not reproduced"
    assert night_view.merged(["not decided"]) == night_view.merged([]) == "not decided"


def test_what_fails_comes_before_what_is_in_doubt() -> None:
    found = night_view.notable(sample.IRQFD_V1.variants[0].scenarios)
    assert [s.id for s in found] == [
        "ioeventfd_reaches_the_vmm",
        "irqfd_fires_once_per_write",
        "irqfd_teardown_ends_in_time",
    ]
    found = night_view.notable(sample.MMIO_V1.variants[0].scenarios)
    assert [s.counts for s in found] == [Verdict.FAIL, Verdict.FAIL, Verdict.PASS]


def test_worse_comes_before_better() -> None:
    kinds = [Difference("time", str(better), "", "", "", better) for better in (True, None, False)]
    delta = replace(sample.MMIO_V2.delta, differences=tuple(kinds))  # type: ignore[type-var]
    assert [d.better for d in night_view.differences(delta)] == [False, None, True]


def test_culprits_are_listed_by_patch() -> None:
    assert night_view.culprits(sample.MMIO_V1) == {
        1: ["bar_pages_are_mapped_right (plain)", "bar_pages_are_mapped_right (debug)"],
        2: ["region_removed_leaves_no_mapping (plain)"],
    }
    assert night_view.culprits(sample.VP_V1) == {1: ["build (plain)"]}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (99, "99 s"),
        (99.6, "2 min"),
        (5900, "98 min"),
        (6000, "1 h 40 min"),
        (90000, "25 h 00 min"),
    ],
)
def test_duration(seconds: float, words: str) -> None:
    assert night_view.duration(seconds) == words


@pytest.mark.parametrize(
    ("then", "words"),
    [
        ("2026-12-02T13:10:00+00:00", "0 h"),
        ("2026-11-30T14:00:00Z", "47 h"),
        ("2026-11-30T12:00:00", "2 days"),
        ("Sun, 1 Nov 2026 13:00:00 +0000", "31 days"),
        ("2026-12-03", "0 h"),
        ("yesterday", ""),
        ("", ""),
        ("9999-12-31T23:59:59-23:59", ""),
    ],
)
def test_age(then: str, words: str) -> None:
    assert night_view.age(then, "2026-12-02T13:10:00+00:00") == words


def test_when_keeps_what_is_no_time() -> None:
    assert night_view.when("Tue, 1 Dec 2026 12:00:00 +0200") == "2026-12-01 10:00 UTC"
    assert night_view.when("soon") == "soon"
    assert night_view.when("9999-12-31T23:59:59-23:59") == "9999-12-31T23:59:59-23:59"


def test_a_rate_tells_its_interval() -> None:
    assert night_view.rate(Rate(2, 3, 0.208, 0.939)) == "2 of 3 (21–94%)"
    assert night_view.rate(None) == ""


def test_range_diff_tells_what_came_and_what_went() -> None:
    assert sample.MMIO_V2.delta is not None
    lines = range_diff_lines(sample.MMIO_V2.delta.range_diff)
    kinds = [line.kind for line in lines]
    assert kinds == ["head", "place", "", "", "went", "came", "", "same", "head added"]
    assert all("\t" not in line.text for line in lines)
