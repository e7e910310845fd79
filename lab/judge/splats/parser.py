# SPDX-License-Identifier: GPL-2.0-or-later
"""The stream: which report a line belongs to, where reports begin, and in which order they come out."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator

from lab.judge.splats.prefix import LogLine, split
from lab.judge.splats.report import CUT_HERE, RULER, Report
from lab.judge.splats.rule import Rule
from lab.judge.splats.rules import SIGN, SIGNS, find
from lab.model.splat import Damage, Splat

CALLERS_LIMIT = 64
"""Callers that may have a report open, or opening, at once; a real machine has a few."""
OPENING_LIMIT = 8
"""Lines from the opening (cut here, ruler) to the banner: the message of a WARN stands between."""
SILENCE = 2000
"""Lines of others after which a report whose caller stays silent is given up."""
HELD_LIMIT = 20_000
"""Lines of reports that wait for an earlier one to end; beyond that the earliest is given up. With
LINE_LIMIT it bounds the memory of a parser, whatever is fed to it."""
LONGEST = 1 << 20
"""Characters of a line without end that are kept: what is longer is taken as several lines."""

_BLOCK = 1 << 16
"""Bytes that are split into lines at a time."""

_STAMP = 32
"""Characters that a time stamp may have, with room: a part of a line does not end inside one."""

_LOST = re.compile(r"\*\* \d+ printk messages dropped")


class SplatParser:
    """Push parser: ``feed`` lines or ``feed_bytes`` and take the splats that they complete, then ``close``.

    With CONFIG_PRINTK_CALLER each caller has its own report, so that interleaved reports come apart;
    without it the lines of all CPUs are one stream, and a report cut by another is marked as torn.
    Lines without a time stamp (user space on the console) do not disturb reports that have them.
    """

    def __init__(self) -> None:
        self._open: dict[str, Report] = {}
        self._openings: dict[str, list[LogLine]] = {}
        self._queue: deque[Report] = deque()
        self._held = 0
        self._drops = 0
        self._first = ""
        self._number = 0
        self._tail = bytearray()
        self._continues = False

    @property
    def lines(self) -> int:
        """Input lines taken so far."""
        return self._number

    def feed(self, raw: str) -> list[Splat]:
        """Take one input line; the splats that are now complete, in the order of their banners."""
        if self._idle() and not SIGN.search(raw):
            self._number += 1
            return []
        start = 0
        while len(raw) - start > LONGEST:
            end = start + _cut(raw[start + LONGEST - _STAMP : start + LONGEST].rfind("["))
            self._part(raw[start:end], start > 0)
            start = end
        self._part(raw[start:] if start else raw, start > 0)
        self._number += 1
        return self._finished() if self._queue else []

    def feed_bytes(self, data: bytes) -> list[Splat]:
        """Take a piece of a log of any size, cut anywhere; the splats that are now complete."""
        return [
            splat
            for start in range(0, len(data), _BLOCK)
            for splat in self._block(data[start : start + _BLOCK])
        ]

    def close(self) -> list[Splat]:
        """The log ends here; the splats that were still open."""
        splats = self._end_line(bytes(self._tail)) if self._tail or self._continues else []
        self._tail.clear()
        for report in self._queue:
            self._give_up(report)
        return splats + self._finished()

    def _block(self, data: bytes) -> list[Splat]:
        splats: list[Splat] = []
        at, signs = 0, _Signs(data)
        while (end := data.find(b"\n", at)) >= 0:
            if not self._tail and not self._continues and self._idle():
                at = self._skip(data, at, signs.next(at))
                if (end := data.find(b"\n", at)) < 0:
                    break
            line = data[at:end]
            if self._tail:
                self._tail += line
                self._break_tail()
                line, self._tail = bytes(self._tail), bytearray()
            splats += self._end_line(line)
            at = end + 1
        self._tail += data[at:]
        self._break_tail()
        return splats

    def _idle(self) -> bool:
        """True while no line counts but one with a sign of a report."""
        if self._queue:
            return False
        if self._openings and all(self._number - o[-1].number > SILENCE for o in self._openings.values()):
            self._openings.clear()
        return not self._openings

    def _skip(self, data: bytes, at: int, sign: int) -> int:
        """Count the lines of ``data`` from ``at`` on that end before ``sign``; where the next begins."""
        to = data.rfind(b"\n", at, sign) + 1
        if to <= at:
            return at
        self._number += data.count(b"\n", at, to)
        return to

    def _break_tail(self) -> None:
        while len(self._tail) > LONGEST:
            end = _cut(self._tail[LONGEST - _STAMP : LONGEST].rfind(b"["))
            self._part(self._tail[:end].decode("utf-8", "replace"), self._continues)
            self._tail, self._continues = self._tail[end:], True

    def _end_line(self, data: bytes) -> list[Splat]:
        self._part(data.decode("utf-8", "replace"), self._continues)
        self._continues = False
        self._number += 1
        return self._finished() if self._queue else []

    def _part(self, raw: str, continues: bool) -> None:
        """Take a line, or a part of one that is too long to be kept; inside such a line only what has a
        time stamp of its own can be a message."""
        lines = split(self._number, f"~{raw}")[1:] if continues else split(self._number, raw)
        for line in lines:
            self._line(line)

    def _line(self, line: LogLine) -> None:
        text = line.text
        if "dropped" in text and _LOST.match(text):
            self._drops += 1
            return
        stream = line.caller or ("timed" if line.time is not None else "")
        banner = find(text)
        opens = text.startswith(CUT_HERE)
        report = self._open.get(stream)
        if report is not None:
            if not report.done and self._belongs(report, line, banner, opens):
                self._held += 1
                if report.done:
                    self._leave(stream)
                return
            report.interrupt()
            self._leave(stream)
        if banner is not None:
            self._begin(stream, line, banner)
        else:
            self._before(stream, line, opens)

    def _belongs(
        self, report: Report, line: LogLine, banner: tuple[Rule, re.Match[str]] | None, opens: bool
    ) -> bool:
        """Give ``line`` to ``report`` unless it begins another one."""
        if banner is not None:
            return report.absorb(banner[0], _groups(banner[1]), line)
        if opens:
            if not report.awaits_carrier():
                return False
            report.keep(line)
        else:
            report.feed(line)
        return True

    def _before(self, stream: str, line: LogLine, opens: bool) -> None:
        """A line outside every report: it may open one, or stand between opening and banner."""
        opening = self._openings.get(stream)
        if opens or RULER.match(line.text):
            if opening is None and len(self._openings) >= CALLERS_LIMIT:
                del self._openings[next(iter(self._openings))]
            self._openings[stream] = [line]
        elif opening is not None:
            opening.append(line)
            if len(opening) > OPENING_LIMIT:
                del self._openings[stream]

    def _begin(self, stream: str, line: LogLine, banner: tuple[Rule, re.Match[str]]) -> None:
        opening = self._openings.pop(stream, [])
        if opening and line.number - opening[-1].number > SILENCE:
            opening = []
        lines = [*opening, line]
        report = Report(
            banner[0], _groups(banner[1]), start=lines[0].number, banner=line.text, drops=self._drops
        )
        for one in lines:
            report.keep(one)
        self._held += len(lines)
        self._queue.append(report)
        if report.done:
            return
        if len(self._open) >= CALLERS_LIMIT:
            oldest = next(iter(self._open))
            self._open[oldest].interrupt()
            self._leave(oldest)
        self._open[stream] = report

    def _leave(self, stream: str) -> None:
        """The report of ``stream`` takes no more lines; what the kernel dropped since its banner may have
        been part of it."""
        report = self._open.pop(stream)
        if report.drops != self._drops:
            report.damage = Damage.LINES_LOST

    def _give_up(self, report: Report) -> None:
        """Nobody goes on with ``report``; it may stay open, so that its stream finds it ended."""
        if not report.done and report.drops != self._drops:
            report.damage = Damage.LINES_LOST
        report.done = True

    def _finished(self) -> list[Splat]:
        """Take finished reports from the front; one that is still open holds back those begun later."""
        splats = []
        while self._queue:
            report = self._queue[0]
            if not report.done:
                if self._number - report.last <= SILENCE and self._held <= HELD_LIMIT:
                    break
                self._give_up(report)
            self._queue.popleft()
            self._held -= report.count
            splat = report.splat(self._first)
            self._first = self._first or splat.id
            splats.append(splat)
        return splats


class _Signs:
    """Where the next sign of a report stands in ``data``; each sign is searched for once in all."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = dict.fromkeys((sign.encode() for sign in SIGNS), -1)

    def next(self, at: int) -> int:
        """The first place from ``at`` on that has a sign, or the end. ``at`` never goes back."""
        nearest = len(self._data)
        for sign, place in self._next.items():
            if place < at:
                found = self._data.find(sign, at)
                place = self._next[sign] = found if found >= 0 else len(self._data)
            nearest = min(nearest, place)
        return nearest


def _cut(bracket: int) -> int:
    """Where a line that is too long is cut: before the last bracket of the first LONGEST characters, if that
    stands among their last _STAMP (``bracket``: its place there, -1 for none)."""
    return LONGEST if bracket < 0 else LONGEST - _STAMP + bracket


def _groups(m: re.Match[str]) -> dict[str, str]:
    return {name: value for name, value in m.groupdict().items() if value}


def parse(lines: Iterable[str]) -> Iterator[Splat]:
    """The splats in ``lines``, as soon as each is complete."""
    parser = SplatParser()
    for line in lines:
        yield from parser.feed(line)
    yield from parser.close()


def parse_bytes(chunks: Iterable[bytes]) -> Iterator[Splat]:
    """The splats in a log that comes in pieces of any size, as soon as each is complete."""
    parser = SplatParser()
    for chunk in chunks:
        yield from parser.feed_bytes(chunk)
    yield from parser.close()


def first(lines: Iterable[str]) -> Splat | None:
    """The first splat in ``lines``: the one that counts; reads no further than its end."""
    return next(parse(lines), None)
