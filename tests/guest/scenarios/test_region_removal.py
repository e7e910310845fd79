# SPDX-License-Identifier: GPL-2.0-or-later
"""What was mapped is unmapped: on region removal, VMM death and partition destruction."""

from __future__ import annotations

import pytest

from lab.child.protocol import Access

scenario = pytest.mark.scenario
both_ways = pytest.mark.parametrize("through", ["vfio", "devmem"])
"""/dev/mem: there every kernel maps the right pages, so the removal alone is judged."""


@scenario(claims=("C17",), quick=True)
@both_ways
def test_removed_region_leaves_no_slat_entry(mapped, device, slat, ledger, evidence, through):
    m = mapped(device, through=through)
    m.touch(0)
    m.child.unmap(m.region)
    gfn, pages = m.region.gfn, m.pages
    for run in slat.runs(m.partition, range(gfn, gfn + pages)) if slat.seen else ():
        evidence.add(f"SLAT still maps gfn {run.gfn:#x}+{run.pages} to SPA page {run.spa:#x} ({run.access})")
    left = m.pages_left()
    evidence.observe("pages left after removal", left)
    if ledger.seen:
        calls = [r for r in ledger.unmaps(m.partition) if r.words[1] + r.rep_count > gfn]
        evidence.add(f"UNMAP_GPA_PAGES calls for the region: {len(calls)}")
    assert not left, f"{left} pages of a removed MMIO region are still mapped"


@scenario(claims=("C17",), quick=True)
@both_ways
def test_removed_region_is_out_of_the_childs_reach(mapped, device, evidence, through):
    m = mapped(device, through=through)
    m.touch(0)
    gpas = [m.gpa(p) for p in range(m.pages)]
    m.child.unmap(m.region)
    results = m.child.access([Access(gpa, 8) for gpa in gpas])
    reached = [gpa for gpa, r in zip(gpas, results, strict=True) if r.message is None]
    evidence.observe("pages still readable", len(reached))
    assert not reached, f"after its region was removed the child still reads {len(reached)} pages"


@scenario(claims=("C17",))
@both_ways
def test_removal_of_a_never_touched_region(mapped, device, evidence, through):
    m = mapped(device, through=through)
    m.child.unmap(m.region)
    left = m.pages_left()
    evidence.observe("pages left after removal", left)
    assert not left, "pages of the region are still mapped"


@scenario(claims=("C17",))
def test_region_can_be_mapped_again_after_removal(mapped, device, evidence):
    m = mapped(device, first_page=0, pages=4)
    m.touch(0)
    m.child.unmap(m.region)
    again = mapped(device, first_page=4, pages=4)
    for page in range(4):
        assert again.read(page) == again.expected(page), (
            f"page {page} is {again.place(page)} after a new mapping"
        )
    evidence.observe("first page is mapped to", again.place(0))


@scenario(claims=("C17",))
def test_removal_while_another_vp_reads_never_shows_foreign_memory(mapped, device, evidence):
    m = mapped(device, vps=2)
    gpa = m.gpa(1)
    reads = [Access(gpa, 8, vp=1)] * 2000
    m.child.submit(1, reads)
    m.child.unmap(m.region)
    values = {r.value for r in m.child.collect(1, reads) if r.ok}
    foreign = values - {m.expected(1)}
    evidence.observe("foreign values were read", bool(foreign))
    assert not foreign, "foreign values were read during removal"


@scenario(claims=("C17",))
@both_ways
def test_killed_vmm_leaves_nothing_mapped(lab, mapped, device, evidence, through):
    m = mapped(device, through=through)
    m.touch(0)
    m.child.kill()
    lab.wait_gone(m.partition)
    owners = m.owners()
    evidence.observe("owners of the BAR after the VMM was killed", owners)
    assert not owners, "pages of the BAR are still mapped by a child"


@scenario(claims=("C17",))
@both_ways
def test_destroyed_partition_leaves_nothing_mapped(lab, mapped, device, ledger, evidence, through):
    m = mapped(device, through=through)
    m.touch(0)
    m.child.destroy()
    lab.wait_gone(m.partition)
    assert not m.owners(), "pages of the BAR are still mapped by a child"
    if not ledger.seen:
        evidence.unseen("withdrawal of the memory, deletion of the partition")
        return
    withdrawn = ledger.hypercalls("WITHDRAW_MEMORY")
    evidence.observe("memory was withdrawn", any(r.words[0] == m.partition for r in withdrawn))
    assert ledger.hypercalls("DELETE_PARTITION"), "the partition was never deleted"


LOOKED_PAST = 60
"""Regions that come and go at a time while a VP looks for one; the kernel goes through all of them."""
CHURNS, CHURN = 5, 20
"""How often that is asked for, and how often they come and go each time."""
SLOW_CHURNS = 2
"""On a kernel that checks itself: slower by far, and it needs less luck to see a wrong access."""
NOWHERE = 0x8000 << 12
"""A GPA in the child that no region covers: each read of it makes the kernel look."""
ENDLESS = 1 << 40
"""Rounds of a storm that the scenario ends."""


@scenario(slow=True, claims=("C2",), needs=("map_on_first_touch",))
def test_regions_go_while_vps_look_for_one(lab, mapped, device, child, ledger, evidence):
    m = mapped(device, vps=2, pages=8)
    m.touch(0)
    others = range(1, LOOKED_PAST + 1)
    add = [f"region add {m.region.gfn + 0x100 * n:#x} 1 {m.region.map} 0 rw" for n in others]
    # The VMM gives out the lowest number that is free.
    remove = [f"region del {m.region.id + n}" for n in others]
    flavour = lab.kernel.flavour if lab.kernel else "plain"
    if ledger.seen:  # more calls than it holds
        lab.hypervisor.ledger_enable(False)
        evidence.unseen("the calls of the storm")
    try:
        for vp in (0, 1):
            child.storm(vp, {NOWHERE: 0, m.gpa(1): m.expected(1)}, ENDLESS)
        for _ in range(CHURNS if flavour == "plain" else SLOW_CHURNS):
            child.repeat(CHURN, [*add, *remove])
        counts = [child.calm(vp) for vp in (0, 1)]
    finally:
        if ledger.seen:
            lab.hypervisor.ledger_enable(True)
    for vp, count in enumerate(counts):
        evidence.add(f"storm on VP {vp}: {count}")
    assert all(count.unmapped for count in counts), "no VP looked where there is no region"
    assert all(count.right for count in counts), "a VP never read the region that stayed"
    assert not any(count.foreign or count.ones or count.other for count in counts), "a read went astray"
    assert not m.wrong_pages(), "pages of the region that stayed are wrong"
