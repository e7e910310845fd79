# SPDX-License-Identifier: GPL-2.0-or-later
"""What earlier nights found: every judgement of every version, and what can be learned from them.

Times are ISO 8601 in UTC. A judgement is recorded once, whichever run tells of it, so that recording the same
report again changes nothing.
"""

from __future__ import annotations

import sqlite3
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lab.hashing import digest
from lab.model.errors import BadInput
from lab.model.nightly import NightlyReport, Scenario, VariantResult, VersionReport
from lab.model.verdict import Verdict
from lab.nightly import history_file
from lab.printable import printable

SLOWER_SHARE = 0.25
SLOWER_SECONDS = 5.0
"""A phase became slower where its median grew by more than both: this share, and these seconds."""
LOOKED_BACK = 4
"""How many times as many runs as the last ones are taken for what was usual before."""


@dataclass(frozen=True, slots=True)
class Run:
    """One nightly: how many versions it judged to which end; ``wall`` and ``cpu`` in seconds."""

    started: str
    finished: str
    passed: int
    failed: int
    inconclusive: int
    wall: float
    cpu: float
    lab: str


@dataclass(frozen=True, slots=True)
class Point:
    """What a scenario said once. A verdict is "" where the side did not run it, or it says nothing."""

    time: str
    topic: str
    version: int
    variant: str
    base: str
    patched: str
    counts: str
    culprit: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Seen:
    """When and where a splat was seen: ``first_in`` and ``last_in`` are ``TOPIC/vN``, ``times`` counts
    judgements."""

    id: str
    first: str
    last: str
    first_in: str
    last_in: str
    times: int


@dataclass(frozen=True, slots=True)
class Slower:
    """A phase whose median over the last judgements lies well above that of those before; seconds."""

    phase: str
    side: str
    variant: str
    host: str
    before: float
    now: float
    before_runs: int
    now_runs: int

    def __str__(self) -> str:
        of = f"{self.phase} ({self.side})" if self.side else self.phase
        return (
            f"{of} of {self.variant} on {self.host or 'this host'} takes {self.now:.1f} s "
            f"(median of the last {self.now_runs}), it took {self.before:.1f} s "
            f"(median of {self.before_runs} before): {100 * (self.now / self.before - 1):+.0f} %"
        )


@dataclass(frozen=True, slots=True)
class Hint:
    """Where to look for a scenario's failure: the first version of its topic that fails, the patch of it
    (counted from 1; 0 unknown), the last version before that passed and the next one that passes again
    (0: none)."""

    topic: str
    scenario: str
    variant: str
    fails_in: int
    patch: int
    time: str
    passed_in: int = 0
    passes_again_in: int = 0

    def __str__(self) -> str:
        patch = f", patch {self.patch}" if self.patch else ""
        text = f"{self.scenario} ({self.variant}) fails first in {self.topic}/v{self.fails_in}{patch}"
        if self.passed_in:
            text += f"; it passed in v{self.passed_in}"
        if self.passes_again_in:
            text += f"; it passes again in v{self.passes_again_in}"
        return text


@contextmanager
def opened(path: Path, *, create: bool = True) -> Iterator[History]:
    """The history at ``path``. BadInput and LabUnavailable as of ``history_file.opened``."""
    with history_file.opened(path, create=create) as connection:
        yield History(connection)


class History:
    """Records and questions on an open history."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def record(self, report: NightlyReport) -> int:
        """Remember a nightly; how many judgements were not known yet. All of it or nothing.

        Versions that were judged on an earlier night are recorded too if nobody did so then. BadInput
        for a time that is none.
        """
        started, finished = _utc(report.started, "started"), _utc(report.finished, "finished")
        key = digest("run", started, *report.judged)
        with history_file.writing(self._db):
            self._db.execute(
                "INSERT OR IGNORE INTO runs (key, started, finished, wall, cpu, lab) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (key, started, finished, report.wall, report.cpu, report.lab),
            )
            [run] = self._db.execute("SELECT id FROM runs WHERE key = ?", (key,)).fetchone()
            return sum(self._version(run, report, version, finished) for version in report.versions)

    def runs(self, limit: int = 30) -> tuple[Run, ...]:
        """The last runs, newest first."""
        rows = self._db.execute(
            """SELECT started, finished,
                (SELECT count(*) FROM versions v WHERE v.run = r.id AND judged AND verdict = 'pass'),
                (SELECT count(*) FROM versions v WHERE v.run = r.id AND judged AND verdict = 'fail'),
                (SELECT count(*) FROM versions v WHERE v.run = r.id AND judged AND verdict = 'inconclusive'),
                wall, cpu, lab
            FROM runs r ORDER BY started DESC, id DESC LIMIT ?""",
            (limit,),
        )
        return tuple(Run(*row) for row in rows)

    def trend(
        self, scenario: str, *, topic: str = "", variant: str = "", limit: int = 30
    ) -> tuple[Point, ...]:
        """What a scenario said in its last judgements, oldest first; of one topic or variant if asked."""
        rows = self._db.execute(
            f"""{_POINTS} WHERE s.name = :scenario AND (:topic = '' OR v.topic = :topic)
                AND (:variant = '' OR a.name = :variant)
            ORDER BY v.time DESC, v.id DESC, a.id DESC LIMIT :limit""",
            {"scenario": scenario, "topic": topic, "variant": variant, "limit": limit},
        )
        return tuple(Point(*row) for row in reversed(rows.fetchall()))

    def trends(self, limit: int = 30) -> dict[str, tuple[str, ...]]:
        """{``TOPIC/SCENARIO``: its verdicts on the patched kernel in its last judgements, oldest first}. Of
        the variants of one judgement the worst counts; one that did not run it is left out."""
        rows = self._db.execute(
            """SELECT v.topic || '/' || s.name, max(CASE s.patched
                    WHEN 'fail' THEN '2fail' WHEN 'inconclusive' THEN '1inconclusive' ELSE '0pass' END)
            FROM scenarios s JOIN variants a ON a.id = s.variant JOIN versions v ON v.id = a.version
            WHERE s.patched != '' GROUP BY v.id, s.name ORDER BY v.time, v.id"""
        )
        found: dict[str, list[str]] = {}
        for name, verdict in rows:
            found.setdefault(name, []).append(verdict[1:])
        return {name: tuple(said[-limit:]) for name, said in sorted(found.items())}

    def splats(self) -> tuple[Seen, ...]:
        """Every splat that was ever seen on a patched kernel, the newest first."""
        rows = self._db.execute(
            """SELECT p.name, v.time, v.topic || '/v' || v.version FROM splats p
            JOIN variants a ON a.id = p.variant JOIN versions v ON v.id = a.version
            GROUP BY p.name, v.id ORDER BY v.time, v.id"""
        )
        found: dict[str, list[tuple[str, str]]] = {}
        for name, time, where in rows:
            found.setdefault(name, []).append((time, where))
        seen = [Seen(n, s[0][0], s[-1][0], s[0][1], s[-1][1], len(s)) for n, s in found.items()]
        return tuple(sorted(seen, key=lambda s: (s.first, s.id), reverse=True))

    def seen(self, splat: str) -> Seen | None:
        """When a splat was seen; None: never."""
        return next((s for s in self.splats() if s.id == splat), None)

    def slower(self, last: int = 5) -> tuple[Slower, ...]:
        """Phases that became slower, the worst first: the median of the last ``last`` judgements against
        that of those before (at most LOOKED_BACK times as many, and at least as many).

        Each phase is compared with itself on one host in one variant. BadInput for less than one.
        """
        if last < 1:
            raise BadInput(f"{last} is no number of runs", where="history")
        rows = self._db.execute(
            """SELECT t.phase, t.side, a.name, a.host, t.wall FROM timings t
            JOIN variants a ON a.id = t.variant JOIN versions v ON v.id = a.version
            WHERE a.lost = '' AND a.failed_phase = '' ORDER BY v.time, v.id, t.rowid"""
        )
        series: dict[tuple[str, str, str, str], list[float]] = {}
        for phase, side, variant, host, wall in rows:
            series.setdefault((phase, side, variant, host), []).append(wall)
        found = [_slower(name, walls, last) for name, walls in series.items() if len(walls) >= 2 * last]
        return tuple(sorted(filter(None, found), key=lambda s: s.before - s.now))

    def hints(self, topic: str, scenario: str) -> tuple[Hint, ...]:
        """For each variant in which a scenario failed: the first version and patch of ``topic`` to do so.

        Of a version that was judged more than once the last judgement counts. A failure in quarantine, or
        on base alike, is none.
        """
        rows = self._db.execute(
            f"{_POINTS} WHERE s.name = ? AND v.topic = ? ORDER BY v.version, v.time, v.id, a.id",
            (scenario, topic),
        )
        variants: dict[str, dict[int, Point]] = {}
        for row in rows:
            point = Point(*row)
            variants.setdefault(point.variant, {})[point.version] = point
        found = [_hint(scenario, list(points.values())) for points in variants.values()]
        return tuple(hint for hint in found if hint is not None)

    def _version(self, run: int, night: NightlyReport, report: VersionReport, finished: str) -> int:
        series = report.series
        time = _utc(report.finished, f"finished of {series.id}") if report.finished else finished
        new = self._db.execute(
            "INSERT OR IGNORE INTO versions (run, topic, version, key, title, verdict, judged, time) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (
                run,
                series.topic,
                series.version,
                report.key,
                printable(series.title),
                str(report.verdict),
                series.id in night.judged,
                time,
            ),
        ).fetchall()
        for [version] in new:
            for variant in report.variants:
                self._variant(version, variant)
        return len(new)

    def _variant(self, version: int, found: VariantResult) -> None:
        values = (version, found.variant.id, str(found.verdict), found.failed_phase, found.culprit)
        [variant] = self._db.execute(
            "INSERT INTO variants (version, name, verdict, failed_phase, culprit, lost, host, wall, cpu) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (*values, printable(found.lost), found.host, found.wall, found.cpu),
        ).fetchone()
        self._db.executemany(
            "INSERT INTO scenarios (variant, name, base, patched, counts, culprit, quarantined, seconds) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(variant, *_row(scenario)) for scenario in found.scenarios],
        )
        self._db.executemany(
            "INSERT INTO timings (variant, phase, side, wall, cpu) VALUES (?, ?, ?, ?, ?)",
            [(variant, t.name, t.side, t.wall, t.cpu) for t in found.timings],
        )
        splats = [(splat, "") for splat in found.splats]
        splats += [(splat, scenario.id) for scenario in found.scenarios for splat in scenario.splats]
        self._db.executemany(
            "INSERT OR IGNORE INTO splats (variant, name, scenario) VALUES (?, ?, ?)",
            [(variant, name, scenario) for name, scenario in splats],
        )


_POINTS = """SELECT v.time, v.topic, v.version, a.name, s.base, s.patched, s.counts, s.culprit, s.seconds
    FROM scenarios s JOIN variants a ON a.id = s.variant JOIN versions v ON v.id = a.version"""


def _row(found: Scenario) -> tuple[str, str, str, str, int, str, float]:
    held = found.quarantined and found.patched is not Verdict.PASS
    counts = "" if held else str(found.counts or "")
    verdicts = (str(found.base or ""), str(found.patched or ""), counts)
    return (found.id, *verdicts, found.culprit, printable(found.quarantined), found.seconds)


def _slower(name: tuple[str, str, str, str], walls: list[float], last: int) -> Slower | None:
    earlier = walls[:-last][-LOOKED_BACK * last :]
    before, now = statistics.median(earlier), statistics.median(walls[-last:])
    if now - before <= SLOWER_SECONDS or now - before <= SLOWER_SHARE * before:
        return None
    return Slower(*name, before=before, now=now, before_runs=len(earlier), now_runs=last)


def _hint(scenario: str, points: list[Point]) -> Hint | None:
    """From the last judgements of each version, oldest version first."""
    first = next((p for p in points if p.counts == Verdict.FAIL), None)
    if first is None:
        return None
    passed = [p.version for p in points if p.patched == Verdict.PASS]
    before = [v for v in passed if v < first.version]
    after = [v for v in passed if v > first.version]
    return Hint(
        topic=first.topic,
        scenario=scenario,
        variant=first.variant,
        fails_in=first.version,
        patch=first.culprit,
        time=first.time,
        passed_in=before[-1] if before else 0,
        passes_again_in=after[0] if after else 0,
    )


def _utc(text: str, where: str) -> str:
    """The same moment in UTC, so that times compare as text."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as e:
        raise BadInput(f"not a time: {text!r}", where=where, hint="ISO 8601 is what is asked for") from e
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="seconds")
