# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine's RAM as a mapped file, addressed by system physical address."""

from __future__ import annotations

import mmap
from pathlib import Path
from types import TracebackType

from lab.model.errors import LabUnavailable

FOUR_GIB = 1 << 32
PAGE = 4096


class Memory:
    """RAM behind a file shared with QEMU (``memory-backend-file,share=on``).

    Addresses are system physical: RAM below the PCI hole sits at its own offset in the file, RAM
    from 4 GiB up follows at ``below_4g`` bytes. Single words are read and written whole; larger
    reads may see a change half done.
    """

    def __init__(self, ram: Path, below_4g: int) -> None:
        """Map ``ram``. Raises LabUnavailable if it cannot be mapped."""
        try:
            with ram.open("r+b") as f:
                self._map = mmap.mmap(f.fileno(), 0)
        except (OSError, ValueError) as e:
            raise LabUnavailable(
                f"cannot map the machine's RAM: {e}", where=str(ram), hint="is the lab still up?"
            ) from e
        self._below = min(below_4g, len(self._map))
        words = len(self._map) // 8 * 8
        self._u64 = memoryview(self._map)[:words].cast("Q")
        self._u32 = memoryview(self._map)[:words].cast("I")

    def __enter__(self) -> Memory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unmap. Any use after this raises ValueError."""
        self._u64.release()
        self._u32.release()
        self._map.close()

    def offset(self, spa: int, length: int = 1) -> int | None:
        """File offset of ``length`` bytes at ``spa``, or None where there is no RAM."""
        if spa >= 0 and spa + length <= self._below:
            return spa
        high = spa - FOUR_GIB + self._below
        if spa >= FOUR_GIB and high + length <= len(self._map):
            return high
        return None

    def _checked(self, spa: int, length: int) -> int:
        offset = self.offset(spa, length)
        if offset is None:
            raise ValueError(f"no RAM at {spa:#x}, {length} bytes")
        return offset

    def read(self, spa: int, length: int) -> bytes:
        """``length`` bytes at ``spa``. ValueError where there is no RAM."""
        offset = self._checked(spa, length)
        return self._map[offset : offset + length]

    def write(self, spa: int, data: bytes) -> None:
        """Write ``data`` at ``spa``. ValueError where there is no RAM."""
        offset = self._checked(spa, len(data))
        self._map[offset : offset + len(data)] = data

    def u64(self, spa: int) -> int:
        """The aligned 8-byte word at ``spa``, read whole."""
        return int(self._u64[self._checked(spa, 8) // 8])

    def u32(self, spa: int) -> int:
        """The aligned 4-byte word at ``spa``, read whole."""
        return int(self._u32[self._checked(spa, 4) // 4])

    def set_u32(self, spa: int, value: int) -> None:
        """Write the aligned 4-byte word at ``spa`` whole."""
        self._u32[self._checked(spa, 4) // 4] = value
