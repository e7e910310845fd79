# SPDX-License-Identifier: GPL-2.0-or-later
"""The life of a passed-through device beside that of its child: given back, taken away, moved, shared out."""

from __future__ import annotations

import itertools

import pytest

from lab.child.protocol import Access
from lab.child.vmm import Vmm

scenario = pytest.mark.scenario
both_ways = pytest.mark.parametrize("through", ["vfio", "devmem"])
EDU_IDENTIFICATION = 0x010000ED
SYSFS = "/sys/bus/pci/devices"
REQUEST_SECONDS = 10.0
"""For the kernel to ask for a device back; it repeats itself every ten seconds, the first time at once."""


@scenario(slow=True, claims=("C3",))
@pytest.mark.parametrize(
    "order", ["-".join(o) for o in itertools.permutations(("device", "bar", "partition"))]
)
def test_files_closed_in_any_order_under_a_storm_leave_nothing(lab, mapped, device, evidence, order):
    m = mapped(device, vps=2)
    words = {m.gpa(page): m.expected(page) for page in range(8)}
    partition = m.partition
    for vp in (0, 1):
        m.child.storm(vp, words)
    for step in order.split("-"):
        if step == "device":
            m.child.device(device.bdf, "close")
        elif step == "bar":
            m.child.munmap(m.region)
            assert not partition or not m.pages_left(), "the BAR is mapped after munmap"
        else:
            m.child.destroy("partition")
            partition = 0
            lab.wait_gone(m.partition)
            assert not m.owners(), "the BAR is mapped after the partition has gone"
    evidence.observe("owners of the BAR", m.owners())
    assert not m.owners(), "pages of the BAR are still mapped by a child"


@scenario(slow=True, claims=("C16",))
def test_bar_works_after_the_device_file_was_closed(mapped, storm, device, evidence):
    m = mapped(device, vps=2)
    with storm(m) as reads:
        m.child.device(device.bdf, "close")
    reads.check()
    assert not m.wrong_pages(), "the VMM still maps the BAR, the child reads something else"
    evidence.observe("pages that read right", m.pages)


@scenario(slow=True, claims=("C11",))
def test_device_that_the_kernel_wants_back_is_gone_from_the_child(lab, mapped, storm, device, root, evidence):
    m = mapped(device, vps=2)
    lab.spoil("a device was taken from its driver")
    request = m.child.release_request(device.bdf)
    with storm(m) as reads:
        root.run(f"(echo {device.bdf} >{SYSFS}/{device.bdf}/driver/unbind) >/dev/null 2>&1 </dev/null &")
        asked = m.child.read_event(request, REQUEST_SECONDS)
        m.child.device(device.bdf, "off")
        m.child.munmap(m.region)
        m.child.device(device.bdf, "close")
    evidence.observe("the kernel asked for the device", bool(asked))
    assert asked, "nobody told the VMM that the device is wanted back"
    reads.check()
    left = m.pages_left()
    evidence.observe("pages left after the device was given back", left)
    assert not left, f"the child keeps {left} pages of a device that was given back"
    wait = f"for i in $(seq 100); do [ -e {SYSFS}/{device.bdf}/driver ] || exit 0; sleep 0.05; done; exit 1"
    root.run(wait)


@scenario(slow=True, claims=("C16",))
def test_bar_that_moved_is_found_at_its_new_place(lab, mapped, device, root, slat, evidence):
    m = mapped(device)
    assert m.read(1) == m.expected(1), f"page 1 is {m.place(1)}"
    lab.spoil("a BAR was moved")
    m.child.give_back(m.region, device.bdf)
    old = m.bar_spa
    move_bar(root, device, (old << 12) - 4 * (device.pages << 12))
    lab.rescan()
    new = lab.bar_spa(device)
    evidence.observe("the BAR moved", new != old)
    assert new != old, "the BAR did not move: nothing to judge"
    again = mapped(device)
    assert not again.wrong_pages(), f"page 0 of the moved BAR is {again.place(0)}"
    if slat.seen:
        stale = [
            run
            for run in slat.runs(again.partition)
            if not run.no_access and old <= run.spa < old + device.pages
        ]
        assert not stale, "the child has pages of the place where the BAR was"
        assert not again.audit(), again.audit()[0]


@scenario(slow=True, claims=("C16",))
def test_two_devices_in_two_partitions_swap_places(lab, mapped, storm, device, edu, evidence):
    m = mapped(device, vps=2)
    lab.passthrough(edu)
    other = Vmm(lab.root)
    other.start()
    try:
        other.create_partition(vps=1)
        with storm(m) as reads:
            region = other.map_bar(edu.bdf, edu.bar, m.region.gfn, 16)
            assert other.read(0, region.gpa) == EDU_IDENTIFICATION, "the second child does not reach edu"
            other.give_back(region, edu.bdf)
        reads.check()
        m.child.give_back(m.region, device.bdf)
        mine = m.child.map_bar(edu.bdf, edu.bar, m.region.gfn, 16)
        theirs = other.map_bar(device.bdf, device.bar, m.region.gfn, 16)
        assert m.child.read(0, mine.gpa) == EDU_IDENTIFICATION, "the first child does not reach edu now"
        results = other.access([Access(theirs.gpa + 4096 * page, 8) for page in range(16)])
        found = [device.origin(r.value) if r.ok else None for r in results]
        assert found == list(range(16)), f"the second child reads BAR pages {found}"
        evidence.observe("owners of ivshmem's first page", m_owners(m))
    finally:
        other.close()


def m_owners(m):
    """How many children map the BAR's first page."""
    return len(m.slat.owners(m.bar_spa)) if m.slat.seen else 1


@scenario(slow=True, claims=("C16",))
def test_two_devices_at_neighbouring_frames_of_one_child(mapped, storm, device, edu, evidence):
    m = mapped(device, vps=2, pages=16)
    beside = mapped(edu, pages=16, gfn=m.region.gfn + 16)
    with storm(m, vps=(1,)) as reads:
        values = [beside.read(0, width=4) for _ in range(8)]
        beside.child.unmap(beside.region)
    reads.check()
    evidence.observe("edu answered", sorted(set(values)))
    assert set(values) == {EDU_IDENTIFICATION}, "the child does not read edu's identification"
    assert not m.wrong_pages(), "pages of the region that stayed are wrong"
    assert not beside.pages_left(), "pages of edu are still mapped"


def move_bar(root, device, address):
    """Write the BAR of a device that nobody uses, and have the kernel find it anew."""
    config = f"{SYSFS}/{device.bdf}/config"
    word = "".join(f"\\x{byte:02x}" for byte in (address | 0xC).to_bytes(8, "little"))
    root.run(
        f"echo {device.bdf} >{SYSFS}/{device.bdf}/driver/unbind; "
        f"printf '{word}' | dd of={config} bs=8 seek={(0x10 + 4 * device.bar) // 8} conv=notrunc; "
        f"echo 1 >{SYSFS}/{device.bdf}/remove; echo 1 >/sys/bus/pci/rescan"
    )
