# SPDX-License-Identifier: GPL-2.0-or-later
"""What reruns say of a failure."""

from __future__ import annotations

import pytest

from lab.model.nightly import Rate, Scenario
from lab.model.result import ScenarioOutcome
from lab.model.verdict import Verdict
from lab.nightly import flakes
from lab.nightly.again import Seen, failed
from lab.nightly.bisect import Culprit
from lab.nightly.examine import failing, updated
from lab.nightly.flakes import MOST, Reruns, rate, rates, reasons, rerun

P, F, DOUBT = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def outcome(verdict: Verdict | None, *splats: str) -> ScenarioOutcome:
    return ScenarioOutcome("a", (), verdict, splats=splats)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (outcome(F), True),
        (outcome(P), False),
        (outcome(P, "kasan-1"), True),
        (outcome(None), False),
        (outcome(DOUBT), None),
        (None, None),
    ],
)
def test_what_counts_as_a_failure_again(seen: ScenarioOutcome | None, said: bool | None) -> None:
    assert failed(seen) is said


def test_a_rate_counts_what_was_decided() -> None:
    found = rate([True, None, False, True])
    assert found is not None and (found.hits, found.tries) == (2, 3)
    assert 0.2 < found.low < 0.21 and 0.93 < found.high < 0.94
    assert rate([None, None]) is None and rate([]) is None


@pytest.mark.parametrize(
    ("same", "new", "flaky"),
    [
        (Rate(3, 3, 0, 1), Rate(3, 3, 0, 1), False),
        (Rate(2, 3, 0, 1), Rate(3, 3, 0, 1), True),
        (Rate(3, 3, 0, 1), Rate(0, 3, 0, 1), True),
        (None, Rate(3, 3, 0, 1), False),
        (None, None, False),
    ],
)
def test_a_failure_that_stays_away_once_is_flaky(same: Rate | None, new: Rate | None, flaky: bool) -> None:
    reruns = Reruns(same, new)
    assert reruns.flaky is flaky
    assert str(reruns).startswith("flaky: fails in") is flaky
    assert ("a" in reasons({"a": reruns})) is flaky


def test_the_words_say_how_often_where_and_on_base() -> None:
    text = str(Reruns(Rate(1, 3, 0, 1), Rate(3, 3, 0, 1), Rate(0, 3, 0, 1)))
    assert text.startswith("flaky: fails in 4 of 6 reruns (")
    assert "1 of 3 from the same snapshot, 3 of 3 after a new boot; base fails in 0 of 3" in text


def test_reruns_are_summed_up_by_scenario() -> None:
    runs = [Seen({"a": outcome(F), "b": outcome(P)}), Seen({"a": outcome(F)}), Seen({"b": outcome(F)})]
    found = rates(lambda number: runs[number - 1], ["a", "b"], 3)
    assert found["a"] is not None and (found["a"].hits, found["a"].tries) == (2, 2)
    assert found["b"] is not None and (found["b"].hits, found["b"].tries) == (1, 2)


def test_a_kernel_that_lacks_the_ability_says_nothing_of_a_rate() -> None:
    assert rates(lambda _: Seen({"a": outcome(None)}), ["a"], 2) == {"a": None}


@pytest.mark.parametrize("end", [Seen(broken="no time was left"), Seen(boot_failure="panic")])
def test_reruns_end_where_there_is_nothing_to_run(end: Seen) -> None:
    asked: list[int] = []

    def one(number: int) -> Seen:
        asked.append(number)
        return end

    assert rates(one, ["a"], 5) == {"a": None}
    assert asked == [1]


def scenario(**more: object) -> Scenario:
    return Scenario("a", ("C1",), P, F, "regressed", counts=F, reasons=("why",), **more)  # type: ignore[arg-type]


def test_only_what_says_something_of_the_series_is_looked_at() -> None:
    assert failing(scenario())
    assert not failing(Scenario("a", (), F, F, "still-failing", counts=None))
    assert not failing(Scenario("a", (), P, DOUBT, "undecided", counts=DOUBT))


def test_a_flaky_scenario_is_doubt_with_its_rates_and_has_no_culprit() -> None:
    reruns = Reruns(Rate(1, 3, 0.1, 0.8), Rate(3, 3, 0.4, 1))
    told = updated(scenario(), {"a": reruns}, {"a": Culprit(2, 2, 2)}, {})
    assert (told.counts, told.culprit, told.patched) == (DOUBT, 0, F)
    assert told.reasons[0].startswith("flaky: ") and told.reasons[1] == "why"
    assert (told.rerun_same, told.rerun_new) == (reruns.same, reruns.new)


def test_a_steady_failure_has_its_culprit_and_a_quarantined_one_only_its_reason() -> None:
    always = Reruns(Rate(3, 3, 0.4, 1), None)
    told = updated(scenario(), {"a": always}, {"a": Culprit(2, 2, 2)}, {})
    assert (told.counts, told.culprit, told.reasons) == (F, 2, ("why",))
    aside = updated(scenario(), {}, {}, {"a": "known"})
    assert (aside.counts, aside.quarantined, aside.patched) == (None, "known", F)


class Kernels:
    """Stands for runs: what fails on a kernel by its name, and what was asked."""

    def __init__(self, **fails: set[str]) -> None:
        self.fails = fails
        self.asked: list[tuple[str, tuple[str, ...], str, bool]] = []

    def run(self, kernel: str, ids: list[str], name: str, *, fresh: bool = False) -> Seen:
        self.asked.append((kernel, tuple(ids), name, fresh))
        bad = self.fails["fresh" if fresh and kernel == "patched" else kernel]
        return Seen({i: outcome(F if i in bad else P) for i in ids})


def test_base_is_only_asked_about_what_is_flaky() -> None:
    kernels = Kernels(patched={"a", "b"}, fresh={"a"}, base={"b"})
    found, notes = rerun(kernels, "patched", "base", ["a", "b"], 2)  # type: ignore[arg-type]
    assert notes == ()
    assert not found["a"].flaky and found["a"].base is None
    assert found["b"].flaky and found["b"].base == rate([True, True])
    assert kernels.asked == [
        ("patched", ("a", "b"), "again-same-1", False),
        ("patched", ("a", "b"), "again-same-2", False),
        ("patched", ("a", "b"), "again-new-1", True),
        ("patched", ("a", "b"), "again-new-2", True),
        ("base", ("b",), "again-base-1", False),
        ("base", ("b",), "again-base-2", False),
    ]


def test_when_nearly_everything_fails_a_part_is_rerun_once() -> None:
    ids = [f"s{n}" for n in range(MOST + 3)]
    kernels = Kernels(patched=set(ids), fresh=set(ids))
    found, notes = rerun(kernels, "patched", None, ids, 5)  # type: ignore[arg-type]
    assert list(found) == ids[:MOST]
    assert len(kernels.asked) == 2
    assert "3 more failures were not rerun" in notes[0]


def test_a_recipe_is_not_rerun_after_a_new_boot_as_it_boots_anew_anyway() -> None:
    kernels = Kernels(patched={"race:x"}, fresh=set())
    found, _ = rerun(kernels, "patched", None, ["race:x"], 1)  # type: ignore[arg-type]
    assert (found["race:x"].new, found["race:x"].flaky) == (None, False)


def test_the_quickest_failures_are_rerun_and_one_at_least() -> None:
    took = {"slow": 60.0, "quick": 1.0, "middle": 5.0, "alike": 1.0}
    assert flakes.affordable(took, 7.0) == ("alike", "quick", "middle")
    assert flakes.affordable(took, 0.0) == ("alike",)
    assert flakes.affordable(took, 1000.0) == ("alike", "quick", "middle", "slow")
    assert flakes.affordable({}, 10.0) == ()
