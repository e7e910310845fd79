# SPDX-License-Identifier: GPL-2.0-or-later
"""The site: complete in itself, well formed, readable, and no text from outside gets out of its element."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pages
import pytest
import sample
from html_page import Page

from lab import paths
from lab.model import nightly as n
from lab.model.errors import BadInput, LabUnavailable
from lab.model.verdict import Verdict
from lab.report.site import write_site

MMIO_V2 = "series/mmio-on-demand/v2/index.html"
DEBUG = "series/mmio-on-demand/v2/debug.html"
FLAKY = "series/irqfd-rework/v1/plain.html"
STYLE = (paths.templates_dir() / "report" / "site" / "style.css").read_text()


def read(out: Path) -> dict[str, Page]:
    site = out / "site"
    return {str(p.relative_to(site)): Page(p.read_text()) for p in site.rglob("*.html")}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    pages.lay_out(sample.REPORT, folder)
    write_site(sample.REPORT, folder, pages.HISTORY)
    return folder


@pytest.fixture(scope="module")
def site(out: Path) -> dict[str, Page]:
    return read(out)


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    folder = tmp_path_factory.mktemp("evil")
    write_site(pages.poison(sample.REPORT), folder, pages.poison(pages.HISTORY))
    return read(folder)


def test_there_is_a_page_for_every_series_version_and_variant(site: dict[str, Page]) -> None:
    versions = sample.REPORT.versions
    topics = {v.series.topic for v in versions}
    variants = sum(len(v.variants) for v in versions)
    assert len(site) == 1 + len(topics) + len(versions) + variants
    assert {"index.html", "series/mmio-on-demand/index.html", MMIO_V2, DEBUG} <= set(site)


def test_every_link_leads_to_something_inside_the_output(out: Path, site: dict[str, Page]) -> None:
    seen = set()
    for name, page in site.items():
        for link in page.links:
            parts = urlsplit(link)
            assert not parts.scheme and not parts.netloc, link
            path = out / "site" / name
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            assert target.is_file() and target.is_relative_to(out), f"{name}: {link}"
            if parts.fragment:
                there = site[str(target.relative_to(out / "site"))]
                assert parts.fragment in there.ids, f"{name}: {link}"
            seen.add(target)
    assert seen >= {out / "site" / name for name in site}, "a page that nothing leads to"
    assert out / "mmio-on-demand/v2/debug/report.html" in seen
    assert any("evidence" in str(path) for path in seen)


def test_pages_are_well_formed_and_need_no_network(site: dict[str, Page]) -> None:
    for name, page in site.items():
        tags = [tag for tag, _ in page.tags]
        assert len(page.ids) == len(set(page.ids)), name
        assert not {"img", "iframe", "link", "object", "base", "form"} & set(tags), name
        assert tags.count("main") == tags.count("h1") == 1 and "title" in tags, name
        assert "://" not in page.source and "url(" not in page.source and "@import" not in page.source
        assert all(not set(a) & {"style", "onclick", "onload", "onerror"} for _, a in page.tags), name


def test_the_policy_admits_our_style_and_no_other(site: dict[str, Page]) -> None:
    for page in site.values():
        style = re.search(r"<style>(.*?)</style>", page.source, re.S)
        assert style is not None
        digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
        policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
        assert policy is not None and f"style-src 'sha256-{digest}'" in policy
        assert "default-src 'none'" in policy and "unsafe" not in policy
        scripts = [a.get("src") for t, a in page.tags if t == "script"]
        assert len(scripts) == 1 and str(scripts[0]).endswith("filter.js")


def test_nothing_from_outside_becomes_markup(site: dict[str, Page], evil: dict[str, Page]) -> None:
    ours = {(tag, name) for page in site.values() for tag, attrs in page.tags for name in attrs}
    assert len(evil) == len(site)
    for name, page in evil.items():
        assert {(tag, a) for tag, attrs in page.tags for a in attrs} <= ours, name
        assert sum(tag == "script" for tag, _ in page.tags) == 1, name
        assert not [c for c in pages.FORBIDDEN if c in page.source], name
        assert "\u0302\u0303" not in page.source, "letters piled up over the lines above"
        assert "49z" not in page.text, "a template was made of it"
        assert re.fullmatch(r"[A-Za-z0-9+_.@=/-]+", name), name
    assert "<script>x</script>" in evil["index.html"].text, "shown, not run"


def test_index_tells_verdicts_reasons_figures_and_broken_mails(site: dict[str, Page]) -> None:
    text = site["index.html"].text
    for wanted in (
        "1 fail", "1 inconclusive", "1 pass", "wall time 2 h 40 min", "inbox.mbox:812",
        "the diff is damaged or cut short", "<bad@example.org>", "patch 2/2 is missing", "5 worse",
        "10 better", "3 h", "10.0.0.7", "takes 240 s, 95 s before", "2026-11-30 10:30 UTC",
    ):  # fmt: skip
        assert wanted in text, wanted
    assert text.index("mshv: MMIO on demand") < text.index("mshv: Rework irqfd"), "the worst first"


def test_variant_page_tells_which_defects_nobody_noticed(site: dict[str, Page]) -> None:
    text = site["series/mmio-on-demand/v2/plain.html"].text
    assert "on purpose: 1 of 2 noticed defect leaked-region (leak): survived" in text
    assert "leaf-is-one-page" not in text, "what was noticed needs no look"
    assert "66 of 71 ran" in text
    assert "on purpose" not in site["series/mmio-on-demand/v2/debug.html"].text


def test_series_page_says_whether_a_comment_was_addressed(site: dict[str, Page]) -> None:
    text = site["series/mmio-on-demand/index.html"].text
    assert re.search(r"C16 MMIO is mapped at vm_pgoff not reproduced introduced reproduced addressed", text)
    assert re.search(r"C17 unmap leaves entries behind reproduced not addressed reproduced addressed", text)
    assert "From v1 to v2" in text
    assert text.index("not seen seen worse") < text.index("fail pass better"), "what is worse first"


def test_version_page_has_checks_matrix_culprits_and_what_changed(site: dict[str, Page]) -> None:
    text = site[MMIO_V2].text
    for wanted in (
        "the cover letter names the base commit", "lost", "culprit of unmapped_gpa_reaches_the_vmm (debug)",
        "Patch 1: arm64 not checked: no compiler for arm64 on this host", "66 of 71", "not measured",
        "CHECK: Alignment should match open parenthesis", "hvlab validate mmio-on-demand.mbox",
        "++ ret = mshv_step(1, 2);", "tied by change-id",
    ):  # fmt: skip
        assert wanted in text, wanted
    assert "recovered drivers/hv/mshv_eventfd.c:20" in site["series/irqfd-rework/v1/index.html"].text
    assert "patch 2/2 is missing" in site["series/irqfd-rework/v2/index.html"].text


def test_variant_page_has_reruns_evidence_and_quarantine(site: dict[str, Page]) -> None:
    text = site[FLAKY].text
    assert "0 of 3 (0–56%) same seed" in text and "2 of 6 (10–70%) new seeds" in text
    assert "In quarantine, its failure does not count: known to be slow under TCG" in text
    assert text.index("irqfd_fires_once_per_write") < text.index("irqfd_of_a_dead_partition"), "notable first"
    debug = site[DEBUG].text
    assert "First fails with patch 3: mshv: Let the VMM ask for it" in debug
    assert "first seen 2026-12-02 11:00 UTC" in debug and "lately: pass pass fail" in debug
    built = site["series/vp-lifetime/v1/plain.html"].text
    assert "the patched kernel does not build" in built and "make: *** [all] Error 2" in built


def test_a_verdict_is_a_word_and_a_shape_besides_its_colour(site: dict[str, Page]) -> None:
    badge = re.compile(
        r'<span class="badge (\w+)"><svg class="shape"[^>]*><use href="#shape-(\w+)"/></svg>(.)'
    )
    seen = set()
    for page in site.values():
        found = badge.findall(page.source)
        assert len(found) == page.source.count('class="badge')
        assert all(colour == shape for colour, shape, _ in found)
        seen |= {colour for colour, _, _ in found}
    assert seen == {"pass", "fail", "inconclusive", "none"}


def test_wide_things_scroll_and_are_reached_by_keyboard(site: dict[str, Page]) -> None:
    for page in site.values():
        for tag, attrs in page.tags:
            if tag == "pre" or attrs.get("class") == "scroll":
                assert attrs.get("tabindex") == "0" and attrs.get("role") == "region"
                assert attrs.get("aria-label") or attrs.get("aria-labelledby") in page.ids


def _schemes() -> list[dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.S)
    return [dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in blocks[:2]]


def _contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(scheme: int) -> None:
    colours = _schemes()[scheme]
    pairs = [(text, "paper") for text in ("ink", "soft", "link", "pass", "fail", "doubt")]
    pairs += [("ink", "panel"), ("soft", "panel"), ("pass", "panel"), ("fail", "panel")]
    pairs += [(verdict, f"{verdict}-tint") for verdict in ("pass", "fail", "doubt")]
    pairs += [("ink", f"{verdict}-tint") for verdict in ("pass", "fail", "doubt")]
    pairs += [("doubt", "fail-tint")] + [("onbar", f"k{k}") for k in range(6)]
    assert {p: c for p in pairs if (c := _contrast(colours[p[0]], colours[p[1]])) < 4.5} == {}


def test_both_schemes_have_the_colours_that_are_used() -> None:
    light, dark = _schemes()
    assert set(re.findall(r"var\(--([\w-]+)\)", STYLE)) == set(light) == set(dark)


def test_pages_that_are_no_longer_told_of_go(tmp_path: Path) -> None:
    first = write_site(sample.REPORT, tmp_path)
    stale = tmp_path / "site" / "series" / "irqfd-rework"
    assert stale.is_dir() and first[0] == tmp_path / "site" / "index.html"
    (tmp_path / "site" / ".new.999").write_text("left by a writer that was killed")
    less = replace(sample.REPORT, versions=sample.REPORT.versions[:4])
    second = write_site(less, tmp_path)
    assert not stale.exists()
    left = {p for p in (tmp_path / "site").rglob("*") if p.is_file()}
    assert left == {*second, tmp_path / "site" / ".hvlab-site"}
    assert [p.name for p in tmp_path.iterdir()] == ["site"]


def test_the_same_report_gives_the_same_site(tmp_path: Path) -> None:
    told = [{p: p.read_bytes() for p in write_site(sample.REPORT, tmp_path)} for _ in range(2)]
    assert told[0] == told[1]


@pytest.mark.parametrize("what", ["foreign", "file", "link"])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, what: str) -> None:
    site = tmp_path / "out" / "site"
    site.parent.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if what == "foreign":
        site.mkdir()
        (site / "mine.txt").write_text("mine")
    elif what == "file":
        site.write_text("mine")
    else:
        site.symlink_to(elsewhere)
    with pytest.raises(BadInput) as e:
        write_site(sample.REPORT, tmp_path / "out")
    assert e.value.where == str(site) and e.value.hint
    assert list(elsewhere.iterdir()) == []
    assert what != "foreign" or [p.name for p in site.iterdir()] == ["mine.txt"]


def test_a_site_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    write_site(replace(sample.REPORT, versions=()), tmp_path)
    (tmp_path / "site" / "series").write_text("in the way")
    with pytest.raises(LabUnavailable, match="cannot write the site") as e:
        write_site(sample.REPORT, tmp_path)
    assert e.value.where.startswith(str(tmp_path / "site"))


def test_a_night_without_mail_has_a_page(tmp_path: Path) -> None:
    write_site(n.NightlyReport("", "", ()), tmp_path)
    assert "No series came in." in read(tmp_path)["index.html"].text


@pytest.mark.parametrize("folder", ["..", "/etc", "../..", "a/../../..", "javascript:alert(1)", "\0"])
def test_no_link_leaves_the_output(tmp_path: Path, folder: str) -> None:
    out = tmp_path / "out"
    (tmp_path / "report.html").write_text("not ours")
    out.mkdir()
    scenario = n.Scenario(
        "s", (), Verdict.PASS, Verdict.FAIL, "regressed", files=("../report.html", "passwd")
    )
    result = n.VariantResult(sample.PLAIN, Verdict.FAIL, scenarios=(scenario,), folder=folder)
    version = replace(sample.VP_V2, variants=(result,))
    write_site(replace(sample.REPORT, versions=(version,)), out)
    page = read(out)["series/vp-lifetime/v2/plain.html"]
    assert "passwd" in page.text
    assert not [link for link in page.links if "passwd" in link or "report" in link]


def test_variants_with_like_names_have_pages_of_their_own(tmp_path: Path) -> None:
    names = ("a b", "a-b", "A-B", "..", "index", "x" * 300)
    variants = tuple(n.VariantResult(n.Variant(flavour=f), Verdict.PASS) for f in names)
    version = replace(sample.VP_V2, variants=(*variants[:1], *variants[2:]))
    write_site(replace(sample.REPORT, versions=(version,)), tmp_path)
    folder = tmp_path / "site" / "series" / "vp-lifetime" / "v2"
    found = {p.name.casefold() for p in folder.iterdir()}
    assert len(found) == 6, "five variants and the version's own page"


def test_endless_evidence_is_cut(tmp_path: Path) -> None:
    many = tuple(f"line {i} " + "x" * 10_000 for i in range(5000))
    result = replace(sample.VP_V1.variants[0], evidence=many)
    version = replace(sample.VP_V1, variants=(result,))
    write_site(replace(sample.REPORT, versions=(version,)), tmp_path)
    page = tmp_path / "site" / "series" / "vp-lifetime" / "v1" / "plain.html"
    assert page.stat().st_size < 400_000
    assert "... 4940 more lines" in page.read_text()
