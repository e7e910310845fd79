# SPDX-License-Identifier: GPL-2.0-or-later
"""The walk of one series: fetch, apply, build, image, boot, drive, judge, on base and patched."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from lab.cache import Cache
from lab.judge import claims
from lab.judge.verdict import compare_runs, exit_code, kernel_verdict, series_verdict, settle
from lab.model.claim import ClaimTable
from lab.model.coverage import Coverage
from lab.model.errors import LabError, LabUnavailable, SeriesDoesNotApply
from lab.model.kernel import AppliedSeries, KernelImage, KernelSource
from lab.model.result import KernelRun, PhaseTime, ScenarioOutcome, ScenarioPair, ValidateResult
from lab.model.series import Series
from lab.model.surface import Addition
from lab.model.verdict import worst
from lab.progress import Progress
from lab.surface.added import summary
from lab.templates import load_machine, parse_params
from lab.validate import claim_files, kernels, surface
from lab.validate.blame import name_patches
from lab.validate.building import BuiltSides, build_bases, build_sides, failed
from lab.validate.coverage import CoverageRequest, measure
from lab.validate.kernels import Builder, Selectors
from lab.validate.runs import Runner, RunPlan
from lab.validate.shares import shares_for

DEFAULT_MACHINE = "mshv-root"

Races = Callable[
    [Builder, KernelSource, AppliedSeries | None, Sequence[str], Path], tuple[ScenarioOutcome, ...]
]
"""Forced interleavings of some claims on one kernel (lab.race.judging): None is the base. Their pictures go
below the folder."""


@dataclass(frozen=True, slots=True)
class ValidateRequest:
    """What ``hvlab validate`` was asked for. ``fixes`` adds to the claims file's own."""

    selectors: Selectors
    flavours: tuple[str, ...]
    out: Path
    fixes: tuple[str, ...] = ()
    machine: str = DEFAULT_MACHINE
    params: tuple[str, ...] = ()
    quick: bool = False
    expression: str | None = None
    keep: str | None = None
    embedded: bool = False
    coverage: bool = False
    coverage_of: str = ""
    """Measure all lines of these files (folder, file or pattern) instead of the changed lines."""
    claims: tuple[str, ...] = ()
    """Run the scenarios of these review claims alone."""
    whole: bool = False
    """Build the whole kernel even where the driver's module alone would do."""
    races: Races | None = None


def validate(request: ValidateRequest, progress: Progress) -> ValidateResult:
    """Judge a series relative to its base.

    Raises BadInput, and LabUnavailable when nothing about the series could be found out. A series
    that does not apply, build or boot is a result (fail), a base that does not is one too (exit 4).
    """
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    request.out.mkdir(parents=True, exist_ok=True)
    cache = kernels.open_cache()
    series = kernels.read_series(request.selectors)
    if series is None:
        raise LabUnavailable("no series to validate", hint="name one, or use the embedded series")
    with progress.phase("fetch") as phase:
        source = kernels.fetch(request.selectors, series, cache, progress)
        phase.note = f"Linux {source.version} ({source.lock.kind})"
    for note in source.notes:
        progress.note(note)
    sandbox = kernels.choose_sandbox(request.selectors)
    try:
        with progress.phase("apply"):
            applied = kernels.apply(source, series, cache, progress)
    except SeriesDoesNotApply as e:
        if request.embedded and series.fits is not None and source.version not in series.fits:
            raise LabUnavailable(
                f"embedded series fits {series.fits}, the base is {source.version}: {e.what}",
                where=e.where,
                hint="give a series for this kernel, or --base with a kernel that fits",
            ) from e
        # Nothing to build and nothing to compare: the verdict is there without a base.
        dead = failed("patched", str(source.version), request.flavours[0], "apply", e)
        return _result(request, series, source, (dead,), (), progress, started)
    added = surface.added(source, applied)
    for sentence in surface.told(added):
        progress.note(sentence)

    def builder(flavour: str) -> Builder:
        selectors = replace(request.selectors, flavour=flavour)
        return Builder(selectors, cache, progress, sandbox, not request.whole)

    bases = build_bases(request.flavours, builder, source, progress)
    sides = [build_sides(builder(f), bases[f], source, series, applied) for f in request.flavours]

    def races(side: str, flavour: str, named: Sequence[str]) -> tuple[ScenarioOutcome, ...]:
        if request.races is None or request.quick or request.expression or request.machine != DEFAULT_MACHINE:
            return ()
        with progress.phase("races", side):
            changes = applied if side == "patched" else None
            return request.races(builder(flavour), source, changes, named, _folder(request, side, flavour))

    runs, pairs = _drive(request, series, cache, sides, progress, races)
    counted: Coverage | None = None
    why: tuple[str, ...] = ()
    if request.coverage or request.coverage_of:
        counted, why = _coverage(request, builder(sides[0].flavour), source, applied, sides[0], runs)
    result = _result(request, series, source, runs, pairs, progress, started, added)
    built = [note for side in sides for note in side.notes]
    return replace(result, coverage=counted, notes=(*result.notes, *built, *why))


def _coverage(
    request: ValidateRequest,
    builder: Builder,
    source: KernelSource,
    applied: AppliedSeries,
    side: BuiltSides,
    runs: tuple[KernelRun, ...],
) -> tuple[Coverage | None, tuple[str, ...]]:
    """Coverage on the first flavour, or why there is none: it is no part of the verdict."""
    patched = next((r for r in runs if r.side == "patched" and r.flavour == side.flavour), None)
    if patched is None or patched.failed_phase or isinstance(side.base, KernelRun):
        return None, ("coverage was not measured: the patched kernel ran no scenario",)
    asked = CoverageRequest(
        base=side.base,
        patched=patched,
        out=request.out,
        machine=request.machine,
        params=request.params,
        of=request.coverage_of,
        expression=request.expression,
    )
    try:
        return measure(asked, builder, source, applied), ()
    except LabError as e:
        return None, (f"coverage was not measured: {e.what}",)


def _drive(
    request: ValidateRequest,
    series: Series,
    cache: Cache,
    sides: list[BuiltSides],
    progress: Progress,
    races: Callable[[str, str, Sequence[str]], tuple[ScenarioOutcome, ...]],
) -> tuple[tuple[KernelRun, ...], tuple[ScenarioPair, ...]]:
    named = request.claims or tuple(dict.fromkeys((*request.fixes, *series.fixes, *series.guards)))
    runner = Runner(cache, progress, request.machine, request.params, request.selectors.qemu)
    runs: list[KernelRun] = []
    pairs: list[ScenarioPair] = []
    with progress.phase("image"):
        runner.images()
    for side in sides:
        quick = _QuickVerdict(request, series, side.flavour, progress)
        base, patched = (
            _with(run, races(run.side, side.flavour, named) if not run.failed_phase else ())
            for run in _run_sides(request, runner, side, named, quick)
        )
        patched = name_patches(patched, series)
        runs += [base, patched]
        if not patched.failed_phase:
            pairs += compare_runs(
                base,
                patched,
                fixes=(*request.fixes, *series.fixes),
                expects_changed=series.expects_changed,
                flavour=side.flavour,
            )
    return tuple(runs), tuple(pairs)


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

    def __init__(self, request: ValidateRequest, series: Series, flavour: str, progress: Progress) -> None:
        self._request = request
        self._series = series
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
        ids = {o.id for o in patched.outcomes}
        base = replace(base, outcomes=tuple(o for o in base.outcomes if o.id in ids))
        fixes = (*self._request.fixes, *self._series.fixes)
        pairs = compare_runs(
            base, patched, fixes=fixes, expects_changed=self._series.expects_changed, flavour=self._flavour
        )
        verdict = series_verdict(pairs, patched, base, fixes, guards=self._series.guards).verdict
        wall = self._progress.elapsed()
        self._progress.note(
            f"quick set ({len(ids)} scenarios): {verdict} after {wall:.1f} s; the full set goes on"
        )
        self._progress.record(PhaseTime("quick verdict", "", wall, 0.0, f"{verdict}, from the start"))


def _run_sides(
    request: ValidateRequest, runner: Runner, sides: BuiltSides, named: tuple[str, ...], quick: _QuickVerdict
) -> tuple[KernelRun, KernelRun]:
    """Both kernels side by side: two guests of one busy CPU each suit two cores."""

    def plan(side: str, kernel: KernelImage) -> RunPlan:
        return RunPlan(
            side=side,
            kernel=kernel,
            out=_folder(request, side, sides.flavour),
            claims=named,
            quick=request.quick or bool(request.claims),
            slow=bool(request.claims),
            expression=request.expression,
            keep=request.keep if side == "patched" else None,
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
        mine = replace(plan(side, kernel), shares=1 if request.keep else shares_for(int(busy)))
        return lambda: runner.run(mine, quick)

    # Nothing about the base matters for a patched kernel that does not exist, and the other way round.
    with ThreadPoolExecutor(max_workers=2) as pool:
        base = pool.submit(one("base", sides.base, sides.patched))
        patched = pool.submit(one("patched", sides.patched, sides.base))
        try:
            return base.result(), patched.result()
        except BaseException:
            runner.stop()
            raise


def _folder(request: ValidateRequest, side: str, flavour: str) -> Path:
    """Where one side's evidence goes (lab.report.view.folder says the same)."""
    return request.out / (side if len(request.flavours) == 1 else f"{side}-{flavour}")


def _result(
    request: ValidateRequest,
    series: Series,
    source: KernelSource,
    runs: tuple[KernelRun, ...],
    pairs: tuple[ScenarioPair, ...],
    progress: Progress,
    started: str,
    added: tuple[Addition, ...] = (),
) -> ValidateResult:
    fixes = tuple(dict.fromkeys((*request.fixes, *series.fixes)))
    base_runs = [r for r in runs if r.side == "base"]
    patched_runs = [r for r in runs if r.side == "patched"]
    judgement = series_verdict(pairs, patched_runs, base_runs, fixes, guards=series.guards)
    return ValidateResult(
        verdict=judgement.verdict,
        exit_code=int(exit_code(judgement, base_runs)),
        reasons=judgement.reasons,
        series_name=series.name,
        patches=tuple(p.subject for p in series.patches),
        base_version=str(source.version),
        base_lock={
            "kind": source.lock.kind,
            "name": source.lock.name,
            "version": source.lock.version,
            "sha256": source.lock.sha256,
            "suite": source.lock.suite,
        },
        runs=runs,
        scenarios=pairs,
        phases=tuple(progress.phases),
        notes=(*source.notes, *filter(None, [summary(added), _machine(request)])),
        fixes=fixes,
        started=started,
        additions=added,
        claims=_claims(request, series, str(source.version), base_runs, patched_runs),
    )


def _claims(
    request: ValidateRequest, series: Series, version: str, base: list[KernelRun], patched: list[KernelRun]
) -> ClaimTable:
    known = claim_files.load_all()
    if request.claims:
        chosen = claim_files.select(known, request.claims)
    else:
        chosen = claims.touched(known, [*base, *patched], (*request.fixes, *series.fixes, *series.guards))
    return claims.table(chosen, ((version, base), (series.name, patched)))


def _machine(request: ValidateRequest) -> str:
    """The machine's kind, where it is not the default: less may be observed there."""
    if request.machine == DEFAULT_MACHINE:
        return ""
    kind = load_machine(request.machine, parse_params(request.params)).hypervisor
    return f"machine {request.machine} ({kind})"
