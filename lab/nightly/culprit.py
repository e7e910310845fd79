# SPDX-License-Identifier: GPL-2.0-or-later
"""Which patch of a series brings a failure: kernels with the first patches only, and the failure on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab.build.module import can_build_module_only
from lab.hashing import digest
from lab.model.errors import KernelBuildFailed, LabError, SeriesDoesNotApply
from lab.model.kernel import AppliedSeries, KernelImage
from lab.model.result import ScenarioOutcome
from lab.model.series import Series
from lab.nightly.again import LEAST, Again, Kernel, failed
from lab.nightly.bisect import Answer, Culprit, Told, first_bad
from lab.nightly.prefixes import prefix
from lab.progress import NullProgress
from lab.series import apply
from lab.validate.sides import SideBuilder

KIND = "culprit"
PHASES = ("apply", "build", "boot")
"""Phases whose failure has a culprit among the patches."""


@dataclass(slots=True)
class Prefixes:
    """The kernels of a series' prefixes, built as the whole series is, and what fails on them.

    ``lab_key`` is everything but kernel and scenario that decides an outcome.
    """

    again: Again
    series: Series
    applied: AppliedSeries | None
    base: KernelImage | None
    lab_key: str
    _built: dict[tuple[int, int], Kernel | KernelBuildFailed] = field(default_factory=dict)
    _signs: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def culprits(
        self, ids: Sequence[str], signs: Mapping[str, frozenset[str]] | None = None
    ) -> dict[str, Culprit]:
        """The first patch with which each scenario fails; it passes on the base and fails with them all.

        A scenario that fails on the base too has ``signs``: the ids of the splats that come only with the
        series. It is looked for the first patch with which one of them comes.
        Where kernels in between say nothing (they do not build), a later patch is tried without them.
        """
        self._signs = {i: s for i, s in (signs or {}).items() if s}
        found = first_bad(len(self.series.patches), ids, self._scenarios)
        return {i: culprit if culprit.patch else self._alone(i, culprit) for i, culprit in found.items()}

    def _alone(self, scenario: str, culprit: Culprit) -> Culprit:
        """The last of the suspects that makes the scenario fail without those before it, if one does."""
        for number in range(culprit.last, culprit.first, -1):
            told = self._scenarios(culprit.first - 1, [scenario], extra=number)[scenario]
            if told.answer is Answer.BAD:
                return replace(culprit, patch=number, alone=True)
        return culprit

    def culprit_of_phase(self, phase: str, probe: str) -> Culprit:
        """The first patch with which the kernel ends in a phase. ``probe`` is a scenario to boot for."""
        ask: dict[str, Callable[[int, Sequence[str]], Mapping[str, Told]]] = {
            "apply": lambda count, ids: dict.fromkeys(ids, self._applies(count)),
            "build": lambda count, ids: dict.fromkeys(ids, self._builds(count)),
            "boot": lambda count, ids: dict.fromkeys(ids, self._boots(count, probe)),
        }
        if phase not in ask:
            return Culprit(0, 1, len(self.series.patches), f"phase {phase} has no culprit to look for")
        return first_bad(len(self.series.patches), [phase], ask[phase])[phase]

    # ---- what is asked of a prefix

    def _applies(self, count: int) -> Told:
        b = self.again.builder
        try:
            apply(self.again.source, prefix(self.series, count), b.cache, b.progress)
        except SeriesDoesNotApply:
            return Told(Answer.BAD)
        return Told(Answer.GOOD)

    def _builds(self, count: int) -> Told:
        if self.again.left < LEAST:
            return Told(Answer.UNKNOWN, "no time was left")
        try:
            made = self._kernel(count)
        except LabError as e:
            return Told(Answer.UNKNOWN, str(e).splitlines()[0])
        return Told(Answer.BAD if isinstance(made, KernelBuildFailed) else Answer.GOOD)

    def _boots(self, count: int, probe: str) -> Told:
        try:
            made = self._kernel(count)
        except LabError as e:
            return Told(Answer.UNKNOWN, str(e).splitlines()[0])
        if isinstance(made, KernelBuildFailed):
            return Told(Answer.UNKNOWN, f"it does not build: {made.what}")
        seen = self.again.run(made, [probe], f"first-{count}")
        if seen.boot_failure:
            return Told(Answer.BAD)
        return Told(Answer.GOOD) if seen.outcomes else Told(Answer.UNKNOWN, seen.broken or "nothing was seen")

    def _scenarios(self, count: int, ids: Sequence[str], *, extra: int = 0) -> dict[str, Told]:
        """What the first ``count`` patches do, with patch ``extra`` (0: none) on top."""
        if self.again.left < LEAST:
            return dict.fromkeys(ids, Told(Answer.UNKNOWN, "no time was left"))
        try:
            made = self._kernel(count, extra)
        except LabError as e:
            return dict.fromkeys(ids, Told(Answer.UNKNOWN, str(e).splitlines()[0]))
        if isinstance(made, KernelBuildFailed):
            return dict.fromkeys(ids, Told(Answer.UNKNOWN, f"it does not build: {made.what}"))
        known = {i: told for i in ids if (told := self._known(made.image, i)) is not None}
        open_ones = [i for i in ids if i not in known]
        if open_ones:
            name = f"first-{count}" + (f"-and-{extra}" if extra else "")
            seen = self.again.run(made, open_ones, name)
            for i in open_ones:
                bad = self._bad(i, seen.outcomes.get(i))
                if seen.boot_failure:
                    known[i] = Told(Answer.UNKNOWN, f"it does not boot: {seen.boot_failure}")
                elif bad is None:
                    said = seen.outcomes[i].reasons if i in seen.outcomes else ()
                    known[i] = Told(
                        Answer.UNKNOWN, seen.broken or "; ".join(said[:1]) or "it was not decided"
                    )
                else:
                    known[i] = Told(Answer.BAD if bad else Answer.GOOD)
                    self._keep(made.image, i, known[i])
        return known

    def _bad(self, scenario: str, outcome: ScenarioOutcome | None) -> bool | None:
        """Whether it fails as it does with the whole series; None when that was not decided."""
        bad, signs = failed(outcome), self._signs.get(scenario)
        if not signs or outcome is None or bad is None:
            return bad
        return bad and bool(signs & set(outcome.splats))

    # ---- kernels, and what is known of them

    def _kernel(self, count: int, extra: int = 0) -> Kernel | KernelBuildFailed:
        """Raises LabError for what is no failure of a build."""
        if (count, extra) not in self._built:
            self._built[count, extra] = self._make(count, extra)
        return self._built[count, extra]

    def _make(self, count: int, extra: int) -> Kernel | KernelBuildFailed:
        source, builder = self.again.source, self.again.builder
        assert self.base is not None and self.applied is not None
        part = prefix(self.series, count, extra)
        applied = apply(source, part, builder.cache, builder.progress)
        way = builder.short_way and can_build_module_only(source, self.applied)
        quiet = replace(builder, short_way=way, progress=NullProgress())
        told = f"kernel with the first {count} patches" + (f" and patch {extra}" if extra else "")
        builder.progress.step(count, len(self.series.patches), told)
        try:
            image = SideBuilder(quiet, self.base, source).one(part, applied).image
        except KernelBuildFailed as e:
            return e
        return Kernel(image, applied)

    def _key(self, image: KernelImage, scenario: str) -> str:
        signs = sorted(self._signs.get(scenario, ()))
        return digest(KIND, image.key, *image.fixes, self.lab_key, scenario, *signs)

    def _known(self, image: KernelImage, scenario: str) -> Told | None:
        entry = self.again.builder.cache.get(KIND, self._key(image, scenario))
        return Told(Answer(json.loads((entry / "told.json").read_text()))) if entry else None

    def _keep(self, image: KernelImage, scenario: str, told: Told) -> None:
        def produce(entry: Path) -> None:
            (entry / "told.json").write_text(json.dumps(told.answer.value))

        about = {"kernel": image.key, "scenario": scenario}
        self.again.builder.cache.publish(KIND, self._key(image, scenario), produce, about=about)
