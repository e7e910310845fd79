# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines beside each other: where one passes what another fails.

Only verdicts are compared that were reached: what a machine does not show, what its kernel lacks and
what is in doubt says nothing about another machine. Nor does it count as agreement.
"""

from __future__ import annotations

from collections.abc import Sequence

from lab.judge.verdict import settle
from lab.model.comparison import RUNNING, Cell, ComparedScenario, MachineRuns
from lab.model.errors import ExitCode
from lab.model.result import KernelRun, ScenarioOutcome
from lab.model.verdict import Verdict

_REACHED = (Verdict.PASS, Verdict.FAIL)


def scenarios(machines: Sequence[MachineRuns]) -> tuple[ComparedScenario, ...]:
    """Every scenario of any machine, in the order of the first that ran it."""
    settled = [(m, run, _outcomes(run)) for m in machines for run in m.runs]
    newest = newest_side(machines)
    ids = dict.fromkeys(ident for _, _, found in settled for ident in found)
    rows = []
    for ident in ids:
        cells = tuple(Cell(m.machine, run.side, found.get(ident)) for m, run, found in settled)
        claims = next(f[ident].claims for _, _, f in settled if ident in f)
        sides = dict.fromkeys(cell.side for cell in cells)
        verdicts = {side: _reached(cells, side, newest) for side in sides}
        rows.append(
            ComparedScenario(
                id=ident,
                claims=claims,
                cells=cells,
                compared=tuple(side for side, found in verdicts.items() if len(found) > 1),
                differs=tuple(side for side, found in verdicts.items() if len(set(found)) > 1),
            )
        )
    return tuple(rows)


def judge(
    machines: Sequence[MachineRuns], rows: Sequence[ComparedScenario]
) -> tuple[ExitCode, tuple[str, ...]]:
    """Exit code and reasons: 4 when a machine did not get to the scenarios, 1 when the newest kernel of all
    machines passes on one and fails on another, 3 when nothing could be compared or something is in doubt."""
    ended = [
        f"{m.machine}, {run.side}: ended in phase {run.failed_phase}: {'; '.join(run.reasons)}"
        for m in machines
        for run in m.runs
        if run.failed_phase
    ]
    if ended:
        return ExitCode.LAB_UNAVAILABLE, tuple(ended)
    newest = newest_side(machines)
    apart = [row.id for row in rows if newest in row.differs]
    if apart:
        return ExitCode.FAIL, (f"machines differ on the {newest} kernel: {', '.join(apart)}",)
    if not any(newest in row.compared for row in rows):
        return ExitCode.INCONCLUSIVE, (f"no scenario was judged by two machines on the {newest} kernel",)
    doubts = [
        f"{cell.machine}, {cell.side}, {row.id}: {'; '.join(cell.outcome.reasons)}"
        for row in rows
        for cell in row.cells
        if cell.outcome is not None and cell.outcome.verdict is Verdict.INCONCLUSIVE
    ]
    if doubts:
        return ExitCode.INCONCLUSIVE, tuple(doubts)
    agreed = sum(newest in row.compared for row in rows)
    return ExitCode.PASS, (f"machines agree on the {newest} kernel in all {agreed} scenarios judged twice",)


def newest_side(machines: Sequence[MachineRuns]) -> str:
    """The last kernel that was run: ``patched`` with a series, else ``base``."""
    sides = [run.side for m in machines for run in m.runs if run.side != RUNNING]
    return "patched" if "patched" in sides else (sides[0] if sides else RUNNING)


def _outcomes(run: KernelRun) -> dict[str, ScenarioOutcome]:
    # On a machine of others nobody trips detectors on purpose; a note of the machine says so.
    if run.side == RUNNING:
        return {outcome.id: outcome for outcome in run.outcomes}
    return {outcome.id: settle(outcome, run.detectors, run.flavour) for outcome in run.outcomes}


def _reached(cells: Sequence[Cell], side: str, newest: str) -> list[Verdict]:
    """Verdicts on one side. The kernel on a machine of others is held against the newest of ours."""
    wanted = (side, RUNNING) if side == newest else (side,)
    found = [c.outcome.verdict for c in cells if c.outcome is not None and c.side in wanted]
    return [verdict for verdict in found if verdict in _REACHED]
