# SPDX-License-Identifier: GPL-2.0-or-later
"""Intercepts that are no passed-through MMIO reach the VMM unchanged and map nothing."""

from __future__ import annotations

import pytest

from lab.child.protocol import PDPT, Access

scenario = pytest.mark.scenario
NOWHERE = 0x2_0000_0000
"""A GPA at 8 GiB that no region covers."""
WALKED, INDEX = 300, 5
"""An entry of the child's PDPT, and one of the page directory behind it."""
WALKED_GVA = (WALKED << 30) + (INDEX << 21) + 0x18
PRESENT_WRITABLE = 3


@scenario(claims=("C8",), quick=True)
@pytest.mark.parametrize("kind", ["read", "write"])
def test_access_without_a_region_reaches_the_vmm(lab, child, ledger, evidence, kind):
    child.create_partition(vps=1)
    child.read(0, 0, 8)
    position = ledger.mark()
    (result,) = child.access([Access(NOWHERE + 0x123, 4, kind)])
    evidence.observe("message", result.message.name if result.message else "none")
    assert result.message is not None, "the access went through although no region is there"
    assert result.message.name == "UNMAPPED_GPA"
    assert result.message.gpa == NOWHERE + 0x123
    assert result.message.access == kind
    if ledger.seen:
        assert ledger.maps(lab.child_partition(), position) == (), "a map hypercall for a GPA without region"
    else:
        evidence.unseen("map hypercalls")


@scenario(claims=("C8",), quick=True)
def test_access_beside_an_mmio_region_reaches_the_vmm(mapped, device, ledger, evidence):
    m = mapped(device, first_page=2, pages=3)
    m.touch(1)
    position = ledger.mark()
    for gpa in (m.gpa(0) - 8, m.gpa(m.pages)):
        (result,) = m.child.access([Access(gpa, 8)])
        assert result.message is not None, f"GPA {gpa:#x} beside the region is reachable"
        assert result.message.gpa == gpa
    if ledger.seen:
        assert ledger.maps(m.partition, position) == ()
    else:
        evidence.unseen("map hypercalls")
    evidence.observe("pages beside the region", "intercepted")


@scenario(claims=("C8",), quick=True)
def test_write_to_read_only_ram_reaches_the_vmm(lab, child, ledger, evidence):
    child.create_partition(vps=1)
    region = child.map_anonymous(gfn=0x8000, pages=4, writable=False)
    assert child.read(0, region.gpa, 8) == 0
    position = ledger.mark()
    (result,) = child.access([Access(region.gpa + 8, 8, "write", 1)])
    evidence.observe("message", result.message.name if result.message else "none")
    assert result.message is not None, "a write to read-only RAM went through"
    assert result.message.gpa == region.gpa + 8
    if not ledger.seen:
        evidence.unseen("map hypercalls")
        return
    maps = [r for r in ledger.maps(lab.child_partition(), position) if r.words[2] & 2]
    assert not maps, "read-only RAM was mapped writable"


@scenario(claims=("C8",), needs=("map_on_first_touch",))
@pytest.mark.parametrize("executable", [False, True], ids=["region_rw", "region_rwx"])
def test_instruction_fetch_from_a_device_reaches_the_vmm_and_maps_nothing(
    mapped, device, ledger, evidence, executable
):
    m = mapped(device, pages=4, executable=executable)
    m.child.read(0, 0, 8)  # the child's RAM is there from now on
    position = ledger.mark()
    (result,) = m.child.access([m.access(2, "execute")])
    assert result.message is not None, "the child executes what lies in a device"
    evidence.observe("message", result.message.name)
    evidence.observe("access", result.message.access)
    assert result.message.gpa == m.gpa(2)
    if not ledger.seen:
        evidence.unseen("map hypercalls")
        return
    calls = ledger.maps(m.partition, position)
    assert calls == (), f"an instruction fetch maps {sum(c.rep_count for c in calls)} pages of the device"
    assert result.message.name == "UNMAPPED_GPA", "the intercept was not handed on unchanged"


@scenario(claims=("C8",), needs=("map_on_first_touch",))
@pytest.mark.parametrize("kind", ["read", "write"])
def test_page_table_in_a_device_reaches_the_vmm_and_maps_nothing(mapped, device, ledger, evidence, kind):
    """The walk through the child's tables, not its access, comes to a page of the device: the first touch."""
    m = mapped(device, pages=4)
    m.child.read(0, 0, 8)  # the child's RAM is there from now on
    m.child.poke(PDPT + 8 * WALKED, (m.gpa(2) | PRESENT_WRITABLE).to_bytes(8, "little"))
    position = ledger.mark()
    (result,) = m.child.access([Access(WALKED_GVA, 8, kind)])
    calls = ledger.maps(m.partition, position) if ledger.seen else ()
    message = result.message
    assert message is not None, "the child has its page tables in a device"
    if message.gpa == m.gpa(2, 8 * INDEX) and message.gva is None:
        evidence.unseen("whose walk came to the device")
        return
    mapped_pages = sum(c.rep_count for c in calls)
    assert calls == (), f"a walk through page tables maps {mapped_pages} pages of the device"
    evidence.observe("message", message.name)
    assert message.name == "UNMAPPED_GPA", "the intercept was not handed on unchanged"
    assert (message.gpa, message.gva) == (m.gpa(2, 8 * INDEX), WALKED_GVA)
    assert not message.translated
    assert m.read(2) == m.expected(2), "an access of its own does not map the page"
