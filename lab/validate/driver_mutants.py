# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the driver: built as the module alone, and driven until a scenario notices.

The unharmed kernel of each flavour (the *twin*) is driven first, whole, and its detectors are proven;
what passes there is what can kill. Results are kept in the cache under all that decides them, so a
second start goes on where the first one ended.
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lab import paths
from lab.build import warnings
from lab.build.flavours import flavour as flavour_of
from lab.build.module import NotAsModule
from lab.cache import Cache
from lab.hashing import digest
from lab.judge.mutants import BUILD, Kill, Seen, doubts, kills, order, standing
from lab.judge.warnings import new_warnings
from lab.model.errors import LabError, LabUnavailable, SeriesDoesNotApply
from lab.model.kernel import KernelImage, KernelSource
from lab.model.mutant import PLAIN, SERIES, DriverMutant, MutantResult
from lab.model.result import KernelRun
from lab.model.series import Series
from lab.model.verdict import Verdict
from lab.progress import NullProgress, Progress
from lab.series.mutants import BASE, series_behind, series_with
from lab.validate import kernels
from lab.validate.drive import DriveRequest, DriveResult, drive
from lab.validate.exchange import Report, outcome_from_json, outcome_to_json
from lab.validate.kernels import Builder, Selectors
from lab.validate.runs import Runner
from lab.validate.sides import Side, SideBuilder, Sides, lost

AT_ONCE = 2
"""Guests are one busy CPU each, and there are two cores."""
BUDGET = 420.0
"""Seconds for the scenarios of one mutant, times the flavour's factor; what hangs in each costs no more."""
TWIN_KIND, KIND = "mutant-twin", "mutant"
BEHIND = "the-series"
"""What mutants are on that are put behind whatever series was asked for."""
_BUILD_CLASS = "build"


class Void(LabUnavailable):
    """The kernel without a mutant does not pass, so nothing can be said of those with one."""


@dataclass(frozen=True, slots=True)
class Twin:
    """The kernel without a mutant, with its flavour's base fixes, and what it did."""

    side: Side
    seen: Seen
    scenarios: str


@dataclass(slots=True)
class MutantRunner:
    """Tries mutants; ``out`` keeps the evidence. ``flavours`` empty: those that each mutant names."""

    selectors: Selectors
    cache: Cache
    progress: Progress
    out: Path
    flavours: tuple[str, ...] = ()
    every: bool = False
    expression: str | None = None
    """Only these scenarios (as pytest's -k)."""
    notice: Callable[[str], tuple[str, str] | None] = lambda mutant: None
    """Asked first, by a mutant's id: (who notices it without a scenario, what was seen)."""
    behind: bool = False
    """Put each mutant behind the selectors' series, whatever it was made on. What that series fails by
    itself kills nothing."""
    known: tuple[KernelRun, ...] = ()
    """Runs of all scenarios that need not be made again."""
    _stop: threading.Event = field(default_factory=threading.Event)
    void: dict[str, str] = field(default_factory=dict)
    """Why the kernel without a mutant does not pass, by what it is."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _twins: dict[tuple[str, str], Twin] = field(default_factory=dict)

    def stop(self) -> None:
        """End what is being tried soon, undecided, and begin nothing more."""
        self._stop.set()

    def run(self, mutants: tuple[DriverMutant, ...]) -> Generator[MutantResult, None, None]:
        """Each mutant's result as it ends; ``void`` says for which kernels nothing can be said."""
        runner = Runner(self.cache, self.progress, "mshv-root", (), self.selectors.qemu)
        with self.progress.phase("image"):
            runner.images()
        source = self._source()
        # What needs a slow kernel comes last: the table of the others is there by then.
        ordered = sorted(mutants, key=lambda m: (self.flavours or m.flavours)[0] != PLAIN[0])
        with ThreadPoolExecutor(AT_ONCE) as pool:
            futures = [pool.submit(self._try, runner, source, m) for m in ordered]
            try:
                for done in as_completed(futures):
                    yield done.result()
            except BaseException:
                self._stop.set()
                for future in futures:
                    future.cancel()
                raise

    def _source(self) -> KernelSource:
        with self.progress.phase("fetch"):
            series = kernels.read_series(self.selectors)
            return kernels.fetch(self.selectors, series, self.cache, self.progress)

    def _sides(self, name: str, source: KernelSource, progress: Progress) -> SideBuilder:
        selectors = replace(self.selectors, flavour=name)
        builder = Builder(selectors, self.cache, progress, kernels.choose_sandbox(selectors))
        return SideBuilder(builder, builder.base(source), source)

    def _twin_of(self, runner: Runner, source: KernelSource, on: str, name: str) -> Twin:
        """The twin, driven once. Raises Void, also to whoever asks again."""
        with self._lock:
            side = f"{on} {name}"
            if side in self.void:
                raise Void(self.void[side])
            if (on, name) not in self._twins:
                try:
                    self._twins[on, name] = self._twin(runner, source, on, name)
                except Void as e:
                    self.void[side] = str(e).splitlines()[0]
                    raise
            return self._twins[on, name]

    def _twin(self, runner: Runner, source: KernelSource, on: str, name: str) -> Twin:
        side = f"twin-{on}-{name}"
        both = self._twins_built(source, name, side)
        made = both.base if on == BASE else both.patched
        kernel = made.image
        scenarios = digest(runner.lab_key(), self.expression or "")
        if (seen := self._known(kernel)) is not None:
            return Twin(made, seen, scenarios)
        key = digest(TWIN_KIND, kernel.key, scenarios, str(self.behind))

        def produce(entry: Path) -> None:
            with self.progress.phase("drive", side):
                proofs = runner.proofs(kernel, side, self.out / side / "arm")
                report = self._drive(kernel, side, (), stop=False).report
            dumb = [p.name for p in proofs if not p.fired]
            if dumb or not proofs:
                raise Void(f"detectors do not fire: {', '.join(dumb) or 'none was tried'}", where=side)
            bad = [o for o in report.outcomes if o.verdict not in (None, Verdict.PASS)]
            if on == BASE or self.behind:  # it has defects: those that a series fixes, or brings
                bad = [o for o in bad if o.verdict is not Verdict.FAIL]
            elif failed := tuple(o.id for o in bad if o.verdict is Verdict.FAIL):
                # What base fails alike is a defect that the series does not mean to fix.
                alike = self._drive(both.base.image, f"{side}-base", failed, stop=False).report.outcomes
                known = {o.id for o in alike if o.verdict is Verdict.FAIL}
                bad = [o for o in bad if o.id not in known]
                self.progress.note(f"{side}: base fails these too: {', '.join(sorted(known)) or 'none'}")
            if bad or not report.complete or not report.outcomes:
                told = "; ".join(f"{o.id}: {o.reasons[0] if o.reasons else o.verdict}" for o in bad[:3])
                what = told or "its run broke off"
                raise Void(f"the kernel without a mutant does not pass: {what}", where=side)
            (entry / "seen.json").write_text(json.dumps(_seen_to_json(_seen(report))))

        entry = self.cache.publish(TWIN_KIND, key, produce, about={"side": side})
        seen = _seen_from_json(json.loads((entry / "seen.json").read_text()))
        return Twin(made, seen, scenarios)

    def _known(self, kernel: KernelImage) -> Seen | None:
        """What a run of this very kernel saw, if all its detectors fired and nothing in it is in doubt."""
        for run in self.known:
            sure = all(o.verdict is not Verdict.INCONCLUSIVE for o in run.outcomes)
            fired = bool(run.detectors) and all(p.fired for p in run.detectors)
            if run.key == kernel.key and run.outcomes and fired and sure:
                return Seen(run.outcomes, run.splats, "", dict(run.abilities))
        return None

    def _twins_built(self, source: KernelSource, name: str, side: str) -> Sides:
        """Base and series with the flavour's base fixes, as modules: mutants are built in the same way."""
        with self.progress.phase("build", side):
            series = kernels.read_series(self.selectors)
            assert series is not None
            applied = kernels.apply(source, series, self.cache, self.progress)
            try:
                both = self._sides(name, source, self.progress).both_as_modules(series, applied)
            except NotAsModule as e:
                said = str(e).splitlines()[0]
                raise LabUnavailable(
                    f"the driver cannot be built as a module alone: {said}", where=side
                ) from e
        for line in both.notes:
            self.progress.note(line)
        return both

    def _try(self, runner: Runner, source: KernelSource, mutant: DriverMutant) -> MutantResult:
        began = time.monotonic()
        result = MutantResult(mutant.id, mutant.kind, "", "", 0.0, equivalent=mutant.equivalent)
        if not self._stop.is_set():
            with self._lock:  # it builds with all processors
                noticed = self.notice(mutant.id)
            if noticed is not None:
                by, evidence = noticed
                return replace(result, by=by, evidence=evidence, seconds=round(time.monotonic() - began, 1))
        before = 0.0
        for name in self.flavours or mutant.flavours:
            try:
                twin = self._twin_of(runner, source, BEHIND if self.behind else mutant.on, name)
            except Void as e:
                result = replace(result, flavour=name, doubt=f"void: {str(e).splitlines()[0]}")
                continue
            key = digest(KIND, mutant.patch.raw, twin.side.image.key, twin.scenarios, str(self.every))
            if (entry := self.cache.get(KIND, key)) is not None:
                known = json.loads((entry / "result.json").read_text())
                result = replace(MutantResult(**known), also=tuple(known["also"]))
                before += result.seconds
            else:
                at = time.monotonic()
                result = self._one(source, mutant, name, twin)
                result = replace(result, seconds=round(time.monotonic() - at, 1))
                if not result.doubt and not self._stop.is_set():
                    self.cache.publish(KIND, key, _keeper(result), about={"mutant": mutant.id})
            if result.killed and not self.every:
                break
        spent = time.monotonic() - began
        return replace(result, seconds=round(max(spent, before), 1))

    def _one(self, source: KernelSource, mutant: DriverMutant, name: str, twin: Twin) -> MutantResult:
        """One mutant on one flavour."""
        result = MutantResult(mutant.id, mutant.kind, "", "", 0.0, flavour=name, equivalent=mutant.equivalent)
        quiet = NullProgress()
        try:
            series = self._with(mutant)
            applied = kernels.apply(source, series, self.cache, quiet)
        except SeriesDoesNotApply as e:
            if not self.behind:
                raise
            return replace(result, doubt=f"it does not apply behind the series: {e.where}")
        try:
            made = self._sides(name, source, quiet).as_module(series, applied)
        except NotAsModule as e:
            said = " ".join(str(e).split())
            if mutant.kind == _BUILD_CLASS:
                return replace(result, by=BUILD, evidence=said)
            return replace(result, doubt=f"does not build: {said}")
        kernel = made.image
        if kernel.modules and kernel.key == twin.side.image.key:
            return replace(result, doubt="its module is the one without the mutant")
        warned = new_warnings(warnings.of_image(kernel), warnings.of_image(twin.side.image))
        if warned and mutant.kind == _BUILD_CLASS:
            return replace(result, by=BUILD, evidence=f"the compiler warns of {warned[0]}")
        return self._judged(mutant, kernel, twin, lost(twin.side, made), result)

    def _with(self, mutant: DriverMutant) -> Series:
        if not self.behind:
            return series_with(mutant)
        series = kernels.read_series(self.selectors)
        assert series is not None
        return series_behind(series, mutant)

    def _judged(
        self, mutant: DriverMutant, kernel: KernelImage, twin: Twin, missing: str, result: MutantResult
    ) -> MutantResult:
        """Drive its kernel and compare with the twin. ``missing`` says which of the twin's fixes it lacks."""
        names = order(twin.seen.outcomes, mutant.scenarios)
        try:
            report, cut = self._bounded(kernel, f"{mutant.id}-{result.flavour}", names)
        except LabError as e:
            return replace(result, doubt=f"lab: {str(e).splitlines()[0]}")
        seen = _seen(report)
        found, why = kills(twin.seen, seen), missing
        if found and missing:
            found, why = self._without_fixes(mutant, twin, seen, found, missing, result.flavour)
        if found:
            also = tuple(k.by for k in found[1:]) if self.every else ()
            return replace(result, by=found[0].by, evidence=found[0].evidence, also=also)
        return replace(result, doubt="; ".join(filter(None, (why, doubts(seen) or cut))))

    def _without_fixes(
        self, mutant: DriverMutant, twin: Twin, seen: Seen, found: tuple[Kill, ...], missing: str, name: str
    ) -> tuple[tuple[Kill, ...], str]:
        """What of ``found`` stands against the twin without fixes, and why nothing does.

        It goes through the same scenarios in the same order: what the fixes mend shows there too.
        """
        bare = twin.side.image.unfixed
        if bare is None:
            return (), f"{missing}; nothing tells what that mends from {found[0].by}"
        names = tuple(o.id for o in seen.outcomes)
        try:
            report = self._drive(bare, f"{mutant.id}-{name}-unfixed", names, stop=False).report
        except LabError as e:
            return (), f"{missing}; lab: {str(e).splitlines()[0]}"
        left = standing(found, seen, _seen(report))
        first = found[0]
        why = f"{missing}; without it {first.by} is not known to pass: {first.evidence}"
        return left, "" if left else why

    def _bounded(self, kernel: KernelImage, side: str, names: tuple[str, ...]) -> tuple[Report, str]:
        """Drive no longer than the budget; the text says why the run ended early, if it did."""
        budget = BUDGET * flavour_of(kernel.flavour).time_factor
        done = self._drive(kernel, side, names, stop=not self.every, budget=budget)
        if done.report.complete:
            return done.report, ""
        return done.report, f"cut short after {done.wall:.0f} s with {len(done.report.outcomes)} scenarios"

    def _drive(
        self, kernel: KernelImage, side: str, names: tuple[str, ...], *, stop: bool, budget: float = 0.0
    ) -> DriveResult:
        request = DriveRequest(
            kernel=kernel,
            side=side,
            out=self.out / side,
            qemu=self.selectors.qemu,
            expression=None if names else self.expression,
            order=names,
            stop_at_failure=stop,
            factor=flavour_of(kernel.flavour).time_factor,
        )
        over = threading.Event()
        ended = threading.Event()
        watch = threading.Thread(target=_until, args=(self._stop, ended, over, budget), daemon=True)
        watch.start()
        try:
            return drive(request, NullProgress(), None, over)
        finally:
            ended.set()


def _until(stop: threading.Event, ended: threading.Event, over: threading.Event, budget: float) -> None:
    """Set ``over`` when somebody stops the whole run or the budget (0: none) is spent."""
    limit = time.monotonic() + budget if budget else float("inf")
    while not ended.wait(0.2):
        if stop.is_set() or time.monotonic() > limit:
            over.set()
            return


def _seen(report: Report) -> Seen:
    failure = report.boot_failure
    text = "" if failure is None else " ".join(f"{failure['kind']}: {failure['text']}".split())[:300]
    return Seen(tuple(report.outcomes), tuple(dict.fromkeys(report.splats)), text, dict(report.abilities))


def _seen_to_json(seen: Seen) -> dict[str, object]:
    return {
        "outcomes": [outcome_to_json(o) for o in seen.outcomes],
        "splats": list(seen.splats),
        "abilities": dict(seen.abilities or {}),
    }


def _seen_from_json(values: dict[str, Any]) -> Seen:
    return Seen(
        tuple(outcome_from_json(o) for o in values["outcomes"]),
        tuple(values["splats"]),
        "",
        dict(values["abilities"]),
    )


def _keeper(result: MutantResult) -> Callable[[Path], None]:
    def produce(entry: Path) -> None:
        (entry / "result.json").write_text(json.dumps(dataclasses.asdict(result)))

    return produce


def open_runner(
    selectors: Selectors,
    progress: Progress,
    out: Path,
    flavours: tuple[str, ...] = (),
    every: bool = False,
    expression: str | None = None,
) -> MutantRunner:
    """A runner on the user's cache and the lab's series."""
    series = str(paths.tests_dir() / "series" / SERIES)
    return MutantRunner(
        replace(selectors, series=series), kernels.open_cache(), progress, out, flavours, every, expression
    )
