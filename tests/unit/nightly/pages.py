# SPDX-License-Identifier: GPL-2.0-or-later
"""The site of the sample with its evidence, a reader of its pages, and text that no page may let through."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import sample

from lab.model.nightly import NightlyReport
from lab.report.site_history import PastRun, SiteHistory

EVIL = (
    '</pre></td></title></style><script>x</script>&<img src=x onerror=y>"\' style="x'
    "\x1b]0;t\x07\x1b[2J\x9b31m\x00"
    "\r\nBcc: evil@example.com\r\n\u202eevil\u2066\ud800]]>{{ 7*7 }}z\u0300\u0301\u0302\u0303\u0304\u0305"
)
FORBIDDEN = "\x1b\x07\x9b\x00\r\u202e\u2066\ud800"
VOID = {"meta", "br", "input", "img", "link", "base", "path", "circle", "rect", "line", "use"}
BLOCKS = {"td", "th", "dt", "dd", "li", "div", "p", "h1", "h2", "h3"}
HISTORY = SiteHistory(
    runs=(
        PastRun("2026-12-01T10:30:00+00:00", 1, 2, 0, 8120.0),
        PastRun("2026-11-30T10:30:00+00:00", 0, 1, 1, 5400.0),
    ),
    first_seen={sample.SLEEP: "2026-12-02T11:00:00+00:00"},
    trends={"mmio-on-demand/unmapped_gpa_reaches_the_vmm": ("pass", "pass", "fail")},
    remarks=("build (patched) of debug takes 240 s, 95 s before",),
)


class Page(HTMLParser):
    """Collects what a page is made of, and checks that its elements close in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == [], f"left open: {self.open}"

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert len(values) == len(attrs), f"<{tag}> has an attribute twice"
        self.tags.append((tag, values))
        self.words += [" "] if tag in BLOCKS else []
        self.ids += [values["id"] or ""] if "id" in values else []
        self.links += [values[name] or "" for name in ("href", "src") if name in values]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"
        self.words += [" "] if tag in BLOCKS else []

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)


def lay_out(report: NightlyReport, out: Path) -> None:
    """The files that a nightly leaves beside its site."""
    for version in report.versions:
        for result in version.variants:
            names = [name for scenario in result.scenarios for name in scenario.files]
            if not result.lost:
                names += ["report.html", "result.json"]
            for name in names:
                path = out / result.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("evidence\n")


def poison(value: Any) -> Any:
    """The same records with EVIL behind every text that is there; verdicts and the like stay."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value) if f.init]
        return dataclasses.replace(value, **{n: poison(getattr(value, n)) for n in names})
    if type(value) is str:
        # Scenarios of these changes have a table of their own.
        return value if value in ("", "same", "n/a") else value + EVIL
    if isinstance(value, tuple):
        return tuple(poison(v) for v in value)
    if isinstance(value, dict):
        return {poison(k): poison(v) for k, v in value.items()}
    return value
