# SPDX-License-Identifier: GPL-2.0-or-later
"""Recipes as files: what is wrong in one is told with its place; those of the lab are sound."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from lab.model.errors import BadInput
from lab.model.race import HoldKind, HypercallSpec, PointSpec
from lab.race.kernels import RaceKernels, series_dir
from lab.race.recipes import load, load_all, parse, parse_point, recipes_dir
from lab.race.stage import check
from lab.series.mutants import load_driver_mutants

TEXT = """
title = "t"
claims = ["C5"]
wording = "w"
[setup]
pages = 4
touched = [0]
[actors.vp]
comm = "vp-0"
does = ["touch 1"]
[actors.vmm]
comm = "mshv-vmm"
does = ["remove"]
[[order]]
actor = "vp"
at = "f"
[[order]]
actor = "vmm"
at = "done"
[proof]
pages_left = true
[racy]
stock = true
"""


def of(text: str):
    return parse(tomllib.loads(text), "r", "r.toml")


def test_recipe_is_what_its_file_says():
    recipe = of(TEXT)
    assert [step.actor for step in recipe.order] == ["vp", "vmm"]
    assert recipe.order[0].at == PointSpec(function="f") and recipe.order[1].at.done
    assert recipe.order[0].hold is HoldKind.AUTO
    assert recipe.setup.touched == (0,) and recipe.racy.stock and recipe.fixed is None
    assert recipe.actor("vp").does == ("touch 1",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "t"', 'titel = "t"', "unknown key 'titel'"),
        ('wording = "w"', "", "wording is missing"),
        ("pages = 4", 'pages = "4"', "pages must be of type int"),
        ("pages = 4", "pages = true", "pages must be of type int"),
        ("touched = [0]", "touched = [4]", "touched names pages of the region"),
        ('comm = "vp-0"', 'com = "vp-0"', "unknown key 'com'"),
        ('comm = "vp-0"', "", "has a comm, or acts in interrupts"),
        ('comm = "vp-0"', 'comm = "a name that is too long"', "has a comm, or acts in interrupts"),
        ('comm = "vp-0"', 'comm = "vp-0"\ncpu = -1', "cpu is the number"),
        ('actor = "vp"', 'actor = "pv"', "no actor 'pv'"),
        ('at = "f"', 'at = "f+"', "not a point"),
        ('at = "f"', 'at = { function = "f", sauce = "x" }', "unknown key 'sauce'"),
        ('at = "f"', 'at = { function = "f", source = "x", nth = 0 }', "nth counts from 1"),
        ('at = "f"', 'at = "f"\nhold = "tight"', "no hold 'tight'"),
        ("pages_left = true", "", "nothing would show the race"),
        ("pages_left = true", 'splat = ["splash"]', "'splash' cannot be one"),
        ("pages_left = true", 'freed = "nobody"', "no actor 'nobody'"),
        ("stock = true", 'stock = true\nmutant = "m"', "a side is"),
        ("[racy]", "[reicy]", "unknown key 'reicy'"),
    ],
)
def test_damage_is_told_with_its_place(old: str, new: str, said: str):
    assert old in TEXT
    with pytest.raises(BadInput, match=said) as error:
        of(TEXT.replace(old, new, 1))
    assert "r.toml" in str(error.value)


def test_order_of_one_actor_is_none():
    with pytest.raises(BadInput, match="two actors or more"):
        of(TEXT.replace('actor = "vmm"', 'actor = "vp"'))


def test_actor_without_a_step_is_told():
    with pytest.raises(BadInput, match="actor idle has no step"):
        of(TEXT + '[actors.idle]\ncomm = "x"\n')


@pytest.mark.parametrize(
    ("value", "point"),
    [
        ("done", PointSpec()),
        ("mshv_isr", PointSpec(function="mshv_isr")),
        ("mshv_isr+0x1f", PointSpec(function="mshv_isr", offset=0x1F)),
        ("mshv_synic.c:184", PointSpec(file="mshv_synic.c", line=184)),
        ({"function": "f", "source": "a();", "nth": 2}, PointSpec(function="f", source="a();", nth=2)),
    ],
)
def test_points_have_five_forms(value, point):
    assert parse_point(value, "w") == point
    assert str(point)


CALL = """{ hypercall = "HVCALL_UNMAP_GPA_PAGES", partition = "child", pages = [1, 3], nth = 2 }"""


def test_point_at_a_hypercall_has_a_name_or_a_code():
    call = HypercallSpec(0x4C, "UNMAP_GPA_PAGES", "child", (1, 3))
    found = of(TEXT.replace('"f"', CALL)).order[0].at
    assert found == PointSpec(hypercall=call, nth=2)
    assert not found.done
    assert str(found) == "hypercall UNMAP_GPA_PAGES of the child for pages 1 to 3 (no. 2)"
    assert parse_point({"hypercall": "UNMAP_GPA_PAGES"}, "w").hypercall == HypercallSpec(
        0x4C, "UNMAP_GPA_PAGES"
    )
    assert parse_point({"hypercall": 0x4C}, "w") == parse_point({"hypercall": "UNMAP_GPA_PAGES"}, "w")
    assert str(parse_point({"hypercall": 0x7FFE}, "w")) == "hypercall 0x7ffe"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("HVCALL_UNMAP_GPA_PAGES", "HVCALL_UNMAP_GPA_PAGE", "did you mean UNMAP_GPA_PAGES"),
        ('"HVCALL_UNMAP_GPA_PAGES"', "0x10000", "has 16 bits"),
        ('"HVCALL_UNMAP_GPA_PAGES"', "true", "hypercall must be of type int"),
        ('"child"', '"parent"', "no partition 'parent'"),
        ('"child"', '"root"', "names no pages of a child"),
        ("HVCALL_UNMAP_GPA_PAGES", "HVCALL_CREATE_VP", "names no pages of a child"),
        ("[1, 3]", "[3, 1]", "a first and a last one"),
        ("[1, 3]", "[1]", "a first and a last one"),
        ("[1, 3]", "[1, 4]", "the region has pages 0 to 3"),
        ("nth = 2", "nth = 0", "nth counts from 1"),
        ("nth = 2", "mth = 2", "unknown key 'mth'"),
        ("nth = 2 }", 'nth = 2 }\nhold = "spin"', "no hold 'spin' at this point"),
        ("nth = 2 }", 'nth = 2 }\nhold = "freeze"', "no hold 'freeze' at this point"),
    ],
)
def test_damage_of_a_point_at_a_hypercall_is_told_with_its_place(old: str, new: str, said: str):
    assert old in CALL
    with pytest.raises(BadInput, match=said) as error:
        of(TEXT.replace('"f"', CALL.replace(old, new, 1)))
    assert "r.toml: order 1" in str(error.value)


def test_hypervisor_holds_nothing_but_hypercalls():
    with pytest.raises(BadInput, match="no hold 'hypercall' at this point"):
        of(TEXT.replace('"f"', '"f"\nhold = "hypercall"'))
    assert of(TEXT.replace('"f"', CALL + '\nhold = "none"')).order[0].hold is HoldKind.NONE


def test_freed_memory_is_not_looked_for_in_an_actor_at_a_hypercall():
    text = TEXT.replace('"f"', CALL).replace("pages_left = true", 'freed = "vp"')
    with pytest.raises(BadInput, match="does not know the registers"):
        of(text)


def test_file_that_is_no_recipe_is_told(tmp_path: Path):
    with pytest.raises(BadInput, match="no such recipe"):
        load(tmp_path / "none.toml")
    (tmp_path / "x.toml").write_text("title = ")
    with pytest.raises(BadInput, match="not a recipe"):
        load(tmp_path / "x.toml")


@pytest.mark.parametrize("does", ["touch", "touch x", "destroy all", "dance"])
def test_action_that_nobody_knows_is_told_before_anything_is_built(does: str):
    with pytest.raises(BadInput, match="nobody can do"):
        check(of(TEXT.replace("touch 1", does)).actors)


def test_recipes_of_the_lab_are_sound():
    mutants = {mutant.id for mutant in load_driver_mutants()}
    recipes = load_all(recipes_dir())
    assert len(recipes) >= 5
    for recipe in recipes:
        check(recipe.actors)
        assert recipe.fixed is not None, f"{recipe.id} has no control"
        for side in (recipe.racy, recipe.fixed):
            assert not side.mutant or side.mutant in mutants, recipe.id
            assert not side.series or series_dir(side.series).is_dir(), recipe.id


def test_kernel_that_is_not_there_is_told():
    kernels = RaceKernels(None, None, None)  # type: ignore[arg-type]
    recipe = of(TEXT.replace("stock = true", 'mutant = "no-such"'))
    with pytest.raises(BadInput, match="no mutant 'no-such'"):
        kernels.check(recipe.racy, "w")
    recipe = of(TEXT.replace("stock = true", 'series = "no-such"'))
    with pytest.raises(BadInput, match="no series 'no-such'"):
        kernels.check(recipe.racy, "w")
