# SPDX-License-Identifier: GPL-2.0-or-later
"""Exactly the calls that a first touch and a removal need: what, how many, what order, with what status."""

from __future__ import annotations

import pytest

from lab.judge.ledger import (
    HV_MAP_GPA_ADJUSTABLE,
    HV_MAP_GPA_NO_ACCESS,
    HV_MAP_GPA_NOT_CACHED,
    HV_MAP_GPA_READABLE,
    HV_MAP_GPA_WRITABLE,
    Call,
)

scenario = pytest.mark.scenario
DEVICE = HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_NOT_CACHED
GFN = 0x100000
NOFULL = ("hv_nofull_mmio",)


def exactly(m, ledger, calls):
    bar = (m.bar_spa, m.device.pages)
    ledger.expect(calls, m.partition, (m.region.gfn, m.pages), bar=bar)


@scenario(claims=("C7", "C17"), needs=("full_mmio",))
def test_a_region_costs_nothing_then_one_map_then_one_unmap(mapped, device, ledger):
    m = mapped(device, first_page=3, pages=8)
    exactly(m, ledger, [])
    m.touch(5)
    mapping = Call(m.region.gfn, 8, m.bar_spa + 3, DEVICE, op="map")
    exactly(m, ledger, [mapping])
    m.touch(2)
    exactly(m, ledger, [mapping])
    m.child.unmap(m.region)
    exactly(m, ledger, [mapping, Call(m.region.gfn, 8, flags=0, op="unmap")])


@scenario(claims=("C7",), needs=("map_on_first_touch", "nofull_mmio"), kernel_args=NOFULL)
def test_page_by_page_each_touch_is_one_map_of_one_page(mapped, device, ledger):
    m = mapped(device, pages=8)
    pages = (6, 1, 3)
    for page in pages:
        m.touch(page)
        m.touch(page)
    exactly(m, ledger, [Call(m.region.gfn + p, 1, m.bar_spa + p, DEVICE, op="map") for p in pages])


@scenario()
@pytest.mark.parametrize("writable", [True, False], ids=["rw", "ro"])
def test_a_region_of_ram_is_reserved_then_mapped_then_reserved_again(lab, child, ledger, writable):
    """It is known to the hypervisor without access until it is touched, and again when the VMM drops it."""
    child.create_partition(vps=1)
    region = child.map_anonymous(GFN, 5, writable=writable)
    child.advise(region, "small", 0, 5)
    reserved = Call(GFN, 5, spa=0, flags=HV_MAP_GPA_NO_ACCESS, op="map")
    rights = HV_MAP_GPA_READABLE | HV_MAP_GPA_ADJUSTABLE | (HV_MAP_GPA_WRITABLE if writable else 0)
    partition = lab.child_partition()
    assert ledger.calls(partition, gfns=range(GFN, GFN + 5)) == [reserved]
    child.read(0, region.gpa + 2 * 4096, 8)
    seen = ledger.calls(partition, gfns=range(GFN, GFN + 5))
    assert sum(call.pages for call in seen[1:]) == 5, "not every page is mapped once by the first touch"
    assert {call.flags for call in seen[1:]} == {rights}
    child.advise(region, "drop", 1, 3)
    seen = ledger.calls(partition, gfns=range(GFN, GFN + 5))
    last = Call(GFN + 1, 3, spa=0, flags=HV_MAP_GPA_NO_ACCESS, op="map")
    assert seen[-1] == last, f"the VMM drops three pages, and the driver asks for {seen[-1]}"
