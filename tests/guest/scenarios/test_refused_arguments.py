# SPDX-License-Identifier: GPL-2.0-or-later
"""What a VMM may not ask for: the driver says so, and goes on as before."""

from __future__ import annotations

import struct
from functools import partial

import pytest

from lab.child import requests as rq
from lab.child.msi import MSI
from lab.child.protocol import Access, errno_of

scenario = pytest.mark.scenario
BELL = 0x2_0000_0200
"""A GPA at 8 GiB that no region covers."""
GFN = 0x100000
LAST_GFN = (1 << 64) - 1
RAM_WORD = 0x0123_4567_89AB_CDEF
VECTOR = 0x43


@scenario()
def test_regions_that_share_a_page_are_refused_and_neighbours_are_not(child, evidence):
    child.create_partition(vps=1)
    child.map_anonymous(gfn=0x8000, pages=4)
    said = {
        "begins on the last page": errno_of(lambda: child.map_anonymous(gfn=0x8003, pages=4)),
        "ends on the first page": errno_of(lambda: child.map_anonymous(gfn=0x7FFD, pages=4)),
        "inside": errno_of(lambda: child.map_anonymous(gfn=0x8001, pages=1)),
        "around": errno_of(lambda: child.map_anonymous(gfn=0x7FF0, pages=64)),
        "behind": errno_of(lambda: child.map_anonymous(gfn=0x8004, pages=4)),
        "before": errno_of(lambda: child.map_anonymous(gfn=0x7FFC, pages=4)),
    }
    evidence.observe("refused with", said)
    assert said == {**dict.fromkeys(list(said)[:4], "EEXIST"), "behind": "", "before": ""}
    assert child.read(0, 0x8004 * 4096, 8) == 0


@scenario(claims=("C10",), needs=("map_on_first_touch",))
@pytest.mark.parametrize("first", [LAST_GFN, LAST_GFN - 1, LAST_GFN - 2], ids=["last", "one", "two"])
def test_device_region_that_wraps_round_is_refused(lab, child, device, evidence, first):
    lab.passthrough(device)
    child.create_partition(vps=1)
    said = errno_of(lambda: child.map_bar(device.bdf, device.bar, first, 4))
    evidence.observe("refused with", said)
    assert said == "EINVAL", "a region is taken whose last page is below its first"
    region = child.map_bar(device.bdf, device.bar, GFN, 4)
    assert child.read(0, region.gpa, 8) == device.expected_word(0)


@scenario(claims=("C9",))
def test_ram_of_the_root_is_not_given_away_as_device_memory(child, evidence):
    """/dev/mem maps RAM as it maps a device. Uncached, it is memory that two sides see differently; and it
    is nobody's that the driver could ask to let go of it."""
    child.create_partition(vps=1)
    own = child.map_anonymous(gfn=0x8000, pages=1)
    child.host_write(own, 0, 8, RAM_WORD)
    (ram,) = [region for region in child.live() if region.gfn == own.gfn]
    ((_, _, spa),) = ram.behind
    said = errno_of(lambda: child.map_physical(spa << 12, GFN, 1))
    evidence.observe("the region", f"is refused with {said}" if said else "is accepted")
    if said:
        return
    (read,) = child.access([Access(GFN << 12, 8)])
    evidence.observe("a read ends with", read.message.name if read.message else "a value")
    assert read.message is not None, "the child reaches RAM of the root through a region of device memory"


@scenario()
def test_doorbells_for_the_same_write_are_refused(child, evidence):
    child.create_partition(vps=1)
    event, other = child.new_event(), child.new_event()
    child.ioeventfd(event, BELL, 4, 7)
    said = {
        "same value": errno_of(lambda: child.ioeventfd(other, BELL, 4, 7)),
        "any value": errno_of(lambda: child.ioeventfd(other, BELL, 4)),
        "other value": errno_of(lambda: child.ioeventfd(other, BELL, 4, 8)),
        "beyond the last address": errno_of(lambda: child.ioeventfd(other, (1 << 64) - 4, 8, 7)),
    }
    evidence.observe("refused with", said)
    assert said == {
        "same value": "EEXIST",
        "any value": "EEXIST",
        "other value": "",
        "beyond the last address": "EINVAL",
    }


@scenario()
def test_event_that_has_an_interrupt_gets_no_second_one(child, evidence):
    child.create_partition(vps=1, lapic=True)
    child.routes({5: (MSI, VECTOR), 6: (MSI, VECTOR + 1)})
    event = child.new_event()
    child.irqfd(event, 5)
    said = [errno_of(partial(child.irqfd, event, gsi)) for gsi in (5, 6)]
    evidence.observe("refused with", said)
    assert said == ["EBUSY", "EBUSY"]
    # And the driver has let go of its lock.
    another = child.new_event()
    child.irqfd(another, 6)
    child.irqfd(another, 6, remove=True)
    child.irqfd(event, 5, remove=True)


PAGE = 4096
FLAG_UNMAP = 4
NO_ZEROES = {count: bytes(count - 1) + b"\1" for count in (3, 4, 6, 7)}


@scenario()
def test_removal_must_name_the_whole_region(child, evidence):
    child.create_partition(vps=1)
    region = child.map_anonymous(gfn=0x8000, pages=4)
    said = {
        f"{pages} pages": errno_of(partial(child.remove_pages, region.id, pages)) for pages in (1, 3, 5, 8)
    }
    somewhere = (rq.Buffer(16, 4 * PAGE),)
    for what, gfn in (("another address", 0x8000), ("the second page", 0x8001), ("nothing", 0x9000)):
        words = (4 * PAGE, gfn, 0, FLAG_UNMAP, bytes(7))
        said[what] = child.ask("partition", rq.SET_MEMORY, *words, buffers=somewhere).error
    evidence.observe("refused with", said)
    assert said == {**dict.fromkeys(said, "EINVAL"), "nothing": "ENOENT"}
    assert child.read(0, region.gpa + 3 * PAGE, 8) == 0, "a refused removal has removed the region"
    child.unmap(region)


def route(gsi, high=0):
    return struct.pack("<IIII", gsi, MSI, high, VECTOR)


REFUSED = {
    "partition flag": ("device", rq.CREATE_PARTITION, 1 << 6, 0),
    "isolation": ("device", rq.CREATE_PARTITION, 0, 1),
    "memory zeroes": ("partition", rq.SET_MEMORY, PAGE, 0x9000, PAGE, 1, NO_ZEROES[7]),
    "memory flag": ("partition", rq.SET_MEMORY, PAGE, 0x9000, PAGE, 8, bytes(7)),
    "memory of nothing": ("partition", rq.SET_MEMORY, 0, 0x9000, PAGE, 1, bytes(7)),
    "memory of half a page": ("partition", rq.SET_MEMORY, PAGE // 2, 0x9000, PAGE, 1, bytes(7)),
    "memory at an odd address": ("partition", rq.SET_MEMORY, PAGE, 0x9000, PAGE + 8, 1, bytes(7)),
    "doorbell zeroes": ("partition", rq.IOEVENTFD, 0, BELL, 4, 0, 0, NO_ZEROES[4]),
    "doorbell flag": ("partition", rq.IOEVENTFD, 0, BELL, 4, 0, 8, bytes(4)),
    "interrupt flag": ("partition", rq.IRQFD, 0, 0, 1, 4),
    "routes zeroes": ("partition", rq.ROUTES, 0, 1),
    "too many routes": ("partition", rq.ROUTES, 4097, 0),
    "number of a route": ("partition", rq.ROUTES, 1, 0, route(4096)),
    "last number of a route": ("partition", rq.ROUTES, 1, 0, route((1 << 32) - 1)),
    "high address of a route": ("partition", rq.ROUTES, 1, 0, route(1, 1)),
    "two routes of one number": ("partition", rq.ROUTES, 2, 0, route(1) + route(1)),
    "bitmap zeroes": ("partition", rq.ACCESS_BITMAP, 0, 1, NO_ZEROES[6], 8, 0, PAGE),
    "bitmap type": ("partition", rq.ACCESS_BITMAP, 2, 1, bytes(6), 8, 0, PAGE),
    "bitmap operation": ("partition", rq.ACCESS_BITMAP, 0, 3, bytes(6), 8, 0, PAGE),
    "bitmap of nothing": ("partition", rq.ACCESS_BITMAP, 0, 1, bytes(6), 0, 0, PAGE),
    "state zeroes": (0, rq.GET_STATE, 0, NO_ZEROES[3], PAGE, PAGE),
    "state type": (0, rq.GET_STATE, 5, bytes(3), PAGE, PAGE),
    "state in no buffer": (0, rq.SET_STATE, 0, bytes(3), 0, PAGE),
    "state in half a page": (0, rq.SET_STATE, 0, bytes(3), PAGE // 2, PAGE),
    "state at an odd address": (0, rq.GET_STATE, 0, bytes(3), PAGE, PAGE + 8),
}
"""Requests of which one word cannot be: who is asked, for what, and the words. Memory at PAGE is there."""


def asked(child, file, request, *words):
    there = request is rq.SET_MEMORY and words[2] == PAGE
    return child.ask(file, request, *words, buffers=(rq.Buffer(16, PAGE),) if there else ())


@scenario()
def test_requests_with_a_word_that_cannot_be_are_refused(child, ledger, evidence):
    child.create_partition(vps=1, lapic=True)
    child.routes({1: (MSI, VECTOR)})
    position = ledger.mark()
    said = {what: asked(child, *request).error for what, request in REFUSED.items()}
    evidence.observe("refused with", said)
    wrong = {what: error or "nothing" for what, error in said.items() if error != "EINVAL"}
    assert not wrong, f"not refused with EINVAL: {wrong}"
    if ledger.complete:
        made = [
            n for n in ("CREATE_PARTITION", "MAP_GPA_PAGES", "CREATE_PORT") if ledger.hypercalls(n, position)
        ]
        assert not made, f"a request was refused after a hypercall: {made[0]}"
    assert child.read(0, 0, 8) is not None


WHO_TAKES = {
    "device": (rq.CREATE_PARTITION, rq.HYPERCALL),
    "partition": (
        *(rq.CREATE_VP, rq.SET_MEMORY, rq.IRQFD, rq.IOEVENTFD, rq.ROUTES),
        *(rq.ACCESS_BITMAP, rq.HYPERCALL),
    ),
    0: (rq.GET_STATE, rq.SET_STATE, rq.HYPERCALL),
}
UNKNOWN = rq.Request(0x7F, 1, "QQ")


@scenario()
def test_requests_that_cannot_be_read_are_refused(child, evidence):
    child.create_partition(vps=1)
    said = {
        f"{file} {request.number:#x}": child.ask_nowhere(file, request.number)
        for file, requests in WHO_TAKES.items()
        for request in requests
    }
    wrong = {what: a.error or a.result for what, a in said.items() if (a.result, a.error) != (-1, "EFAULT")}
    evidence.observe("not EFAULT", wrong)
    assert not wrong, f"a structure that cannot be read gives {wrong}"
    words = (0x44, 0, 16, 0, 0, bytes(6), 1, 0)
    assert child.ask("partition", rq.HYPERCALL, *words).error == "EFAULT", "the input cannot be read"


@scenario()
def test_requests_that_the_driver_does_not_know_are_refused_again_and_again(child, evidence):
    child.create_partition(vps=1)
    said = [child.ask(file, UNKNOWN, 0, 0).error for file in ("device", "partition", 0) for _ in range(2)]
    evidence.observe("refused with", said)
    assert said == ["ENOTTY"] * 6
    region = child.map_anonymous(gfn=0x8000, pages=4)
    assert child.read(0, region.gpa, 8) == 0
