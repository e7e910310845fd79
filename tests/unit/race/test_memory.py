# SPDX-License-Identifier: GPL-2.0-or-later
"""Page tables walked from outside, and what frames on a stack say."""

from __future__ import annotations

import struct

import pytest

from lab.race.memory import KernelMemory, NotMapped
from lab.race.tasks import wait_of

BASE = 0xFFFF_FFFF_8000_0000
TABLE = BASE + 0x1000


class Ram:
    """16 pages; tables at 0x1000 (top) to 0x4000, data from 0x8000 on."""

    def __init__(self) -> None:
        self.data = bytearray(0x10000)

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.data[address : address + size])

    def entry(self, table: int, index: int, value: int) -> None:
        self.data[table + 8 * index : table + 8 * index + 8] = struct.pack("<Q", value)


@pytest.fixture
def memory() -> KernelMemory:
    ram = Ram()
    at = 0xFFFF_8880_0000_0000
    ram.entry(0x1000, (at >> 39) & 511, 0x2000 | 1)
    ram.entry(0x2000, (at >> 30) & 511, 0x3000 | 1)
    ram.entry(0x3000, (at >> 21) & 511, 0x4000 | 1)
    ram.entry(0x3000, ((at >> 21) + 1) & 511, 0 | 1 | 1 << 7 | 1 << 63)
    ram.entry(0x4000, 0, 0x8000 | 1 | 1 << 63)
    ram.entry(0x4000, 1, 0x9000 | 1)
    ram.data[0x8FFC:0x9004] = b"ABCDEFGH"
    return KernelMemory(ram.read, TABLE)


def test_words_over_the_end_of_a_page_are_put_together(memory):
    assert memory.read(0xFFFF_8880_0000_0FFC, 8) == b"ABCDEFGH"
    assert memory.u32(0xFFFF_8880_0000_0FFC) == int.from_bytes(b"ABCD", "little")


def test_large_pages_are_walked(memory):
    assert memory.physical(0xFFFF_8880_0020_8FFC) == 0x8FFC


@pytest.mark.parametrize("address", [0xFFFF_8880_0000_2000, 0xFFFF_8880_0040_0000, 0])
def test_what_is_not_mapped_is_told(memory, address):
    with pytest.raises(NotMapped):
        memory.read(address, 8)


@pytest.mark.parametrize(
    ("frames", "what"),
    [
        (("__schedule+0x1/0x2", "__mutex_lock.constprop.0+0x3", "f+0x1"), "a mutex in __mutex_lock"),
        (("native_queued_spin_lock_slowpath+0x9",), "a spinlock in"),
        (("schedule+0x1", "synchronize_rcu_normal+0x2"), "an RCU grace period in"),
        (("do_sys_poll+0x1",), ""),
        ((), ""),
    ],
)
def test_frames_say_what_is_waited_for(frames, what):
    said = wait_of(frames)
    assert said.startswith(what) if what else said == ""
