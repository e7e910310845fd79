# SPDX-License-Identifier: GPL-2.0-or-later
"""Exported recipes, in roots without a debugger: the order comes about by kprobes alone.

Whether the race is there is not asked of the module but of the hypervisor: which pages the SLAT of the child
still has, while the order is complete and everybody is still where it put him, or when all is over.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.cli.race_export import build
from lab.cli.selectors import add_kernel_selectors, selectors_of
from lab.judge.splats import parse
from lab.model.errors import LabError
from lab.model.race import Recipe, Side
from lab.progress import NullProgress
from lab.race.export import Ends, Export, Exporter
from lab.race.kernels import RaceKernel, RaceKernels
from lab.race.recipes import SUFFIX, load, recipes_dir
from lab.race.stage import Stage, action_of
from lab.templates import load_machine
from lab.validate.bringup import BootRequest, Lab
from lab.validate.forks import boot_or_fork
from lab.validate.kernels import open_cache

MACHINE = "mshv-root"
ROUNDS = 3
WAIT_MS, LINGER_MS = 3000, 1000
BUDGET = 30.0
EXPORTABLE = (
    "removal-while-a-vp-maps",
    "removal-while-a-vp-holds-the-region",
    "munmap-while-a-vp-maps",
)
FILE = "/tmp/race.ko"


@dataclass(frozen=True)
class Round:
    """What came of a round: what was counted, and the region's pages in the SLAT meanwhile and at its end."""

    counted: dict[str, int]
    held: int
    looks: int
    left: int


class Forced:
    """A lab in which a recipe's module is loaded, with the recipe's stage set."""

    def __init__(self, lab: Lab, recipe: Recipe, export: Export) -> None:
        self.lab, self.recipe = lab, recipe
        self.folder = f"/sys/kernel/debug/{export.module}"
        self.stage = Stage.set(lab, recipe.setup)

    def arm(self, rounds: int = 1) -> None:
        self.lab.root.run(f"echo {rounds} >{self.folder}/arm")

    def result(self) -> tuple[str, dict[str, int]]:
        """State, and what was counted."""
        state, *lines = self.lab.root.run(f"cat {self.folder}/result", BUDGET).out.splitlines()
        counted = {}
        for line in lines:
            words = line.split()
            if words[0] == "step":
                counted |= {f"taken {words[1]}": int(words[3]), f"late {words[1]}": int(words[5])}
            else:
                counted[words[0]] = int(words[1])
        return state.removeprefix("state "), counted

    def play(self) -> Round:
        """One round, in which all actors act."""
        before = self.result()[1]
        self.arm()
        actions = []
        for actor in self.recipe.actors:
            if action := action_of(actor, self.stage):
                action.start()
                actions.append(action)
                time.sleep(0.1)  # VMM and lab take turns on one socket
        held, looks, state = 0, 0, ""
        deadline = time.monotonic() + BUDGET
        while state != "idle":
            assert time.monotonic() < deadline, f"the round does not end: {self.result()}"
            pages = self.stage.pages_left()
            was, state = state, self.result()[0]
            # Complete before and after the look: nobody had been let go when it was taken.
            if was == state == "complete":
                held, looks = max(held, pages), looks + 1
        for action in actions:
            assert action.join(), "an actor never ended"
        for vp, accesses in self.stage.submitted.items():
            try:
                self.stage.child.collect(vp, accesses, 1.0)
            except LabError:
                pass  # it read what is no longer there
        after = self.result()[1]
        return Round({key: after[key] - before[key] for key in after}, held, looks, self.stage.pages_left())


class Kernels:
    """Kernels and modules of recipes, built once."""

    def __init__(self) -> None:
        parser = argparse.ArgumentParser()
        add_kernel_selectors(parser, series_option=False)
        self._kernels = RaceKernels(selectors_of(parser.parse_args([])), open_cache(), NullProgress())

    def kernel(self, recipe: Recipe, side: Side) -> RaceKernel:
        return self._kernels.kernel(side, recipe.setup.flavour, recipe.where)

    def module(self, recipe: Recipe, side: Side, ends: dict[str, Ends] | None = None) -> tuple[Export, Path]:
        kernel = self.kernel(recipe, side)
        exporter = Exporter(
            kernel.image.modules[0], kernel.described.debug, kernel.read_source, str(side), ends or {}
        )
        export = exporter.export(recipe)
        return export, build(export, self._kernels, kernel)

    def boot(self, recipe: Recipe, side: Side) -> Lab:
        request = BootRequest(
            machine=load_machine(MACHINE, {}),
            kernel=self.kernel(recipe, side).image,
            qemu=None,
            kernel_args=recipe.setup.kernel_args,
            template=MACHINE,
        )
        return boot_or_fork(request, NullProgress())


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    return Kernels()


@pytest.fixture
def labs() -> Iterator[list[Lab]]:
    """Labs of a test, closed behind it."""
    booted: list[Lab] = []
    yield booted
    for lab in booted:
        lab.close()


def recipe_of(name: str) -> Recipe:
    return load(recipes_dir() / f"{name}{SUFFIX}")


def insert(lab: Lab, module: Path) -> str:
    """Load a module; what the kernel says when it refuses, empty when it does not."""
    lab.root.put(module.read_bytes(), FILE)
    done = lab.root.run(
        f"dmesg -c >/dev/null; insmod {FILE} wait_ms={WAIT_MS} linger_ms={LINGER_MS}", check=False
    )
    return lab.root.run("dmesg").out if done.rc else ""


def rounds_of(kernels: Kernels, labs: list[Lab], recipe: Recipe, side: Side) -> list[Round]:
    """Rounds on one kernel, each in a lab of its own: what a round leaves behind is what is looked for."""
    export, module = kernels.module(recipe, side)
    found = []
    for _ in range(ROUNDS):
        lab = kernels.boot(recipe, side)
        labs.append(lab)
        forced = Forced(lab, recipe, export)
        assert not insert(lab, module)
        found.append(forced.play())
        lab.root.run(f"rmmod {export.module}")
        assert not [splat.title for splat in parse(lab.root.run("dmesg").out.splitlines())]
        labs.remove(lab)
        lab.close()
    return found


@pytest.mark.parametrize("name", EXPORTABLE)
def test_exported_order_shows_the_race(kernels: Kernels, labs: list[Lab], name: str) -> None:
    recipe = recipe_of(name)
    assert recipe.fixed is not None
    racy = rounds_of(kernels, labs, recipe, recipe.racy)
    fixed = rounds_of(kernels, labs, recipe, recipe.fixed)
    for found in (*racy, *fixed):
        assert found.counted["met"] == 1 and found.counted["timed_out"] == 0, found
        assert found.counted["missed"] == 0 and found.looks > 0, found
    if recipe.proof.pages_left_held:
        assert [found.held > 0 for found in racy] == [True] * ROUNDS
        assert [found.held for found in fixed] == [0] * ROUNDS
    else:
        assert [found.left > 0 for found in racy] == [True] * ROUNDS
    assert [found.left for found in fixed] == [0] * ROUNDS


def test_module_of_another_kernel_is_refused(kernels: Kernels, labs: list[Lab]) -> None:
    recipe = recipe_of("removal-while-a-vp-maps")
    assert recipe.fixed is not None
    lab = kernels.boot(recipe, recipe.fixed)
    labs.append(lab)
    said = insert(lab, kernels.module(recipe, recipe.racy)[1])
    assert "was made for" in said, said
    nowhere = kernels.module(recipe, recipe.fixed, {"vmm": Ends("mshv_no_such_function")})[1]
    assert "this kernel has no mshv_no_such_function" in insert(lab, nowhere)
    assert not lab.root.run("cat /sys/kernel/debug/kprobes/list").out.strip()
    # The one that was made for it is taken, after all that.
    assert not insert(lab, kernels.module(recipe, recipe.fixed)[1])


def test_waits_are_bounded(kernels: Kernels, labs: list[Lab]) -> None:
    recipe = recipe_of("removal-while-a-vp-maps")
    assert recipe.fixed is not None
    export, module = kernels.module(recipe, recipe.fixed)
    lab = kernels.boot(recipe, recipe.fixed)
    labs.append(lab)
    forced = Forced(lab, recipe, export)
    assert not insert(lab, module)
    # The VP waits for somebody who does nothing; then it goes on, and the child reads what it wanted to.
    forced.arm(2)
    began = time.monotonic()
    touch = [forced.stage.access(1)]
    forced.stage.submit(0, touch)
    forced.stage.child.collect(0, touch, BUDGET)
    assert time.monotonic() - began >= WAIT_MS / 1000
    state, counted = forced.result()
    assert (counted["met"], counted["timed_out"]) == (0, 1)
    assert (counted["taken 1"], counted["late 2"]) == (1, 1)
    assert state == "step 1", "the second round has begun, in which nobody waits yet"
    forced.arm(0)
    # Without a round nobody waits at all.
    forced.stage.child.access([forced.stage.access(2)])
    state, counted = forced.result()
    assert (state, counted["timed_out"]) == ("idle", 1)
    # A module may go while somebody waits in it.
    forced.arm(5)
    remove = action_of(recipe.actor("vmm"), forced.stage)
    assert remove is not None
    remove.start()
    time.sleep(0.3)
    lab.root.run(f"rmmod {export.module}", BUDGET)
    assert remove.join() and not remove.error()
