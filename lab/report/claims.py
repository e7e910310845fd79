# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of review claims: as text for people, as values for programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab.model.claim import ClaimRow, ClaimTable, Finding, Standing
from lab.report import view

COLUMN = 24
"""Columns of a kernel's name, longer ones lose their beginning."""
_ALL = "everywhere"
"""In place of a kernel where all of them say the same."""
Paint = Callable[[str, str], str]


def lines(
    table: ClaimTable, width: int, paint: Paint = lambda text, key: text, whole: bool = True
) -> list[str]:
    """The table; ``whole`` adds a paragraph for each claim: evidence or reason for each kernel."""
    names = [view.clip(view.clean(name), COLUMN) for name in table.kernels]
    widths = [max(len(name), len(Standing.NOT_REPRODUCED)) for name in names]
    head = "  ".join(f"{name:<{w}}" for name, w in zip(names, widths, strict=True))
    out = [f"{'claim':<5}  {head}  about", "-" * width]
    for row in table.rows:
        cells = [
            paint(f"{finding.standing:<{w}}", finding.standing)
            for finding, w in zip(row.findings, widths, strict=True)
        ]
        used = 9 + sum(w + 2 for w in widths)
        title = view.clip(view.clean(row.title), width - used)
        out.append("  ".join([f"{view.clean(row.id):<5}", *cells, title]).rstrip())
    for row in table.rows if whole else ():
        out += ["", *_paragraph(row, names, width)]
    return out


def _paragraph(row: ClaimRow, names: list[str], width: int) -> list[str]:
    out = view.wrap(f"{row.id} ({row.cls}): {row.title}", width)
    lead = max(len(name) for name in (*names, _ALL)) + 4
    told = list(zip(names, row.findings, strict=True))
    if len(set(row.findings)) == 1 and len(told) > 1:
        told = [(_ALL, row.findings[0])]
    for name, finding in told:
        out += view.wrap(sentence(finding), width, f"  {name:<{lead - 2}}")
        for line in finding.evidence:
            out += view.wrap(line, width, " " * lead + "| ")
    return out


def sentence(finding: Finding) -> str:
    """A finding in one sentence: what, why, and where it is from."""
    where = " ".join(filter(None, (finding.scenario, f"[{finding.flavour}]" if finding.flavour else "")))
    lead = " because" if finding.standing is Standing.NOT_DECIDED else ""
    return f"{finding.standing}{lead}: {finding.why}" + (f" ({where})" if where else "")


def summary(table: ClaimTable) -> list[str]:
    """For each kernel how many claims are reproduced, not reproduced, not decided."""
    out = []
    for at, name in enumerate(table.kernels):
        standings = [row.findings[at].standing for row in table.rows]
        out.append(f"{view.clean(name)}: " + ", ".join(f"{standings.count(s)} {s}" for s in Standing))
    return out


def as_dict(table: ClaimTable) -> list[dict[str, Any]]:
    """One entry for each claim; ``kernels`` has one for each kernel, in the table's order."""
    return [
        {
            "id": row.id,
            "title": row.title,
            "class": row.cls,
            "kernels": [
                {
                    "kernel": name,
                    "standing": str(finding.standing),
                    "why": finding.why,
                    "scenario": finding.scenario,
                    "flavour": finding.flavour,
                    "evidence": list(finding.evidence),
                }
                for name, finding in zip(table.kernels, row.findings, strict=True)
            ],
        }
        for row in table.rows
    ]
