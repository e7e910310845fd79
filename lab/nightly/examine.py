# SPDX-License-Identifier: GPL-2.0-or-later
"""A closer look at a variant's failures: known ones set aside, others rerun and put down to a patch."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lab.model.errors import LabError
from lab.model.kernel import AppliedSeries, KernelImage, KernelSource
from lab.model.nightly import Scenario, VariantResult, VariantTask
from lab.model.result import KernelRun, ValidateResult
from lab.model.series import Series
from lab.model.verdict import Change, Verdict
from lab.nightly import flakes
from lab.nightly.again import LEAST, Again, Kernel
from lab.nightly.bisect import Culprit
from lab.nightly.culprit import PHASES, Prefixes
from lab.nightly.flakes import Reruns
from lab.nightly.quarantine import Entry, find, in_force
from lab.nightly.rejudge import rejudge
from lab.progress import NullProgress, Progress
from lab.report import view
from lab.validate import kernels
from lab.validate.kernels import Builder
from lab.validate.runs import Runner
from lab.validate.sides import SideBuilder
from lab.validate.walk import ValidateRequest

RERUN_SECONDS = 180.0
"""For all reruns of a variant's failures, by what each took. Where that is not enough, the quickest are
rerun: the patience of a slow flavour would multiply with every rerun."""
CULPRIT_SECONDS = 90.0
"""For the failures that are looked for on one kernel, likewise."""
_BROUGHT = (Change.REGRESSED, Change.NEW)


def examine(
    task: VariantTask,
    request: ValidateRequest,
    result: ValidateResult,
    told: VariantResult,
    entries: Sequence[Entry],
    deadline: float,
    progress: Progress,
) -> VariantResult:
    """``told`` with what reruns, the culprit's search and the quarantine say, and the verdict that is left.

    Nothing is begun after ``deadline`` (time.monotonic()). What cannot be found out is a note.
    """
    counting, notes = in_force(entries, datetime.datetime.now(datetime.UTC).date())
    ignored = {
        s.id: e.reason for s in told.scenarios if failing(s) and (e := find(counting, s.id, task.variant.id))
    }
    doubtful: dict[str, Reruns] = {}
    blamed: dict[str, Culprit] = {}
    guards: tuple[str, ...] = ()
    phase: Culprit | None = None
    base = next(iter(view.runs_of(result, "base")), None)
    ids = [s.id for s in told.scenarios if failing(s) and s.id not in ignored]
    try:
        series = kernels.read_series(request.selectors)
        assert series is not None
        guards = series.guards
        if told.failed_phase in PHASES and told.verdict is Verdict.FAIL:
            with progress.phase("culprit", told.failed_phase):
                phase = _Look(request, series, deadline, progress).phase(told.failed_phase, base)
        elif ids and base is not None and not base.failed_phase:
            look = _Look(request, series, deadline, progress)
            if task.reruns > 0:
                few = flakes.affordable(took(told, ids), RERUN_SECONDS / (2 * task.reruns))
                if len(few) < len(ids):
                    notes = (*notes, f"only the {len(few)} quickest of {len(ids)} failures were rerun")
                with progress.phase("rerun", "patched"):
                    doubtful, more = look.rerun(few, task.reruns)
                notes = (*notes, *more)
            signs = {
                pair.id: frozenset(view.new_splats(result, pair))
                for pair in result.scenarios
                if pair.change is Change.CHANGED
            }
            brought = [s.id for s in told.scenarios if s.change in _BROUGHT or signs.get(s.id)]
            steady = [i for i in ids if i in brought and not (i in doubtful and doubtful[i].flaky)]
            if steady:
                many = len(steady)
                steady = list(flakes.affordable(took(told, steady), CULPRIT_SECONDS))
                if len(steady) < many:
                    notes = (*notes, f"the patch was looked for of {len(steady)} of {many} failures")
                with progress.phase("culprit", "patched"):
                    blamed = look.prefixes().culprits(steady, signs)
    except LabError as e:
        notes = (*notes, f"failures were not looked at more closely: {str(e).splitlines()[0]}")
    judged = rejudge(result, guards, doubtful=flakes.reasons(doubtful), ignored=ignored)
    notes = (*notes, *(f"{i}: {c}" for i, c in blamed.items() if not c.patch or c.alone))
    if phase is not None and not phase.patch:
        notes = (*notes, f"phase {told.failed_phase} {phase}")
    return replace(
        told,
        verdict=judged.verdict,
        reasons=judged.reasons,
        scenarios=tuple(updated(s, doubtful, blamed, ignored) for s in told.scenarios),
        culprit=phase.patch if phase else 0,
        notes=(*told.notes, *notes),
    )


def took(told: VariantResult, ids: Sequence[str]) -> dict[str, float]:
    """Seconds that scenarios took on the patched kernel."""
    return {s.id: s.seconds for s in told.scenarios if s.id in ids}


def failing(scenario: Scenario) -> bool:
    """Whether it fails with the series, and that says something about the series."""
    return scenario.patched is Verdict.FAIL and scenario.counts is not None


def updated(
    scenario: Scenario,
    reruns: Mapping[str, Reruns],
    blamed: Mapping[str, Culprit],
    ignored: Mapping[str, str],
) -> Scenario:
    """A scenario with all that was found out about it."""
    if scenario.id in ignored:
        return replace(scenario, counts=None, quarantined=ignored[scenario.id])
    if (again := reruns.get(scenario.id)) is not None:
        scenario = replace(scenario, rerun_same=again.same, rerun_new=again.new)
        if again.flaky:
            why = (str(again), *scenario.reasons)
            return replace(scenario, counts=Verdict.INCONCLUSIVE, reasons=why)
    found = blamed.get(scenario.id)
    return replace(scenario, culprit=found.patch) if found else scenario


class _Look:
    """The variant's kernels, taken from the cache, where its run has left them."""

    def __init__(self, request: ValidateRequest, series: Series, deadline: float, progress: Progress) -> None:
        cache = kernels.open_cache()
        selectors = request.selectors
        if selectors.tree is None:  # the very source that was used, without asking a mirror again
            selectors = replace(selectors, base=f"lock:{request.out / 'base.lock'}")
        self._request = request
        self._series = series
        self._progress = progress
        self._source: KernelSource = kernels.fetch(selectors, series, cache, NullProgress())
        self._builder = Builder(
            selectors, cache, progress, kernels.choose_sandbox(selectors), not request.whole
        )
        self._again = Again(
            self._builder, self._source, request.machine, request.params, request.out / "closer", deadline
        )
        self._base: KernelImage | None = None
        self._applied: AppliedSeries | None = None

    def phase(self, phase: str, base: KernelRun | None) -> Culprit:
        """The patch with which the kernel ends in ``phase``."""
        # Any scenario will do that the base gets through: it is only booted for.
        passed = [o.id for o in (base.outcomes if base else ()) if o.verdict is Verdict.PASS]
        if phase == "boot" and not passed:
            return Culprit(0, 1, len(self._series.patches), "base passes no scenario to boot for")
        return self.prefixes(build=phase != "apply").culprit_of_phase(phase, passed[0] if passed else "")

    def rerun(self, ids: Sequence[str], count: int) -> tuple[dict[str, Reruns], tuple[str, ...]]:
        """Reruns of failed scenarios, and notes."""
        if self._again.left < LEAST:
            return {}, ("failures were not rerun: no time was left",)
        base, applied = self._prepare()
        quiet = replace(self._builder, progress=NullProgress())
        both = SideBuilder(quiet, base, self._source).both(self._series, applied)
        patched, before = Kernel(both.patched.image, applied), Kernel(both.base.image, None)
        return flakes.rerun(self._again, patched, before, ids, count)

    def prefixes(self, *, build: bool = True) -> Prefixes:
        """The series, patch by patch; without ``build`` for no more than applying them."""
        if build:
            self._prepare()
        request, selectors = self._request, self._request.selectors
        runner = Runner(self._builder.cache, NullProgress(), request.machine, request.params, selectors.qemu)
        return Prefixes(self._again, self._series, self._applied, self._base, runner.lab_key())

    def _prepare(self) -> tuple[KernelImage, AppliedSeries]:
        if self._base is None or self._applied is None:
            self._base = self._builder.base(self._source)
            self._applied = kernels.apply(self._source, self._series, self._builder.cache, self._progress)
        return self._base, self._applied
