# SPDX-License-Identifier: GPL-2.0-or-later
"""What the host does to its mapping of a BAR holds for the child too."""

import pytest

from lab.child.protocol import Access, VmmError
from lab.model.errors import NotObservable

scenario = pytest.mark.scenario
GFN = 0x100000
STEPS = (
    "mutex_init_lockdep",
    "mmu_interval_notifier_insert",
    "mmu_interval_notifier_remove",
    "kvfree",
    "vfree",
)
"""What a driver calls when a region comes or goes; a stack trace of each call takes time before it."""
FILTER = "/sys/kernel/tracing/set_ftrace_filter"
CHANGES, CHANGE = 10, 60
"""How often regions that come and go are asked for, and how many each time."""


@scenario(claims=("C3",))
@pytest.mark.parametrize("through", ["vfio", "devmem"])
def test_munmap_under_a_live_region_takes_the_mapping_away(mapped, device, evidence, through):
    m = mapped(device, through=through)
    m.touch(0)
    m.child.munmap(m.region)
    left = m.pages_left()
    evidence.observe("pages mapped after munmap", left)
    assert left == 0, "the child keeps the pages of a mapping that the VMM has given up"
    (result,) = m.child.access([m.access(1)])
    assert result.message is not None, "the child reads through a region whose mapping is gone"


@scenario(claims=("C11",))
def test_memory_decoding_off_takes_the_mapping_away(mapped, device, evidence):
    m = mapped(device)
    m.touch(0)
    m.child.device(device.bdf, "off")
    left = m.pages_left()
    evidence.observe("pages mapped with decoding off", left)
    assert left == 0, "the child keeps the pages of a device that does not answer any more"
    m.child.device(device.bdf, "on")
    assert m.read(2) == m.expected(2), f"with decoding on again page 2 is {m.place(2)}"


@scenario(claims=("C12",))
def test_read_only_mapping_of_a_bar_stays_read_only(mapped, device, slat, evidence):
    m = mapped(device, host_writable=False)
    before = device.backing_bytes(1, 0, 8)
    m.touch(0)
    (result,) = m.child.access([Access(m.gpa(1), 8, "write", 0x1122334455667788)])
    runs = slat.runs(m.partition, range(GFN, GFN + m.pages)) if slat.seen else ()
    if slat.seen:
        evidence.observe("access in the SLAT", sorted({run.access for run in runs if not run.no_access}))
    else:
        evidence.unseen("access rights in the SLAT")
    assert device.backing_bytes(1, 0, 8) == before, "the child writes to a BAR that the VMM mapped read-only"
    assert result.message is not None, "a write to a read-only BAR goes through"
    assert not [run for run in runs if "w" in run.access], "a read-only BAR is writable in the SLAT"


@scenario(claims=("C12",))
@pytest.mark.parametrize("first", ["read", "write"])
@pytest.mark.parametrize("through", ["vfio", "devmem"])
def test_region_set_up_read_only_is_read_only_in_the_child(mapped, device, slat, evidence, through, first):
    """The VMM itself may write to the BAR; it has asked for a region that the child may only read."""
    m = mapped(device, pages=4, writable=False, through=through)
    if first == "read":
        assert m.read(1) == m.expected(1), f"page 1 is {m.place(1)}"
    before = device.backing_bytes(1, 0, 8)
    (result,) = m.child.access([Access(m.gpa(1), 8, "write", 0x1122334455667788)])
    evidence.observe("a write ends with", "an intercept" if result.message else "nothing")
    assert device.backing_bytes(1, 0, 8) == before, "the child writes through a region without write access"
    assert result.message is not None, "a write to a region without write access goes through"
    assert m.read(1) == m.expected(1), f"page 1 is {m.place(1)} after the refused write"
    if not slat.seen:
        evidence.unseen("access rights in the SLAT")
        return
    runs = slat.runs(m.partition, range(m.region.gfn, m.region.gfn + m.pages))
    wrong = [run.gfn for run in runs if "w" in run.access]
    assert not wrong, f"gfn {wrong[0]:#x} of a region without write access is writable in the SLAT"


@scenario(claims=("C9",))
@pytest.mark.parametrize("pages", [16, 3], ids=["far", "one_page"])
@pytest.mark.parametrize("through", ["vfio", "devmem"])
def test_region_longer_than_its_mapping_maps_nothing_beyond(mapped, device, slat, evidence, through, pages):
    try:
        m = mapped(device, pages=pages, mapped_pages=2, through=through)
    except VmmError as e:
        evidence.observe("the kernel says", e.errno_name)
        return
    results = m.child.access([m.access(page) for page in range(pages)])
    evidence.observe("pages reached beyond the mapping", sum(r.ok for r in results[2:]))
    runs = slat.runs(m.partition, range(GFN + 2, GFN + pages)) if slat.seen else ()
    for run in runs:
        evidence.add(f"SLAT maps gfn {run.gfn:#x}+{run.pages} to SPA page {run.spa:#x} ({run.access})")
    assert not any(r.ok for r in results[2:]), "the child reaches pages that the VMM has not mapped"
    if not slat.seen:
        evidence.unseen("what the SLAT maps beyond")
        return
    assert not [run for run in runs if not run.no_access], "the SLAT maps pages beyond the VMM's mapping"


@scenario(claims=("C9",))
def test_regions_longer_than_their_mapping_are_all_answered_alike(mapped, device, evidence):
    answers = {}
    for number, excess in enumerate((1, 2, 14)):
        try:
            mapped(device, pages=2 + excess, mapped_pages=2, gfn=GFN + 0x1000 * number)
            answers[excess] = "accepted"
        except VmmError as e:
            answers[excess] = e.errno_name
    evidence.observe("answers by pages too many", str(answers))
    assert len(set(answers.values())) == 1, f"the answer depends on how many pages are too many: {answers}"


@scenario(claims=("C17",))
@pytest.mark.parametrize("order", ["vps", "partition"])
def test_destruction_in_any_order_leaves_nothing_mapped(lab, mapped, device, evidence, order):
    m = mapped(device, vps=2)
    m.touch(0)
    m.child.destroy(order)
    left = lab.partitions_left()
    if not lab.witness.sees_children:
        raise NotObservable("which partitions exist")
    assert not left, "the partition is still there after its files were closed"
    owners = m.owners()
    evidence.observe("owners of the BAR", owners)
    assert not owners, "pages of the BAR are still mapped by a child"


@pytest.fixture
def stretched(root, evidence):
    """Each step of a region's life takes long, so that what happens at the same time falls between two."""
    steps = [s for s in STEPS if not root.run(f"echo '{s}:stacktrace' >> {FILTER}", check=False).rc]
    evidence.add(f"stretched: {', '.join(steps) or 'nothing'}")
    yield
    for step in steps:
        root.run(f"echo '!{step}:stacktrace' >> {FILTER}")


@scenario(slow=True, claims=("C5", "C13"))
def test_regions_come_and_go_while_their_mapping_changes(mapped, device, child, stretched, evidence):
    m = mapped(device, vps=1)
    m.touch(0)
    child.unmap(m.region, keep_host=True)
    region = f"{m.region.gfn:#x} {m.pages} {m.region.map} {m.region.first_page} rw"
    # A read after every other change only: a region that was never touched has nothing to unmap.
    life = [f"region add {region}", f"region del {m.region.id}"]
    touched = [life[0], f"access 0 r8:{m.gpa(1):x}", life[1]]
    child.toggle(m.region)
    for _ in range(CHANGES):
        child.repeat(CHANGE, [*life, *touched])
    changes = child.settle()
    evidence.add(f"the mapping changed {changes} times beside {CHANGES * CHANGE * 2} regions")
    assert changes, "the mapping never changed"
    left = m.pages_left()
    assert not left, f"{left} pages of removed regions are mapped"
    again = mapped(device)
    assert not again.wrong_pages(), "pages of a new region are wrong"
