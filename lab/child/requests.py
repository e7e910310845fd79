# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests to the driver word by word, also such as no VMM would make.

The numbers are those of Linux include/uapi/linux/mshv.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from lab.child.memory import VmmMemory

UNTOUCHED = 0xA5
"""What a buffer holds where nobody wrote."""
_MAGIC = 0xB8
_WRITE, _READ = 1, 2


@dataclass(frozen=True, slots=True)
class Request:
    """A request of the driver: its number in a file, which way its structure goes, and the structure's
    format (as struct's). An address of a buffer is a Q that is given as 0."""

    nr: int
    way: int
    layout: str

    @property
    def number(self) -> int:
        """What ioctl() takes. The flexible end of a structure does not count."""
        size = struct.calcsize("<" + self.layout)
        return self.way << 30 | size << 16 | _MAGIC << 8 | self.nr

    @property
    def fields(self) -> int:
        """How many words :meth:`pack` takes."""
        return len(struct.unpack("<" + self.layout, bytes(struct.calcsize("<" + self.layout))))

    def pack(self, *values: int | bytes) -> bytes:
        """The structure."""
        return struct.pack("<" + self.layout, *values)

    def unpack(self, structure: bytes) -> tuple[Any, ...]:
        """Its fields."""
        return struct.unpack("<" + self.layout, structure)


CREATE_PARTITION = Request(0, _WRITE, "QQ")
"""Flags, isolation."""
INITIALIZE = Request(0, 0, "")
CREATE_VP = Request(1, _WRITE, "I")
SET_MEMORY = Request(2, _WRITE, "QQQB7s")
"""Bytes, first frame, address, flags, zero."""
IRQFD = Request(3, _WRITE, "iiII")
"""File, file for the end, interrupt, flags."""
IOEVENTFD = Request(4, _WRITE, "QQIiI4s")
"""Value, address, bytes, file, flags, zero."""
ROUTES = Request(5, _WRITE, "II")
"""Count, zero; then interrupt, address (low, high) and data of each."""
ACCESS_BITMAP = Request(6, _WRITE | _READ, "BB6sQQQ")
"""Type, operation, zero, pages, first frame, buffer."""
HYPERCALL = Request(7, _WRITE | _READ, "HHHHH6sQQ")
"""Code, repetitions, bytes in and out, status, zero, buffers in and out."""
RUN = Request(0, _READ, "256s")
GET_STATE, SET_STATE = (Request(nr, _WRITE | _READ, "B3sIQ") for nr in (1, 2))
"""Type, zero, bytes, buffer."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """Memory for a request. ``at``: where in the structure its address goes; ``data``: its beginning."""

    at: int
    size: int
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request: the result, the errno's name or "", structure and buffers as they are now."""

    result: int
    error: str
    structure: bytes
    buffers: tuple[bytes, ...]


class VmmRequests(VmmMemory):
    """A VMM that also passes on what it is given."""

    def ask(
        self, file: int | str, request: Request, *values: int | bytes, buffers: tuple[Buffer, ...] = ()
    ) -> Answer:
        """Make a request of ``device``, ``partition`` or a VP (its number); ``values`` are the fields of its
        structure, and bytes after the last of them what follows it."""
        fields = request.fields
        tail = b"".join(value for value in values[fields:] if isinstance(value, bytes))
        structure = request.pack(*values[:fields]) + tail
        words = [f"{b.at}:{b.size}" + (f":{b.data.hex()}" if b.data else "") for b in buffers]
        said = self._request("request", str(file), hex(request.number), structure.hex() or "-", *words)
        parts = [bytes.fromhex(word) for word in said[2:]]
        if not structure:
            parts.insert(0, b"")
        return Answer(int(said[0]), "" if said[1] == "-" else said[1], parts[0], tuple(parts[1:]))

    def ask_nowhere(self, file: int | str, number: int) -> Answer:
        """Make a request by its number, with a structure that cannot be read."""
        said = self._request("request", str(file), hex(number), "nowhere")
        return Answer(int(said[0]), "" if said[1] == "-" else said[1], b"", ())

    def show(self, file: int | str, page: int, size: int = 4096) -> bytes:
        """The first bytes of a page that a file of the driver can be mapped at, unmapped again afterwards.
        VmmError when it cannot."""
        return bytes.fromhex(self._request("show", str(file), str(page), str(size))[0])

    def urgent(self, on: bool) -> None:
        """Let the VMM go before all that shares its CPU by turns, also before the kernel's workers: what a
        request leaves to one of them is not done until the VMM waits for something."""
        self._request("urgent", str(int(on)))

    def remove_pages(self, region_id: int, pages: int) -> None:
        """Ask for the removal of a region as if it had so many pages. VmmError when that is refused."""
        self._request("region", "del", str(region_id), str(pages))
