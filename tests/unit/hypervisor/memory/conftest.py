# SPDX-License-Identifier: GPL-2.0-or-later
"""Partitions with memory, made by the stand-in's own code compiled for the host."""

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
