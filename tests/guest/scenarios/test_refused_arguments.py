# SPDX-License-Identifier: GPL-2.0-or-later
"""What a VMM may not ask for: the driver says so, and goes on as before."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from lab.child.protocol import Access, VmmError

scenario = pytest.mark.scenario
BELL = 0x2_0000_0200
"""A GPA at 8 GiB that no region covers."""
GFN = 0x100000
LAST_GFN = (1 << 64) - 1
RAM_WORD = 0x0123_4567_89AB_CDEF
VECTOR = 0x43
MSI = 0xFEE00000


def refused(call: Callable[[], object]) -> str:
    """The errno's name, or "" when the driver did it."""
    try:
        call()
    except VmmError as e:
        return e.errno_name
    return ""


@scenario()
def test_regions_that_share_a_page_are_refused_and_neighbours_are_not(child, evidence):
    child.create_partition(vps=1)
    child.map_anonymous(gfn=0x8000, pages=4)
    said = {
        "begins on the last page": refused(lambda: child.map_anonymous(gfn=0x8003, pages=4)),
        "ends on the first page": refused(lambda: child.map_anonymous(gfn=0x7FFD, pages=4)),
        "inside": refused(lambda: child.map_anonymous(gfn=0x8001, pages=1)),
        "around": refused(lambda: child.map_anonymous(gfn=0x7FF0, pages=64)),
        "behind": refused(lambda: child.map_anonymous(gfn=0x8004, pages=4)),
        "before": refused(lambda: child.map_anonymous(gfn=0x7FFC, pages=4)),
    }
    evidence.observe("refused with", said)
    assert said == {**dict.fromkeys(list(said)[:4], "EEXIST"), "behind": "", "before": ""}
    assert child.read(0, 0x8004 * 4096, 8) == 0


@scenario(claims=("C10",), needs=("map_on_first_touch",))
@pytest.mark.parametrize("first", [LAST_GFN, LAST_GFN - 1, LAST_GFN - 2], ids=["last", "one", "two"])
def test_device_region_that_wraps_round_is_refused(lab, child, device, evidence, first):
    lab.passthrough(device)
    child.create_partition(vps=1)
    said = refused(lambda: child.map_bar(device.bdf, device.bar, first, 4))
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
    said = refused(lambda: child.map_physical(spa << 12, GFN, 1))
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
        "same value": refused(lambda: child.ioeventfd(other, BELL, 4, 7)),
        "any value": refused(lambda: child.ioeventfd(other, BELL, 4)),
        "other value": refused(lambda: child.ioeventfd(other, BELL, 4, 8)),
        "beyond the last address": refused(lambda: child.ioeventfd(other, (1 << 64) - 4, 8, 7)),
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
    said = [refused(partial(child.irqfd, event, gsi)) for gsi in (5, 6)]
    evidence.observe("refused with", said)
    assert said == ["EBUSY", "EBUSY"]
    # And the driver has let go of its lock.
    another = child.new_event()
    child.irqfd(another, 6)
    child.irqfd(another, 6, remove=True)
    child.irqfd(event, 5, remove=True)
