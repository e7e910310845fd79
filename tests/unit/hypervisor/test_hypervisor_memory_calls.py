# SPDX-License-Identifier: GPL-2.0-or-later
"""Deposits, mappings, host access: what the stand-in does and refuses, its own code compiled for the host."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import pytest

from lab.model.ledger import SlatRun

if TYPE_CHECKING:
    from tests.unit.hypervisor.conftest import Root

RW, RWX, LARGE, NO_ACCESS, NOT_CACHED = 0x3, 0xF, 0x80000000, 0x10000, 0x200000
OK, BAD_PARAMETER, DENIED, BAD_STATE, OPERATION_DENIED = 0, 5, 6, 7, 8
NO_MEMORY, BAD_PARTITION, BAD_VP, NO_RESOURCES = 0x0B, 0x0D, 0x0E, 0x1D
INITIALIZE, FINALIZE, DELETE, CREATE = 0x41, 0x42, 0x43, 0x40
CREATE_VP, DELETE_VP, MAP_STATE, UNMAP_STATE, MAP_STATS, UNMAP_STATS = 0x4E, 0x4F, 0xE1, 0xE2, 0x6C, 0x6D
ACCESS_STATES, ACQUIRE, RELEASE = 0xC9, 0xD7, 0xD8
FLAG_UNIMPLEMENTED, FLAG_IGNORED = 2, 4
EXCLUSIVE, SHARED, LARGE_PAGES, HUGE_PAGES = 1, 2, 4, 8
OWN, HIDDEN, OWN_END = 0x10000, 0x10200, 0x12600
ARENA, ARENA_END = 0x20000, 0x24000
POOL, RAM = 0x20800, 0x21000
"""Where the tests take pages for deposits, and for the child; both are multiples of 2 MiB."""
TOP = 1 << 28
"""First page beyond the 40 bits of a physical address."""


class Child(NamedTuple):
    root: Root
    id: int

    def map(self, gfn: int, flags: int, pfn: int, reps: int = 1, start: int = 0):
        step = 512 if flags & LARGE else 1
        return self.root.map(self.id, gfn, flags, [pfn + i * step for i in range(reps)], start)

    def unmap(self, gfn: int, reps: int = 1, flags: int = 0, start: int = 0):
        return self.root.unmap(self.id, gfn, reps, flags, start)

    def slat(self) -> list[SlatRun]:
        return self.root.slat(1)

    @property
    def free(self) -> int:
        return self.root.pool(1)[0]


def create(root: Root) -> int:
    return root.call(CREATE, bytes(56), out=8).partition


def created(root: Root, pages: int = 64) -> Child:
    child = Child(root, create(root))
    assert root.deposit(child.id, list(range(POOL, POOL + pages)))[:2] == (OK, pages)
    return child


@pytest.fixture
def child(root: Root) -> Iterator[Child]:
    """An active child with 64 deposited pages. In the end the books must balance."""
    c = created(root)
    assert root.simple(INITIALIZE, c.id).status == OK
    yield c
    assert root.problem() == "ok"


def starved(root: Root, pages: int) -> Child:
    c = created(root, pages)
    assert root.simple(INITIALIZE, c.id).status == OK
    return c


def host_access(root: Root, code: int, flags: int, pages: list[int], access: int = 0, partition: int = 0):
    data = struct.pack(f"<IIQ{len(pages)}Q", access, flags, partition, *pages)
    return root.call(code, data, reps=len(pages))


def access_states(root: Root, partition: int, gfn: int, count: int, flags: int = 0):
    data = struct.pack("<QQQ", partition, flags, gfn)
    return root.call(ACCESS_STATES, data, reps=count, out=count)


def state_page(root: Root, code: int, partition: int, kind: int, vp: int = 0):
    data = struct.pack("<QIHBBQ", partition, vp, kind, 0, 0, 0)[: 24 if code == MAP_STATE else 16]
    return root.call(code, data, out=8 if code == MAP_STATE else 0)


def create_vp(root: Root, partition: int, index: int):
    return root.call(CREATE_VP, struct.pack("<QI", partition, index) + bytes(28))


def delete_vp(root: Root, partition: int, index: int):
    return root.call(DELETE_VP, struct.pack("<QII", partition, index, 0), fast=True)


# ---- deposits ----
def test_a_deposited_page_leaves_the_root_and_comes_back_zeroed(root: Root) -> None:
    root.memory.write((POOL + 3) << 12, b"secret of the root")
    part = create(root)
    assert root.page(POOL + 3).access == 7
    assert root.deposit(part, [POOL + 3])[:2] == (OK, 1)
    assert (root.page(POOL + 3).access, root.page(POOL + 4).access) == (0, 7)
    result, pages = root.withdraw(part, 2)
    assert (result.status, pages) == (NO_RESOURCES, [POOL + 3])
    assert root.page(POOL + 3) == (0, 0, 0, 0, 0, 7)
    assert root.memory.read((POOL + 3) << 12, 4096) == bytes(4096)
    assert root.problem() == "ok"


def test_a_page_is_deposited_once(root: Root) -> None:
    one, two = create(root), create(root)
    assert root.deposit(one, [POOL, POOL + 1, POOL])[:2] == (OPERATION_DENIED, 2)
    assert root.deposit(two, [POOL + 1])[:2] == (OPERATION_DENIED, 0)
    assert root.deposit(1, [POOL])[:2] == (OPERATION_DENIED, 0)
    assert (root.pool(1), root.pool(2)) == ((2, 2), (0, 0))
    assert root.problem() == "ok"


@pytest.mark.parametrize(
    "pfn", [HIDDEN, OWN, OWN_END - 1, 8, ARENA - 1, ARENA_END, 0xFEBF0, TOP - 1, TOP, 1 << 52, (1 << 64) - 1]
)
def test_only_ram_of_the_root_can_be_deposited(root: Root, pfn: int) -> None:
    part = create(root)
    assert root.deposit(part, [POOL, pfn, POOL + 1])[:2] == (OPERATION_DENIED, 1)
    assert root.pool(1) == (1, 1)
    assert root.problem() == "ok"


def test_a_page_that_a_child_reaches_cannot_be_deposited(root: Root, child: Child) -> None:
    child.map(8, RW, RAM)
    child.map(0x200, RW | LARGE, RAM + 0x200)
    for pfn in (RAM, RAM + 0x200, RAM + 0x3FF):
        assert root.deposit(child.id, [pfn]).status == OPERATION_DENIED
        assert root.page(pfn).access == 7
    child.map(8, NO_ACCESS, 0)
    child.unmap(0x200, flags=2)
    assert root.deposit(child.id, [RAM, RAM + 0x200, RAM + 0x3FF])[:2] == (OK, 3)


def test_a_finalized_partition_takes_no_deposit_but_gives_back(root: Root, child: Child) -> None:
    assert root.simple(FINALIZE, child.id).status == OK
    assert root.deposit(child.id, [RAM]).status == BAD_STATE
    assert root.withdraw(child.id, 65)[0][:2] == (NO_RESOURCES, 64)
    assert root.pool(1) == (0, 0)


def test_no_such_partition(root: Root) -> None:
    part = create(root)
    for bad in (0, part + 1, 1 << 63):
        assert root.deposit(bad, [POOL]).status == BAD_PARTITION
        assert root.withdraw(bad, 1)[0].status == BAD_PARTITION
        assert root.map(bad, 8, RW, [RAM]).status == BAD_PARTITION
        assert root.unmap(bad, 8).status == BAD_PARTITION
        assert access_states(root, bad, 8, 1).status == BAD_PARTITION
        assert create_vp(root, bad, 0).status == BAD_PARTITION
        assert [root.simple(code, bad).status for code in (INITIALIZE, FINALIZE, DELETE)] == [
            BAD_PARTITION
        ] * 3


def test_withdraw_with_reserved_flags_is_refused(root: Root) -> None:
    part = create(root)
    root.deposit(part, [POOL])
    result = root.call(0x49, struct.pack("<QII", part, 0, 2), reps=1, out=8)
    assert result[:2] == (BAD_PARAMETER, 0)
    assert root.pool(1) == (1, 1)


def test_the_list_must_lie_in_one_page(root: Root) -> None:
    part = create(root)
    for code, fixed, most in ((0x48, 8, 511), (0x4B, 24, 509)):
        data = struct.pack("<Q", part).ljust(fixed, b"\0")
        assert root.call(code, data, reps=most + 1)[:2] == (4, 0)
        assert root.call(code, data, reps=0)[:2] == (3, 0)
        assert root.call(code, data, reps=2, start=3)[:2] == (3, 0)
    assert root.call(0x49, struct.pack("<QII", part, 0, 0), reps=513)[:2] == (4, 0)
    assert root.call(ACCESS_STATES, struct.pack("<QQQ", part, 0, 0), reps=4095)[0] == BAD_STATE


def test_input_in_a_page_that_was_given_away_is_refused(root: Root) -> None:
    """The list itself lies in the page : the next call may not use it."""
    part = create(root)
    assert root.deposit(part, [ARENA])[:2] == (OK, 1)
    assert root.call(0x46, out=8).status == OK
    assert root.call(0x48, struct.pack("<QQ", part, POOL), reps=1).status == 4


# ---- mappings ----
def test_what_is_mapped_is_what_the_walker_sees(child: Child) -> None:
    calls = [child.map(8, RW, 0xFEBF0, 16), child.map(0x40, NO_ACCESS, 0, 2), child.map(0x50, RWX, RAM)]
    assert [c[:2] for c in calls] == [(OK, 16), (OK, 2), (OK, 1)]
    assert child.slat() == [
        SlatRun(8, 0xFEBF0, 16, "rw"),
        SlatRun(0x40, 0, 2, "", no_access=True),
        SlatRun(0x50, RAM, 1, "rwx"),
    ]


def test_the_cache_type_is_kept_page_by_page(child: Child) -> None:
    child.map(8, RW | NOT_CACHED, 0xFEBF0, 2)
    child.map(10, RW, 0xFEBF2, 2)
    child.map(0x200, RW | LARGE | NOT_CACHED, 0xFE000)
    child.unmap(0x201)
    assert [(r.gfn, r.pages, r.uncached) for r in child.slat()] == [
        (8, 2, True), (10, 2, False), (0x200, 1, True), (0x202, 510, True)
    ]  # fmt: skip


def test_mapping_a_mapped_frame_remaps_it(root: Root, child: Child) -> None:
    child.map(8, RW, RAM, 3)
    assert child.map(9, RWX, RAM + 0x100).status == OK
    assert child.slat() == [
        SlatRun(8, RAM, 1, "rw"), SlatRun(9, RAM + 0x100, 1, "rwx"), SlatRun(10, RAM + 2, 1, "rw")
    ]  # fmt: skip
    assert (root.page(RAM + 1).maps, root.page(RAM + 0x100).maps) == (0, 1)


def test_one_page_may_be_mapped_in_several_places_and_children(root: Root, child: Child) -> None:
    other = create(root)
    root.deposit(other, list(range(POOL + 64, POOL + 128)))
    root.simple(INITIALIZE, other)
    assert root.map(other, 8, RW, [RAM]).status == OK
    assert child.map(8, RW, RAM).status == OK
    assert child.map(9, RW, RAM).status == OK
    assert root.page(RAM).maps == 3
    assert root.simple(FINALIZE, other).status == OK
    assert root.page(RAM).maps == 2


def test_unmapping_what_is_not_mapped_succeeds(child: Child) -> None:
    calls = [
        child.unmap(8, 4),
        child.map(8, RW, RAM),
        child.unmap(8),
        child.unmap(8),
        child.unmap(0x400, 1, 2),
    ]
    assert [c[:2] for c in calls] == [(OK, 4), (OK, 1), (OK, 1), (OK, 1), (OK, 1)]
    assert child.slat() == []


def test_repetitions_before_the_start_are_not_done_again(child: Child) -> None:
    assert child.map(8, RW, RAM, 4, start=3)[:2] == (OK, 4)
    assert child.slat() == [SlatRun(11, RAM + 3, 1, "rw")]
    assert child.unmap(8, 4, start=3)[:2] == (OK, 4)
    assert child.slat() == []
    assert child.map(8, RW, RAM, 4, start=3)[:2] == (OK, 4)
    assert child.unmap(8, 4, start=4)[:2] == (3, 0)
    assert child.slat() == [SlatRun(11, RAM + 3, 1, "rw")]


@pytest.mark.parametrize("pfn", [OWN, HIDDEN - 1, HIDDEN, OWN_END - 1, 8])
def test_the_stand_ins_own_memory_cannot_be_mapped(child: Child, pfn: int) -> None:
    """Not the hidden part, not the pages that the root sees, not the page that starts further CPUs."""
    for flags in (RW, 1, 5, RWX, RW | NOT_CACHED):
        assert child.map(8, flags, pfn)[:2] == (DENIED, 0)
    assert child.map(8, RW, OWN - 2, 4)[:2] == (DENIED, 2)
    assert child.slat() == [SlatRun(8, OWN - 2, 2, "rw")]


@pytest.mark.parametrize("pfn", [OWN, HIDDEN, OWN_END - 0x200, 0])
def test_a_large_page_over_the_stand_ins_memory_is_denied(child: Child, pfn: int) -> None:
    assert child.map(0x200, RW | LARGE, pfn)[:2] == (DENIED, 0)
    assert child.slat() == []


def test_deposited_pages_cannot_be_mapped(root: Root, child: Child) -> None:
    """Free pages of a pool, and those in use: the child's own table and a state page that the root sees."""
    table = int(root._ask("t 1").split()[-1], 16) >> 12
    assert create_vp(root, child.id, 0).status == OK
    page = state_page(root, MAP_STATE, child.id, 0).partition
    root.deposit(1, [POOL + 0x100])
    for pfn in (POOL + 0x100, table, page):
        assert child.map(8, RW, pfn)[:2] == (DENIED, 0)
    assert child.map(0x200, RW | LARGE, POOL)[:2] == (DENIED, 0)
    assert child.map(0x200, RW | LARGE, POOL & ~0x1FF)[:2] == (DENIED, 0)
    assert child.slat() == []


@pytest.mark.parametrize("pfn", [TOP, 1 << 29, 2 << 28, 1 << 40, 1 << 52, (1 << 64) - 1])
def test_addresses_that_the_machine_does_not_have_are_refused(child: Child, pfn: int) -> None:
    assert child.map(8, RW, pfn)[:2] == (BAD_PARAMETER, 0)
    assert child.map(8, RW, TOP - 2, 4)[:2] == (BAD_PARAMETER, 2)
    assert child.slat() == [SlatRun(8, TOP - 2, 2, "rw")]


def test_an_empty_pool_is_insufficient_memory_and_what_was_done_stays(root: Root) -> None:
    """One table page is the root; each 2 MiB of frames needs a page of its own."""
    child = starved(root, 4)
    assert child.map(0x1FE, RW, RAM, 4)[:2] == (NO_MEMORY, 2)
    assert child.slat() == [SlatRun(0x1FE, RAM, 2, "rw")]
    assert root.page(RAM + 2).maps == 0
    assert root.deposit(child.id, [POOL + 4]).status == OK
    assert child.map(0x1FE, RW, RAM, 4, start=2)[:2] == (OK, 4)
    assert root.problem() == "ok"


def test_a_hole_in_a_large_page_leaves_the_rest_mapped(root: Root, child: Child) -> None:
    assert [child.map(0x200, RW | LARGE, RAM).status, child.unmap(0x210).status] == [OK, OK]
    assert child.slat() == [SlatRun(0x200, RAM, 16, "rw"), SlatRun(0x211, RAM + 0x11, 495, "rw")]
    assert [root.page(RAM + i).maps for i in (0xF, 0x10, 0x11)] == [1, 0, 1]


def test_a_frame_of_a_large_page_can_be_remapped(root: Root, child: Child) -> None:
    child.map(0x200, RW | LARGE, RAM)
    assert child.map(0x210, 1, RAM + 0x300).status == OK
    assert child.map(0x211, NO_ACCESS, 0).status == OK
    assert child.slat() == [
        SlatRun(0x200, RAM, 16, "rw"),
        SlatRun(0x210, RAM + 0x300, 1, "r"),
        SlatRun(0x211, 0, 1, "", no_access=True),
        SlatRun(0x212, RAM + 0x12, 494, "rw"),
    ]
    assert [root.page(RAM + i).maps for i in (0x10, 0x11, 0x300)] == [0, 0, 1]


def test_a_split_without_memory_is_refused_and_leaves_the_large_page(root: Root) -> None:
    child = starved(root, 3)
    assert child.map(0x200, RW | LARGE, RAM).status == OK
    assert child.unmap(0x210)[:2] == (NO_MEMORY, 0)
    assert child.map(0x210, RW, RAM + 0x300)[:2] == (NO_MEMORY, 0)
    assert child.slat() == [SlatRun(0x200, RAM, 512, "rw", level=2)]
    assert (root.page(RAM).maps, root.page(RAM + 0x300).maps, root.problem()) == (1, 0, "ok")


def test_several_large_pages_in_one_call(root: Root, child: Child) -> None:
    assert child.map(0x200, RWX | LARGE, RAM, 3)[:2] == (OK, 3)
    assert child.slat() == [SlatRun(0x200, RAM, 0x600, "rwx", level=2)]
    assert child.map(0x200, NO_ACCESS | LARGE, 0, 2)[:2] == (OK, 2)
    assert child.slat() == [
        SlatRun(0x200, 0, 0x400, "", no_access=True, level=2),
        SlatRun(0x600, RAM + 0x400, 0x200, "rwx", level=2),
    ]
    assert child.unmap(0x200, 3, 2)[:2] == (OK, 3)
    assert child.slat() == []
    assert root.page(RAM).maps == 0


def test_a_large_page_replaces_small_ones_and_gives_their_table_back(root: Root, child: Child) -> None:
    child.map(0x210, RW, RAM + 0x300)
    before = child.free
    assert child.map(0x200, RW | LARGE, RAM).status == OK
    assert child.free == before + 1
    assert root.page(RAM + 0x300).maps == 0
    child.unmap(0x200, flags=2)
    assert child.slat() == []


def test_a_misaligned_large_page_is_refused(child: Child) -> None:
    bad = [child.map(0x201, RW | LARGE, RAM), child.map(0x200, RW | LARGE, RAM + 1), child.unmap(0x1FF, 1, 2)]
    assert [c[:2] for c in bad] == [(BAD_PARAMETER, 0)] * 3
    assert child.slat() == []


def test_frames_beyond_the_guest_address_width_are_refused(child: Child) -> None:
    last = (1 << 36) - 1
    assert child.map(last + 1, RW, RAM)[:2] == (BAD_PARAMETER, 0)
    assert child.map(last, RW, RAM, 2)[:2] == (BAD_PARAMETER, 1)
    assert child.slat() == [SlatRun(last, RAM, 1, "rw")]
    assert child.unmap(last, 2)[:2] == (BAD_PARAMETER, 1)
    assert access_states(child.root, child.id, last, 2)[:2] == (BAD_PARAMETER, 1)


def test_frames_do_not_wrap_around(child: Child) -> None:
    assert child.map((1 << 64) - 1, RW, RAM, 2, start=1)[:2] == (BAD_PARAMETER, 1)
    assert child.map((1 << 64) - 0x200, RW | LARGE, RAM, 2, start=1)[:2] == (BAD_PARAMETER, 1)
    assert child.unmap((1 << 64) - 1, 2, start=1)[:2] == (BAD_PARAMETER, 1)
    assert access_states(child.root, child.id, (1 << 64) - 1, 2).status == BAD_PARAMETER
    assert child.slat() == []


@pytest.mark.parametrize("flags", [0x2, 0x4, 0x8, 0xC, 0x6, 0xE])
def test_access_that_the_processor_cannot_have_is_refused(child: Child, flags: int) -> None:
    assert child.map(8, flags, RAM)[:2] == (BAD_PARAMETER, 0)
    assert child.slat() == []


@pytest.mark.parametrize("bit", [*range(4, 15), 18, 19, 22, 23, 29, 30])
def test_undefined_map_flags_are_refused(child: Child, bit: int) -> None:
    assert child.map(8, RW | 1 << bit, RAM)[:2] == (BAD_PARAMETER, 0)
    assert child.slat() == []


def test_flags_without_effect_are_marked(child: Child) -> None:
    assert child.map(8, RW, RAM).flags == 0
    assert child.map(8, RW | 0x8000, RAM)[:3] == (OK, 1, 0)
    assert child.map(8, RW | 0x4, RAM)[:3] == (OK, 1, FLAG_IGNORED)
    for flag in (0x100000, 0x1000000, 0x8000000, 0x10000000):
        assert child.map(8, RW | flag, RAM)[:3] == (OK, 1, FLAG_IGNORED)
    for special in (0x20000, 0x30000):
        assert child.map(8, 1 | special, 0)[:3] == (BAD_PARAMETER, 0, FLAG_UNIMPLEMENTED)
    assert child.unmap(8, flags=1)[:3] == (OK, 1, FLAG_IGNORED)
    for bad in (4, 8, 1 << 31):
        assert child.unmap(8, flags=bad)[:2] == (BAD_PARAMETER, 0)


def test_no_access_does_not_look_at_the_page_list(child: Child) -> None:
    assert child.map(8, NO_ACCESS, OWN)[:2] == (OK, 1)
    assert child.map(0x200, NO_ACCESS | LARGE, 1)[:2] == (OK, 1)
    assert [r.no_access for r in child.slat()] == [True, True]


def test_the_roots_own_frames_are_fixed(root: Root) -> None:
    for partition in (1, (1 << 64) - 1):
        assert root.map(partition, RAM, RW, [RAM]).status == DENIED
        assert root.unmap(partition, RAM).status == DENIED
        assert access_states(root, partition, RAM, 1).status == DENIED
    assert root.page(RAM).access == 7


# ---- states ----
def test_calls_in_the_wrong_state(root: Root) -> None:
    child = created(root)
    assert child.map(8, RW, RAM).status == BAD_STATE
    assert child.unmap(8).status == BAD_STATE
    assert create_vp(root, child.id, 0).status == BAD_STATE
    assert access_states(root, child.id, 8, 1).status == BAD_STATE
    assert root.simple(FINALIZE, child.id).status == BAD_STATE
    assert root.simple(INITIALIZE, child.id).status == OK
    assert root.simple(INITIALIZE, child.id).status == BAD_STATE
    assert root.simple(DELETE, child.id).status == BAD_STATE
    assert root.simple(FINALIZE, child.id).status == OK
    assert root.simple(FINALIZE, child.id).status == BAD_STATE
    assert root.simple(INITIALIZE, child.id).status == BAD_STATE
    assert [child.map(8, RW, RAM).status, child.unmap(8).status] == [BAD_STATE] * 2
    assert create_vp(root, child.id, 0).status == BAD_STATE
    for code in (INITIALIZE, FINALIZE, DELETE):
        assert root.simple(code, 1).status == BAD_STATE
    assert root.problem() == "ok"


def test_a_finalized_partition_can_only_be_drained_and_deleted(root: Root, child: Child) -> None:
    create_vp(root, child.id, 0)
    root.simple(FINALIZE, child.id)
    partition = struct.pack("<Q", child.id)
    plain = {0x44: 16, 0x45: 24, 0x4D: 24, 0x94: 32, 0xC2: 32, MAP_STATE: 24, UNMAP_STATE: 16, 0x101: 24}
    for code, size in {**plain, 0x50: 16, 0x51: 16}.items():
        result = root.call(code, partition.ljust(size, b"\0"), reps=int(code not in plain))
        assert result.status == BAD_STATE, f"{code:#x} gave {result.status:#x}"
    assert delete_vp(root, child.id, 0).status == BAD_STATE
    assert root.withdraw(child.id, 64)[0].status == OK
    assert root.simple(DELETE, child.id).status == OK


def test_a_partition_goes_only_with_an_empty_pool(root: Root, child: Child) -> None:
    root.simple(FINALIZE, child.id)
    assert root.simple(DELETE, child.id).status == OPERATION_DENIED
    assert root.withdraw(child.id, 63)[0].status == OK
    assert root.simple(DELETE, child.id).status == OPERATION_DENIED
    assert root.withdraw(child.id, 1)[0].status == OK
    assert root.simple(DELETE, child.id).status == OK
    assert root.simple(DELETE, child.id).status == BAD_PARTITION


def test_initialize_and_create_vp_want_memory(root: Root) -> None:
    part = create(root)
    assert root.simple(INITIALIZE, part).status == NO_MEMORY
    root.deposit(part, [POOL])
    assert root.simple(INITIALIZE, part).status == OK
    assert create_vp(root, part, 0).status == NO_MEMORY
    root.deposit(part, list(range(POOL + 1, POOL + 32)))
    assert create_vp(root, part, 0).status == OK
    assert create_vp(root, part, 0).status == BAD_VP
    assert create_vp(root, part, 1 << 20).status == BAD_VP
    assert delete_vp(root, part, 1).status == BAD_VP
    assert delete_vp(root, part, 0).status == OK
    assert root.pool(1) == (31, 32)
    assert root.problem() == "ok"


# ---- pages that the root sees for a while ----
def test_a_state_page_is_visible_while_it_is_mapped(root: Root, child: Child) -> None:
    create_vp(root, child.id, 0)
    assert state_page(root, UNMAP_STATE, child.id, 0).status == BAD_PARAMETER
    pages = [state_page(root, MAP_STATE, child.id, kind).partition for kind in (0, 1)]
    assert len(set(pages)) == 2
    for pfn in pages:
        assert (root.page(pfn).state, root.page(pfn).access) == (2, 3)
        assert root.deposit(child.id, [pfn]).status == OPERATION_DENIED
    assert state_page(root, UNMAP_STATE, child.id, 0).status == OK
    assert state_page(root, UNMAP_STATE, child.id, 0).status == BAD_PARAMETER
    assert [root.page(pfn).access for pfn in pages] == [0, 3]
    assert delete_vp(root, child.id, 0).status == OK
    assert [root.page(pfn)[:2] for pfn in pages] == [(1, 0), (1, 0)]
    assert [root.page(pfn).access for pfn in pages] == [0, 0]
    for kind in (2, 3, 0xFFFF):
        assert state_page(root, MAP_STATE, child.id, kind).status == BAD_VP
    create_vp(root, child.id, 0)
    for kind in (2, 3, 0xFFFF):
        assert state_page(root, MAP_STATE, child.id, kind).status == BAD_PARAMETER
        assert state_page(root, UNMAP_STATE, child.id, kind).status == BAD_PARAMETER


def test_finalizing_hides_the_state_pages(root: Root, child: Child) -> None:
    create_vp(root, child.id, 0)
    pages = [state_page(root, MAP_STATE, child.id, kind).partition for kind in (0, 1)]
    assert root.simple(FINALIZE, child.id).status == OK
    assert [root.page(pfn).access for pfn in pages] == [0, 0]


def test_a_statistics_page_is_visible_while_it_is_mapped(root: Root) -> None:
    identity = struct.pack("<IIQQ", 1, 0, 0, 0)
    assert root.call(MAP_STATS, identity, out=8).status == NO_MEMORY
    root.deposit(1, [POOL])
    page = root.call(MAP_STATS, identity, out=8).partition
    assert (page, root.page(page).access) == (POOL, 3)
    assert root.withdraw(1, 1)[0][:2] == (NO_RESOURCES, 0)
    root.memory.write(page << 12, b"x")
    assert root.call(UNMAP_STATS, identity).status == OK
    assert root.page(page).access == 0
    assert root.withdraw(1, 1)[0].status == OK
    assert root.page(page).access == 7
    assert root.problem() == "ok"


# ---- access states ----
def test_access_states_are_told_set_and_cleared(root: Root, child: Child) -> None:
    child.map(8, RW, RAM, 2)
    child.map(0x200, RW | LARGE, RAM + 0x200)
    child.map(0xA, NO_ACCESS, 0)
    assert access_states(root, child.id, 8, 4).out == bytes(4)
    assert access_states(root, child.id, 9, 3, flags=2 | 8).out == bytes(3)
    assert access_states(root, child.id, 8, 4).out == bytes([0, 3, 0, 0])
    assert access_states(root, child.id, 8, 4, flags=4).out == bytes([0, 3, 0, 0])
    assert access_states(root, child.id, 8, 4, flags=1).out == bytes([0, 1, 0, 0])
    assert access_states(root, child.id, 8, 4).out == bytes(4)
    assert access_states(root, child.id, 0x2F0, 1, flags=2).out == b"\0"
    assert access_states(root, child.id, 0x1FF, 514).out == b"\0" + b"\1" * 512 + b"\0"


@pytest.mark.parametrize("flags", [3, 12, 16, 1 << 63])
def test_bad_requests_for_access_states_are_refused(root: Root, child: Child, flags: int) -> None:
    child.map(8, RW, RAM)
    assert access_states(root, child.id, 8, 1, flags)[:2] == (BAD_PARAMETER, 0)


# ---- host access ----
def test_an_exclusive_page_is_out_of_the_roots_reach_until_it_is_shared(root: Root, child: Child) -> None:
    assert host_access(root, RELEASE, EXCLUSIVE, [RAM, RAM + 1], 0, child.id)[:2] == (OK, 2)
    assert [root.page(RAM + i).access for i in range(3)] == [0, 0, 7]
    assert child.map(8, RW, RAM, 2).status == OK
    assert root.deposit(child.id, [RAM]).status == OPERATION_DENIED
    assert host_access(root, ACQUIRE, 0, [RAM], 3).status == OPERATION_DENIED
    assert host_access(root, ACQUIRE, SHARED, [RAM, RAM + 1], 3)[:2] == (OK, 2)
    assert root.page(RAM) == (0, 0, 0, 0, 1, 7)


def test_an_exclusive_page_belongs_to_one_child(root: Root, child: Child) -> None:
    other = create(root)
    root.deposit(other, list(range(POOL + 64, POOL + 128)))
    root.simple(INITIALIZE, other)
    host_access(root, RELEASE, EXCLUSIVE, [RAM], 0, child.id)
    assert root.map(other, 8, RW, [RAM]).status == DENIED
    assert host_access(root, RELEASE, EXCLUSIVE, [RAM], 0, other).status == OPERATION_DENIED
    assert child.map(8, RW, RAM).status == OK


def test_an_exclusive_page_outlives_its_partition(root: Root, child: Child) -> None:
    """The driver acquires access after FINALIZE; a partition's slot is used again."""
    host_access(root, RELEASE, EXCLUSIVE, [RAM, RAM + 1], 0, child.id)
    root.simple(FINALIZE, child.id)
    assert host_access(root, ACQUIRE, SHARED, [RAM + 1], 3).status == OK
    root.withdraw(child.id, 64)
    assert root.simple(DELETE, child.id).status == OK
    again = starved(root, 32)
    assert again.map(8, RW, RAM).status == DENIED
    assert root.page(RAM).access == 0
    assert host_access(root, ACQUIRE, SHARED, [RAM], 3).status == OK
    assert again.map(8, RW, RAM).status == OK


def test_access_can_be_released_in_part(root: Root, child: Child) -> None:
    assert host_access(root, RELEASE, 0, [RAM], 1).status == OK
    assert root.page(RAM).access == 5
    assert child.map(8, RW, RAM).status == DENIED
    assert root.deposit(child.id, [RAM]).status == OPERATION_DENIED
    assert host_access(root, RELEASE, 0, [RAM], 0).status == OK
    assert root.page(RAM).access == 0
    assert host_access(root, ACQUIRE, 0, [RAM], 1).status == OK
    assert root.page(RAM).access == 5
    assert host_access(root, ACQUIRE, 0, [RAM], 3).status == OK
    assert root.page(RAM).access == 7


def test_large_pages_are_released_whole(root: Root, child: Child) -> None:
    assert host_access(root, RELEASE, EXCLUSIVE | LARGE_PAGES, [RAM, RAM + 0x200], 0, child.id)[:2] == (OK, 2)
    assert [root.page(p).access for p in (RAM - 1, RAM, RAM + 0x3FF, RAM + 0x400)] == [7, 0, 0, 7]
    assert child.map(0x200, RW | LARGE, RAM, 2).status == OK
    assert host_access(root, ACQUIRE, SHARED | LARGE_PAGES, [RAM, RAM + 0x200], 3)[:2] == (OK, 2)
    assert host_access(root, RELEASE, LARGE_PAGES, [RAM + 1]).status == BAD_PARAMETER
    assert host_access(root, RELEASE, HUGE_PAGES, [RAM]).status == BAD_PARAMETER


def test_bad_requests_for_host_access_are_refused(root: Root, child: Child) -> None:
    def status(code: int, flags: int, page: int = RAM, access: int = 0, partition: int = 0) -> int:
        return host_access(root, code, flags, [page], access, partition).status

    for flags in (EXCLUSIVE | SHARED, LARGE_PAGES | HUGE_PAGES, 16, 1 << 31):
        assert status(RELEASE, flags, partition=child.id) == BAD_PARAMETER
    for access in (2, 4, 1 << 31):
        assert status(RELEASE, 0, access=access) == BAD_PARAMETER
    assert status(RELEASE, EXCLUSIVE, access=1, partition=child.id) == BAD_PARAMETER
    assert status(ACQUIRE, EXCLUSIVE, access=3, partition=child.id) == BAD_PARAMETER
    for partition in (0, 1, child.id + 1):
        assert status(RELEASE, EXCLUSIVE, partition=partition) == BAD_PARTITION
    for page in (POOL, OWN, HIDDEN, 0xFEBF0, TOP, (1 << 64) - 1):
        assert status(RELEASE, 0, page=page) == OPERATION_DENIED
        assert status(ACQUIRE, SHARED, page=page, access=3) == OPERATION_DENIED
    assert host_access(root, RELEASE, 0, [RAM, POOL, RAM + 1])[:2] == (OPERATION_DENIED, 1)
    assert [root.page(RAM + i).access for i in (0, 1)] == [0, 7]
    host_access(root, ACQUIRE, 0, [RAM], 3)


# ---- what the root itself sees ----
def test_the_root_sees_all_but_the_stand_ins_memory(root: Root) -> None:
    for pfn in (OWN, HIDDEN - 1, ARENA, ARENA_END - 1, 0xFEBF0, 0xFFFFF, 1 << 20, TOP - 1):
        assert root.page(pfn).access == 7, hex(pfn)
    for pfn in (HIDDEN, OWN_END - 1, 8, TOP, 1 << 40):
        assert root.page(pfn).access == 0, hex(pfn)


def test_the_root_runs_out_of_tables_for_its_own_splits(root: Root) -> None:
    """Only the heap bounds the splits: a page in each 2 MiB of the RAM can be given away."""
    part = create(root)
    pages = list(range(ARENA + 0x1FF, ARENA_END, 0x200))
    assert root.deposit(part, pages)[:2] == (OK, len(pages))
    assert all(root.page(p).access == 0 and root.page(p - 1).access == 7 for p in pages)
    assert root.problem() == "ok"
