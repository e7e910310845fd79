# SPDX-License-Identifier: GPL-2.0-or-later
"""Attempts become verdicts, and doubt is never a pass."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from lab.cache import Cache
from lab.model.race import Attempt, Outcome
from lab.model.result import ScenarioOutcome
from lab.model.verdict import Verdict
from lab.race.judging import Kept, judge, verdict_of
from lab.race.recipes import load_all, recipes_dir


def attempt(outcome: Outcome) -> Attempt:
    evidence = ("8 pages are left",) if outcome is Outcome.REACHED else ()
    return Attempt(outcome, "because", 0.1, evidence=evidence)


@pytest.mark.parametrize("pair", list(itertools.product(Outcome, Outcome)), ids=lambda p: "-".join(p))
def test_two_attempts_pass_only_when_both_say_that_nothing_happened(pair):
    verdict, reasons = verdict_of([attempt(outcome) for outcome in pair])
    if set(pair) <= {Outcome.CLEAN, Outcome.BLOCKED}:
        assert (verdict, reasons) == (Verdict.PASS, ())
    elif set(pair) == {Outcome.REACHED}:
        assert (verdict, reasons) == (Verdict.FAIL, ("8 pages are left",))
    else:
        assert verdict is Verdict.INCONCLUSIVE and reasons


def test_no_attempt_is_doubt():
    assert verdict_of([])[0] is Verdict.INCONCLUSIVE


def test_what_is_to_be_borne_in_mind_of_a_hold_is_evidence_once():
    class Runner:
        def attempt(self, recipe, kernel):
            return replace(attempt(Outcome.CLEAN), notes=("vp was held with interrupts off",))

    outcome = judge(load_all(recipes_dir())[0], None, Runner())
    assert outcome.verdict is Verdict.PASS
    assert outcome.evidence.count("vp was held with interrupts off") == 1


def told(out, verdict: Verdict | None = Verdict.FAIL) -> ScenarioOutcome:
    name = "evidence/race-r/diagram.svg"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("<svg/>")
    return ScenarioOutcome("race:r", ("C5",), verdict, ("a splat",), files=(name,))


def test_what_a_recipe_says_of_a_base_is_found_again_with_its_picture(tmp_path):
    recipe, kept = load_all(recipes_dir())[0], Kept(Cache(tmp_path / "cache"), "key")
    assert kept.find(recipe, tmp_path / "new") is None
    outcome = told(tmp_path / "old")
    kept.keep(recipe, outcome, tmp_path / "old")
    assert kept.find(recipe, tmp_path / "new") == outcome
    assert (tmp_path / "new" / outcome.files[0]).read_text() == "<svg/>"


def test_another_recipe_or_key_finds_nothing_and_another_place_does(tmp_path):
    recipe, cache = load_all(recipes_dir())[0], Cache(tmp_path / "cache")
    Kept(cache, "key").keep(recipe, told(tmp_path), tmp_path)
    assert Kept(cache, "other").find(recipe, tmp_path) is None
    assert Kept(cache, "key").find(replace(recipe, order=recipe.order[1:]), tmp_path) is None
    assert Kept(cache, "key").find(replace(recipe, where="elsewhere.toml"), tmp_path) is not None


@pytest.mark.parametrize(("verdict", "kept"), [(Verdict.INCONCLUSIVE, False), (None, True)])
def test_doubt_is_not_kept(tmp_path, verdict, kept):
    recipe, folder = load_all(recipes_dir())[0], Kept(Cache(tmp_path / "cache"), "key")
    folder.keep(recipe, told(tmp_path, verdict), tmp_path)
    assert (folder.find(recipe, tmp_path / "new") is not None) is kept


@pytest.mark.parametrize("broken", ["outcome.json", "diagram.svg"])
def test_what_cannot_be_read_any_more_is_as_if_it_were_not_there(tmp_path, broken):
    recipe, kept = load_all(recipes_dir())[0], Kept(Cache(tmp_path / "cache"), "key")
    kept.keep(recipe, told(tmp_path / "old"), tmp_path / "old")
    (file,) = (tmp_path / "cache").rglob(broken)
    if broken.endswith("json"):
        file.chmod(0o644)
        file.write_text('{"id": "race:r"')
    else:
        file.parent.chmod(0o755)
        file.unlink()
    assert kept.find(recipe, tmp_path / "new") is None
