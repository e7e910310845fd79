# SPDX-License-Identifier: GPL-2.0-or-later
"""Space-time diagrams of an attempt: one lane for each actor, time downwards. As text, and as SVG."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence

from lab.model.race import Attempt, Event, Outcome

_LANE = 34
_TIME = 11
_WIDTH, _ROW, _HEAD, _LEFT = 250, 34, 46, 80
_COLOURS = {
    Outcome.REACHED: "#b3261e",
    Outcome.CLEAN: "#1b6e3c",
    Outcome.BLOCKED: "#8a5a00",
    Outcome.NOT_REACHED: "#8a5a00",
    Outcome.BROKEN: "#555555",
}


def lanes(attempt: Attempt, actors: Sequence[str]) -> list[str]:
    """The diagram in lines of text: time, then a column for each actor; ``|`` goes on, ``#`` is held."""
    if not attempt.events:
        return []
    lines = [" " * _TIME + "".join(f"{name:<{_LANE}}" for name in actors).rstrip()]
    held: set[str] = set()
    for event in attempt.events:
        cells = textwrap.wrap(short(event), _LANE - 2) or [""]
        for number, text in enumerate(cells):
            time = f"{event.at * 1000:6.1f} ms" if number == 0 else ""
            row = f"{time:<{_TIME}}"
            for name in actors:
                mark = "#" if name in held else "|"
                row += f"{text if name == event.actor else mark:<{_LANE}}"
            lines.append(row.rstrip())
        _follow(event, held)
    lines.append(f"{'':<{_TIME}}{attempt.outcome}")
    return lines


def svg(attempt: Attempt, actors: Sequence[str], title: str) -> str:
    """The diagram as a picture. Whatever the kernel said in it is escaped."""
    height = _HEAD + _ROW * (len(attempt.events) + 2)
    width = _LEFT + _WIDTH * len(actors) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="11" role="img">',
        f"<title>{html.escape(title)}</title>",
    ]
    at = {name: _LEFT + _WIDTH * n for n, name in enumerate(actors)}
    for name, x in at.items():
        parts.append(f'<text x="{x + 12}" y="18" font-weight="bold">{html.escape(name)}</text>')
        parts.append(f'<line x1="{x}" y1="{_HEAD - 18}" x2="{x}" y2="{height - _ROW}" stroke="#bbbbbb"/>')
    since: dict[str, int] = {}
    for number, event in enumerate(attempt.events):
        y = _HEAD + _ROW * number
        parts.append(f'<text x="4" y="{y + 4}" fill="#666666">{event.at * 1000:.1f} ms</text>')
        if event.actor not in at:
            continue
        x = at[event.actor]
        if ", held" in event.what:
            since[event.actor] = y
        elif event.actor in since:
            begin = since.pop(event.actor)
            parts.append(f'<rect x="{x - 4}" y="{begin}" width="8" height="{y - begin}" fill="#e0a030"/>')
        parts.append(f'<circle cx="{x}" cy="{y}" r="4" fill="#1f4e8c"/>')
        for line, text in enumerate(textwrap.wrap(short(event), 42)[:2]):
            parts.append(f'<text x="{x + 12}" y="{y + 4 + 12 * line}">{html.escape(text)}</text>')
    y = _HEAD + _ROW * len(attempt.events)
    for name, begin in since.items():
        parts.append(f'<rect x="{at[name] - 4}" y="{begin}" width="8" height="{y - begin}" fill="#e0a030"/>')
    said = attempt.outcome.value + (f": {attempt.evidence[0]}" if attempt.evidence else "")
    colour = _COLOURS[attempt.outcome]
    parts.append(f'<text x="{_LEFT}" y="{y + 14}" fill="{colour}">{html.escape(said)}</text></svg>')
    return "\n".join(parts)


def short(event: Event) -> str:
    """An event without the text of its line: the place says enough."""
    what = event.what
    if what.startswith("at ") and ", held" in what:
        point, _, rest = what.removeprefix("at ").rpartition(": ")
        function = point.split(":")[0]
        what = f"at {function}, {rest}"
    return what if event.cpu is None else f"{what} on CPU {event.cpu}"


def _follow(event: Event, held: set[str]) -> None:
    if ", held" in event.what:
        held.add(event.actor)
    elif event.what == "released":
        held.discard(event.actor)
