# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab compare``: scenario × machine × kernel, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from lab.model.comparison import Cell, ComparedScenario, Comparison
from lab.model.result import ScenarioOutcome
from lab.report import view

SCHEMA = 1
WIDTH = 110
NAME_WIDTH = 46
NOT_OBSERVABLE = "not observable here"
"""How the reason of an outcome begins that the machine, not the kernel, kept from being judged."""
_WORD_WIDTH = 7

LEGEND = (
    "-       the kernel lacks what the scenario needs, or it was not run there",
    "unseen  not observable on this machine: neither passed nor failed",
    "*       judged by values alone: without what the machine does not show",
)


def word(outcome: ScenarioOutcome | None) -> str:
    """``pass``, ``pass*``, ``FAIL``, ``doubt``, ``unseen`` or ``-``."""
    if outcome is not None and outcome.verdict is None:
        return "unseen" if any(r.startswith(NOT_OBSERVABLE) for r in outcome.reasons) else "-"
    return view.starred(outcome)


def table(comparison: Comparison) -> str:
    """The comparison as text, without a final line break."""
    columns = [(m.machine, run.side) for m in comparison.machines for run in m.runs]
    lines = view.wrap(comparison.series_name or "no series", WIDTH, "series    ")
    if comparison.base_version:
        lines += [f"base      Linux {comparison.base_version}"]
    for m in comparison.machines:
        kernels = ", ".join(f"{run.side} {run.release}".strip() for run in m.runs) or "nothing was run"
        lines += view.wrap(f"{m.machine} ({m.hypervisor}): {kernels}", WIDTH, "machine   ")
        for note in m.notes:
            lines += view.wrap(note, WIDTH, "          ")
    if comparison.scenarios:
        widths = [max(len(machine), _WORD_WIDTH) for machine, _ in columns]
        lines += ["", *_head(columns, widths), "-" * WIDTH]
        lines += [_row(row, widths) for row in comparison.scenarios]
        lines += ["", *LEGEND]
    lines += _differences(comparison.scenarios)
    lines += [""]
    for reason in comparison.reasons:
        lines += view.wrap(reason, WIDTH, "result    ")
    return "\n".join(lines)


def _head(columns: list[tuple[str, str]], widths: list[int]) -> list[str]:
    machines = "  ".join(f"{name:<{width}}" for (name, _), width in zip(columns, widths, strict=True))
    sides = "  ".join(f"{side:<{width}}" for (_, side), width in zip(columns, widths, strict=True))
    return [
        f"{'':<{NAME_WIDTH}}  {machines}".rstrip(),
        f"{'scenario':<{NAME_WIDTH}}  {sides}  differ on",
    ]


def _row(row: ComparedScenario, widths: list[int]) -> str:
    cells = "  ".join(f"{word(c.outcome):<{w}}" for c, w in zip(row.cells, widths, strict=True))
    return f"{view.clip(row.id, NAME_WIDTH):<{NAME_WIDTH}}  {cells}  {', '.join(row.differs)}".rstrip()


def _differences(rows: Iterable[ComparedScenario]) -> list[str]:
    lines: list[str] = []
    for row in rows:
        if not row.differs:
            continue
        claims = f" ({', '.join(row.claims)})" if row.claims else ""
        lines += ["", f"{row.id}{claims}: machines differ on {', '.join(row.differs)}"]
        for cell in row.cells:
            said = "; ".join(cell.outcome.reasons) if cell.outcome else ""
            text = f"{word(cell.outcome)}{': ' + said if said else ''}"
            lines += view.wrap(text, WIDTH, f"  {cell.machine + ', ' + cell.side:<22}")
    return lines


def dumps(comparison: Comparison) -> str:
    """The comparison as JSON, without a final line break."""
    return json.dumps(as_dict(comparison), indent=1, ensure_ascii=True)


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON values."""
    return {
        "schema": SCHEMA,
        "exit_code": int(comparison.exit_code),
        "reasons": list(comparison.reasons),
        "started": comparison.started,
        "series": comparison.series_name,
        "base_version": comparison.base_version,
        "machines": [
            {
                "machine": m.machine,
                "hypervisor": m.hypervisor,
                "notes": list(m.notes),
                "kernels": [
                    {
                        "side": run.side,
                        "release": run.release,
                        "flavour": run.flavour,
                        "verdict": run.verdict.value,
                        "reasons": list(run.reasons),
                        "failed_phase": run.failed_phase,
                        "cached": run.cached,
                        "detectors": [{"name": p.name, "fired": p.fired} for p in run.detectors],
                    }
                    for run in m.runs
                ],
            }
            for m in comparison.machines
        ],
        "scenarios": [
            {
                "id": row.id,
                "claims": list(row.claims),
                "compared": list(row.compared),
                "differs": list(row.differs),
                "cells": [_cell(cell) for cell in row.cells],
            }
            for row in comparison.scenarios
        ],
        "phases": [
            {"name": p.name, "side": p.side, "wall": round(p.wall, 3), "cpu": round(p.cpu, 3), "note": p.note}
            for p in comparison.phases
        ],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    outcome = cell.outcome
    return {
        "machine": cell.machine,
        "side": cell.side,
        "word": word(outcome),
        "verdict": outcome.verdict.value if outcome and outcome.verdict else None,
        "reasons": list(outcome.reasons) if outcome else ["the scenario was not run there"],
        "unobserved": list(outcome.unobserved) if outcome else [],
        "observations": outcome.observations if outcome else {},
        "files": list(outcome.files) if outcome else [],
    }
