# SPDX-License-Identifier: GPL-2.0-or-later
"""Phases build, drive and judge of all flavours of one validation, side by side as far as processors go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lab.build.jobs import JobPool
from lab.judge.verdict import compare_runs, kernel_verdict, series_verdict, settle
from lab.model.errors import KernelBuildFailed
from lab.model.kernel import AppliedSeries, KernelImage, KernelSource
from lab.model.result import KernelRun, PhaseTime, ScenarioOutcome, ScenarioPair
from lab.model.series import Series
from lab.model.verdict import worst
from lab.progress import Progress, Together
from lab.validate.blame import name_patches
from lab.validate.building import BuiltSides, MakeBuilder, build_sides
from lab.validate.kernels import Builder
from lab.validate.lanes import Lane, Stopped, Turns, turns_here
from lab.validate.runs import Runner, RunPlan
from lab.validate.shares import shares_for

Races = Callable[
    [
        Builder,
        KernelSource,
        AppliedSeries | None,
        Sequence[str],
        Path,
        Callable[[], AbstractContextManager[None]],
    ],
    tuple[ScenarioOutcome, ...],
]
"""Forced interleavings of some claims on one kernel (lab.race.judging): None is the base. Their pictures go
below the folder; each waits for its turn."""
_BUILDS = -1
"""The builds' place among the flavours: nothing can run without them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the runs of all flavours have in common. ``named`` are the claims that make up the quick set."""

    series: Series
    source: KernelSource
    applied: AppliedSeries
    flavours: tuple[str, ...]
    out: Path
    fixes: tuple[str, ...]
    named: tuple[str, ...]
    quick: bool = False
    slow: bool = False
    expression: str | None = None
    keep: str | None = None
    races: Races | None = None

    def folder(self, side: str, flavour: str) -> Path:
        """Where one side's evidence goes (lab.report.view.folder says the same)."""
        return self.out / (side if len(self.flavours) == 1 else f"{side}-{flavour}")


@dataclass(frozen=True, slots=True)
class Driven:
    """One flavour: its two kernels, their runs, and the scenarios compared."""

    sides: BuiltSides
    base: KernelRun
    patched: KernelRun
    pairs: tuple[ScenarioPair, ...]


def drive_flavours(
    asked: Asked,
    bases: dict[str, KernelImage | KernelBuildFailed],
    make: MakeBuilder,
    runner: Runner,
    progress: Progress,
) -> tuple[Driven, ...]:
    """Every flavour, in their order. What one of them raises ends the others."""
    if len(asked.flavours) == 1:
        (flavour,) = asked.flavours
        sides = build_sides(make(flavour), bases[flavour], asked.source, asked.series, asked.applied)
        return (_Flavour(asked, make(flavour), runner, Lane(progress)).drive(sides),)
    together, turns = Together(progress), Turns(turns_here())
    jobs = JobPool(make(asked.flavours[0]).selectors.make_jobs)

    def lane(place: int, flavour: str) -> Lane:
        return Lane(together.part(flavour), partial(turns.take, place, runner.stopped), shared=True)

    def builder(flavour: str) -> Builder:
        return replace(make(flavour), progress=together.part(flavour), pool=jobs)

    def build(flavour: str) -> BuiltSides:
        with turns.take(_BUILDS, runner.stopped):
            return build_sides(builder(flavour), bases[flavour], asked.source, asked.series, asked.applied)

    def one(place: int, flavour: str, sides: Future[BuiltSides]) -> Driven:
        return _Flavour(asked, builder(flavour), runner, lane(place, flavour)).drive(sides.result())

    # Which of several labs to leave up is clear only when they come one after the other.
    at_once = 1 if asked.keep else len(asked.flavours)
    try:
        with ThreadPoolExecutor(1) as builds, ThreadPoolExecutor(at_once) as drives:
            built = [builds.submit(build, f) for f in asked.flavours]
            driven = [
                drives.submit(one, place, f, sides)
                for place, (f, sides) in enumerate(zip(asked.flavours, built, strict=True))
            ]
            try:
                _await([*built, *driven])
            except BaseException:
                runner.stop()
                jobs.stop()
                for pool in (builds, drives):
                    pool.shutdown(wait=False, cancel_futures=True)
                raise
            return tuple(future.result() for future in driven)
    finally:
        jobs.close()


def _await(works: Sequence[Future[Any]]) -> None:
    """Until all are done. What the first of them raises, not what those say that it stopped."""
    for work in as_completed(works):
        with suppress(Stopped):
            work.result()


class _Flavour:
    """Both kernels of one flavour, from the finished builds to what they say together."""

    def __init__(self, asked: Asked, builder: Builder, runner: Runner, lane: Lane) -> None:
        self._asked = asked
        self._builder = builder
        self._runner = runner
        self._lane = lane

    def drive(self, sides: BuiltSides) -> Driven:
        """Run both, with their races, and compare."""
        asked = self._asked
        quick = _QuickVerdict(asked, sides.flavour, self._lane.progress)
        base, patched = (
            _with(run, self._races(run.side) if not run.failed_phase else ())
            for run in self._run_sides(sides, quick)
        )
        patched = name_patches(patched, asked.series)
        pairs: tuple[ScenarioPair, ...] = ()
        if not patched.failed_phase:
            pairs = compare_runs(
                base,
                patched,
                fixes=asked.fixes,
                expects_changed=asked.series.expects_changed,
                flavour=sides.flavour,
            )
        return Driven(sides, base, patched, pairs)

    def _races(self, side: str) -> tuple[ScenarioOutcome, ...]:
        asked = self._asked
        if asked.races is None:
            return ()
        with self._lane.progress.phase("races", side):
            changes = asked.applied if side == "patched" else None
            folder = asked.folder(side, self._builder.selectors.flavour)
            return asked.races(self._builder, asked.source, changes, asked.named, folder, self._lane.turn)

    def _run_sides(self, sides: BuiltSides, quick: _QuickVerdict) -> tuple[KernelRun, KernelRun]:
        """Both kernels side by side: two guests of one busy CPU each suit two cores."""
        asked, runner = self._asked, self._runner

        def plan(side: str, kernel: KernelImage) -> RunPlan:
            return RunPlan(
                side=side,
                kernel=kernel,
                out=asked.folder(side, sides.flavour),
                claims=asked.named,
                quick=asked.quick,
                slow=asked.slow,
                expression=asked.expression,
                keep=asked.keep if side == "patched" else None,
            )

        def one(
            side: str, kernel: KernelImage | KernelRun, other: KernelImage | KernelRun
        ) -> Callable[[], KernelRun]:
            if isinstance(kernel, KernelRun):
                return lambda: kernel
            # A base whose run is known, or that cannot run, leaves its processor to the other kernel.
            busy = isinstance(other, KernelImage) and not (
                side == "patched" and runner.known(plan("base", other))
            )
            mine = replace(plan(side, kernel), shares=1 if asked.keep else shares_for(int(busy)))
            return lambda: runner.run(mine, quick, self._lane)

        # Nothing about the base matters for a patched kernel that does not exist, and the other way round.
        with ThreadPoolExecutor(max_workers=2) as pool:
            base = pool.submit(one("base", sides.base, sides.patched))
            patched = pool.submit(one("patched", sides.patched, sides.base))
            try:
                return base.result(), patched.result()
            except BaseException:
                runner.stop()
                raise


def _with(run: KernelRun, more: Sequence[ScenarioOutcome]) -> KernelRun:
    """A run with some more outcomes, judged anew."""
    if not more:
        return run
    outcomes = (*run.outcomes, *(settle(o, run.detectors, run.flavour) for o in more))
    own = kernel_verdict(outcomes, run.detectors, flavour=run.flavour, splats=run.splats)
    reasons = tuple(dict.fromkeys((*run.reasons, *own.reasons)))
    return replace(run, outcomes=outcomes, verdict=worst([run.verdict, own.verdict]), reasons=reasons)


class _QuickVerdict:
    """The series' verdict on the quick set alone, told as soon as both kernels are through with it."""

    def __init__(self, asked: Asked, flavour: str, progress: Progress) -> None:
        self._asked = asked
        self._flavour = flavour
        self._progress = progress
        self._runs: dict[str, KernelRun] = {}
        self._lock = threading.Lock()

    def __call__(self, run: KernelRun) -> None:
        with self._lock:
            self._runs[run.side] = run
            if len(self._runs) < 2:
                return
        base, patched = self._runs["base"], self._runs["patched"]
        series = self._asked.series
        ids = {o.id for o in patched.outcomes}
        base = replace(base, outcomes=tuple(o for o in base.outcomes if o.id in ids))
        pairs = compare_runs(
            base,
            patched,
            fixes=self._asked.fixes,
            expects_changed=series.expects_changed,
            flavour=self._flavour,
        )
        verdict = series_verdict(pairs, patched, base, self._asked.fixes, guards=series.guards).verdict
        wall = self._progress.elapsed()
        of = f" of {self._flavour}" if len(self._asked.flavours) > 1 else ""
        self._progress.note(
            f"quick set{of} ({len(ids)} scenarios): {verdict} after {wall:.1f} s; the full set goes on"
        )
        self._progress.record(PhaseTime("quick verdict", "", wall, 0.0, f"{verdict}, from the start"))
