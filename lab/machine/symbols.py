# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses to names: from a kernel's System.map or from the symbols of an ELF64 file."""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterable
from pathlib import Path

_ELF64_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SHT_SYMTAB = 2
_STT_FUNC, _STT_NOTYPE, _SHN_UNDEF, _SHN_LORESERVE = 2, 0, 0, 0xFF00
_MAX_DISTANCE = 1 << 20


class SymbolTable:
    """Code symbols sorted by address; several tables can be merged (``|``)."""

    def __init__(self, symbols: Iterable[tuple[int, str]]) -> None:
        self._symbols = sorted(set(symbols))
        self._addresses = [address for address, _ in self._symbols]

    @classmethod
    def from_system_map(cls, text: str) -> SymbolTable:
        """Code symbols of a System.map: lines ``address type name``. Other lines are skipped."""
        found = []
        for line in text.splitlines():
            words = line.split()
            if len(words) == 3 and words[1] in "tTwW":
                found.append((int(words[0], 16), words[2]))
        return cls(found)

    @classmethod
    def from_elf(cls, path: Path, prefix: str = "") -> SymbolTable:
        """Code symbols of a little-endian ELF64 file. Raises ValueError when it is not one."""
        data = path.read_bytes()
        try:
            header = _ELF64_HEADER.unpack_from(data)
            if header[0][:6] != b"\x7fELF\x02\x01":
                raise ValueError(f"{path} is not a little-endian ELF64 file")
            offset, entry, count = header[6], header[11], header[12]
            sections = [_SECTION.unpack_from(data, offset + entry * index) for index in range(count)]
            found = []
            for section in sections:
                if section[1] != _SHT_SYMTAB:
                    continue
                names = sections[section[6]][4]
                for at in range(section[4], section[4] + section[5], _SYMBOL.size):
                    name, info, _, index, value, _ = _SYMBOL.unpack_from(data, at)
                    if info & 15 in (_STT_FUNC, _STT_NOTYPE) and _SHN_UNDEF < index < _SHN_LORESERVE:
                        start = names + name
                        found.append((value, prefix + data[start : data.index(b"\0", start)].decode()))
            return cls(found)
        except (struct.error, IndexError) as error:
            raise ValueError(f"{path} is not a whole ELF64 file: {error}") from None

    def __or__(self, other: SymbolTable) -> SymbolTable:
        return SymbolTable([*self._symbols, *other._symbols])

    def find(self, address: int) -> tuple[str, int] | None:
        """Name and offset of the code at an address; None when it is not near any symbol."""
        index = bisect.bisect_right(self._addresses, address) - 1
        if index < 0 or address - self._addresses[index] > _MAX_DISTANCE:
            return None
        return self._symbols[index][1], address - self._addresses[index]

    def name(self, address: int) -> str:
        """``symbol+0x12``, or the bare address."""
        found = self.find(address)
        return f"{found[0]}+{found[1]:#x}" if found else f"{address:#x}"
