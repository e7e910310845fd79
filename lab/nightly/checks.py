# SPDX-License-Identifier: GPL-2.0-or-later
"""Static checks of each patch of a series, with all patches before it applied.

Each check compares a patch with what came before it: only what is new is said, and said of the patch that
brings it. A check that this host cannot make is inconclusive and advisory: the host decides nothing about
a series.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from lab.build import warnings
from lab.judge.warnings import new_warnings
from lab.model.errors import KernelBuildFailed, LabError, SeriesDoesNotApply
from lab.model.kernel import AppliedSeries, KernelSource
from lab.model.nightly import CheckResult, InboxSeries
from lab.model.series import Series
from lab.model.verdict import Verdict
from lab.nightly.kbuild_checks import CHECKS, Bench, KbuildCheck, Said, missing, targets
from lab.nightly.prefixes import as_series, prefix
from lab.nightly.styles import checkpatch
from lab.progress import NullProgress
from lab.series import apply
from lab.validate.kernels import Builder
from lab.validate.sides import SideBuilder

BUDGET = 3600.0
"""Seconds for all checks of one series."""
SHOWN = 40
"""Lines kept of one check of one patch."""
_NO_WAIT = "the verdict does not wait for it"
_OUT_OF_TIME = "no time was left for it"


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first ``number`` patches, applied."""

    number: int
    series: Series
    applied: AppliedSeries


def check_series(
    series: Series | InboxSeries,
    source: KernelSource,
    builder: Builder,
    flavours: Sequence[str],
    *,
    checks: Sequence[KbuildCheck] = CHECKS,
    budget: float = BUDGET,
) -> tuple[CheckResult, ...]:
    """All checks of all patches, by patch. ``builder`` says with what to build; its flavour does not matter.

    A patch that does not apply fails, and the patches after it are not checked. What is not done within
    ``budget`` seconds, or cannot be done, is inconclusive. Raises LabError when the series cannot even be
    applied, for reasons that are not its own.
    """
    whole = as_series(series)
    deadline = time.monotonic() + budget
    prefixes, broken = _prefixes(whole, source, builder)
    found = [checkpatch(p.series.patches[-1], p.number, source, builder.sandbox) for p in prefixes]
    for flavour in flavours:
        name = f"build:{flavour}"
        found += _guarded(name, prefixes, partial(_builds, prefixes, source, builder, flavour, deadline))
    for check in checks:
        make = partial(_kbuild, prefixes, source, builder, check, deadline)
        found += _guarded(check.name, prefixes, make)
    found += broken
    return tuple(sorted(found, key=lambda result: result.patch))


def _prefixes(
    series: Series, source: KernelSource, builder: Builder
) -> tuple[tuple[Prefix, ...], list[CheckResult]]:
    """The prefixes that apply, and the result of the first patch that does not."""
    found: list[Prefix] = []
    for number in range(1, len(series.patches) + 1):
        part = prefix(series, number)
        try:
            found.append(Prefix(number, part, apply(source, part, builder.cache, builder.progress)))
        except SeriesDoesNotApply as e:
            lines = (e.what, *e.detail.splitlines())
            return tuple(found), [CheckResult("apply", number, Verdict.FAIL, lines[:SHOWN])]
    return tuple(found), []


def _guarded(
    name: str, prefixes: Sequence[Prefix], make: Callable[[], Iterator[CheckResult]]
) -> list[CheckResult]:
    """What ``make`` yields; the rest is inconclusive when the lab itself fails."""
    found: list[CheckResult] = []
    try:
        for result in make():
            found.append(result)
    except LabError as e:
        why = str(e).splitlines()[0]
        found += [unmade(name, p.number, why) for p in prefixes[len(found) :]]
    return found


def unmade(name: str, patch: int, why: str, *, of_this_host: bool = False) -> CheckResult:
    """A check that could not be made. What only this host lacks is advisory."""
    note = f"{why}; {_NO_WAIT}" if of_this_host else why
    return CheckResult(name, patch, Verdict.INCONCLUSIVE, note=note, advisory=of_this_host)


# ---- compiling folders in many configurations


def _kbuild(
    prefixes: Sequence[Prefix], source: KernelSource, builder: Builder, check: KbuildCheck, deadline: float
) -> Iterator[CheckResult]:
    if why := missing(check):
        yield from (unmade(check.name, p.number, why, of_this_host=True) for p in prefixes)
        return
    files = sorted({f for p in prefixes for f in (*p.applied.files, *p.applied.deleted)})
    made = targets(files, source.tree, check.arch)
    if not made:
        note = f"it touches nothing that is compiled for {check.arch}"
        yield from (CheckResult(check.name, p.number, Verdict.PASS, note=note) for p in prefixes)
        return
    if time.monotonic() > deadline:
        yield from (unmade(check.name, p.number, _OUT_OF_TIME) for p in prefixes)
        return
    with Bench(check, source, builder, made) as bench:
        base = bench.base()
        if base.void:
            yield from (unmade(check.name, p.number, base.void, of_this_host=True) for p in prefixes)
            return
        before, broken = base, 0
        for p in prefixes:
            if time.monotonic() > deadline:
                yield unmade(check.name, p.number, _OUT_OF_TIME)
                continue
            began = time.monotonic()
            builder.progress.step(p.number, len(prefixes), f"check {check.name}, patch {p.number}")
            said = bench.patched(p.applied)
            result = compared(check, p.number, said, before, broken)
            yield replace(result, seconds=round(time.monotonic() - began, 2))
            own = new_warnings(said.errors, base.errors)
            broken = (broken or p.number) if own else 0
            before = said


def compared(check: KbuildCheck, patch: int, said: Said, before: Said, broken_since: int = 0) -> CheckResult:
    """What one patch has added to what was ``said`` before it. ``broken_since`` is the patch since which
    there are errors, 0 for none or for the base."""
    errors = new_warnings(said.errors, before.errors)
    added = new_warnings(said.warnings, before.warnings)
    lines = tuple([f"error: {e}" for e in errors] + [f"warning: {w}" for w in added])
    lines = lines[:SHOWN]
    if errors:
        return CheckResult(check.name, patch, Verdict.FAIL, lines, advisory=check.advice)
    if added:
        return CheckResult(check.name, patch, Verdict.FAIL, lines, advisory=check.style or check.advice)
    if said.errors:
        since = f"patch {broken_since}" if broken_since else "before the series"
        advice = check.advice or not broken_since
        note = f"not everything compiles, since {since}: {said.errors[0]}"
        return CheckResult(check.name, patch, Verdict.INCONCLUSIVE, note=note, advisory=advice)
    return CheckResult(check.name, patch, Verdict.PASS)


# ---- kernels


def _builds(
    prefixes: Sequence[Prefix], source: KernelSource, builder: Builder, flavour: str, deadline: float
) -> Iterator[CheckResult]:
    """The kernel of a flavour with each prefix, as far as the lab builds one: the module alone, or whole."""
    name = f"build:{flavour}"
    quiet = replace(
        builder, selectors=replace(builder.selectors, flavour=flavour), progress=NullProgress(), pool=None
    )
    if not prefixes:
        return
    try:
        base = replace(quiet, progress=builder.progress).base(source)
        sides = SideBuilder(quiet, base, source)
        known = warnings.of_image(base)
    except KernelBuildFailed as e:
        yield from (unmade(name, p.number, f"the base does not build: {e.what}") for p in prefixes)
        return
    failed: tuple[int, str] = (0, "")
    modular = False
    for p in prefixes:
        if time.monotonic() > deadline:
            yield unmade(name, p.number, _OUT_OF_TIME)
            continue
        began = time.monotonic()
        builder.progress.step(p.number, len(prefixes), f"{name}, patch {p.number}")
        try:
            image = sides.one(p.series, p.applied).image
        except KernelBuildFailed as e:
            result = _failed_build(name, p.number, e, failed)
            failed = failed if failed[1] == _same(e) else (p.number, _same(e))
        else:
            said = warnings.of_image(image)
            if image.modules and not modular:  # made with it by now
                known, modular = (*known, *warnings.of_image(sides.one(None, None).image)), True
            lines = tuple(f"warning: {w}" for w in new_warnings(said, known))
            note = "the module alone" if image.modules else "the whole kernel"
            result = CheckResult(name, p.number, Verdict.FAIL if lines else Verdict.PASS, lines[:SHOWN], note)
            known, failed = (*known, *said), (0, "")
        yield replace(result, seconds=round(time.monotonic() - began, 2))


def _failed_build(name: str, patch: int, e: KernelBuildFailed, before: tuple[int, str]) -> CheckResult:
    if before[1] == _same(e):
        return unmade(name, patch, f"it does not build since patch {before[0]}: {e.what}")
    lines = (f"{e.where}: {e.what}" if e.where else e.what, *e.detail.splitlines())
    return CheckResult(name, patch, Verdict.FAIL, lines[:SHOWN])


def _same(e: KernelBuildFailed) -> str:
    """What makes two failures one: the file and the words, wherever in the file."""
    return f"{e.where.partition(':')[0]}: {e.what}"
