# SPDX-License-Identifier: GPL-2.0-or-later
"""What stands on each page of the site. Pure, but for a look at whether a linked file is there."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from lab.model.nightly import CheckResult, NightlyReport, Scenario, VariantResult, VersionReport
from lab.model.result import PhaseTime
from lab.model.verdict import Verdict
from lab.report import html, night_view, said, view
from lab.report.site_history import SiteHistory
from lab.report.site_places import INDEX, Links, Places, places
from lab.report.timeline import timeline

FOLDER = "report/site"
LINES = 60
"""Lines of evidence, or of what a check said, on a page; the files have the rest."""
RANGE_DIFF = 3000
"""Lines of a range-diff on a page."""
_TEXT = 4000
"""Characters of one text from outside."""
_PILE = re.compile(
    r"([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{3})"
    r"[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)
_HEAD = re.compile(r"\s*(?:\d+|-):\s+\S+ ([=!<>]) ")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a range-diff and how it is drawn."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class PatchRow:
    """One patch of a version: its checks in the order of the table's columns, and what is put down to it."""

    number: int
    subject: str
    checks: tuple[CheckResult | None, ...]
    culprit: tuple[str, ...]
    repairs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One scenario over the variants of a version; None where a variant did not have it."""

    id: str
    cells: tuple[Scenario | None, ...]


def pages(report: NightlyReport, out: Path, history: SiteHistory) -> Iterator[tuple[str, str]]:
    """Path in the site and text of each page. ``out`` is the nightly's output folder."""
    where = places(report.versions)
    topics = night_view.topics(report)
    draw = _Drawing(_environment(), where, out, report, history)
    for topic in topics:
        for version in topic.versions:
            for result in version.variants:
                path = where.variants[version.series.id, result.variant.id]
                yield path, draw("variant", path, version=version, result=result, **_variant(result))
            path = where.versions[version.series.id]
            yield path, draw("version", path, version=version, topic=topic, **_version(version, topic))
        path = where.topics[topic.topic]
        yield path, draw("series", path, topic=topic, **_claims(topic.versions))
    counts = Counter(topic.newest.verdict for topic in topics)
    yield INDEX, draw("index", INDEX, topics=topics, counts=counts)


@dataclass(frozen=True, slots=True)
class _Drawing:
    environment: Environment
    places: Places
    out: Path
    report: NightlyReport
    history: SiteHistory

    def __call__(self, template: str, path: str, **values: Any) -> str:
        return self.environment.get_template(f"{template}.html.j2").render(
            report=self.report, history=self.history, to=Links(self.places, path, self.out), **values
        )


def text(value: object) -> str:
    """A text from outside as it may stand on a page: bounded, without what moves or piles up letters."""
    return _PILE.sub(r"\1", view.clean(view.clip(str(value), _TEXT)))


def range_diff_lines(range_diff: str) -> list[Line]:
    """A range-diff to draw: heads of patches, lines that came or went, the rest."""
    found = []
    for line in range_diff.splitlines()[:RANGE_DIFF]:
        head = _HEAD.match(line)
        if head:
            kind = {"=": "same", "!": "head", "<": "head gone", ">": "head added"}[head[1]]
        else:
            kind = {"+": "came", "-": "went", "@": "place"}.get(line[4:5], "")
        found.append(Line(kind, text(line)))
    return found


@functools.cache
def _environment() -> Environment:
    environment = html.environment(FOLDER)
    style = environment.get_template("style.css").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    # Ours, not a guest's; the page admits no other style.
    environment.globals.update(style=Markup(style), style_digest=digest, lines=LINES)
    environment.filters.update(
        text=text,
        means=night_view.means,
        differences=night_view.differences,
        rate=night_view.rate,
        when=night_view.when,
        age=night_view.age,
        duration=night_view.duration,
        reasons=night_view.reasons,
        check_words=night_view.check_words,
        listed=night_view.listed,
        tally=_tally,
    )
    return environment


def _tally(result: VariantResult) -> dict[str, int]:
    """How many scenarios of the patched kernel passed, failed, are in doubt."""
    counts = Counter(s.patched for s in result.scenarios)
    return {verdict.value: counts[verdict] for verdict in Verdict}


def _claims(versions: Sequence[VersionReport]) -> dict[str, Any]:
    return {
        "claims": night_view.claim_rows(versions),
        "heads": [f"v{version.series.version}" for version in versions],
    }


def _version(version: VersionReport, topic: night_view.Topic) -> dict[str, Any]:
    names = night_view.check_names(version.checks)
    table = {(c.patch, c.name): c for c in version.checks}
    blamed = night_view.culprits(version)
    rows = [
        PatchRow(
            number,
            patch.subject,
            tuple(table.get((number, name)) for name in names),
            tuple(blamed.get(number, ())),
            tuple(f"{r.hunk}: {r.what}" for r in version.series.repairs if r.patch == number),
        )
        for number, patch in enumerate(version.series.patches, 1)
    ]
    return {
        "check_names": names,
        "style_only": {c.name for c in version.checks if c.advisory},
        "patches": rows,
        "told": sorted(
            (c for c in version.checks if c.verdict is not Verdict.PASS or c.lines),
            key=lambda c: (c.advisory, c.patch),
        ),
        "matrix": _matrix(version),
        **_claims(topic.versions[: topic.versions.index(version) + 1]),
        "range_diff": range_diff_lines(version.delta.range_diff) if version.delta else [],
    }


def _matrix(version: VersionReport) -> list[MatrixRow]:
    """Scenarios that are worth a look in any variant, the worst first."""
    first: dict[str, tuple[int, str]] = {}
    for result in version.variants:
        for scenario in night_view.notable(result.scenarios):
            place = night_view.rank(scenario)
            first[scenario.id] = min(place, first.get(scenario.id, place))
    by_variant = [{s.id: s for s in result.scenarios} for result in version.variants]
    return [
        MatrixRow(name, tuple(found.get(name) for found in by_variant))
        for name in sorted(first, key=first.__getitem__)
    ]


def _variant(result: VariantResult) -> dict[str, Any]:
    first = night_view.notable(result.scenarios)
    phases = [PhaseTime(t.name, t.side, t.wall, t.cpu) for t in result.timings]
    return {
        "why": night_view.variant_reasons(result),
        "notable": first,
        "others": [s for s in result.scenarios if not night_view.is_notable(s)],
        "reruns": any(s.rerun_same or s.rerun_new for s in first),
        "drawing": timeline(phases),
        "defects": said.about_mutants(result),
    }
