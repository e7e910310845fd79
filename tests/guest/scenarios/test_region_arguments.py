# SPDX-License-Identifier: GPL-2.0-or-later
"""MSHV_SET_GUEST_MEMORY with sizes and places that no counter of 32 bits and no sum holds."""

from __future__ import annotations

import time

import pytest

from lab.child.protocol import VmmError

scenario = pytest.mark.scenario
GFN = 0x100000
LAST_GFN = (1 << 52) - 1
PROMPT = 3.0
"""Seconds (plain) within which an error has to come; a loop over 2**31 pages takes far longer here."""

SIZES = {
    "below-2**31": (1 << 31) - 1,
    "2**31": 1 << 31,
    "2**32": 1 << 32,
    "2**32+1": (1 << 32) + 1,
    "beyond-user-space": 1 << 40,
    "all-of-64-bits": LAST_GFN,
}


def ask(lab, child, device, kind, gfn, pages, evidence):
    """Errno name of the region, or None when it was accepted; and the seconds it took."""
    started = time.monotonic()
    try:
        if kind == "ram":
            child.map_anonymous(gfn, pages, mapped_pages=2)
        else:
            child.map_bar(device.bdf, device.bar, gfn, pages, mapped_pages=2)
        error = None
    except VmmError as e:
        error = e.errno_name
    took = time.monotonic() - started
    evidence.add(f"{kind}: {pages:#x} pages at gfn {gfn:#x}: {error or 'accepted'} after {took:.2f} s")
    return error, took


@scenario(slow=True, claims=("C10",))
@pytest.mark.parametrize("kind", ["ram", "mmio"])
def test_region_of_more_pages_than_a_counter_holds_is_refused_at_once(lab, child, device, evidence, kind):
    lab.passthrough(device)
    child.create_partition(vps=1)
    for name, pages in SIZES.items():
        error, took = ask(lab, child, device, kind, GFN, pages, evidence)
        evidence.observe(f"{name} pages", error or "accepted")
        assert error, f"a region of {pages:#x} pages is accepted"
        assert took < PROMPT * getattr(lab, "factor", 1.0), f"a region of {pages:#x} pages takes {took:.1f} s"
    assert child.read(0, 0, 8) is not None


@scenario(slow=True, claims=("C10",))
@pytest.mark.parametrize("kind", ["ram", "mmio"])
def test_region_over_the_end_of_guest_memory_is_refused(lab, child, device, evidence, kind):
    """guest_pfn + size must not wrap: a region that does is found by no lookup, and overlaps unnoticed."""
    lab.passthrough(device)
    child.create_partition(vps=1)
    refused = {}
    for gfn in ((1 << 64) - 1, LAST_GFN, LAST_GFN - 1):
        error, _ = ask(lab, child, device, kind, gfn, 2, evidence)
        refused[f"{gfn:#x}"] = error or "accepted"
    evidence.observe("two pages from there on", refused)
    wrapped = [gfn for gfn, error in refused.items() if error == "accepted"]
    assert not wrapped, f"regions of two pages from gfn {', '.join(wrapped)} on are accepted"
