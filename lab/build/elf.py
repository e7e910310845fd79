# SPDX-License-Identifier: GPL-2.0-or-later
"""Just enough ELF64 to read what a kernel module says about itself.

Layouts: ELF-64 object file format; ``struct modversion_info`` of the kernel's include/linux/module.h
(8 bytes checksum, then the symbol's name in 56 bytes).
"""

from __future__ import annotations

import struct
from pathlib import Path

_MAGIC = b"\x7fELF\x02\x01"
_SHOFF = 0x28
_SHENTSIZE_SHNUM_SHSTRNDX = 0x3A
_SECTION = struct.Struct("<IIQQQQIIQQ")
_NOBITS = 8
_MODVERSION = struct.Struct("<Q56s")


def sections(path: Path) -> dict[str, bytes]:
    """{name: content} of sections that have content; ValueError unless it is 64-bit, little-endian ELF."""
    data = path.read_bytes()
    if not data.startswith(_MAGIC):
        raise ValueError(f"not a 64-bit ELF file: {path}")
    (table,) = struct.unpack_from("<Q", data, _SHOFF)
    size, count, names_at = struct.unpack_from("<HHH", data, _SHENTSIZE_SHNUM_SHSTRNDX)
    headers = [_SECTION.unpack_from(data, table + i * size) for i in range(count)]
    names = _content(data, headers[names_at])
    return {_string(names, h[0]): _content(data, h) for h in headers if h[1] not in (0, _NOBITS)}


def modinfo(path: Path) -> dict[str, str]:
    """``vermagic``, ``name``, ... of a module (its ``.modinfo`` section); the first of each key."""
    found: dict[str, str] = {}
    for entry in sections(path).get(".modinfo", b"").split(b"\0"):
        key, equals, value = entry.decode(errors="replace").partition("=")
        if equals:
            found.setdefault(key, value)
    return found


def checksums(path: Path) -> dict[str, int]:
    """{imported symbol: checksum} that a module was built against (its ``__versions`` section)."""
    table = sections(path).get("__versions", b"")
    return {
        name.rstrip(b"\0").decode(): crc
        for crc, name in _MODVERSION.iter_unpack(table[: len(table) // _MODVERSION.size * _MODVERSION.size])
    }


def _content(data: bytes, header: tuple[int, ...]) -> bytes:
    offset, size = header[4], header[5]
    return data[offset : offset + size]


def _string(table: bytes, at: int) -> str:
    return table[at : table.index(b"\0", at)].decode(errors="replace")
