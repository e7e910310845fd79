# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of one variant as it lies in its folder, and what stands in when there is none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lab.model.errors import BadInput
from lab.model.nightly import VariantResult, VariantTask
from lab.model.verdict import Verdict
from lab.nightly import store

FILE = "variant.json"
STATUS = {Verdict.PASS: "pass", Verdict.FAIL: "fail", Verdict.INCONCLUSIVE: "warn"}
"""What Avocado is told."""


@dataclass(frozen=True, slots=True)
class Place:
    """A task with the absolute paths of its record and of the folder that its result goes to."""

    file: Path
    folder: Path
    task: VariantTask

    @classmethod
    def of(cls, file: Path) -> Place:
        """Read the record ``file``; BadInput when it is none."""
        file = file.absolute()
        task = store.load(file, VariantTask)
        return cls(file, Path(os.path.normpath(file.parent / task.folder)), task)

    def result(self) -> VariantResult | None:
        """The result in the folder; None where there is none, or none of this variant."""
        try:
            found = store.load(self.folder / FILE, VariantResult)
        except BadInput:
            return None
        return found if found.variant == self.task.variant else None

    def finished(self) -> bool:
        """Whether this need not run again: there is a result, and not one that says it was lost."""
        found = self.result()
        return found is not None and not found.lost

    def forget(self) -> None:
        """Remove a result, so that none of an earlier run is taken for this run's."""
        with contextlib.suppress(FileNotFoundError):
            (self.folder / FILE).unlink()

    def lose(self, why: str, evidence: Sequence[str] = (), *, wall: float = 0.0, host: str = "") -> None:
        """Write the result of a variant that has none."""
        lost = VariantResult(
            variant=self.task.variant,
            verdict=Verdict.INCONCLUSIVE,
            reasons=(why,),
            evidence=tuple(evidence),
            wall=wall,
            host=host,
            folder=self.task.folder,
            lost=why,
        )
        store.save(self.folder / FILE, lost)

    def ran_on(self, host: str) -> None:
        """Write into a result that came from elsewhere where it was made; its folder is the task's here."""
        if (found := self.result()) is not None:
            store.save(self.folder / FILE, replace(found, host=host, folder=self.task.folder))


def relocated(task: VariantTask, folder: str, where: Callable[[str, str], str]) -> VariantTask:
    """The task as a record somewhere else; ``where`` maps a field's name and its file to the file there."""

    def moved(field: str, name: str) -> str:
        return where(field, name) if name else ""

    return replace(
        task,
        folder=folder,
        series=moved("series", task.series),
        quarantine=moved("quarantine", task.quarantine),
        claims=moved("claims", task.claims),
    )


def told(result: VariantResult) -> tuple[str, str]:
    """Avocado's status and fail reason: ``error`` for a lost variant, ``warn`` for doubt."""
    if result.lost:
        return "error", result.lost
    reason = result.reasons[0] if result.reasons else ""
    return STATUS[result.verdict], reason
