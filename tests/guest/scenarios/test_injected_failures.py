# SPDX-License-Identifier: GPL-2.0-or-later
"""Hypercalls on the MMIO path that fail: retried where they can be, reported where not, nothing leaks."""

from __future__ import annotations

import pytest

from lab.child.protocol import VmmError

scenario = pytest.mark.scenario
INVALID_PARAMETER = 0x0005
INSUFFICIENT_MEMORY = 0x000B
GFNS = (0x100000, 0x110000)
GFN = GFNS[0]


@scenario(claims=("C16",))
def test_map_out_of_memory_deposits_and_retries(mapped, device, ledger, evidence):
    fault = ledger.inject("MAP_GPA_PAGES", status=INSUFFICIENT_MEMORY, gfns=GFNS)
    position = ledger.mark()
    m = mapped(device)
    value = m.read(1)
    evidence.observe("injected", fault.hits)
    assert fault.hits == 1, "the failure was never reached"
    deposits = [r for r in ledger.hypercalls("DEPOSIT_MEMORY", position) if r.words[0] == m.partition]
    assert deposits, "no memory was deposited after HV_STATUS_INSUFFICIENT_MEMORY"
    assert value == m.expected(1), f"after the retry page 1 is {m.place(1)}"


@scenario(needs=("map_on_first_touch",))
def test_map_refused_reaches_the_vmm_and_leaks_nothing(mapped, device, ledger, slat, evidence):
    m = mapped(device)
    fault = ledger.inject("MAP_GPA_PAGES", status=INVALID_PARAMETER, count=1_000_000, gfns=GFNS)
    (result,) = m.child.access([m.access(1)])
    evidence.observe("injected", fault.hits > 0)
    assert fault.hits, "the failure was never reached"
    assert result.message is not None, "the read went through although nothing could be mapped"
    assert result.message.gpa == m.gpa(1)
    left = slat.runs(m.partition, range(m.region.gfn, m.region.gfn + m.pages))
    assert not left, "a refused mapping left SLAT entries"
    fault.clear()
    assert m.read(1) == m.expected(1), "the region does not recover after the failure"


@scenario(needs=("map_on_first_touch",))
@pytest.mark.parametrize("done", [1, 5])
def test_map_refused_half_way_leaves_only_right_pages(mapped, device, ledger, slat, evidence, done):
    m = mapped(device)
    fault = ledger.inject("MAP_GPA_PAGES", status=INVALID_PARAMETER, complete=done, gfns=GFNS)
    (result,) = m.child.access([m.access(m.pages - 1)])
    assert fault.hits, "the failure was never reached"
    evidence.observe("result", "message" if result.message else "value")
    problems = m.audit()
    assert not problems, f"SLAT after a half-done map: {problems[0]}"
    if result.message is not None:
        left = slat.runs(m.partition, range(m.region.gfn, m.region.gfn + m.pages))
        assert not left, "the VMM gets the access, and the child keeps a half mapped region"
    m.child.unmap(m.region)
    left = slat.runs(m.partition, range(m.region.gfn, m.region.gfn + m.pages))
    assert not left, "pages of a half-done map stay after region removal"


@scenario(claims=("C17",))
def test_map_refused_at_region_set_or_touch_leaks_nothing(mapped, device, child, ledger, slat, lab, evidence):
    fault = ledger.inject("MAP_GPA_PAGES", status=INVALID_PARAMETER, count=1_000_000, gfns=GFNS)
    try:
        m = mapped(device)
        (result,) = m.child.access([m.access(0)])
        assert result.message is not None, "the child reads a page that could not be mapped"
        m.child.unmap(m.region)
    except VmmError as e:
        evidence.add(f"the region was refused: {e}")
    assert fault.hits, "the failure was never reached"
    left = slat.runs(lab.child_partition(), range(*GFNS))
    evidence.observe("pages left", sum(r.pages for r in left))
    assert not left, "pages of the region are still mapped"


@scenario(claims=("C17",))
def test_unmap_out_of_memory_is_survived(mapped, device, ledger, slat, evidence):
    m = mapped(device)
    m.touch(0)
    fault = ledger.inject("UNMAP_GPA_PAGES", status=INSUFFICIENT_MEMORY, gfns=GFNS)
    m.child.unmap(m.region)
    left = slat.runs(m.partition, range(m.region.gfn, m.region.gfn + m.pages))
    evidence.observe("pages left", sum(r.pages for r in left))
    evidence.add(f"UNMAP_GPA_PAGES failed {fault.hits} times on purpose")
    assert not left, "a removal whose unmap hypercall failed once leaves SLAT entries"


@scenario(claims=("C17",))
def test_deposit_refused_gives_an_error_and_leaks_nothing(mapped, device, ledger, lab, child, slat, evidence):
    child.create_partition(vps=1)
    child.read(0, 0, 8)
    starved = ledger.inject("MAP_GPA_PAGES", status=INSUFFICIENT_MEMORY, count=3, gfns=GFNS)
    refused = ledger.inject("DEPOSIT_MEMORY", status=INVALID_PARAMETER, count=1)
    try:
        m = mapped(device)
        (result,) = m.child.access([m.access(0)])
        assert result.message is not None, "the child reads a page that could not be mapped"
        m.child.unmap(m.region)
    except VmmError as e:
        evidence.add(f"the region was refused: {e}")
    assert starved.hits and refused.hits, "the failures were never reached"
    left = slat.runs(lab.child_partition(), range(*GFNS))
    evidence.observe("pages left", sum(r.pages for r in left))
    assert not left, "pages of the region are still mapped"


@scenario(claims=("C17",), needs=("map_on_first_touch",))
def test_unmap_refused_for_good_is_told_and_ends_with_the_partition(
    mapped, device, child, ledger, lab, kernel_log, evidence
):
    m = mapped(device)
    m.touch(0)
    position = kernel_log.mark()
    fault = ledger.inject("UNMAP_GPA_PAGES", status=INVALID_PARAMETER, count=1_000_000, gfns=GFNS)
    m.child.unmap(m.region)
    assert fault.hits, "the failure was never reached"
    told = [line for line in kernel_log.since(position) if "unmap" in line.lower()]
    fault.clear()
    m.child.destroy()
    lab.wait_gone(m.partition)
    evidence.observe("told in the kernel log", bool(told))
    assert told, (
        "the hypervisor keeps device pages of a region that is gone, and the kernel log has no word of it"
    )
    assert not m.owners(), "a partition that is gone still maps the BAR"


@scenario(needs=("map_on_first_touch",))
def test_map_refused_in_the_second_run_takes_the_first_back(mapped, device, ledger, slat, evidence):
    m = mapped(device)
    half = m.pages // 2
    # Pages that may be written and pages that may not are never one call.
    m.child.protect(m.region, half, m.pages - half, "ro")
    fault = ledger.inject(
        "MAP_GPA_PAGES", status=INVALID_PARAMETER, count=1_000_000, gfns=(GFN + half, GFNS[1])
    )
    (result,) = m.child.access([m.access(0)])
    assert fault.hits, "the failure was never reached"
    evidence.observe("result", "message" if result.message else "value")
    if result.message is not None:
        left = slat.runs(m.partition, range(m.region.gfn, m.region.gfn + m.pages))
        assert not left, "the VMM gets the access, and the child keeps a half mapped region"
    fault.clear()
    assert m.read(0) == m.expected(0), "the region does not recover after the failure"
    assert m.read(half) == m.expected(half), "the second half does not recover after the failure"
