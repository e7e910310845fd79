# SPDX-License-Identifier: GPL-2.0-or-later
"""What the VMM does to its mappings of a BAR under reading VPs: the child sees the device or nothing."""

from __future__ import annotations

import pytest

from lab.child.protocol import Access, VmmError

scenario = pytest.mark.scenario
both_ways = pytest.mark.parametrize("through", ["vfio", "devmem"])
GFN = 0x100000
RAM_WORD = 0x0BAD_0BAD_0BAD_0BAD
"""What the VMM's own memory is full of where a BAR was mapped before."""


@scenario(slow=True, claims=("C11",))
def test_decoding_off_and_on_under_a_storm_shows_the_device_or_nothing(mapped, storm, device, evidence):
    m = mapped(device, vps=2)
    # Decoding takes whole mappings away: more than this region's pages, on both sides of them.
    part = mapped(device, first_page=16, pages=8, gfn=GFN + 0x1000)
    with storm(m, part) as reads:
        for _ in range(5):
            m.child.device(device.bdf, "off")
            m.child.device(device.bdf, "on")
    reads.check()
    assert not m.wrong_pages() and not part.wrong_pages(), "not every page is the device's afterwards"
    m.child.device(device.bdf, "off")
    left = (m.pages_left(), part.pages_left())
    m.child.device(device.bdf, "on")
    evidence.observe("pages left of both regions with decoding off", left)
    assert left == (0, 0), f"{left} pages are left of the whole BAR and of a part of it"


@scenario(slow=True, claims=("C3",))
@both_ways
def test_ram_at_the_address_of_a_live_region_stays_out_of_reach(mapped, storm, device, evidence, through):
    m = mapped(device, vps=2, through=through)
    with storm(m) as reads:
        m.child.munmap(m.region)
        ram = m.child.replace(m.region, 0, m.pages, "anon", "0")
        m.child.fill(ram, m.pages, RAM_WORD)
    reads.check()
    left = m.pages_left()
    evidence.observe("pages left after RAM took the address", left)
    assert not left, f"the child keeps {left} pages of a BAR that the VMM has given up"
    results = m.child.access([m.access(page) for page in range(8)])
    assert not any(r.ok for r in results), "the child reads through a region whose BAR is gone"


@scenario(slow=True, claims=("C3",))
def test_other_pages_of_the_bar_at_the_address_are_what_the_child_reads(mapped, storm, device, evidence):
    m = mapped(device, vps=2, pages=8)
    m.touch(0)
    for shift in (8, 16, 0):
        m.child.replace(m.region, 0, 4, "vfio", device.bdf, str(device.bar), str(shift))
        found = [m.device.origin(m.read(page)) for page in range(8)]
        assert found == [*range(shift, shift + 4), *range(4, 8)], f"the child reads BAR pages {found}"
    evidence.observe("mappings that the child followed", 3)


@scenario(slow=True, claims=("C9",))
def test_region_over_two_mappings_is_refused_or_right(lab, child, device, evidence):
    lab.passthrough(device)
    child.create_partition(vps=1)
    parts = ((device.bdf, device.bar, 0, 4), (device.bdf, device.bar, 8, 4))
    try:
        region = child.span(parts, GFN)
    except VmmError as e:
        evidence.observe("the kernel says", e.errno_name)
        assert e.errno_name == "EINVAL", f"refused with {e.errno_name}"
        return
    results = child.access([Access(region.gpa + 4096 * page, 8) for page in range(8)])
    wanted = [device.expected_word(page) for page in (0, 1, 2, 3, 8, 9, 10, 11)]
    wrong = [p for p, (r, w) in enumerate(zip(results, wanted, strict=True)) if r.ok and r.value != w]
    evidence.observe("pages that are not what the VMM maps", len(wrong))
    assert not wrong, f"pages {wrong} of the region are not what the VMM has there"


@scenario(slow=True, claims=("C12",))
def test_pages_made_read_only_later_are_read_only_in_the_child(mapped, storm, device, slat, evidence):
    m = mapped(device, vps=2, pages=8)
    m.touch(0)
    with storm(m) as reads:
        m.child.protect(m.region, 2, 3, "ro")
    reads.check()
    before = device.backing_bytes(2, 16, 8)
    for page, writable in ((0, True), (1, True), (2, False), (3, False), (4, False), (5, True), (7, True)):
        (result,) = m.child.access([Access(m.gpa(page, 64), 8, "write", 0x1111)])
        assert result.ok == writable, f"a write to page {page} {'fails' if writable else 'goes through'}"
    assert device.backing_bytes(2, 16, 8) == before
    assert [p for p in range(8) if m.read(p) != m.expected(p)] == [], "pages read wrong after mprotect"
    if slat.seen:
        runs = slat.runs(m.partition, range(GFN, GFN + 8))
        access = "".join(("w" if "w" in r.access else "r") * r.pages for r in runs)
        evidence.observe("pages of the region in the SLAT", access)
        assert access == "wwrrrwww", f"the SLAT says {access}"
    m.child.protect(m.region, 2, 3, "none")
    left = m.pages_left()
    evidence.observe("pages left after three lost all access", left)
    assert left == 5, f"{left} pages are mapped where the VMM has access to 5"
    if slat.seen:
        # By now the VMM has small pages there, so that the kernel tells of just these three.
        gone = [page for page in range(8) if m.spa(page) is None]
        assert gone == [2, 3, 4], f"pages {gone} were unmapped, not those without access"
    reached = [page for page in (2, 3, 4) if m.child.access([m.access(page)])[0].ok]
    assert not reached, f"the child reaches pages {reached}, to which the VMM has no access"


@scenario(slow=True, claims=("C17",))
@both_ways
def test_one_of_two_regions_on_one_bar_goes_under_a_storm(mapped, storm, device, evidence, through):
    first = mapped(device, vps=2, pages=16, through=through)
    second = mapped(device, first_page=8, pages=16, gfn=first.region.gfn + 0x1000, through=through)
    with storm(first, second) as reads:
        second.child.unmap(second.region)
    reads.check()
    left = second.pages_left()
    evidence.observe("pages left of the removed region", left)
    assert not left, f"{left} pages of the removed region are mapped"
    assert not first.wrong_pages(), "pages of the region that stayed are wrong"
    assert not first.audit(), first.audit()[0]


@scenario(slow=True, claims=("C17",))
@both_ways
def test_regions_that_come_and_go_under_a_storm_leave_nothing(mapped, storm, device, evidence, through):
    m = mapped(device, vps=2, pages=8, through=through)
    other = [(0x2000 + 0x100 * n, 8 + 8 * n) for n in range(3)]
    with storm(m) as reads:
        for _ in range(2):
            regions = [
                mapped(device, first_page=first, pages=8, gfn=GFN + off, through=through)
                for off, first in other
            ]
            for region in regions:
                m.child.unmap(region.region)
    reads.check()
    left = sum(region.pages_left() for region in regions)
    evidence.observe("pages left of regions that went", left)
    assert not left, f"{left} pages of removed regions are mapped"
    assert not m.audit(), m.audit()[0]
