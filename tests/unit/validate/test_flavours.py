# SPDX-License-Identifier: GPL-2.0-or-later
"""Several flavours of one validation side by side: what runs when, and what comes of an error."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.model.kernel import AppliedSeries, KernelImage, KernelSource, SourceLock
from lab.model.result import KernelRun, ScenarioOutcome
from lab.model.series import KernelVersion, Series
from lab.model.verdict import Verdict
from lab.progress import NullProgress
from lab.validate import flavours
from lab.validate.building import BuiltSides
from lab.validate.flavours import Asked, Driven, drive_flavours
from lab.validate.kernels import Builder, Selectors

AT = Path("/nonexistent")
PATIENCE = 10.0
SOURCE = KernelSource(KernelVersion(7, 3), AT, "source", SourceLock("tarball", "t", "", ""))
APPLIED = AppliedSeries("k", AT, AT, (), (), {})


class World:
    """Kernels that build and run in no time, and what was begun, in order. ``on`` is called in a turn of the
    work that it names."""

    def __init__(self, tmp_path: Path) -> None:
        self.out = tmp_path
        self.told: list[str] = []
        self.on: dict[str, Callable[[], None]] = {}
        self.at_once = self.most = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def work(self, name: str) -> None:
        with self._lock:
            self.told.append(name)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        try:
            self.on.get(name, lambda: None)()
        finally:
            with self._lock:
                self.at_once -= 1

    # ---- as the runner

    def stop(self) -> None:
        self._stop.set()

    def stopped(self) -> bool:
        return self._stop.is_set()

    def known(self, plan: Any) -> bool:
        return False

    def run(self, plan: Any, quick: Any, lane: Any) -> KernelRun:
        with lane.turn():
            self.work(f"{plan.side} {plan.kernel.flavour}")
        outcome = ScenarioOutcome("s", (), Verdict.PASS)
        return KernelRun(
            plan.side, "7.3", plan.kernel.flavour, plan.kernel.key, Verdict.PASS, outcomes=(outcome,)
        )

    # ---- as what builds

    def build_sides(self, builder: Builder, *_: Any) -> BuiltSides:
        name = builder.selectors.flavour
        self.work(f"build {name}")
        made = KernelImage(name, "7.3", name, AT, AT, AT, AT)
        return BuiltSides(name, made, made)

    def drive(self, *names: str, **more: Any) -> tuple[Driven, ...]:
        asked = Asked(Series("s", ()), SOURCE, APPLIED, names, self.out, (), (), **more)

        def make(name: str) -> Builder:
            nothing: Any = None
            return Builder(Selectors(flavour=name, jobs=1), nothing, NullProgress(), nothing)

        runner: Any = self
        return drive_flavours(asked, dict.fromkeys(names, None), make, runner, NullProgress())  # type: ignore[arg-type]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(flavours, "build_sides", made.build_sides)
    monkeypatch.setattr(flavours, "turns_here", lambda: 2)
    return made


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)


def test_results_come_in_the_order_that_was_asked_for(world: World) -> None:
    world.on["build plain"] = lambda: time.sleep(0.05)
    done = world.drive("plain", "debug", "kcsan")
    assert [(d.sides.flavour, d.base.side, d.patched.side) for d in done] == [
        (name, "base", "patched") for name in ("plain", "debug", "kcsan")
    ]
    assert [[p.flavour for p in d.pairs] for d in done] == [["plain"], ["debug"], ["kcsan"]]
    assert world.most <= 2
    assert sorted(world.told) == sorted(
        f"{what} {name}" for what in ("build", "base", "patched") for name in ("plain", "debug", "kcsan")
    )


def test_the_next_flavour_begins_when_the_first_needs_one_processor_only(world: World) -> None:
    world.on["patched plain"] = lambda: until(lambda: "base debug" in world.told)
    done = world.drive("plain", "debug")
    assert [d.sides.flavour for d in done] == ["plain", "debug"]


def test_what_can_run_does_not_wait_for_all_builds(world: World) -> None:
    world.on["build kcsan"] = lambda: until(lambda: "patched plain" in world.told)
    assert len(world.drive("plain", "debug", "kcsan")) == 3


def test_one_flavour_is_driven_as_if_there_were_no_turns(world: World) -> None:
    (done,) = world.drive("plain")
    assert done.base.flavour == "plain" and world.told[0] == "build plain"


def test_a_lab_that_is_left_up_is_of_the_first_flavour_that_fails(world: World) -> None:
    world.drive("plain", "debug", "kcsan", keep="kept")
    runs = [name.split()[1] for name in world.told if not name.startswith("build")]
    assert runs == ["plain", "plain", "debug", "debug", "kcsan", "kcsan"]


@pytest.mark.parametrize("where", ["build debug", "patched plain", "base debug"])
def test_an_error_ends_all_and_is_the_one_that_is_raised(world: World, where: str) -> None:
    def fail() -> None:
        raise ValueError(f"{where} breaks")

    world.on[where] = fail
    with pytest.raises(ValueError, match=f"{where} breaks"):
        world.drive("plain", "debug", "kcsan", "ubsan")
    assert world.stopped() and world.at_once == 0
