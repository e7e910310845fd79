# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the driver behind a posted series: would the scenarios notice, were this version broken?"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from lab.model.errors import LabError
from lab.model.mutant import DriverMutant, MutantResult
from lab.model.nightly import MutantFate, MutantState, VariantResult
from lab.model.result import KernelRun, ValidateResult
from lab.progress import Progress
from lab.race.judging import PREFIX
from lab.report import view
from lab.series.mutants import load_driver_mutants
from lab.validate import kernels
from lab.validate.driver_mutants import MutantRunner
from lab.validate.walk import ValidateRequest

EVIDENCE = "mutants"
"""Folder of their runs, in the variant's."""
NOT_TRIED = "not tried, or not to the end: the variant's budget was spent, or its notes say why"


def mutated(
    request: ValidateRequest,
    result: ValidateResult,
    told: VariantResult,
    ids: Sequence[str],
    deadline: float,
    progress: Progress,
) -> VariantResult:
    """``told`` with what became of each mutant. No part of the verdict: it is about the scenarios.

    All ends with ``deadline`` (time.monotonic()). What cannot be found out is a note: whatever breaks here,
    the run itself was good.
    """
    if told.failed_phase:
        return replace(told, notes=(*told.notes, "mutants were not tried: the kernel ran no scenario"))
    wanted = [m for m in load_driver_mutants() if m.id in ids]
    runner = MutantRunner(
        request.selectors,
        kernels.open_cache(),
        progress,
        request.out / EVIDENCE,
        flavours=request.flavours,
        expression=request.expression,
        behind=True,
        known=tuple(map(_without_races, view.runs_of(result, "patched"))),
    )
    found: dict[str, MutantState] = {}
    notes: list[str] = []
    try:
        with progress.phase("mutants", "patched"):
            _try(runner, wanted, found, deadline, progress)
    except LabError as e:
        notes.append(f"mutants were not tried to the end: {str(e).splitlines()[0]}")
    except Exception as e:
        traceback.print_exc()
        notes.append(f"mutants were not tried to the end: {type(e).__name__}: {e}")
    states = (
        found.get(m.id) or MutantState(m.id, m.kind, MutantFate.UNDECIDED, why=NOT_TRIED) for m in wanted
    )
    return replace(told, mutants=tuple(states), notes=(*told.notes, *notes))


def _try(
    runner: MutantRunner,
    wanted: Sequence[DriverMutant],
    found: dict[str, MutantState],
    deadline: float,
    progress: Progress,
) -> None:
    over = threading.Timer(max(0.0, deadline - time.monotonic()), runner.stop)
    over.daemon = True
    over.start()
    try:
        with closing(runner.run(tuple(wanted))) as results:
            for result in results:
                if time.monotonic() > deadline:
                    return  # this one was ended
                found[result.id] = state_of(result)
                progress.step(len(found), len(wanted), f"mutant {result.id}: {found[result.id].fate}")
    finally:
        over.cancel()


def _without_races(run: KernelRun) -> KernelRun:
    """Recipes are of the claims of one series; they are not run with its mutants."""
    return replace(run, outcomes=tuple(o for o in run.outcomes if not o.id.startswith(PREFIX)))


def state_of(result: MutantResult) -> MutantState:
    """What is told of a mutant. One that no test can tell from the driver has not survived anything."""
    if result.killed:
        return MutantState(result.id, result.kind, MutantFate.KILLED, result.by, result.evidence)
    why = result.doubt or result.equivalent
    fate = MutantFate.UNDECIDED if why else MutantFate.SURVIVED
    return MutantState(result.id, result.kind, fate, why=why)
