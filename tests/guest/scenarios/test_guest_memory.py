# SPDX-License-Identifier: GPL-2.0-or-later
"""Movable regions, the RAM of a child: the SLAT follows the page tables of the VMM, errors stay errors."""

from __future__ import annotations

import pytest

from lab.child.protocol import Access, VmmError
from lab.root import leaks

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


@scenario()
@pytest.mark.parametrize("first", ["read", "fetch"])
def test_fetch_from_ram_that_is_not_executable_reaches_the_vmm(child, evidence, first):
    """``first``: whether the page is there already. The next one, of another region, may be executed."""
    code = b"\xc3"  # ret
    child.create_partition(vps=1)
    data = child.map_anonymous(0x8000, 4)
    text = child.map_anonymous(0x8004, 4, executable=True)
    for region in (data, text):
        child.host_write(region, 0, 1, code[0])
    if first == "read":
        assert child.read(0, data.gpa, 1) == code[0]
    refused, allowed = child.access([Access(r.gpa, kind="execute") for r in (data, text)])
    evidence.observe("the VMM gets", refused.message.name if refused.message else "nothing")
    assert refused.message is not None, "the child executes RAM that is not executable"
    assert (refused.message.gpa, refused.message.access) == (data.gpa, "execute")
    assert allowed.ok, f"executable RAM is not executed: {allowed.message}"


@scenario()
def test_ram_dropped_across_the_borders_of_a_region_is_what_the_vmm_has(child, slat, lab, evidence):
    """The region is the middle of a mapping; what the VMM drops begins before it or ends behind it."""
    before, pages, behind = 40, 600, 24
    child.create_partition(vps=1)
    region = child.map_part(GFN, before, pages, behind)
    child.advise(region, "small", 0, before + pages + behind)
    every = [Access(region.gpa + page * PAGE, 4) for page in range(pages)]

    def fill():
        child.fill(region.map, before + pages + behind, OLD)
        assert all(r.value == OLD for r in child.access(every)), "a page does not read what the VMM wrote"

    for first, count in ((0, before + 3), (before + pages - 5, 5 + behind), (0, before + pages + behind)):
        fill()
        child.advise(region, "drop", first, count)
        gone = range(max(first - before, 0), min(first + count - before, pages))
        if slat.seen:
            partition = lab.child_partition()
            left = [p for p in (gone[0], gone[-1]) if slat.spa_of(partition, GFN + p) is not None]
            assert not left, f"the child keeps page {left[0]}, which the VMM has dropped"
        values = [r.value for r in child.access(every)]
        wrong = [p for p in range(pages) if values[p] != (0 if p in gone else OLD)]
        assert not wrong, f"after pages {first}+{count} were dropped the child reads another page {wrong[0]}"
    evidence.observe("pages of the region", pages)


@scenario(slow=True)
@pytest.mark.parametrize("shift", [1, HUGE // 2])
def test_huge_pages_at_frames_that_are_no_huge_page_of_the_child(child, root, evidence, shift):
    """The VMM has huge pages, the child has them at frames where none can begin."""
    child.create_partition(vps=1)
    region = child.map_anonymous(GFN + shift, 2 * HUGE)
    child.advise(region, "huge", 0, 2 * HUGE)
    pages = (0, 1, HUGE - shift, HUGE - 1, HUGE, 2 * HUGE - 1)
    for page in pages:
        child.host_write(region, page * PAGE, 4, OLD ^ page)
    kilobytes = int(root.run("awk '/^AnonHugePages/ {print $2}' /proc/meminfo").out)
    if kilobytes < 2 * HUGE * PAGE // 1024:
        evidence.doubt("the root had no huge pages to give, so nothing was decided")
    results = child.access([Access(region.gpa + page * PAGE, 4) for page in pages])
    wrong = [page for page, r in zip(pages, results, strict=True) if r.value != OLD ^ page]
    evidence.observe("pages that the child reads wrong", wrong)
    assert not wrong, f"page {wrong[0]} of the region does not read what the VMM wrote there"


@scenario(slow=True)
def test_refused_frames_of_ram_leave_no_region(lab, child, ledger, root, evidence):
    """The hypervisor does not take the frames of a region: no region stays, and nothing of its memory."""
    child.create_partition(vps=1)
    rounds, looks = 20, 6
    fault = ledger.inject("MAP_GPA_PAGES", status=INVALID_PARAMETER, count=1_000_000, gfns=(GFN, GFN + 64))

    def refused():
        for _ in range(rounds):
            with pytest.raises(VmmError):
                child.map_anonymous(GFN, 64)

    refused()
    counts = [leaks.take(root, child.pid)]
    for _ in range(looks - 1):
        refused()
        counts.append(leaks.take(root, child.pid))
    assert fault.hits >= rounds * looks, "the failure was never reached"
    fault.clear()
    grown = leaks.growing(counts, rounds)
    evidence.observe("numbers that only grow", [line.partition(":")[0] for line in grown])
    assert not grown, f"{grown[0]}, over {rounds * (looks - 1)} refused regions"
    region = child.map_anonymous(GFN, 64)
    assert child.read(0, region.gpa, 4) == 0
