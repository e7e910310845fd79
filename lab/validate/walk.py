# SPDX-License-Identifier: GPL-2.0-or-later
"""The walk of one series: fetch, apply, build, image, boot, drive, judge, on base and patched."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from pathlib import Path

from lab.judge import claims
from lab.judge.verdict import exit_code, series_verdict
from lab.model.claim import ClaimTable
from lab.model.coverage import Coverage
from lab.model.errors import LabError, LabUnavailable, SeriesDoesNotApply
from lab.model.kernel import AppliedSeries, KernelSource
from lab.model.result import KernelRun, ScenarioPair, ValidateResult
from lab.model.series import Series
from lab.model.surface import Addition
from lab.progress import Progress
from lab.surface.added import summary
from lab.templates import load_machine, parse_params
from lab.validate import claim_files, kernels, surface
from lab.validate.building import BuiltSides, build_bases, failed
from lab.validate.coverage import CoverageRequest, measure
from lab.validate.flavours import Asked, Races, drive_flavours
from lab.validate.kernels import Builder, Selectors
from lab.validate.runs import Runner

DEFAULT_MACHINE = "mshv-root"


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
    runner = Runner(cache, progress, request.machine, request.params, request.selectors.qemu)
    with progress.phase("image"):
        runner.images()
    driven = drive_flavours(_asked(request, series, source, applied), bases, builder, runner, progress)
    runs = tuple(run for one in driven for run in (one.base, one.patched))
    pairs = tuple(pair for one in driven for pair in one.pairs)
    sides = [one.sides for one in driven]
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


def _asked(request: ValidateRequest, series: Series, source: KernelSource, applied: AppliedSeries) -> Asked:
    fixes = tuple(dict.fromkeys((*request.fixes, *series.fixes)))
    raced = not (request.quick or request.expression) and request.machine == DEFAULT_MACHINE
    return Asked(
        series=series,
        source=source,
        applied=applied,
        flavours=request.flavours,
        out=request.out,
        fixes=fixes,
        named=request.claims or tuple(dict.fromkeys((*fixes, *series.guards))),
        quick=request.quick or bool(request.claims),
        slow=bool(request.claims),
        expression=request.expression,
        keep=request.keep,
        races=request.races if raced else None,
    )


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
