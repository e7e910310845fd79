# SPDX-License-Identifier: GPL-2.0-or-later
"""The page: complete in itself, well formed, and nothing from a guest gets out of its element."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

from html_page import Page

from lab.model.result import PhaseTime, ValidateResult
from lab.report import html
from lab.report.timeline import LABEL, WIDTH, timeline


def test_page_is_well_formed_and_self_contained(result: ValidateResult, attachments: dict[str, str]) -> None:
    text = html.page(result, attachments)
    page = Page(text)
    assert not {"script", "img", "link", "iframe"} & set(page.names)
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert "url(" not in text and "@import" not in text and "http://" not in text and "https://" not in text
    assert "Content-Security-Policy" in text
    assert len(page.ids) == len(set(page.ids))


def test_nothing_from_a_guest_becomes_markup(result: ValidateResult, attachments: dict[str, str]) -> None:
    text = html.page(result, attachments)
    assert "<script" not in text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", text)
    text.encode("utf-8")
    assert '<script>alert("x")</script>' in Page(text).text, "shown, not run"


def test_page_shows_table_evidence_attachments_and_timeline(
    result: ValidateResult, attachments: dict[str, str]
) -> None:
    text = Page(html.page(result, attachments)).text
    for wanted in (
        "mmio-on-demand",
        "page 0 of the BAR leads to SPA page 0x20000000, not to BAR page 0",
        "map call 8: spa 0x00000008",
        "MAP_GPA_PAGES spa 0x20000000",
        "patched/console.txt",
        "Linux version 7.3.4",
        "ledger lost 12 records",
        "hung-task",
        "hvlab validate tests/series/mmio-on-demand",
        "build base: 610.0 s wall, 940.0 s CPU",
    ):
        assert wanted in text, wanted
    assert text.count("patched/evidence/unmapped_gpa_reaches_the_vmm/ledger.txt") == 1


def test_page_knows_light_and_dark(result: ValidateResult) -> None:
    text = html.page(result, {})
    used = set(re.findall(r"var\((--[\w-]+)\)", text))
    light, dark = (
        set(re.findall(r"(--[\w-]+):", block)) for block in re.findall(r":root \{(.*?)\}", text, re.S)
    )
    assert used == light == dark


def test_page_of_a_series_that_does_not_apply(result: ValidateResult) -> None:
    patched = replace(result.runs[1], failed_phase="apply", reasons=("hunk 2 of a.c",), outcomes=())
    text = html.page(replace(result, runs=(patched,), scenarios=(), phases=()), {})
    page = Page(text)
    assert "hunk 2 of a.c" in page.text
    assert "svg" not in page.names and "scenarios" not in page.ids


def test_timeline_puts_sides_beside_each_other_behind_what_is_shared() -> None:
    drawn = timeline(
        [
            PhaseTime("fetch", "", 10, 1),
            PhaseTime("build", "base", 30, 1),
            PhaseTime("build", "patched", 20, 1),
            PhaseTime("drive", "patched", 10, 1),
        ]
    )
    assert drawn is not None
    scale = (WIDTH - LABEL) / 40
    assert [(bar.x, bar.width) for bar in drawn.bars] == [
        (LABEL, 10 * scale),
        (LABEL + 10 * scale, 30 * scale),
        (LABEL + 10 * scale, 20 * scale),
        (LABEL + 30 * scale, 10 * scale),
    ]
    assert [name for name, _ in drawn.lanes] == ["both", "base", "patched"]
    assert drawn.ticks[-1].label == "35 s", "the label of 40 s would leave the drawing"


def test_timeline_takes_measured_starts_and_stays_inside() -> None:
    drawn = timeline([PhaseTime("drive", "base", 5, 1, start=3.0), PhaseTime("arm", "base", 1, 1, start=0.5)])
    assert drawn is not None
    assert min(bar.x for bar in drawn.bars) >= LABEL
    assert max(bar.x + bar.width for bar in drawn.bars) <= WIDTH + 2


def test_timeline_of_nothing_is_none() -> None:
    assert timeline([]) is None
    assert timeline([PhaseTime("fetch", "", 0.0, 0.0, "cached")]) is None


def test_picture_of_a_race_is_an_image_in_which_nothing_runs(result: ValidateResult) -> None:
    pair = next(p for p in result.scenarios if p.patched is not None)
    assert pair.patched is not None
    drawn = replace(pair, patched=replace(pair.patched, files=("evidence/race-x/diagram.svg",)))
    svg = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script><text>\ud800</text></svg>'
    text = html.page(
        replace(result, scenarios=(drawn,)),
        {f"{side}/evidence/race-x/diagram.svg": svg for side in ("patched", f"patched-{pair.flavour}")},
    )
    page = Page(text)
    assert page.names.count("img") >= 1 and "script" not in page.names
    (picture,) = {link for link in page.links if link.startswith("data:")}
    assert base64.b64decode(picture.removeprefix("data:image/svg+xml;base64,")).startswith(b"<svg ")
