# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel memory of the root, read from outside by walking its page tables in RAM.

The debugger reads through whatever a CPU has mapped at the moment, and a CPU may be in the hypervisor or in
a child. The kernel's own tables (swapper_pg_dir) hold whichever CPU runs what; root addresses are system
physical ones.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

_PAGE = 4096
_PRESENT, _LARGE = 1, 1 << 7
_ADDRESS = 0x000F_FFFF_FFFF_F000
_LEVELS = 4
_KERNEL_MAP = 0xFFFF_FFFF_8000_0000
"""__START_KERNEL_map (arch/x86/include/asm/page_64_types.h): where the kernel's image is mapped."""
TABLE = "init_top_pgt"

ReadPhysical = Callable[[int, int], bytes]
"""Bytes at a system physical address."""


class NotMapped(Exception):
    """The kernel has nothing at that address."""


class KernelMemory:
    """``table`` is the virtual address of the kernel's top page table, ``phys_base`` what its image was moved
    by (0 without KASLR)."""

    def __init__(self, read: ReadPhysical, table: int, phys_base: int = 0) -> None:
        self._read = read
        self._top = table - _KERNEL_MAP + phys_base

    def physical(self, address: int) -> int:
        """System physical address behind a virtual one. NotMapped."""
        table = self._top
        for level in range(_LEVELS - 1, -1, -1):
            shift = 12 + 9 * level
            index = (address >> shift) & 0x1FF
            (entry,) = struct.unpack("<Q", self._read(table + 8 * index, 8))
            if not entry & _PRESENT:
                raise NotMapped(f"{address:#x}")
            if level == 0 or entry & _LARGE:
                mask = (1 << shift) - 1
                return int((entry & _ADDRESS & ~mask) | (address & mask))
            table = entry & _ADDRESS
        raise AssertionError("the last level returns")

    def read(self, address: int, size: int) -> bytes:
        """Bytes at a virtual address. NotMapped."""
        data = b""
        while len(data) < size:
            at = address + len(data)
            count = min(size - len(data), _PAGE - at % _PAGE)
            data += self._read(self.physical(at), count)
        return data

    def u64(self, address: int) -> int:
        """A 64-bit word. NotMapped."""
        return int(struct.unpack("<Q", self.read(address, 8))[0])

    def u32(self, address: int) -> int:
        """A 32-bit word. NotMapped."""
        return int(struct.unpack("<I", self.read(address, 4))[0])
