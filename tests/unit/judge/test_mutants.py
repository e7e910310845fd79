# SPDX-License-Identifier: GPL-2.0-or-later
"""What counts as noticing a mutant."""

from __future__ import annotations

from dataclasses import replace

from lab.cli.mutants import as_json, row, summary
from lab.judge.mutants import Seen, doubts, kills, order, standing
from lab.model.mutant import MutantResult
from lab.model.result import ScenarioOutcome
from lab.model.verdict import Verdict


def outcome(
    name: str, verdict: Verdict | None, *reasons: str, splats: tuple[str, ...] = ()
) -> ScenarioOutcome:
    return ScenarioOutcome(id=name, claims=(), verdict=verdict, reasons=reasons, splats=splats)


GOOD = (outcome("first_touch", Verdict.PASS), outcome("removal[vfio]", Verdict.PASS))
TWIN = Seen(GOOD, abilities={"map": True})


def test_scenario_that_fails_with_the_mutant_alone_kills_it_with_its_reason() -> None:
    seen = replace(TWIN, outcomes=(GOOD[0], outcome("removal[vfio]", Verdict.FAIL, "still mapped")))
    assert [(k.by, k.evidence) for k in kills(TWIN, seen)] == [("removal[vfio]", "still mapped")]


def test_splat_is_part_of_the_evidence() -> None:
    seen = Seen((outcome("first_touch", Verdict.FAIL, "splat", splats=("warn-1",)),))
    assert kills(TWIN, seen)[0].evidence == "splat; warn-1"


def test_scenario_that_fails_without_the_mutant_too_says_nothing() -> None:
    twin = replace(TWIN, outcomes=(outcome("first_touch", Verdict.FAIL, "a defect of base"),))
    assert not kills(twin, replace(twin, outcomes=(outcome("first_touch", Verdict.FAIL, "other"),)))


def test_doubt_is_no_kill_and_is_told() -> None:
    seen = replace(TWIN, outcomes=(GOOD[0], outcome("removal[vfio]", Verdict.INCONCLUSIVE, "no ssh")))
    assert not kills(TWIN, seen)
    assert "no ssh" in doubts(seen)
    assert doubts(TWIN) == ""


def test_kernel_that_does_not_boot_or_has_a_new_splat_or_lost_an_ability_is_killed() -> None:
    assert kills(TWIN, Seen((), boot_failure="panic: x"))[0].by == "boot"
    assert kills(TWIN, replace(TWIN, splats=("s",)))[0].by == "splat"
    assert not kills(replace(TWIN, splats=("s",)), replace(TWIN, splats=("s",)))
    assert kills(TWIN, replace(TWIN, abilities={"map": False}))[0].by == "ability"


def test_what_the_twin_without_fixes_shows_too_may_be_of_the_fixes() -> None:
    failed = outcome("first_touch", Verdict.FAIL, "splat", splats=("wait-context-1",))
    seen = Seen((failed, outcome("removal[vfio]", Verdict.FAIL, "still mapped")), splats=("boot-1",))
    found = kills(TWIN, seen)
    assert [k.by for k in found] == ["first_touch", "removal[vfio]", "splat"]
    assert standing(found, seen, TWIN) == found
    bare = Seen((failed, GOOD[1]), splats=("boot-1",))
    assert [k.by for k in standing(found, seen, bare)] == ["removal[vfio]"]
    # In another boot of it the scenario may have been spared.
    elsewhere = Seen((GOOD[0], outcome("removal[vfio]", Verdict.FAIL, "x", splats=failed.splats)))
    assert [k.by for k in standing(found, seen, elsewhere)] == ["splat"]


def test_nothing_stands_against_a_twin_without_fixes_that_did_not_run() -> None:
    seen = Seen((), boot_failure="panic: x")
    assert kills(TWIN, seen)
    assert not standing(kills(TWIN, seen), seen, Seen(()))
    assert not standing(kills(TWIN, seen), seen, Seen((), boot_failure="panic: x"))


def test_hinted_scenarios_come_first_and_what_does_not_pass_not_at_all() -> None:
    all_of_them = (*GOOD, outcome("broken", Verdict.FAIL), outcome("absent", None))
    assert order(all_of_them, "Removal and not devmem") == ("removal[vfio]", "first_touch")
    assert order(all_of_them, "") == ("first_touch", "removal[vfio]")


def test_table_hides_no_survivor_and_counts_no_equivalent_one() -> None:
    results = [
        MutantResult("a", "leak", "x", "seen", 1.0, "plain"),
        MutantResult("b", "leak", "", "", 2.0, "plain"),
        MutantResult("c", "leak", "", "", 2.0, "plain", equivalent="because so"),
    ]
    text = "\n".join(summary(results, 5.0))
    assert "1 of 2 mutants killed (50 %)" in text
    assert "survivors: b" in text
    assert "equivalent: c" in text
    assert "SURVIVED" in row(results[1])[0]
    table = as_json(results)["mutants"]
    assert isinstance(table, list)
    assert [(m["id"], m["killed"], m["by"]) for m in table] == [
        ("a", True, "x"),
        ("b", False, ""),
        ("c", False, ""),
    ]
