# SPDX-License-Identifier: GPL-2.0-or-later
"""Mapping on the first touch: which page, how many, and by whom."""

from __future__ import annotations

import pytest

scenario = pytest.mark.scenario
NOFULL = ("hv_nofull_mmio",)


def outcome_of(result):
    """A wrong result in words that do not change between boots."""
    return f"intercept {result.message.name}" if result.message else "another page's word"


def pages_mapped(ledger, m, position):
    """Frames of the region that MAP_GPA_PAGES calls since ``position`` covered, in order."""
    low, high = m.region.gfn, m.region.gfn + m.pages
    return [
        gfn
        for record in ledger.maps(m.partition, position)
        for gfn in range(record.words[1] + record.rep_start, record.words[1] + record.rep_done)
        if low <= gfn < high
    ]


@scenario(claims=("C4", "C16"), needs=("map_on_first_touch",), quick=True)
@pytest.mark.parametrize("where", ["second", "middle", "last"])
def test_first_touch_of_page_n_maps_page_n(mapped, device, evidence, where):
    m = mapped(device)
    n = {"second": 1, "middle": m.pages // 2, "last": m.pages - 1}[where]
    first = m.read(n)
    evidence.observe("first touched page is mapped to", m.place(n).replace(f"page {n}", "page n"))
    assert first == m.expected(n), (
        f"first touch at page n of the region reads {m.place(n)}, not BAR page n ({n})"
    )
    wrong = m.wrong_pages()
    assert not wrong, f"after a first touch at page {n}, page {wrong[0]} is {m.place(wrong[0])}"
    problems = m.audit()
    assert not problems, f"SLAT: {problems[0]}"


@scenario(claims=("C7",), needs=("full_mmio",), quick=True)
def test_default_maps_the_whole_region_with_one_touch(mapped, device, ledger, evidence):
    m = mapped(device)
    position = ledger.mark()
    m.read(m.pages // 2)
    touched = pages_mapped(ledger, m, position)
    evidence.observe("pages mapped by one touch", len(touched))
    assert sorted(touched) == list(range(m.region.gfn, m.region.gfn + m.pages))
    position = ledger.mark()
    assert not m.wrong_pages(), "pages of the region are not the device's"
    assert pages_mapped(ledger, m, position) == [], "touching a mapped page issues another MAP_GPA_PAGES"


@scenario(claims=("C7",), needs=("map_on_first_touch", "nofull_mmio"), quick=True, kernel_args=NOFULL)
def test_nofull_mmio_maps_exactly_the_touched_page(mapped, device, ledger, slat, evidence):
    m = mapped(device)
    for page in (m.pages - 1, 0, 2):
        position = ledger.mark()
        assert m.read(page) == m.expected(page), f"page {page} is {m.place(page)}"
        assert pages_mapped(ledger, m, position) == [m.region.gfn + page]
    mapped_now = sum(run.pages for run in slat.runs(m.partition, range(m.region.gfn, m.region.gfn + m.pages)))
    assert mapped_now == 3, f"{mapped_now} pages are mapped after three touches"
    position = ledger.mark()
    m.read(0)
    assert pages_mapped(ledger, m, position) == []
    evidence.observe("pages mapped by three touches", 3)


@scenario(claims=("C4", "C7"), needs=("map_on_first_touch", "nofull_mmio"), kernel_args=NOFULL)
def test_nofull_mmio_maps_the_right_page_every_time(mapped, device, evidence):
    m = mapped(device, first_page=1)
    for page in (m.pages - 1, m.pages // 2, 1):
        assert m.read(page) == m.expected(page), f"page {page} is {m.place(page)}"
    assert not m.wrong_pages(), "pages of the region are not the device's"
    assert not m.audit(), m.audit()[0]


@scenario(claims=("C6",), needs=("map_on_first_touch",), quick=True)
def test_two_vps_first_touching_one_page_both_read_it(mapped, device, ledger, evidence):
    m = mapped(device, vps=2)
    rounds = 20
    for round_ in range(rounds):
        page = round_ % m.pages
        results = m.child.parallel([[m.access(page, vp=0)], [m.access(page, vp=1)]])
        for vp, (result,) in enumerate(results):
            assert result.value == m.expected(page), (
                f"VP {vp}, page {page} ({m.place(page)}): {outcome_of(result)}"
            )
        m.child.unmap(m.region)
        m.region = m.child.map_bar(device.bdf, device.bar, m.region.gfn, m.pages)
    if not ledger.seen:
        evidence.unseen("map hypercalls that fail")
        return
    failed = [r for r in ledger.maps(m.partition) if r.status]
    evidence.observe("failed map hypercalls", len(failed))
    assert not failed, f"MAP_GPA_PAGES failed with status {failed[0].status:#x}"


@scenario(claims=("C6",), needs=("map_on_first_touch",))
def test_two_vps_touching_all_pages_at_once_agree(mapped, device, evidence):
    m = mapped(device, vps=2)
    up = [m.access(p, vp=0) for p in range(m.pages)]
    down = [m.access(p, vp=1) for p in reversed(range(m.pages))]
    for vp, results in enumerate(m.child.parallel([up, down])):
        pages = range(m.pages) if vp == 0 else reversed(range(m.pages))
        for page, result in zip(pages, results, strict=True):
            assert result.value == m.expected(page), (
                f"VP {vp}, page {page} ({m.place(page)}): {outcome_of(result)}"
            )
    assert not m.audit(), m.audit()[0]
