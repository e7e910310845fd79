# SPDX-License-Identifier: GPL-2.0-or-later
"""A passed-through BAR in a child is that BAR, page by page, for every width and both directions."""

from __future__ import annotations

import pytest

scenario = pytest.mark.scenario
EDU_IDENTIFICATION = 0x010000ED
WIDTHS = [1, 2, 4, 8]


@scenario(claims=("C16",), quick=True)
def test_bar_of_several_pages_reaches_the_device(mapped, device, ledger, evidence):
    m = mapped(device)
    pages = (0, m.pages // 2, m.pages - 1)
    results = m.child.access([m.access(page) for page in pages])
    for page in pages:
        evidence.observe(f"page {page} is mapped to", m.place(page))
    for record in ledger.maps(m.partition) if ledger.seen else ():
        if record.words[1] >= m.region.gfn:
            evidence.add(
                f"ledger: MAP_GPA_PAGES gfn {record.words[1]:#x} SPA page {record.words[3]:#x}.."
                f"{record.words[4]:#x} n {record.rep_done} status {record.status:#x}; "
                f"the BAR is at SPA page {m.bar_spa:#x}"
            )
    wrong = [page for page, r in zip(pages, results, strict=True) if r.value != m.expected(page)]
    assert not wrong, f"the child does not reach the device: BAR page {wrong[0]} is {m.place(wrong[0])}"
    problems = m.audit()
    assert not problems, f"SLAT: {problems[0]}"


@scenario(claims=("C16",), quick=True)
def test_one_page_of_bar_0_does_not_map_spa_0(mapped, edu, slat, evidence):
    m = mapped(edu, pages=1)
    (result,) = m.child.access([m.access(0, width=4)])
    value = result.value if result.value is not None else -1
    evidence.add(f"the child reads {value:#010x}, the device's identification is {EDU_IDENTIFICATION:#010x}")
    if slat.seen:
        evidence.observe("the page is mapped to", m.place(0))
        assert m.spa(0) == m.bar_spa, f"BAR0 maps {m.place(0)}: the child reaches the root's own memory"
    assert value == EDU_IDENTIFICATION, "the child does not read the device's identification"


@scenario(claims=("C16",))
def test_bar_0_of_several_pages_is_accepted(mapped, edu, evidence):
    m = mapped(edu)
    assert m.read(0, width=4) == EDU_IDENTIFICATION, f"page 0 is {m.place(0)}"
    # The edu liveness register answers with the complement of what was written to it.
    m.write(0, 4, 4, 0x12345678)
    assert m.read(0, 4, width=4) == 0x12345678 ^ 0xFFFFFFFF, "the liveness register does not answer"
    if m.slat.seen:
        evidence.observe("last page is mapped to", m.place(m.pages - 1))


@scenario(claims=("C16",))
def test_reads_of_every_width_on_first_middle_and_last_page(mapped, device, evidence):
    m = mapped(device)
    for width in WIDTHS:
        for page in (0, m.pages // 2, m.pages - 1):
            for offset in (0, 8, 4096 - 8):
                expected = m.expected(page, offset // 8) & ((1 << 8 * width) - 1)
                value = m.read(page, offset, width)
                assert value == expected, (
                    f"a {width}-byte read of page {page} does not give the device's bytes"
                )
    evidence.observe("widths that read right", WIDTHS)


@scenario(claims=("C16",))
def test_writes_of_every_width_on_first_middle_and_last_page(mapped, device, evidence):
    m = mapped(device)
    for width in WIDTHS:
        value = 0xA5C3_9678_F00D_BEEF & ((1 << 8 * width) - 1)
        for page in (0, m.pages // 2, m.pages - 1):
            for offset in (8 * width, 4096 - 8):
                before = device.backing_bytes(page, offset, 8)
                m.write(page, offset, width, value)
                after = device.backing_bytes(page, offset, 8)
                assert after == value.to_bytes(width, "little") + before[width:], (
                    f"a {width}-byte write to page {page} does not reach the device, or spills over"
                )
                assert m.read(page, offset, width) == value, f"page {page} does not read back {width} bytes"
    evidence.observe("widths that write right", WIDTHS)


@scenario()
def test_control_mapping_through_dev_mem_reaches_the_device(mapped, device, evidence):
    """The control experiment: where vm_pgoff is the frame number, every kernel maps the right page."""
    m = mapped(device, through="devmem")
    for page in (0, 1, m.pages - 1):
        assert m.read(page) == m.expected(page), f"page {page} is {m.place(page)}"
    evidence.observe("last page is mapped to", m.place(m.pages - 1))


@scenario(claims=("C16",))
def test_region_at_an_offset_inside_the_bar(mapped, device, evidence):
    m = mapped(device, first_page=3, pages=4)
    for page in range(m.pages):
        assert m.read(page) == m.expected(page), f"page {page} of a region at BAR page 3 is {m.place(page)}"
    evidence.observe("first page is mapped to", m.place(0))
    assert not m.audit(), m.audit()[0]


@scenario(claims=("C16",))
def test_two_regions_of_one_bar_do_not_mix(mapped, device, evidence):
    low = mapped(device, first_page=0, pages=2)
    high = mapped(device, first_page=device.pages - 2, pages=2, gfn=low.region.gfn + 0x1000)
    for m in (low, high):
        for page in range(2):
            assert m.read(page) == m.expected(page), (
                f"region at BAR page {m.first_page}: page {page} is {m.place(page)}"
            )
    evidence.observe("second region starts at", high.place(0))
