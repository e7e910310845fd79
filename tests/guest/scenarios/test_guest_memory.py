# SPDX-License-Identifier: GPL-2.0-or-later
"""Movable regions, the RAM of a child: the SLAT follows the page tables of the VMM, errors stay errors."""

from __future__ import annotations

import pytest

from lab.child.protocol import Access

scenario = pytest.mark.scenario
GFN = 0x100000
HUGE = 512
PAGE = 4096
REPLACED = 5
OLD, NEW = 0x01D01D01, 0x4E414E41
INVALID_PARAMETER = 0x0005


def huge_region(child, root, evidence):
    """A region of two huge pages that are there, every page of the first with OLD in it."""
    child.create_partition(vps=1)
    region = child.map_anonymous(GFN, 2 * HUGE)
    child.advise(region, "huge", 0, 2 * HUGE)
    for page in (0, REPLACED, HUGE):
        child.host_write(region, page * PAGE, 4, OLD)
    kilobytes = int(root.run("awk '/^AnonHugePages/ {print $2}' /proc/meminfo").out)
    evidence.add(f"AnonHugePages in the root: {kilobytes} kB")
    if kilobytes < 2 * HUGE * PAGE // 1024:
        evidence.doubt("the root had no huge pages to give, so nothing was decided")
    return region


def replace(child, region):
    """One 4 KiB page of the first huge page gives way to another; the folio of the others stays one."""
    child.advise(region, "drop", REPLACED, 1)
    child.host_write(region, REPLACED * PAGE, 4, NEW)


@scenario(slow=True, claims=("C22",))
@pytest.mark.parametrize("when", ["before", "after"])
def test_replaced_page_of_a_huge_page_is_what_the_child_gets(child, root, slat, lab, evidence, when):
    """``when``: the page is replaced before or after the child has touched the huge page."""
    region = huge_region(child, root, evidence)
    if when == "after":
        child.read(0, region.gpa, 4)
    replace(child, region)
    value = child.read(0, region.gpa + REPLACED * PAGE, 4)
    host = child.host_read(region, REPLACED * PAGE, 4)
    if slat.seen:
        for run in slat.runs(lab.child_partition(), range(GFN, GFN + HUGE)):
            evidence.add(f"SLAT: gfn {run.gfn:#x}+{run.pages} level {run.level} ({run.access})")
    evidence.observe("the child reads", {OLD: "the page before", NEW: "the VMM's page"}.get(value, "neither"))
    assert host == NEW
    assert value == host, (
        f"the child reads {value:#x} in page {REPLACED} of a huge page, the VMM {host:#x}: "
        "the whole huge page is mapped although one of its pages was replaced"
    )


@scenario(slow=True, claims=("C22",))
def test_write_to_a_replaced_page_of_a_huge_page_reaches_the_vmm(child, root, evidence):
    region = huge_region(child, root, evidence)
    replace(child, region)
    child.write(0, region.gpa + REPLACED * PAGE, 4, 0x600D)
    host = child.host_read(region, REPLACED * PAGE, 4)
    evidence.observe("the VMM sees the child's write", host == 0x600D)
    assert host == 0x600D, "the child writes into a page that the VMM has given up"


DEBUGFS = "/sys/kernel/debug"
SPLIT = f"{DEBUGFS}/split_huge_pages"


@scenario(slow=True, claims=("C22",))
def test_small_pages_of_a_split_huge_page_are_mapped_one_by_one(child, root, slat, lab, evidence):
    """The first of them lies where a huge page would; what follows it in the VMM need not."""
    region = huge_region(child, root, evidence)
    replace(child, region)
    split = root.run(f"[ -e {SPLIT} ] || mount -t debugfs none {DEBUGFS}; echo 1 > {SPLIT}", check=False)
    kilobytes = int(root.run("awk '/^AnonHugePages/ {print $2}' /proc/meminfo").out)
    if split.rc or kilobytes:
        evidence.doubt(f"the root did not split its huge pages ({kilobytes} kB left): nothing was decided")
    for page in (0, REPLACED - 1, REPLACED + 1, HUGE - 1):
        child.host_write(region, page * PAGE + 8, 4, OLD + page)
    for page in (0, REPLACED - 1, REPLACED + 1, HUGE - 1):
        assert child.read(0, region.gpa + page * PAGE + 8, 4) == OLD + page, f"page {page} is another's"
    value = child.read(0, region.gpa + REPLACED * PAGE, 4)
    evidence.observe("the child reads", {OLD: "the page before", NEW: "the VMM's page"}.get(value, "neither"))
    assert value == NEW, f"the child reads {value:#x} in page {REPLACED}, the VMM has {NEW:#x} there"
    if not slat.seen:
        evidence.unseen("the size of the mappings")
        return
    large = [r.gfn for r in slat.runs(lab.child_partition(), range(GFN, GFN + HUGE)) if r.level > 1]
    assert not large, f"gfn {large[0]:#x}: pages of 4 KiB are mapped as a large one"


@scenario(slow=True)
def test_every_page_of_ram_is_the_page_that_the_vmm_has_there(child, evidence):
    """Pages are faulted in by the block: none may be put down beside its place, in whichever block it is."""
    child.create_partition(vps=1)
    blocks = 3
    region = child.map_anonymous(GFN, blocks * HUGE + 7)
    child.advise(region, "small", 0, region.pages)
    pages = [p for block in range(blocks) for p in (block * HUGE, block * HUGE + 1, block * HUGE + HUGE - 1)]
    pages += range(blocks * HUGE, region.pages)
    for page in pages:
        child.host_write(region, page * PAGE, 4, OLD ^ page)
    # From behind, so that no block is there because of the one before it.
    results = child.access([Access(region.gpa + page * PAGE, 4) for page in reversed(pages)])
    wrong = [p for p, r in zip(reversed(pages), results, strict=True) if r.value != OLD ^ p]
    evidence.observe("pages that the child reads wrong", len(wrong))
    assert not wrong, f"page {wrong[-1]} of the region does not read what the VMM wrote there"
    for page in pages:
        child.write(0, region.gpa + page * PAGE + 4, 4, NEW ^ page)
    lost = [page for page in pages if child.host_read(region, page * PAGE + 4, 4) != NEW ^ page]
    assert not lost, f"what the child writes to page {lost[0]} does not reach the VMM"


@scenario(slow=True, claims=("C23",))
def test_refused_map_of_ram_is_an_error_and_no_warning(child, ledger, evidence):
    child.create_partition(vps=1)
    region = child.map_anonymous(GFN, 4)
    fault = ledger.inject("MAP_GPA_PAGES", status=INVALID_PARAMETER, gfns=(GFN, GFN + 4))
    (result,) = child.access([Access(region.gpa, 4)])
    assert fault.hits, "the failure was never reached"
    evidence.observe("the VMM gets", result.message.name if result.message else "nothing")
    assert result.message is not None, "the access went through although nothing was mapped"
    # A WARN is found afterwards: a failing hypercall is no bug of the kernel.
    child.read(0, region.gpa, 4)


@scenario(slow=True, claims=("C23",))
def test_touch_of_ram_that_the_vmm_unmapped_is_no_warning(child, evidence):
    """Nothing is injected: whoever may open /dev/mshv does this."""
    child.create_partition(vps=1)
    region = child.map_anonymous(GFN, 4)
    child.munmap(region)
    (result,) = child.access([Access(region.gpa, 4)])
    evidence.observe("the VMM gets", result.message.name if result.message else "nothing")
    assert result.message is not None, "the child reads memory that the VMM has unmapped"


@scenario(slow=True)
@pytest.mark.parametrize("touched", [0, 1])
def test_removed_ram_is_unknown_to_the_hypervisor(child, slat, lab, evidence, touched):
    """Pages of a movable region that were never touched are mapped without access."""
    child.create_partition(vps=1)
    region = child.map_anonymous(GFN, HUGE + 4)
    if touched:
        child.read(0, region.gpa, 4)
    child.unmap(region)
    (result,) = child.access([Access(region.gpa + (HUGE + 1) * PAGE, 4)])
    evidence.observe("the VMM gets", result.message.name if result.message else "nothing")
    if slat.seen:
        left = sum(run.pages for run in slat.runs(lab.child_partition(), range(GFN, GFN + HUGE + 4)))
        evidence.observe("frames of the removed region in the SLAT", left)
        assert not left, f"{left} frames of a removed region are still known to the hypervisor"
    assert result.message is not None and result.message.name == "UNMAPPED_GPA"
