# SPDX-License-Identifier: GPL-2.0-or-later
"""One nightly: what is new in the inbox is judged in every variant, compared, kept and published."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import lab
from lab.cache import Cache
from lab.hashing import digest
from lab.machine import state
from lab.model.errors import BadInput, ExitCode, LabError, LabUnavailable, SeriesDoesNotApply
from lab.model.kernel import AppliedSeries, KernelSource
from lab.model.nightly import (
    BaseFound,
    BaseGuess,
    CheckResult,
    Delta,
    Inbox,
    InboxSeries,
    NightlyReport,
    Variant,
    VariantResult,
    VariantTask,
    VersionReport,
)
from lab.model.series import Series
from lab.model.verdict import Verdict, worst
from lab.nightly import bases, checks, delta, publish, store
from lab.nightly.hosts import Host
from lab.nightly.matrix import run_matrix
from lab.nightly.places import Out, Place, locked
from lab.progress import Progress
from lab.series.inbox import write_mbox
from lab.usage import cpu_seconds
from lab.validate import kernels
from lab.validate.kernels import Builder, Selectors

APPLY = "apply"
"""Name of the check that a series finds a base and applies to it."""


@dataclass(frozen=True, slots=True)
class NightlyRequest:
    """What ``hvlab nightly`` was asked for. ``only`` restricts it to these ids (``TOPIC`` or ``TOPIC/vN``);
    ``again`` judges even what was judged before; ``flavours`` are those that every patch is built in."""

    inbox: Inbox
    out: Path
    variants: tuple[Variant, ...]
    base: str | None = None
    tree: str | None = None
    hosts: tuple[Host, ...] = ()
    quarantine: Path | None = None
    only: tuple[str, ...] = ()
    again: bool = False
    expression: str = ""
    reruns: int = 3
    checks: bool = True
    selectors: Selectors = Selectors()  # noqa: RUF009 - frozen


@dataclass(frozen=True, slots=True)
class _Ready:
    """A version on its base. ``source`` is None when no base takes it; ``found`` are checks already made."""

    series: InboxSeries
    guess: BaseGuess
    source: KernelSource | None = None
    content: Series | None = None
    applied: AppliedSeries | None = None
    found: tuple[CheckResult, ...] = ()


def night(request: NightlyRequest, progress: Progress) -> NightlyReport:
    """Judge what is new and publish everything. LabUnavailable when another nightly has the folder.

    An error about one version ends up in its report; those of the lab itself are raised.
    """
    with locked(request.out) as out:
        # What a killed night left would take a gigabyte of memory for each lab until somebody looks.
        for left in state.stale_labs():
            progress.note(f"removing what is left of {left.name}, which nobody holds")
            state.clean(left)
        return _Night(request, out, progress).run()


def exit_code(report: NightlyReport) -> ExitCode:
    """The worst of what this run judged; PASS when there was nothing to do."""
    judged = [v for v in report.versions if v.series.id in report.judged]
    if not judged:
        return ExitCode.PASS
    verdict = worst(v.verdict for v in judged)
    return {Verdict.PASS: ExitCode.PASS, Verdict.FAIL: ExitCode.FAIL}.get(verdict, ExitCode.INCONCLUSIVE)


class _Night:
    def __init__(self, request: NightlyRequest, out: Out, progress: Progress) -> None:
        self._request = request
        self._out = out
        self._progress = progress
        self._started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._clock, self._cpu = time.monotonic(), cpu_seconds()
        self._cache: Cache = kernels.open_cache()
        self._lock = threading.Lock()

    def run(self) -> NightlyReport:
        reports = self._known()
        wanted = self._wanted()
        new = [s for s in wanted if self._request.again or not _done(reports.get(s.id), self._key(s))]
        skipped = tuple(s.id for s in wanted if s not in new)
        progress = self._progress
        progress.note(f"{len(new)} versions to judge, {len(skipped)} judged before")
        if not new and not publish.incomplete(self._out, reports.values()):
            return self._report(reports, (), skipped)
        ready = [self._prepare(series) for series in new]
        tasks = {item.series.id: self._tasks(item) for item in ready}
        checked = self._check_and_drive(ready, [task for several in tasks.values() for task in several])
        for item in sorted(ready, key=lambda r: (r.series.topic, r.series.version)):
            found = (*item.found, *checked.get(item.series.id, ()))
            report = self._judged(item, found, tasks[item.series.id])
            before = _before(report, reports.values())
            report = replace(report, delta=self._delta(before, report, item))
            reports[item.series.id] = report
            store.save(self._out.version(item.series.id).report, report)
        whole = self._report(reports, tuple(s.id for s in new), skipped)
        with progress.phase("publish"):
            publish.publish(whole, self._out, progress)
        return whole

    # ---- what is to be done

    def _known(self) -> dict[str, VersionReport]:
        """{id: what was judged before} of the series that still have that name: names come from all that an
        inbox holds, and another series may have it now."""
        found: dict[str, VersionReport] = {}
        for place in self._out.versions():
            try:
                report = store.load(place.report, VersionReport)
            except BadInput as e:
                self._progress.note(f"{place.report} is passed over: {e.what}")
                continue
            if _keeps_its_name(report.series, self._request.inbox.series):
                found[report.series.id] = report
            else:
                self._progress.note(f"{place.folder} is of another series that had this name")
        return found

    def _wanted(self) -> list[InboxSeries]:
        only = self._request.only
        found = [s for s in self._request.inbox.series if not only or s.id in only or s.topic in only]
        if missing := [name for name in only if not any(name in (s.id, s.topic) for s in found)]:
            ids = ", ".join(s.id for s in self._request.inbox.series) or "none"
            raise BadInput(f"no such series: {missing[0]}", where="the inbox", hint=f"there are: {ids}")
        return found

    def _key(self, series: InboxSeries) -> str:
        request = self._request
        return digest(
            series.key or f"problem {series.problem} {series.message_id}",
            request.base or "",
            request.tree or "",
            *(v.id for v in request.variants),
            request.expression,
            str(request.checks),
        )

    def _prepare(self, series: InboxSeries) -> _Ready:
        """Find the base and put the series on it. What cannot be had for one series is told of that one."""
        if series.problem:
            return _Ready(series, BaseGuess(BaseFound.NONE, f"not looked for: {series.problem}"))
        place = self._out.version(series.id)
        guess = BaseGuess(BaseFound.NONE, "not looked for")
        try:
            write_mbox(series, place.mbox)
        except BadInput as e:
            return _unmade(series, guess, str(e))
        try:
            with self._progress.phase("base", series.id) as phase:
                guess = self._guess(series)
                phase.note = guess.how
            if guess.found is BaseFound.NONE:
                return _unmade(series, guess, guess.how)
            selectors = self._selectors(place, guess)
            try:
                content = kernels.read_series(selectors)
            except BadInput as e:
                return _unmade(series, guess, str(e))
            assert content is not None
            if content.key != series.key:
                return _unmade(series, guess, f"{place.mbox} does not read back as what was sent")
            source = kernels.fetch(selectors, content, self._cache, self._progress)
        except LabUnavailable as e:
            self._progress.note(f"{series.id}: {e.what}")
            return _unmade(series, guess, str(e))
        try:
            applied = kernels.apply(source, content, self._cache, self._progress)
        except SeriesDoesNotApply as e:
            lines = tuple(str(e).splitlines())
            return _Ready(series, guess, found=(CheckResult(APPLY, 0, Verdict.FAIL, lines),))
        except BadInput as e:
            # A stranger's patch on a path that is a folder here: no reason to judge no other series.
            return _unmade(series, guess, str(e))
        return _Ready(series, guess, source, content, applied)

    def _guess(self, series: InboxSeries) -> BaseGuess:
        request = self._request
        return bases.guess(series, request.base, request.tree, self._cache, self._progress)

    def _selectors(self, place: Place, guess: BaseGuess) -> Selectors:
        return replace(
            self._request.selectors, series=str(place.mbox), base=guess.base or None, tree=guess.tree or None
        )

    def _tasks(self, item: _Ready) -> list[Path]:
        if item.source is None:
            return []
        place, request = self._out.version(item.series.id), self._request
        if request.quarantine is not None:
            place.voice("quarantine.toml").write_bytes(request.quarantine.read_bytes())
        files = []
        for variant in request.variants:
            task = VariantTask(
                id=f"{item.series.id}/{variant.id}",
                series=place.mbox.name,
                base=item.guess,
                variant=variant,
                folder=str(place.variant(variant).relative_to(place.folder)),
                key=item.series.key,
                expression=request.expression,
                reruns=request.reruns,
                jobs=request.selectors.jobs,
                qemu=request.selectors.qemu or "",
                sandboxed=request.selectors.sandboxed,
                quarantine="quarantine.toml" if request.quarantine is not None else "",
            )
            file = place.task(variant)
            if request.again or _asked_before(file) != task:
                # Asked in another way than before: an old result is none of this.
                (place.variant(variant) / "variant.json").unlink(missing_ok=True)
                store.save(file, task)
            files.append(file)
        return files

    # ---- the work

    def _check_and_drive(
        self, ready: Sequence[_Ready], tasks: Sequence[Path]
    ) -> dict[str, tuple[CheckResult, ...]]:
        """Static checks here, variants here afterwards, or meanwhile on other hosts."""
        found: dict[str, tuple[CheckResult, ...]] = {}

        def check() -> None:
            for item in ready:
                if item.source is not None and self._request.checks:
                    with self._progress.phase("checks", item.series.id):
                        found[item.series.id] = self._checks(item)

        def drive() -> None:
            if tasks:
                run_matrix(tasks, self._out.run(self._started), self._request.hosts, self._progress, _ignore)

        if self._request.hosts:
            _side_by_side(check, drive)
        else:
            check()
            drive()
        return found

    def _checks(self, item: _Ready) -> tuple[CheckResult, ...]:
        assert item.source is not None and item.content is not None
        flavours = tuple(dict.fromkeys(v.flavour for v in self._request.variants))
        selectors = replace(self._request.selectors, base=None, tree=None)
        try:
            sandbox = kernels.choose_sandbox(selectors)
            builder = Builder(selectors, self._cache, self._progress, sandbox)
            return checks.check_series(item.content, item.source, builder, flavours)
        except LabError as e:
            self._progress.note(f"{item.series.id}: checks could not be made: {e.what}")
            return (CheckResult("checks", 0, Verdict.INCONCLUSIVE, note=e.what),)

    def _judged(self, item: _Ready, found: tuple[CheckResult, ...], tasks: Iterable[Path]) -> VersionReport:
        results = []
        for file in tasks:
            task = store.load(file, VariantTask)
            folder = file.parent / task.folder
            try:
                result = store.load(folder / "variant.json", VariantResult)
            except BadInput as e:
                result = VariantResult(task.variant, Verdict.INCONCLUSIVE, lost=f"no result: {e.what}")
            results.append(replace(result, folder=str(folder.relative_to(self._out.root))))
        finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return VersionReport(
            item.series, item.guess, found, tuple(results), finished=finished, key=self._key(item.series)
        )

    def _delta(self, before: VersionReport | None, now: VersionReport, item: _Ready) -> Delta | None:
        if before is None:
            return None
        comparable = item.source is not None and not before.series.problem
        return delta.between(before, now, item.source if comparable else None)

    def _report(
        self, reports: dict[str, VersionReport], judged: tuple[str, ...], skipped: tuple[str, ...]
    ) -> NightlyReport:
        ordered = sorted(reports.values(), key=lambda r: (r.series.topic, r.series.version))
        return NightlyReport(
            started=self._started,
            finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            versions=tuple(ordered),
            judged=judged,
            skipped=skipped,
            problems=self._request.inbox.problems,
            hosts=tuple(str(h) for h in self._request.hosts),
            wall=time.monotonic() - self._clock,
            cpu=cpu_seconds() - self._cpu,
            lab=lab.__version__,
        )


def _unmade(series: InboxSeries, guess: BaseGuess, why: str) -> _Ready:
    """A version that nothing can be said of, and why."""
    return _Ready(series, guess, found=(CheckResult(APPLY, 0, Verdict.INCONCLUSIVE, note=why),))


def _done(report: VersionReport | None, key: str) -> bool:
    """Whether a version needs no second look: judged as it would be now, on a base that was found, with
    nothing of it lost."""
    if report is None or report.key != key or any(v.lost for v in report.variants):
        return False
    return not any(c.name == APPLY and c.verdict is Verdict.INCONCLUSIVE for c in report.checks)


def _asked_before(file: Path) -> VariantTask | None:
    """What a variant was asked for at another time, as far as that is known."""
    try:
        return store.load(file, VariantTask)
    except BadInput:
        return None


def _before(now: VersionReport, reports: Iterable[VersionReport]) -> VersionReport | None:
    older = [
        r for r in reports if r.series.topic == now.series.topic and r.series.version < now.series.version
    ]
    return max(older, key=lambda r: r.series.version, default=None)


def _keeps_its_name(known: InboxSeries, now: Iterable[InboxSeries]) -> bool:
    """Whether nothing in the inbox says that a version, judged before, belongs under another name now."""
    same = [s for s in now if s.message_id and s.message_id == known.message_id]
    if same:
        return any(s.topic == known.topic for s in same)
    topic = [s for s in now if s.topic == known.topic]
    address = known.author.rpartition("<")[2].lower()
    return not topic or any(
        s.author.rpartition("<")[2].lower() == address or (s.change_id and s.change_id == known.change_id)
        for s in topic
    )


def _ignore(_task: Path) -> None:
    """A finished variant needs nothing at once: its result is read when all are through."""


def _side_by_side(here: Callable[[], None], elsewhere: Callable[[], None]) -> None:
    """Run both; the first error is raised when both have ended."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            here()
        except BaseException as e:
            errors.append(e)

    thread = threading.Thread(target=guarded, name="checks")
    thread.start()
    try:
        elsewhere()
    finally:
        thread.join()
    if errors:
        raise errors[0]
