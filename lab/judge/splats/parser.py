# SPDX-License-Identifier: GPL-2.0-or-later
"""The stream: which report a line belongs to, where reports begin, and in which order they come out."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator

from lab.judge.splats.prefix import LogLine, split
from lab.judge.splats.report import CUT_HERE, RULER, Report
from lab.judge.splats.rules import Rule, find
from lab.model.splat import Splat

CALLERS_LIMIT = 64
"""Callers that may have a report open, or opening, at once; a real machine has a few."""
OPENING_LIMIT = 8
"""Lines from the opening (cut here, ruler) to the banner: the message of a WARN stands between."""
SILENCE = 2000
"""Lines of others after which a report whose caller stays silent is given up."""

_LOST = re.compile(r"\*\* \d+ printk messages dropped")


class SplatParser:
    """Push parser: ``feed`` lines and take the splats that they complete, then ``close``.

    With CONFIG_PRINTK_CALLER each caller has its own report, so that interleaved reports come apart;
    without it the lines of all CPUs are one stream, and a report cut by another is marked corrupted.
    Lines without a time stamp (user space on the console) do not disturb reports that have them.
    """

    def __init__(self) -> None:
        self._open: dict[str, Report] = {}
        self._openings: dict[str, list[LogLine]] = {}
        self._queue: deque[Report] = deque()
        self._first = ""
        self._number = 0

    def feed(self, raw: str) -> list[Splat]:
        """Take one input line; the splats that are now complete, in the order of their banners."""
        for line in split(self._number, raw):
            self._line(line)
        self._number += 1
        return self._finished() if self._queue else []

    def close(self) -> list[Splat]:
        """The log ends here; the splats that were still open."""
        for report in self._queue:
            report.done = True
        return self._finished()

    def _line(self, line: LogLine) -> None:
        text = line.text
        if "dropped" in text and _LOST.match(text):
            for pending in self._queue:
                pending.torn = True
            return
        stream = line.caller or ("timed" if line.time is not None else "")
        banner = find(text)
        opens = text.startswith(CUT_HERE)
        report = self._open.get(stream)
        if report is not None and not report.done:
            if self._belongs(report, line, banner, opens):
                return
            report.interrupt()
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
        lines = [*self._openings.pop(stream, []), line]
        report = Report(banner[0], _groups(banner[1]), start=lines[0].number)
        for one in lines:
            report.keep(one)
        self._open.pop(stream, None)
        if len(self._open) >= CALLERS_LIMIT:
            self._open.pop(next(iter(self._open))).interrupt()
        self._open[stream] = report
        self._queue.append(report)

    def _finished(self) -> list[Splat]:
        """Take finished reports from the front; one that is still open holds back those begun later."""
        splats = []
        while self._queue:
            report = self._queue[0]
            if not report.done and self._number - report.last <= SILENCE:
                break
            report.done = True
            self._queue.popleft()
            splat = report.splat(self._first)
            self._first = self._first or splat.id
            splats.append(splat)
        return splats


def _groups(m: re.Match[str]) -> dict[str, str]:
    return {name: value for name, value in m.groupdict().items() if value}


def parse(lines: Iterable[str]) -> Iterator[Splat]:
    """The splats in ``lines``, as soon as each is complete."""
    parser = SplatParser()
    for line in lines:
        yield from parser.feed(line)
    yield from parser.close()


def first(lines: Iterable[str]) -> Splat | None:
    """The first splat in ``lines``: the one that counts; reads no further than its end."""
    return next(parse(lines), None)
