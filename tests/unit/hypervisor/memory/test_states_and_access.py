# SPDX-License-Identifier: GPL-2.0-or-later
"""States of partitions, pages that the root sees for a while, access states, host access."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from .conftest import (
    ACQUIRE,
    ARENA,
    ARENA_END,
    BAD_PARAMETER,
    BAD_PARTITION,
    BAD_STATE,
    BAD_VP,
    DELETE,
    DENIED,
    EXCLUSIVE,
    FINALIZE,
    HIDDEN,
    HUGE_PAGES,
    INITIALIZE,
    LARGE,
    LARGE_PAGES,
    MAP_STATE,
    MAP_STATS,
    NO_ACCESS,
    NO_MEMORY,
    NO_RESOURCES,
    OK,
    OPERATION_DENIED,
    OWN,
    OWN_END,
    POOL,
    RAM,
    RELEASE,
    RW,
    SHARED,
    TOP,
    UNMAP_STATE,
    UNMAP_STATS,
    Child,
    access_states,
    create,
    create_vp,
    created,
    delete_vp,
    host_access,
    starved,
    state_page,
)

if TYPE_CHECKING:
    from tests.unit.hypervisor.conftest import Root


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
