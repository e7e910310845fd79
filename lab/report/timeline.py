# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the time went, as bars for a drawing: one lane per side, phases as they followed each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.model.result import PhaseTime

WIDTH = 900
"""Drawing units across."""
LANE = 34
BAR = 22
AXIS = 26
LABEL = 80
"""Units left of the bars for the names of the lanes."""
LETTER = 7
"""About one letter's width at the drawing's font size."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One phase: position and size in drawing units; ``label`` is empty where it would not fit."""

    x: float
    y: float
    width: float
    label: str
    title: str
    kind: int


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on the time axis."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything that the drawing needs."""

    width: int
    height: int
    lanes: tuple[tuple[str, float], ...]
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]


def timeline(phases: Sequence[PhaseTime]) -> Timeline | None:
    """Lay out the phases; None when nothing took any time.

    Phases without a start are put behind what came before them in their lane: shared phases hold both
    sides back, the two sides run beside each other.
    """
    placed = _place([phase for phase in phases if phase.wall > 0])
    if not placed:
        return None
    end = max(start + phase.wall for phase, start in placed)
    scale = (WIDTH - LABEL) / end
    lanes = tuple(dict.fromkeys(phase.side for phase, _ in placed))
    kinds = {name: n for n, name in enumerate(dict.fromkeys(phase.name for phase, _ in placed))}
    bars = []
    for phase, start in placed:
        width = max(1.5, phase.wall * scale)
        fits = len(phase.name) * LETTER + 6 <= width
        bars.append(
            Bar(
                x=round(LABEL + start * scale, 1),
                y=lanes.index(phase.side) * LANE + (LANE - BAR) / 2,
                width=round(width, 1),
                label=phase.name if fits else "",
                title=f"{phase.name} {phase.side}: {phase.wall:.1f} s wall, {phase.cpu:.1f} s CPU".replace(
                    " :", ":"
                ),
                kind=kinds[phase.name] % 6,
            )
        )
    named = tuple((side or "both", n * LANE + LANE / 2) for n, side in enumerate(lanes))
    return Timeline(WIDTH, len(lanes) * LANE + AXIS, named, tuple(bars), _ticks(end, scale))


def _place(phases: Sequence[PhaseTime]) -> list[tuple[PhaseTime, float]]:
    ends: dict[str, float] = {}
    placed = []
    for phase in phases:
        if phase.start is not None:
            start = phase.start
        elif phase.side:
            start = max(ends.get(phase.side, 0.0), ends.get("", 0.0))
        else:
            start = max(ends.values(), default=0.0)
        ends[phase.side] = max(ends.get(phase.side, 0.0), start + phase.wall)
        placed.append((phase, start))
    return placed


def _ticks(end: float, scale: float) -> tuple[Tick, ...]:
    step = next((s for s in (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800) if end / s <= 10), 3600)
    marks = (n * step for n in range(int(end / step) + 1))
    ticks = (Tick(round(LABEL + mark * scale, 1), f"{mark:g} s") for mark in marks)
    return tuple(tick for tick in ticks if tick.x + LETTER * len(tick.label) < WIDTH)
