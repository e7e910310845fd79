# SPDX-License-Identifier: GPL-2.0-or-later
"""A hunk out of a quote: remarks taken out, wrapped lines rejoined, and its header's counts as the judge."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from lab.series.limits import MAX_LINE

_WIDTHS = (65, 80)
"""Columns at which mail programs wrap."""

_NEVER = 50
"""Columns before which nobody wraps."""

_NO_REST = re.compile(r"^(?:\+[^\s+]|.(?:$|\t| ?\*|/|[#{}]))")


@dataclass(slots=True)
class Line:
    """A line of the mail. ``quoted``: at the depth of the patch; ``text`` is without quote marks, ``size``
    how long the mail's line is (of the last one, after joining). ``marked``: it begins with other quote
    marks, if that is what they are."""

    text: str
    quoted: bool
    size: int
    marked: bool = False

    @property
    def blank(self) -> bool:
        """Nothing but quote marks."""
        return not self.text.strip()

    @property
    def counts(self) -> tuple[int, int]:
        """Old and new lines that this is in a hunk, if it is one of a hunk's."""
        if not self.quoted or self.text[:1] not in (" ", "+", "-", ""):
            return 0, 0
        return int(self.text[:1] != "+"), int(self.text[:1] != "-")

    @property
    def odd(self) -> bool:
        """Quoted, and no line that a hunk can have: the rest of the line above."""
        return self.quoted and self.text[:1] not in (" ", "+", "-", "", "\\")


@dataclass(slots=True)
class Diff:
    """What is recovered so far. ``widest``: the longest quoted line that could have been wrapped; ``depth``:
    characters of the quote marks; ``signed``: the patch's own signature ends it."""

    widest: int
    depth: int
    signed: bool
    out: list[str] = field(default_factory=list)
    repairs: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    rests: set[bool] = field(default_factory=set)
    """Whether the rest of a wrapped line is quoted itself."""
    suspects: list[str] = field(default_factory=list)
    """Hunks with a changed line that may be the rest of the one above, if lines are wrapped at all."""
    files: int = 0
    added: int = 0
    removed: int = 0

    def continues(self, above: Line, line: Line) -> bool | None:
        """Whether a mail program that wraps has made these two lines of one; None: nobody can tell."""
        words = line.text.split(maxsplit=1)
        if not words or not above.quoted or above.blank or len(above.text) > MAX_LINE:
            return False
        room = above.size + len(words[0])
        if room < max(self.widest, _NEVER):
            return False
        first, last = _WIDTHS
        likely = max(self.widest, first) <= min(last + self.depth * line.quoted, room)
        return (likely and not line.marked) or None


def read_hunk(
    head: Line,
    header: re.Match[str],
    body: list[Line],
    followed: bool,
    diff: Diff,
    name: str,
    shift: int,
) -> int:
    """One hunk; ``followed``: a quoted line comes after it. Returns by how many lines the file below it has
    moved."""
    old, new = (int(header[n]) if header[n] else 1 for n in (2, 4))
    where = f"{name}:{header[1]}"
    mended: list[str] = []
    if old and new and int(header[3]) - int(header[1]) != shift:
        diff.problems.append(f"hunks above {where} are missing")
    lines, doubts = _without_remarks(head, body, followed, diff, mended)
    diff.problems += [f"hunk {where} is not whole: {doubt}" for doubt in doubts]
    excess = _sum(lines, old, new)
    if excess != (0, 0):
        lines, excess = _fitted(lines, excess, diff, mended)
    elif any(_like_a_rest(b) and diff.continues(a, b) for a, b in pairwise(lines)):
        diff.suspects.append(where)
    if excess != (0, 0):
        kind = "lines are missing" if max(excess) <= 0 else "lines are wrapped or added, or some are missing"
        diff.problems.append(f"hunk {where} is not whole: {kind}")
    empty = sum(1 for m in lines if m.quoted and not m.text)
    if empty:
        mended.append(_count(empty, "empty line got its blank back", "empty lines got their blanks back"))
    diff.out.append(head.text.rstrip())
    kept = [m.text or " " for m in lines if m.quoted]
    diff.out += kept
    diff.added += sum(1 for t in kept if t[0] == "+")
    diff.removed += sum(1 for t in kept if t[0] == "-")
    if mended:
        diff.repairs.append((where, ", ".join(mended)))
    return int(header[3]) - int(header[1]) + new - old if old and new else shift + new - old


def _like_a_rest(line: Line) -> bool:
    """Whether a changed line may as well be the rest of an expression, ``+ b`` or ``-EINVAL``: not one that
    is indented with a tab, part of a comment, a directive or a brace."""
    return line.quoted and line.text[:1] in ("+", "-") and not _NO_REST.match(line.text)


def _without_remarks(
    head: Line, body: list[Line], followed: bool, diff: Diff, mended: list[str]
) -> tuple[list[Line], list[str]]:
    """The quoted lines of a hunk, the rest of wrapped ones joined, and single blank lines between two of
    them; and what nobody can tell."""
    lines: list[Line] = []
    doubts: list[str] = []
    rejoined = 0
    for run in _runs(body):
        above = lines[-1] if lines else head
        first = run[0]
        if first.quoted and not first.odd:
            lines.append(first)
            continue
        if first.blank:
            lines += run if len(run) == 1 else []
            continue
        fits = diff.continues(above, first)
        if not first.quoted:
            if fits is False:
                continue
            glued = (followed or run[-1] is not body[-1]) and not any(m.blank for m in run)
            fits = fits and glued and _all_continue(run, diff)
        if not fits:
            doubts.append(f"{first.text.strip()[:40]!r} is a remark or the rest of a line")
            continue
        for line in run:
            _join(above, line)
        rejoined += len(run)
        diff.rests.add(first.quoted)
    if rejoined:
        mended.append(_count(rejoined, "wrapped line rejoined", "wrapped lines rejoined"))
    while lines and not lines[-1].quoted:
        lines.pop()
    return lines, doubts


def _runs(body: list[Line]) -> Iterator[list[Line]]:
    """Single quoted lines, and runs of lines that are not quoted."""
    run: list[Line] = []
    for line in body:
        if not line.quoted:
            run.append(line)
            continue
        if run:
            yield run
            run = []
        yield [line]
    if run:
        yield run


def _all_continue(run: list[Line], diff: Diff) -> bool:
    return all(diff.continues(Line(a.text, True, a.size), b) for a, b in pairwise(run))


def _join(above: Line, line: Line) -> None:
    glue = "" if above.text.endswith(" ") or line.text.startswith(" ") else " "
    above.text += glue + line.text.rstrip()
    above.size = line.size


def _sum(lines: list[Line], old: int, new: int) -> tuple[int, int]:
    """Old and new lines beyond what the header says."""
    counts = [m.counts for m in lines]
    return sum(c[0] for c in counts) - old, sum(c[1] for c in counts) - new


def _fitted(
    lines: list[Line], excess: tuple[int, int], diff: Diff, mended: list[str]
) -> tuple[list[Line], tuple[int, int]]:
    """Make the counts fit, if there is one way to do it."""
    if excess[0] == excess[1] > 0:
        ending = 0
        while ending < min(excess[0], len(lines)) and not lines[-1 - ending].text:
            ending += 1
        lines = lines[: len(lines) - ending]
        excess = (excess[0] - ending, excess[1] - ending)
    gaps = [m for m in lines if not m.quoted]
    if excess[0] == excess[1] == -len(gaps) < 0:
        for gap in gaps:
            gap.quoted, gap.text = True, ""
        return lines, (0, 0)
    if max(excess) > 0:
        rests = [
            i
            for i in range(1, len(lines))
            if lines[i].quoted and not lines[i].blank and diff.continues(lines[i - 1], lines[i])
        ]
        sums = [lines[i].counts for i in rests]
        if (sum(s[0] for s in sums), sum(s[1] for s in sums)) == excess:
            chosen = set(rests)
            diff.rests.add(True)
            kept: list[Line] = []
            for i, line in enumerate(lines):
                if i in chosen:
                    _join(kept[-1], line)
                else:
                    kept.append(line)
            mended.append(_count(len(rests), "wrapped line rejoined", "wrapped lines rejoined"))
            return kept, (0, 0)
    return lines, excess


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
