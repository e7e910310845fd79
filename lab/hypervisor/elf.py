# SPDX-License-Identifier: GPL-2.0-or-later
"""Find a symbol in an ELF64 file. Pure: bytes in, address out."""

from __future__ import annotations

import struct
from pathlib import Path

from lab.model.errors import LabUnavailable

_MAGIC = b"\x7fELF\x02\x01"
"""ELF, 64 bit, little endian (System V gABI, e_ident)."""
_SECTION_OFFSET = struct.Struct("<40xQ10xHH")
"""e_shoff, e_shentsize, e_shnum within Elf64_Ehdr."""
_SECTION = struct.Struct("<4xI16xQQI12xQ")
"""sh_type, sh_offset, sh_size, sh_link, sh_entsize of Elf64_Shdr."""
_SYMBOL = struct.Struct("<I4xQ8x")
"""st_name, st_value of Elf64_Sym."""
_SHT_SYMTAB = 2


def symbol_address(image: bytes, name: str) -> int | None:
    """Value of the first symbol called ``name``, or None. ValueError if ``image`` is no ELF64 file."""
    if not image.startswith(_MAGIC):
        raise ValueError("not a little-endian ELF64 file")
    try:
        return _search(image, name.encode())
    except (struct.error, IndexError) as e:
        raise ValueError(f"damaged ELF file: {e}") from e


def _search(image: bytes, name: bytes) -> int | None:
    offset, entry_size, count = _SECTION_OFFSET.unpack_from(image)
    sections = [_SECTION.unpack_from(image, offset + i * entry_size) for i in range(count)]
    for kind, start, size, link, symbol_size in sections:
        if kind != _SHT_SYMTAB:
            continue
        strings = sections[link][1]
        for at in range(start, start + size, symbol_size or _SYMBOL.size):
            name_offset, value = _SYMBOL.unpack_from(image, at)
            begin = strings + name_offset
            if image[begin : begin + len(name) + 1] == name + b"\0":
                return int(value)
    return None


def find_symbol(path: Path, name: str) -> int:
    """Address of ``name`` in the ELF64 file ``path``. Raises LabUnavailable if it is not there."""
    try:
        value = symbol_address(path.read_bytes(), name)
    except (OSError, ValueError) as e:
        raise LabUnavailable(
            f"cannot read symbols: {e}", where=str(path), hint="build the stand-in again"
        ) from e
    if value is None:
        raise LabUnavailable(
            f"no symbol {name!r}", where=str(path), hint="give the ELF64 image with symbols (hv.elf64)"
        )
    return value
