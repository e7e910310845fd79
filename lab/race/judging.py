# SPDX-License-Identifier: GPL-2.0-or-later
"""Recipes on a kernel under test: each becomes the outcome of a scenario, ``race:ID``.

Reached at every attempt, the race is there: fail. Clean or blocked at every attempt, it is not: pass. A
kernel that has no such point lacks what the recipe is about. All else is doubt.
"""

from __future__ import annotations

import json
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from lab.build.described import build_described
from lab.build.module import build_base_modular, can_build_module_only
from lab.cache import Cache
from lab.child.protocol import VmmError
from lab.hashing import digest
from lab.model.errors import BadInput, LabError
from lab.model.kernel import AppliedSeries, KernelSource
from lab.model.race import Attempt, Outcome, Recipe
from lab.model.result import ScenarioOutcome
from lab.model.verdict import Verdict
from lab.progress import NullProgress
from lab.race.diagram import lanes, svg
from lab.race.kernels import RaceKernel, RaceKernels
from lab.race.runner import MACHINE, RaceRunner
from lab.validate.exchange import outcome_from_json, outcome_to_json
from lab.validate.kernels import Builder
from lab.validate.runs import Runner
from lab.validate.shares import shares_for

ATTEMPTS = 2
PREFIX = "race:"
PICTURE = "diagram.svg"
KIND = "race-run"
"""What recipes say of a base is kept in the cache: it is the same for every series."""
_RECORD = "outcome.json"
_ALONE = "recipes are for kernels that differ in the driver's module alone"


@dataclass(frozen=True, slots=True)
class RecipesUnderTest:
    """What ``hvlab validate`` asks, side by side with its scenarios."""

    recipes: tuple[Recipe, ...]

    def __call__(
        self,
        builder: Builder,
        source: KernelSource,
        applied: AppliedSeries | None,
        claims: Sequence[str],
        out: Path,
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> tuple[ScenarioOutcome, ...]:
        """Outcomes of the recipes of these claims on a kernel of the builder's flavour.

        A picture of each is put below ``out``. Each waits for its ``turn``.
        """
        flavour = builder.selectors.flavour
        wanted = [
            recipe
            for recipe in self.recipes
            if set(recipe.claims) & set(claims) and recipe.setup.flavour == flavour
        ]
        if not wanted:
            return ()
        try:
            kernel = _kernel(builder, source, applied)
        except LabError as e:
            return tuple(_outcome(recipe, None, (str(e).splitlines()[0],)) for recipe in wanted)
        kernels = RaceKernels(builder.selectors, builder.cache, NullProgress())
        runner = RaceRunner(kernels, NullProgress(), builder.selectors.qemu)
        kept = Kept.of(builder, kernel) if applied is None else None

        def one(number: int, recipe: Recipe) -> ScenarioOutcome:
            builder.progress.step(number, len(wanted), f"{PREFIX}{recipe.id}")
            found = kept.find(recipe, out) if kept else None
            if found is None:
                with turn():
                    found = _judged(recipe, kernel, runner, out)
                if kept:
                    kept.keep(recipe, found, out)
            return found

        with ThreadPoolExecutor(max_workers=shares_for(0)) as pool:
            futures = [pool.submit(one, number, recipe) for number, recipe in enumerate(wanted, 1)]
            try:
                return tuple(future.result() for future in futures)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


class Kept:
    """Outcomes of a base in the cache, by all that they depend on. Doubt is not kept: it may be gone soon."""

    def __init__(self, cache: Cache, key: str) -> None:
        """``key`` is of everything but the recipe."""
        self._cache = cache
        self._key = key

    @classmethod
    def of(cls, builder: Builder, kernel: RaceKernel) -> Kept:
        """Those of a base kernel."""
        lab = Runner(builder.cache, NullProgress(), MACHINE, (), builder.selectors.qemu).lab_key()
        return cls(builder.cache, digest(kernel.image.key, lab))

    def find(self, recipe: Recipe, out: Path) -> ScenarioOutcome | None:
        """The outcome, with its files put below ``out``; None when there is none that can be read."""
        if (entry := self._cache.get(KIND, self._of(recipe))) is None:
            return None
        try:
            outcome = outcome_from_json(json.loads((entry / _RECORD).read_text()))
            for name in outcome.files:
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(entry / Path(name).name, out / name)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return outcome

    def keep(self, recipe: Recipe, outcome: ScenarioOutcome, out: Path) -> None:
        """Remember it, if it says something for certain."""
        if outcome.verdict is Verdict.INCONCLUSIVE:
            return

        def produce(folder: Path) -> None:
            (folder / _RECORD).write_text(json.dumps(outcome_to_json(outcome), indent=1))
            for name in outcome.files:
                shutil.copy2(out / name, folder)

        self._cache.publish(KIND, self._of(recipe), produce)

    def _of(self, recipe: Recipe) -> str:
        return digest(self._key, repr(replace(recipe, where="")))


def _judged(recipe: Recipe, kernel: RaceKernel, runner: RaceRunner, out: Path) -> ScenarioOutcome:
    """As ``judge``; what breaks in the lab's own code is doubt about this recipe, not the end of the run."""
    try:
        return judge(recipe, kernel, runner, out)
    except Exception as e:
        told = tuple(traceback.format_exc().splitlines())
        return _outcome(recipe, Verdict.INCONCLUSIVE, (f"lab: {type(e).__name__}: {e}",), told)


def judge(recipe: Recipe, kernel: RaceKernel, runner: RaceRunner, out: Path | None = None) -> ScenarioOutcome:
    """One recipe on one kernel; a picture of its first attempt goes below ``out``."""
    began = time.monotonic()
    attempts: list[Attempt] = []
    try:
        for _ in range(ATTEMPTS):
            attempts.append(runner.attempt(recipe, kernel))
    except BadInput as e:
        return _outcome(recipe, None, (f"this kernel has no such point: {str(e).splitlines()[0]}",))
    except VmmError as e:
        return _outcome(recipe, None, (f"this kernel cannot be set up for it: {str(e).splitlines()[0]}",))
    except LabError as e:
        return _outcome(recipe, Verdict.INCONCLUSIVE, (f"lab: {str(e).splitlines()[0]}",))
    verdict, reasons = verdict_of(attempts)
    evidence = [line for attempt in attempts for line in (*attempt.evidence[:2], attempt.reason) if line]
    evidence += dict.fromkeys(note for attempt in attempts for note in attempt.notes)
    actors = [actor.name for actor in recipe.actors]
    evidence += lanes(attempts[0], actors)
    files: tuple[str, ...] = ()
    if out is not None:
        files = (f"evidence/race-{recipe.id}/{PICTURE}",)
        (out / files[0]).parent.mkdir(parents=True, exist_ok=True)
        (out / files[0]).write_text(svg(attempts[0], actors, f"{PREFIX}{recipe.id}") + "\n")
    seen: dict[str, object] = {"the order ends": sorted({attempt.outcome.value for attempt in attempts})}
    done = _outcome(recipe, verdict, reasons, tuple(evidence), seen, time.monotonic() - began)
    return replace(done, files=files)


def verdict_of(attempts: Sequence[Attempt]) -> tuple[Verdict, tuple[str, ...]]:
    """What some attempts say together, and why it is no pass."""
    outcomes = {attempt.outcome for attempt in attempts}
    if outcomes == {Outcome.REACHED}:
        return Verdict.FAIL, (attempts[0].evidence[0] if attempts[0].evidence else "the race is reached",)
    if outcomes and outcomes <= {Outcome.CLEAN, Outcome.BLOCKED}:
        return Verdict.PASS, ()
    odd = next(a for a in attempts if a.outcome not in (Outcome.CLEAN, Outcome.BLOCKED)) if attempts else None
    if odd is None:
        return Verdict.INCONCLUSIVE, ("no attempt was made",)
    why = odd.reason or "no reason"
    return Verdict.INCONCLUSIVE, (f"attempts differ or broke off: {odd.outcome}: {why}",)


def _kernel(builder: Builder, source: KernelSource, applied: AppliedSeries | None) -> RaceKernel:
    if not builder.short_way or (applied is not None and not can_build_module_only(source, applied)):
        raise LabError(_ALONE)
    common = (builder.cache, builder.sandbox, builder.progress, builder.jobs)
    base = builder.base(source)
    modular = build_base_modular(base, source, builder.selectors.kernel_flavour(), *common)
    return RaceKernel(build_described(modular, source, applied, *common), source, applied, modular)


def _outcome(
    recipe: Recipe,
    verdict: Verdict | None,
    reasons: tuple[str, ...],
    evidence: tuple[str, ...] = (),
    seen: dict[str, object] | None = None,
    seconds: float = 0.0,
) -> ScenarioOutcome:
    return ScenarioOutcome(
        id=f"{PREFIX}{recipe.id}",
        claims=recipe.claims,
        verdict=verdict,
        reasons=reasons,
        evidence=evidence,
        observations=seen or {},
        seconds=seconds,
    )
