# SPDX-License-Identifier: GPL-2.0-or-later
"""Schedules are drawn the same from the same seed, cut down only while they fail, and written as recipes."""

import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.model.race import HypercallSpec, PointSpec, Step
from lab.race.recipes import load_all, parse, recipes_dir
from lab.race.schedules import draw, merged, minimal, to_toml

TRACES = {"vp": (4, 8, 2, 10), "vmm": (1, 3)}


def step(actor, at):
    return Step(actor, PointSpec(function=at) if at else PointSpec())


def steps(text):
    """``"vp:a vmm:"`` as steps; no name is the end."""
    return tuple(step(*word.split(":")) for word in text.split())


@given(st.integers(0, 1 << 40), st.integers(1, 1000), st.integers(1, 9))
def test_draws_from_what_was_passed(seed, number, most):
    drawn = draw(seed, number, TRACES, most)
    assert drawn == draw(seed, number, dict(reversed(TRACES.items())), most)
    assert sorted(drawn.first) == sorted(TRACES)
    assert 1 <= sum(map(len, drawn.changes.values())) <= most
    for actor, numbers in drawn.changes.items():
        places = [TRACES[actor].index(n) for n in numbers]
        assert places == sorted(places)


def test_every_actor_and_point_is_drawn_some_time():
    drawn = [draw(3, number, TRACES, 2) for number in range(200)]
    assert {schedule.first[0] for schedule in drawn} == set(TRACES)
    for actor, numbers in TRACES.items():
        assert {n for schedule in drawn for n in schedule.changes[actor]} == set(numbers)


def test_numbers_do_not_depend_on_each_other():
    assert draw(1, 7, TRACES, 2) != draw(2, 7, TRACES, 2) or draw(1, 8, TRACES, 2) != draw(2, 8, TRACES, 2)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("vp:gate vp:a vmm:", "vp:a vmm:"),
        ("vp:a vmm:x vmm: vp:b", "vp:a vmm: vp:b"),
        ("vp:a vmm:", "vp:a vmm:"),
        ("", ""),
    ],
)
def test_steps_that_nothing_separates_are_one(before, after):
    assert merged(steps(before)) == steps(after)


def test_cut_down_to_what_fails():
    asked = []

    def fails(order):
        asked.append(order)
        return step("vp", "a") in order and step("vmm", "") in order

    assert minimal(steps("vp:gate vmm:x vp:a vmm: vp:b"), fails) == steps("vp:a vmm:")
    assert all(len(order) > 1 and len({s.actor for s in order}) > 1 for order in asked)


def test_nothing_is_cut_that_matters():
    whole = steps("vp:a vmm: vp:b")
    assert minimal(whole, lambda order: False) == whole


@pytest.mark.parametrize("recipe", load_all(recipes_dir()), ids=lambda recipe: recipe.id)
def test_recipes_survive_being_written(recipe):
    again = parse(tomllib.loads(to_toml(recipe)), recipe.id, "written")
    assert replace(again, where=recipe.where) == recipe


@pytest.mark.parametrize(
    "call",
    [
        HypercallSpec(0x4C, "UNMAP_GPA_PAGES"),
        HypercallSpec(0x4B, "MAP_GPA_PAGES", "child", (0, 0)),
        HypercallSpec(0x7FFE, "0x7ffe", "root"),
    ],
    ids=str,
)
def test_points_at_hypercalls_survive_being_written(call):
    recipe = load_all(recipes_dir())[0]
    step = Step(recipe.order[0].actor, PointSpec(hypercall=call, nth=2))
    odd = replace(recipe, order=(step, *recipe.order[1:]), setup=replace(recipe.setup, pages=1, touched=()))
    assert parse(tomllib.loads(to_toml(odd)), odd.id, odd.where).order == odd.order


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_text_of_a_line_survives(text):
    recipe = load_all(recipes_dir())[0]
    odd = replace(
        recipe,
        title=text,
        order=(Step("vp", PointSpec(function="f", source=text, nth=3)), *recipe.order[1:]),
    )
    again = parse(tomllib.loads(to_toml(odd)), odd.id, odd.where)
    assert again.order == odd.order
    assert again.title == text
