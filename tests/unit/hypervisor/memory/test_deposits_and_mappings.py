# SPDX-License-Identifier: GPL-2.0-or-later
"""Deposits and mappings: what the stand-in does and refuses."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from lab.model.ledger import SlatRun

from .conftest import (
    ACCESS_STATES,
    ARENA,
    ARENA_END,
    BAD_PARAMETER,
    BAD_PARTITION,
    BAD_STATE,
    DELETE,
    DENIED,
    FINALIZE,
    FLAG_IGNORED,
    FLAG_UNIMPLEMENTED,
    HIDDEN,
    INITIALIZE,
    LARGE,
    MAP_STATE,
    NO_ACCESS,
    NO_MEMORY,
    NO_RESOURCES,
    NOT_CACHED,
    OK,
    OPERATION_DENIED,
    OWN,
    OWN_END,
    POOL,
    RAM,
    RW,
    RWX,
    TOP,
    Child,
    access_states,
    create,
    create_vp,
    starved,
    state_page,
)

if TYPE_CHECKING:
    from tests.unit.hypervisor.conftest import Root


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
