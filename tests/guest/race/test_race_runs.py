# SPDX-License-Identifier: GPL-2.0-or-later
"""Recipes in real labs: they do what they say, and whatever cannot come about is told in bounded time."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from lab.hypervisor.names import hypercall_code
from lab.model.errors import BadInput
from lab.model.race import Actor, Attempt, HoldKind, HypercallSpec, Outcome, PointSpec, Recipe, Side, Step
from lab.race.recipes import load_all, recipes_dir
from lab.race.runner import RaceRunner

RECIPES = {recipe.id: recipe for recipe in load_all(recipes_dir())}
SIMPLE = RECIPES["removal-while-a-vp-maps"]
SERIES = Side(series="mmio-on-demand")
ATTEMPTS = 2
SOON = 30.0
"""Seconds in which an attempt that leads nowhere has to say so, boot included."""


def told(attempts: tuple[Attempt, ...]) -> str:
    return "\n".join(f"{a.outcome}: {a.reason} {a.evidence} {[e.what for e in a.events]}" for a in attempts)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_race_is_reached_on_the_racy_kernel_and_not_on_the_fixed_one(race: RaceRunner, name: str) -> None:
    result = race.run(RECIPES[name], ATTEMPTS)
    assert result.racy.count(Outcome.REACHED) == ATTEMPTS, told(result.racy.attempts)
    assert all(attempt.evidence for attempt in result.racy.attempts)
    assert result.fixed is not None
    assert result.fixed.count(Outcome.CLEAN, Outcome.BLOCKED) == ATTEMPTS, told(result.fixed.attempts)


def test_frozen_cpu_makes_an_order_look_impossible_that_a_spin_hold_brings_about(race: RaceRunner) -> None:
    """The hypervisor's own shootdown waits for the frozen CPU: a hold that does more than hold."""
    recipe = RECIPES["vp-freed-under-its-wakeup"]
    kernel = race.kernels.kernel(recipe.racy, "plain", recipe.where)
    frozen = tuple(
        replace(step, hold=HoldKind.FREEZE) if step.actor == "isr" else step for step in recipe.order
    )
    attempt = race.attempt(replace(recipe, order=frozen), kernel)
    assert attempt.holds["isr"] is HoldKind.FREEZE
    assert attempt.outcome in (Outcome.NOT_REACHED, Outcome.BLOCKED), told((attempt,))
    attempt = race.attempt(recipe, kernel)
    assert attempt.outcome is Outcome.REACHED, told((attempt,))


def test_frozen_cpu_holds_a_grace_period_up_and_a_spin_hold_does_not(race: RaceRunner) -> None:
    """The VP's thread is in no RCU read section where it is held: a grace period must not wait for it."""
    kernel = race.kernels.kernel(SERIES, "plain", "here")
    actors = (
        replace(SIMPLE.actor("vp"), cpu=1),
        Actor("reader", comm="umount", does=("quiesce",)),
    )
    order = (Step("vp", PointSpec(function="mshv_region_handle_mmio_fault")), Step("reader", PointSpec()))
    outcomes = {}
    for kind in (HoldKind.SPIN, HoldKind.FREEZE):
        held = (replace(order[0], hold=kind), order[1])
        attempt = race.attempt(replace(SIMPLE, actors=actors, order=held), kernel)
        outcomes[kind] = (attempt.outcome, attempt.reason)
    assert outcomes[HoldKind.SPIN][0] is Outcome.CLEAN, outcomes
    assert outcomes[HoldKind.FREEZE][0] in (Outcome.BLOCKED, Outcome.NOT_REACHED), outcomes


def hypercall(name: str) -> PointSpec:
    """A point at a hypercall about the child."""
    code = hypercall_code(name)
    assert code is not None
    return PointSpec(hypercall=HypercallSpec(code, name, "child"))


def test_hypercall_held_with_interrupts_on_holds_no_grace_period_up(race: RaceRunner) -> None:
    """FINALIZE_PARTITION is made with interrupts on: its CPU is no frozen one."""
    kernel = race.kernels.kernel(SERIES, "plain", "here")
    actors = (
        replace(SIMPLE.actor("vmm"), does=("destroy",), cpu=1),
        Actor("reader", comm="umount", does=("quiesce",)),
    )
    order = (Step("vmm", hypercall("FINALIZE_PARTITION")), Step("reader", PointSpec()))
    attempt = race.attempt(replace(SIMPLE, actors=actors, order=order), kernel)
    assert attempt.outcome is Outcome.CLEAN, told((attempt,))
    assert attempt.holds == {"vmm": HoldKind.HYPERCALL}
    assert "FINALIZE_PARTITION" in attempt.notes[0] and "with interrupts on" in attempt.notes[0]


def test_hypercall_held_with_interrupts_off_says_so_and_what_waits_for_it(race: RaceRunner) -> None:
    """The removal is held where it unmaps; a VP that wants to map waits for the mutex that goes with it."""
    kernel = race.kernels.kernel(SERIES, "plain", "here")
    actors = (replace(SIMPLE.actor("vp"), cpu=0), replace(SIMPLE.actor("vmm"), cpu=1))
    order = (
        Step("vp", PointSpec(function="mshv_region_handle_mmio_fault")),
        Step("vmm", hypercall("UNMAP_GPA_PAGES")),
        Step("vp", PointSpec(function="mshv_region_put")),
    )
    setup = replace(SIMPLE.setup, touched=(0,), kernel_args=("hv_nofull_mmio",))
    attempt = race.attempt(replace(SIMPLE, setup=setup, actors=actors, order=order), kernel)
    assert attempt.outcome is Outcome.BLOCKED, told((attempt,))
    assert "a mutex" in attempt.reason and "vmm (hypercall, interrupts off) is held" in attempt.reason
    assert "with interrupts off" in attempt.notes[0] and "CPU 1" in attempt.notes[0]


def test_hypercall_that_nobody_makes_is_told_in_time(race: RaceRunner) -> None:
    kernel = race.kernels.kernel(SERIES, "plain", "here")
    began = time.monotonic()
    attempt = race.attempt(at(SIMPLE, 0, hypercall("DELETE_VP")), kernel)
    assert attempt.outcome is Outcome.NOT_REACHED, told((attempt,))
    assert "vp does not reach hypercall DELETE_VP of the child" in attempt.reason
    assert time.monotonic() - began < SOON


def at(recipe: Recipe, number: int, spec: PointSpec) -> Recipe:
    """The recipe with another point at one of its steps."""
    order = list(recipe.order)
    order[number] = Step(order[number].actor, spec)
    return replace(recipe, order=tuple(order))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (PointSpec(function="mshv_mmio_map_rum", source="mutex_lock"), "did you mean mshv_mmio_map_run"),
        (PointSpec(function="mshv_region_putt"), "did you mean mshv_region_put"),
        (PointSpec(function="mshv_mmio_map_run"), "inlined into mshv_mmio_map"),
        (PointSpec(function="mshv_mmio_map_run", source="mutex_look(&region"), "near: mutex_lock"),
        (PointSpec(function="mshv_mmio_map_run", source="mutex_lock(", nth=9), "only 2 lines"),
        (PointSpec(file="mshv_regions.c", line=2), "nearest with code"),
        (PointSpec(file="mshv_reigons.c", line=2), "near: drivers/hv/mshv_regions.c"),
        (PointSpec(function="mshv_region_put", offset=0x10000), "lies behind it"),
    ],
    ids=str,
)
def test_point_that_is_not_there_is_an_error_that_names_what_is_near(
    race: RaceRunner, spec: PointSpec, said: str
) -> None:
    kernel = race.kernels.kernel(SERIES, "plain", "here")
    with pytest.raises(BadInput) as error:
        race.attempt(at(SIMPLE, 0, spec), kernel)
    assert said in str(error.value)


def test_point_that_nobody_reaches_is_told_in_time(race: RaceRunner) -> None:
    kernel = race.kernels.kernel(SERIES, "plain", "here")
    began = time.monotonic()
    attempt = race.attempt(at(SIMPLE, 0, PointSpec(function="hv_call_deposit_pages")), kernel)
    assert attempt.outcome is Outcome.NOT_REACHED, told((attempt,))
    assert "does not reach hv_call_deposit_pages" in attempt.reason
    assert time.monotonic() - began < SOON


def test_actor_whose_action_fails_is_told(race: RaceRunner) -> None:
    """The region is removed twice: the second time the VMM refuses."""
    kernel = race.kernels.kernel(SERIES, "plain", "here")
    actors = tuple(
        replace(actor, does=("remove", "remove")) if actor.name == "vmm" else actor for actor in SIMPLE.actors
    )
    attempt = race.attempt(replace(SIMPLE, actors=actors), kernel)
    assert attempt.outcome is Outcome.BROKEN, told((attempt,))
    assert "vmm fails" in attempt.reason


def test_actor_that_dies_is_told(race: RaceRunner) -> None:
    """The VMM is killed where it should have removed the region: there is nobody left to get to its point."""
    kernel = race.kernels.kernel(SERIES, "plain", "here")
    actors = tuple(
        replace(actor, does=("kill",)) if actor.name == "vmm" else actor for actor in SIMPLE.actors
    )
    order = (
        SIMPLE.order[0],
        Step("vmm", PointSpec(function="mshv_partition_ioctl")),
    )
    attempt = race.attempt(replace(SIMPLE, actors=actors, order=order), kernel)
    assert attempt.outcome is Outcome.NOT_REACHED, told((attempt,))
