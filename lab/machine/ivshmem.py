# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory behind an ivshmem device, written so that every word tells where it is from.

Word ``i`` (8 bytes, little endian) of page ``p`` is ``nonce ^ (p << 32) ^ i``: a read through a wrong
mapping gives a wrong value, and the value says which page was reached instead. The nonce differs per
run, so stale contents do not pass either.
"""

from __future__ import annotations

import mmap
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from lab.machine import room
from lab.model.errors import BadInput

PAGE_SIZE = 4096
WORD_SIZE = 8
WORDS_PER_PAGE = PAGE_SIZE // WORD_SIZE
_INDEX_BITS = 32
_WORD_NUMBERS = int.from_bytes(
    b"".join(word.to_bytes(WORD_SIZE, "little") for word in range(WORDS_PER_PAGE)), "little"
)
"""The word numbers of a page as one big number: XOR of whole pages is far faster than of words."""


def new_nonce() -> int:
    """64 random bits that cannot be mistaken for a small number."""
    return secrets.randbits(63) | 1 << 63


def expected_word(nonce: int, page: int, word: int) -> int:
    """The 8-byte value at word ``word`` (0 to 511) of page ``page``."""
    return nonce ^ (page << _INDEX_BITS) ^ word


def expected_bytes(nonce: int, offset: int, size: int) -> bytes:
    """What ``size`` bytes at any byte offset of the device must read."""
    first, last = offset // WORD_SIZE, (offset + size + WORD_SIZE - 1) // WORD_SIZE
    data = b"".join(
        expected_word(nonce, word // WORDS_PER_PAGE, word % WORDS_PER_PAGE).to_bytes(WORD_SIZE, "little")
        for word in range(first, last)
    )
    return data[offset - first * WORD_SIZE :][:size]


def origin(nonce: int, value: int) -> tuple[int, int] | None:
    """Page and word that an 8-byte value comes from; None when it is not from this device."""
    page, word = divmod(value ^ nonce, 1 << _INDEX_BITS)
    return (page, word) if word < WORDS_PER_PAGE else None


def create(path: Path, size: int, nonce: int) -> None:
    """Write the backing file of a device of ``size`` bytes (whole pages). Raises BadInput, LabUnavailable."""
    if size <= 0 or size % PAGE_SIZE:
        raise BadInput(f"a device of {size} bytes is not whole pages", where=str(path))
    room.make_sparse(path, size)
    with path.open("r+b") as file:
        for page in range(size // PAGE_SIZE):
            file.write(page_bytes(nonce, page))


def page_bytes(nonce: int, page: int) -> bytes:
    """The 4096 bytes of one page."""
    base = (nonce ^ (page << _INDEX_BITS)).to_bytes(WORD_SIZE, "little") * WORDS_PER_PAGE
    return (int.from_bytes(base, "little") ^ _WORD_NUMBERS).to_bytes(PAGE_SIZE, "little")


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A word that differs from the pattern. ``origin`` is where the found value belongs, if anywhere."""

    page: int
    word: int
    found: int
    expected: int
    origin: tuple[int, int] | None

    def __str__(self) -> str:
        text = f"page {self.page} word {self.word}: {self.found:#018x}, expected {self.expected:#018x}"
        return text + (f" (that is page {self.origin[0]} word {self.origin[1]})" if self.origin else "")


class DeviceMemory:
    """The host's own view of a device's memory, shared with the running machine. A context manager."""

    def __init__(self, path: Path, nonce: int) -> None:
        self.path = path
        self.nonce = nonce
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._map = mmap.mmap(handle, 0)
        finally:
            os.close(handle)

    def __enter__(self) -> DeviceMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the mapping."""
        self._map.close()

    @property
    def pages(self) -> int:
        """Size of the device in pages."""
        return len(self._map) // PAGE_SIZE

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the device as they are now. Raises ValueError outside of it."""
        self._inside(offset, size)
        return self._map[offset : offset + size]

    def read_int(self, offset: int, width: int) -> int:
        """A little-endian value of 1, 2, 4 or 8 bytes."""
        return int.from_bytes(self.read(offset, width), "little")

    def write(self, offset: int, data: bytes) -> None:
        """Change the device's memory behind the guest's back. Raises ValueError outside of it."""
        self._inside(offset, len(data))
        self._map[offset : offset + len(data)] = data

    def restore(self, first_page: int = 0, pages: int | None = None) -> None:
        """Write the pattern again."""
        for page in range(first_page, self.pages if pages is None else first_page + pages):
            self.write(page * PAGE_SIZE, page_bytes(self.nonce, page))

    def verify(self, first_page: int = 0, pages: int | None = None) -> list[Mismatch]:
        """Every word that differs from the pattern: what the guest wrote, and where it landed."""
        found = []
        for page in range(first_page, self.pages if pages is None else first_page + pages):
            data, pattern = self.read(page * PAGE_SIZE, PAGE_SIZE), page_bytes(self.nonce, page)
            if data == pattern:
                continue
            for word in range(WORDS_PER_PAGE):
                at = word * WORD_SIZE
                value = int.from_bytes(data[at : at + WORD_SIZE], "little")
                expected = expected_word(self.nonce, page, word)
                if value != expected:
                    found.append(Mismatch(page, word, value, expected, origin(self.nonce, value)))
        return found

    def _inside(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > len(self._map):
            raise ValueError(f"{size} bytes at {offset:#x}: outside of a device of {len(self._map):#x} bytes")
