# SPDX-License-Identifier: GPL-2.0-or-later
"""One self-contained page: no network, no scripts; everything that came from a guest is escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lab.model.coverage import ranges
from lab.model.result import ScenarioOutcome, ScenarioPair, ValidateResult
from lab.paths import templates_dir
from lab.report import claims, view
from lab.report.timeline import timeline

TEMPLATE = "report.html.j2"


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a scenario on the page. ``texts`` are the attached files: name and content."""

    name: str
    word: str
    outcome: ScenarioOutcome
    texts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario on the page."""

    anchor: str
    pair: ScenarioPair
    base: str
    patched: str
    sides: tuple[Side, ...]


def environment(folder: str) -> Environment:
    """What draws the templates of a folder below ``templates/``: everything is escaped."""
    found = Environment(
        loader=FileSystemLoader(templates_dir() / folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["clean"] = view.clean
    found.filters["seconds"] = view.seconds
    return found


def page(result: ValidateResult, attachments: Mapping[str, str]) -> str:
    """The page. ``attachments`` maps evidence files, relative to the output folder, to their text.

    A file that a scenario names is shown with it, the others at the end.
    """
    pages = environment("report")
    pages.filters["sentence"] = claims.sentence
    pages.filters["starred"] = view.starred
    pages.filters["ranges"] = ranges
    pages.filters["picture"] = _data_url
    rows = [_row(result, pair, number, attachments) for number, pair in enumerate(result.scenarios)]
    shown = {name for row in rows for side in row.sides for name, _ in side.texts}
    return pages.get_template(TEMPLATE).render(
        result=result,
        source=view.source_words(result),
        doubtful=view.doubtful(result),
        not_exercised=view.not_exercised(result),
        coverage=view.coverage(result),
        stars=view.stars(result),
        rows=rows,
        many=len(view.flavours(result)) > 1,
        timeline=timeline(result.phases),
        others=[(name, text) for name, text in attachments.items() if name not in shown],
        cpu=sum(phase.cpu for phase in result.phases),
    )


def _data_url(svg: str) -> str:
    """An SVG text as the source of an image, where nothing in it can run."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8", "replace")).decode("ascii")


def _row(result: ValidateResult, pair: ScenarioPair, number: int, attachments: Mapping[str, str]) -> Row:
    sides = tuple(
        Side(
            name,
            view.word(outcome),
            outcome,
            tuple((f, attachments[f]) for f in view.files(result, pair, name) if f in attachments),
        )
        for name, outcome in view.sides(pair)
    )
    return Row(f"s{number}", pair, view.word(pair.base), view.word(pair.patched), sides)
