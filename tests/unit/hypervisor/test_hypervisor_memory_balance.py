# SPDX-License-Identifier: GPL-2.0-or-later
"""Thousands of random memory calls: no page is ever in two places, in the end all are the root's again."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.hypervisor.conftest import Result, Root

ARENA, ARENA_END = 0x20000, 0x24000
RESERVED = 0x200
"""Pages of the arena that no operation gives away: the first two carry input and output."""
OPERATIONS = 4000
CHECK_EVERY = 40
CHILDREN = 4
FRAMES = 0x1000
LARGE, NO_ACCESS, NOT_CACHED = 0x80000000, 0x10000, 0x200000
OK, BAD_PARTITION, BAD_VP = 0, 0x0D, 0x0E
LIMITS = {0, 3, 4, 5, 6, 7, 8, 0x0B, 0x0D, 0x0E, 0x15, 0x1D, 0x73}
"""Statuses that a memory call may answer with."""


class Books:
    """Makes random calls and keeps its own account of who was given what."""

    def __init__(self, root: Root, seed: int) -> None:
        self.root = root
        self.random = random.Random(seed)
        self.children: list[int] = []
        self.deposited: dict[int, set[int]] = {1: set()}
        self.said: list[str] = []
        self.good = 0
        self.kinds: set[str] = set()

    def note(self, what: str, result: Result) -> Result:
        self.said.append(f"{what} -> {result.status:#x} ({result.done})")
        assert result.status in LIMITS, self.tail()
        if result.status == OK:
            self.good += 1
            self.kinds.add(what.split()[0])
        return result

    def tail(self) -> str:
        return "\n".join(self.said[-25:])

    def child(self) -> int:
        """Mostly one that exists."""
        if self.children and self.random.random() < 0.97:
            return self.random.choice(self.children)
        return self.random.choice([0, 77, 1 << 63])

    def page(self) -> int:
        """Mostly one that is the root's, now and then one that was given away or was never RAM."""
        kind = self.random.random()
        if kind < 0.99:
            while any(
                (pfn := self.random.randrange(ARENA + RESERVED, ARENA_END)) in g
                for g in self.deposited.values()
            ):
                pass
            return pfn
        if kind < 0.995 and (given := sorted(set().union(*self.deposited.values()))):
            return self.random.choice(given)
        return self.random.choice([8, 0x10000, 0x10200, 0x125FF, ARENA_END, 0xFEBF0, 1 << 28, (1 << 64) - 1])

    # ---- operations ----
    def create(self) -> None:
        if len(self.children) < CHILDREN:
            result = self.note("create", self.root.call(0x40, bytes(56), out=8))
            if result.status == OK:
                self.children.append(result.partition)
                self.deposited[result.partition] = set()

    def initialize(self) -> None:
        self.note("initialize", self.root.simple(0x41, self.child()))

    def finalize(self) -> None:
        if self.random.random() < 0.2:
            self.note("finalize", self.root.simple(0x42, self.child()))

    def delete(self) -> None:
        child = self.child()
        result = self.note("delete", self.root.simple(0x43, child))
        if result.status == OK:
            assert not self.deposited.pop(child), f"deleted with pages deposited\n{self.tail()}"
            self.children.remove(child)

    def deposit(self) -> None:
        child = self.child() if self.random.random() < 0.9 else 1
        pages = [self.page() for _ in range(self.random.randint(1, 60))]
        start = self.random.randint(0, len(pages) - 1) if self.random.random() < 0.1 else 0
        result = self.note(f"deposit {child} {len(pages)}", self.root.deposit(child, pages, start))
        for pfn in pages[start : result.done]:
            owners = [c for c, given in self.deposited.items() if pfn in given]
            assert not owners, f"page {pfn:#x} was taken twice\n{self.tail()}"
            self.deposited[child].add(pfn)

    def withdraw(self) -> None:
        child = self.child() if self.random.random() < 0.9 else 1
        result, pages = self.root.withdraw(child, self.random.randint(1, 80))
        self.note(f"withdraw {child}", result)
        for pfn in pages:
            assert pfn in self.deposited[child], f"page {pfn:#x} came from nowhere\n{self.tail()}"
            self.deposited[child].remove(pfn)
            assert self.root.memory.u64(pfn << 12) == 0, f"page {pfn:#x} is not zeroed\n{self.tail()}"

    def map(self) -> None:
        child, large = self.child(), self.random.random() < 0.3
        flags = self.random.choice([1, 3, 5, 0xF, NO_ACCESS, 3 | NOT_CACHED, 2, 3 | 1 << 30])
        gfn = self.random.randrange(FRAMES)
        count = self.random.randint(1, 3 if large else 40)
        pages = [self.page() for _ in range(count)]
        if large:
            flags |= LARGE
            if self.random.random() < 0.9:
                gfn, pages = gfn & ~0x1FF, [p & ~0x1FF for p in pages]
        self.note(f"map {child} {gfn:#x} {flags:#x}", self.root.map(child, gfn, flags, pages))

    def unmap(self) -> None:
        child, large = self.child(), self.random.random() < 0.3
        gfn = self.random.randrange(FRAMES) & (~0x1FF if large else -1)
        self.note(
            f"unmap {child} {gfn:#x}", self.root.unmap(child, gfn, self.random.randint(1, 30), 2 * large)
        )

    def vp(self) -> None:
        child, index = self.child(), self.random.randrange(3)
        if self.random.random() < 0.6:
            self.note("create_vp", self.root.call(0x4E, struct.pack("<QI", child, index) + bytes(28)))
        else:
            self.note("delete_vp", self.root.call(0x4F, struct.pack("<QII", child, index, 0), fast=True))

    def state_page(self) -> None:
        data = struct.pack(
            "<QIHBBQ", self.child(), self.random.randrange(3), self.random.randrange(3), 0, 0, 0
        )
        if self.random.random() < 0.6:
            self.note("map_state", self.root.call(0xE1, data, out=8))
        else:
            self.note("unmap_state", self.root.call(0xE2, data[:16]))

    def stats_page(self) -> None:
        data = struct.pack("<IIQQ", 1, 0, 0, 0)
        if self.random.random() < 0.6:
            self.note("map_stats", self.root.call(0x6C, data, out=8))
        else:
            self.note("unmap_stats", self.root.call(0x6D, data))

    def access_states(self) -> None:
        data = struct.pack("<QQQ", self.child(), self.random.randrange(16), self.random.randrange(FRAMES))
        self.note("access_states", self.root.call(0xC9, data, reps=50, out=50))

    def host_access(self) -> None:
        acquire = self.random.random() < 0.7
        flags = self.random.choice([2, 2, 0, 6] if acquire else [1, 0, 5])
        pages = [p & ~0x1FF if flags & 4 else p for p in (self.page() for _ in range(5))]
        data = struct.pack("<IIQ5Q", 3 if acquire else 0, flags, self.child() if flags & 1 else 0, *pages)
        what = "acquire" if acquire else "release"
        self.note(what, self.root.call(0xD7 if acquire else 0xD8, data, reps=5))

    # ---- the account ----
    def check(self) -> None:
        assert self.root.problem() == "ok", f"{self.root.problem()}\n{self.tail()}"
        totals = {1: self.root.pool(0)[1]}
        for slot in range(1, 16):
            number, _, _, total, _ = self.root._ask(f"t {slot}").split()
            if int(number) in self.children:
                totals[int(number)] = int(total)
        assert totals == {c: len(given) for c, given in self.deposited.items()}, self.tail()

    def close(self) -> None:
        """Everything is torn down: every page must come back."""
        for child in list(self.children):
            self.root.simple(0x42, child)
            _, pages = self.root.withdraw(child, 512)
            while pages:
                self.deposited[child] -= set(pages)
                _, pages = self.root.withdraw(child, 512)
            assert not self.deposited[child], f"pages of {child} are lost\n{self.tail()}"
            assert self.root.simple(0x43, child).status == OK
        while self.root.call(0x6D, struct.pack("<IIQQ", 1, 0, 0, 0)).status == OK:
            pass
        while pages := self.root.withdraw(1, 512)[1]:
            self.deposited[1] -= set(pages)
        assert not self.deposited[1]
        everything = [ARENA + i for i in range(ARENA_END - ARENA)]
        for at in range(0, len(everything), 500):
            part = everything[at : at + 500]
            data = struct.pack(f"<IIQ{len(part)}Q", 3, 2, 0, *part)
            assert self.root.call(0xD7, data, reps=len(part)).status == OK
        assert self.root.problem() == "ok"
        wrong = [p for p in everything if self.root.page(p) != (0, 0, 0, 0, 0, 7)]
        assert not wrong, f"{len(wrong)} pages are not the root's again, first {wrong[0]:#x}"


@pytest.mark.parametrize("seed", range(1, 5))
def test_books_balance_over_random_calls(root: Root, seed: int) -> None:
    books = Books(root, seed)
    weighted: list[tuple[Callable[[], None], int]] = [
        (books.create, 4), (books.initialize, 6), (books.finalize, 2), (books.delete, 2), (books.deposit, 12),
        (books.withdraw, 5), (books.map, 30), (books.unmap, 12), (books.vp, 6), (books.state_page, 6),
        (books.stats_page, 4), (books.access_states, 3), (books.host_access, 5),
    ]  # fmt: skip
    operations, weights = zip(*weighted, strict=True)
    for n, operation in enumerate(books.random.choices(operations, weights, k=OPERATIONS)):
        operation()
        if n % CHECK_EVERY == 0:
            books.check()
    books.check()
    assert books.good > OPERATIONS / 5, "hardly any call succeeded: the test tests little"
    assert {"create", "initialize", "finalize", "delete", "deposit", "withdraw", "map", "unmap", "create_vp",
            "delete_vp", "map_state", "unmap_state", "map_stats", "unmap_stats", "access_states", "acquire",
            "release"} <= books.kinds, books.kinds  # fmt: skip
    books.close()
