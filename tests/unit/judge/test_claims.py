# SPDX-License-Identifier: GPL-2.0-or-later
"""When a claim counts as reproduced, when as not reproduced, and what is said in every other case."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.judge.claims import find, table, touched
from lab.model.claim import Claim, Decider, Standing
from lab.model.result import KernelRun, ScenarioOutcome
from lab.model.verdict import Verdict

PASS, FAIL, DOUBT = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
OWN = "first touch at page 3 reads page 6"


def claim(*deciders: Decider, **more: Any) -> Claim:
    words = dict.fromkeys(("title", "cls", "source", "version", "wording", "property"), "x")
    return Claim(id="C4", deciders=deciders, **(words | more))


def outcome(name: str, verdict: Verdict | None, *reasons: str, **more: Any) -> ScenarioOutcome:
    return ScenarioOutcome(name, ("C4",), verdict, reasons, **more)


def run(*outcomes: ScenarioOutcome, flavour: str = "plain", **more: Any) -> KernelRun:
    return KernelRun("base", "7.3.4", flavour, "k", Verdict.PASS, outcomes=outcomes, **more)


ONE = claim(Decider(("touch",), fails_with="first touch at page"))


def test_failure_for_the_claims_own_reason_reproduces_it() -> None:
    found = find(ONE, [run(outcome("touch[last]", FAIL, OWN, evidence=("ledger: gfn 3", OWN)))])
    assert (found.standing, found.why) == (Standing.REPRODUCED, OWN)
    assert (found.scenario, found.flavour, found.evidence) == ("touch[last]", "plain", ("ledger: gfn 3",))


def test_failure_for_another_reason_decides_nothing() -> None:
    found = find(ONE, [run(outcome("touch", FAIL, "no page of the BAR: the region is refused"))])
    assert found.standing is Standing.NOT_DECIDED
    assert found.why == "fails for another reason: no page of the BAR: the region is refused"


@pytest.mark.parametrize(
    "foreign",
    [
        "unexpected splat lockdep/invalid-wait-context/1",
        "kernel splat (lockdep): invalid wait context",
        "panic in drive: Kernel panic",
        "left behind after the VMM has gone: partition 3",
    ],
)
def test_what_any_scenario_may_fail_with_reproduces_nothing_by_itself(foreign: str) -> None:
    loose = claim(Decider(("touch",)))
    assert find(loose, [run(outcome("touch", FAIL, foreign))]).standing is Standing.NOT_DECIDED
    assert find(loose, [run(outcome("touch", FAIL, foreign, OWN))]).why == OWN


def test_splat_that_the_claim_names_reproduces_it() -> None:
    lock = claim(Decider(("touch",), fails_with="lockdep/invalid-wait-context"))
    splat = "lockdep/invalid-wait-context-x/1"
    found = find(lock, [run(outcome("touch", FAIL, "kernel splat (lockdep): x", splats=(splat,)))])
    assert (found.standing, found.why) == (Standing.REPRODUCED, splat)


def test_two_claims_of_one_scenario_are_told_apart_by_the_reason() -> None:
    other = claim(Decider(("touch",), fails_with="no page of the BAR"))
    runs = [run(outcome("touch", FAIL, OWN))]
    assert find(ONE, runs).standing is Standing.REPRODUCED
    assert find(other, runs).standing is Standing.NOT_DECIDED


def test_all_deciding_scenarios_must_pass() -> None:
    two = claim(Decider(("touch", "nofull")), Decider(("third",)))
    passes = [outcome("touch[a]", PASS, evidence=("page 3",)), outcome("touch[b]", PASS)]
    assert find(two, [run(*passes)]).why == "not run"
    whole = find(two, [run(*passes, outcome("nofull", PASS), outcome("third", PASS))])
    assert (whole.standing, whole.why) == (Standing.NOT_REPRODUCED, "4 deciding scenarios passed")
    assert whole.evidence == ("page 3",)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [(DOUBT, "in doubt: the ledger lost 3"), (None, "not applicable: the ledger lost 3")],
)
def test_doubt_and_lack_of_ability_are_no_pass(verdict: Verdict | None, words: str) -> None:
    found = find(ONE, [run(outcome("touch[a]", PASS), outcome("touch[b]", verdict, "the ledger lost 3"))])
    assert (found.standing, found.why, found.scenario) == (Standing.NOT_DECIDED, words, "touch[b]")


def test_what_one_flavour_cannot_judge_another_may() -> None:
    lacking = outcome("touch", None, "this flavour has no detector kasan")
    runs = [run(lacking), run(outcome("touch", PASS), flavour="debug")]
    assert find(ONE, runs).standing is Standing.NOT_REPRODUCED
    assert find(ONE, runs).flavour == "debug"
    assert find(ONE, runs[:1]).why == "not applicable: this flavour has no detector kasan"


def test_doubt_in_one_flavour_is_not_outvoted_by_another() -> None:
    runs = [run(outcome("touch", PASS)), run(outcome("touch", DOUBT, "detector silent"), flavour="debug")]
    assert find(ONE, runs).standing is Standing.NOT_DECIDED


def test_only_the_flavours_of_a_decider_count() -> None:
    debug = claim(Decider(("touch",), flavours=("debug",)))
    assert find(debug, [run(outcome("touch", FAIL, OWN))]).why == "not run on debug"
    assert find(debug, [run(outcome("touch", FAIL, OWN), flavour="debug")]).standing is Standing.REPRODUCED


def test_stress_that_passes_refutes_nothing() -> None:
    stress = claim(
        Decider(("storm",), refutes=False), undecided="stress is too rare", recipe="removed-under-lookup"
    )
    found = find(stress, [run(outcome("storm", PASS))])
    assert found.standing is Standing.NOT_DECIDED
    assert found.why == (
        "1 deciding scenario passed, but stress is too rare (race recipe to come: removed-under-lookup)"
    )
    assert find(stress, [run(outcome("storm", FAIL, OWN))]).standing is Standing.REPRODUCED


def test_claim_that_nothing_decides_says_why() -> None:
    assert find(claim(undecided="no arm64 here"), []).why == "no arm64 here"


def test_kernel_that_never_got_there_says_so() -> None:
    dead = run(failed_phase="build", reasons=("mshv_main.c:3: error",))
    assert find(ONE, [dead]).why == "the kernel ended in phase build: mshv_main.c:3: error"
    assert find(ONE, []).why == "no scenario ran on this kernel"


def test_touched_claims_are_those_that_were_judged_or_named() -> None:
    judged, missing = [run(outcome("touch[a]", PASS))], [run(outcome("touch[a]", None, "x"))]
    assert touched([ONE], judged) == (ONE,)
    assert touched([ONE], missing) == ()
    assert touched([ONE], missing, ["C4"]) == (ONE,)


NAMES = st.sampled_from(["touch", "touch[a]", "storm", "other"])
REASONS = st.lists(st.sampled_from([OWN, "unexpected splat x/y", "panic in drive: x", ""]), max_size=2)
OUTCOMES = st.builds(
    lambda name, verdict, reasons: outcome(name, verdict, *reasons),
    NAMES,
    st.sampled_from([PASS, FAIL, DOUBT, None]),
    REASONS,
)
RUNS = st.lists(
    st.builds(
        lambda outcomes, flavour, phase: run(*outcomes, flavour=flavour, failed_phase=phase),
        st.lists(OUTCOMES, max_size=4),
        st.sampled_from(["plain", "debug"]),
        st.sampled_from(["", "", "boot"]),
    ),
    max_size=3,
)
DECIDERS = st.lists(
    st.builds(
        Decider,
        st.sampled_from([("touch",), ("storm",), ("touch", "storm")]),
        st.sampled_from([(), ("debug",)]),
        st.sampled_from(["", "first touch"]),
        st.booleans(),
    ),
    max_size=3,
)


def test_a_reason_without_words_does_not_hide_the_claims_own() -> None:
    decider = Decider(("touch",), (), "", False)
    [row] = table([claim(decider)], [("base", [run(outcome("touch", FAIL, "", OWN))])]).rows
    [found] = row.findings
    assert (found.standing, found.why) == (Standing.REPRODUCED, OWN)


@settings(max_examples=300, deadline=None)
@given(DECIDERS, RUNS, st.sampled_from(["", "because"]))
def test_every_cell_is_filled_and_no_doubt_becomes_a_pass(
    deciders: list[Decider], runs: list[KernelRun], undecided: str
) -> None:
    one = claim(*deciders, undecided=undecided)
    [row] = table([one], [("base", runs), ("patched", runs)]).rows
    [found, again] = row.findings
    assert found == again and found.why.strip()
    deciding = [
        o
        for d in deciders
        for r in runs
        if not d.flavours or r.flavour in d.flavours
        for o in r.outcomes
        if o.id.partition("[")[0] in d.scenarios
    ]
    if found.standing is Standing.NOT_REPRODUCED:
        assert any(o.verdict is PASS for o in deciding)
        assert not any(o.verdict in (FAIL, DOUBT) for o in deciding)
        assert all(d.refutes for d in deciders) and not undecided
    if found.standing is Standing.REPRODUCED:
        assert any(o.verdict is FAIL and OWN in o.reasons for o in deciding)
    if any(o.verdict is FAIL and OWN in o.reasons for o in deciding):
        assert found.standing is Standing.REPRODUCED
