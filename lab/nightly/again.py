# SPDX-License-Identifier: GPL-2.0-or-later
"""Named scenarios once more, on a kernel of the same series, within what is left of a variant's budget."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab.build.flavours import flavour as flavour_of
from lab.model.errors import BadInput, LabError
from lab.model.kernel import AppliedSeries, KernelImage, KernelSource
from lab.model.result import ScenarioOutcome
from lab.model.verdict import Verdict
from lab.progress import NullProgress
from lab.race.judging import PREFIX, RecipesUnderTest
from lab.race.recipes import named
from lab.validate.drive import DriveRequest, drive
from lab.validate.kernels import Builder

LEAST = 30.0
"""Seconds without which no run is started: a boot, and the end of it."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel to run scenarios on; ``applied`` is what is in it, None for the base."""

    image: KernelImage
    applied: AppliedSeries | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What one run showed. ``outcomes`` lacks the scenarios that it did not come to. ``boot_failure`` says
    how the kernel did not boot; ``broken`` why there was no run, or no whole one."""

    outcomes: Mapping[str, ScenarioOutcome] = field(default_factory=dict)
    boot_failure: str = ""
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Again:
    """Runs scenarios of one variant. ``builder`` is of its flavour, ``deadline`` in time.monotonic().

    Evidence goes to a folder of each run's name below ``out``.
    """

    builder: Builder
    source: KernelSource
    machine: str
    params: tuple[str, ...]
    out: Path
    deadline: float

    @property
    def left(self) -> float:
        """Seconds."""
        return self.deadline - time.monotonic()

    def run(self, kernel: Kernel, ids: Sequence[str], name: str, *, fresh: bool = False) -> Seen:
        """The scenarios on ``kernel``, in this order; ``fresh`` boots instead of restoring a snapshot.

        Never raises for what goes wrong with the run: that is ``broken``.
        """
        if self.left < LEAST:
            return Seen(broken="no time was left")
        races = [i for i in ids if i.startswith(PREFIX)]
        others = tuple(i for i in ids if not i.startswith(PREFIX))
        try:
            seen = self._scenarios(kernel, others, name, fresh) if others else Seen()
            return (
                replace(seen, outcomes={**seen.outcomes, **self._races(kernel, races, name)})
                if races
                else seen
            )
        except LabError as e:
            return Seen(broken=str(e).splitlines()[0])

    def _scenarios(self, kernel: Kernel, ids: tuple[str, ...], name: str, fresh: bool) -> Seen:
        request = DriveRequest(
            kernel=kernel.image,
            side=name,
            out=self.out / name,
            machine=self.machine,
            params=self.params,
            qemu=self.builder.selectors.qemu,
            order=ids,
            factor=flavour_of(kernel.image.flavour).time_factor,
            fresh=fresh,
        )
        over = threading.Event()
        watch = threading.Timer(max(0.0, self.left), over.set)
        watch.daemon = True
        watch.start()
        try:
            report = drive(request, NullProgress(), None, over).report
        finally:
            watch.cancel()
        failure = report.boot_failure
        return Seen(
            outcomes={o.id: o for o in report.outcomes},
            boot_failure=" ".join(str(failure["text"]).split()) if failure and not report.boots else "",
            broken="" if report.complete else "the run ended early",
        )

    def _races(self, kernel: Kernel, ids: Sequence[str], out: str) -> dict[str, ScenarioOutcome]:
        found: dict[str, ScenarioOutcome] = {}
        for name in ids:
            if self.left < LEAST:
                break
            try:
                recipe = named(name.removeprefix(PREFIX))
            except BadInput:
                continue
            under_test = RecipesUnderTest((recipe,))
            judged = under_test(self.builder, self.source, kernel.applied, recipe.claims, self.out / out)
            found |= {o.id: o for o in judged}
        return found


def failed(outcome: ScenarioOutcome | None) -> bool | None:
    """Whether a scenario failed; None when that was not decided. What the kernel cannot do has not failed."""
    if outcome is None or outcome.verdict is Verdict.INCONCLUSIVE:
        return None
    return outcome.verdict is Verdict.FAIL or (outcome.verdict is Verdict.PASS and bool(outcome.splats))
