# SPDX-License-Identifier: GPL-2.0-or-later
"""The code in a module's file: functions at stand-in addresses, and those bytes that a loaded kernel has too.

A loaded module differs from its file wherever the kernel fills in addresses or patches instructions to suit
the machine. What is left of the code around a place tells whether it is the code somebody thinks it is.
"""

from __future__ import annotations

import io
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import Section, SymbolTableSection

from lab.model.errors import BadInput

_FIRST, _STRIDE = 0x1000_0000, 0x1000_0000
"""Stand-in addresses: code sections lie so far apart that no offset leads from one into another."""
_LONGEST_PATCH = 6
"""A call with a prefix: the longest instruction that is patched without its length being told."""
_PATCHED = (
    "__mcount_loc",
    "__jump_table",
    ".static_call_sites",
    ".retpoline_sites",
    ".return_sites",
    ".call_sites",
    ".ibt_endbr_seal",
    ".cfi_sites",
    ".smp_locks",
)
"""Sections that list instructions which the kernel patches (scripts/module.lds.S, tools/objtool)."""
_JUMP_ENTRY, _STATIC_CALL = 16, 8
_FIRST_OF = {"__jump_table": _JUMP_ENTRY, ".static_call_sites": _STATIC_CALL}
"""Sections whose entries name other places too: only what lies at the begin of an entry is patched."""
_ALTERNATIVES = ".altinstructions"
_ALTERNATIVE = 14
"""struct alt_instr: offsets of both texts, flags, then a byte for each length."""
_LENGTH_AT = 12
_WIDE = {1: 8, 24: 8, 25: 8}
"""R_X86_64_64, _PC64 and _GOTOFF64 fill in 8 bytes; the others at most 4."""
_FILLED = 4
_CALL, _JUMP, _JCC = 0xE8, 0xE9, 0x0F
ENDBR = b"\xf3\x0f\x1e\xfa"
WINDOW = 24
"""Bytes from a place on that are looked at."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A function's code: ``address`` is a stand-in."""

    name: str
    address: int
    size: int


class ModuleCode:
    """``path``: a module, not linked yet to any kernel. BadInput when it is none."""

    def __init__(self, path: Path) -> None:
        try:
            self._elf = ELFFile(io.BytesIO(path.read_bytes()))
            if self._elf["e_type"] != "ET_REL" or self._elf["e_machine"] != "EM_X86_64":
                raise BadInput("not a kernel module for x86-64", where=str(path))
            self._read()
        except OSError as e:
            raise BadInput(f"cannot be read: {e.strerror}", where=str(path)) from e
        except (ELFError, struct.error) as e:
            raise BadInput(f"not a kernel module: {e}", where=str(path)) from e

    def _read(self) -> None:
        self._code: list[Section] = []
        self.sections: dict[str, int] = {}
        """Stand-in address of each section that has code."""
        base = {}
        for index, section in enumerate(self._elf.iter_sections()):
            if section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR and section["sh_type"] == "SHT_PROGBITS":
                base[index] = self.sections[section.name] = _FIRST + len(self._code) * _STRIDE
                self._code.append(section)
        self._symbols = self._table()
        found = {
            symbol.name: Symbol(symbol.name, base[symbol["st_shndx"]] + symbol["st_value"], symbol["st_size"])
            for symbol in self._symbols.iter_symbols()
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_shndx"] in base
        }
        self.functions: tuple[Symbol, ...] = tuple(sorted(found.values(), key=lambda s: s.address))
        self._starts = [symbol.address for symbol in self.functions]
        self._changed: set[int] = set()
        for section in self._elf.iter_sections():
            if isinstance(section, RelocationSection):
                self._changed.update(self._of(section, base))

    def _table(self) -> SymbolTableSection:
        table = self._elf.get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            raise ELFError("it has no symbols")
        return table

    def owner(self, address: int) -> Symbol | None:
        """The function that has this address."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        symbol = self.functions[index]
        return symbol if address < symbol.address + symbol.size else None

    def at(self, address: int, size: int = WINDOW) -> tuple[bytes, bytes]:
        """(code, mask) from an address on, as far as its function goes; a 0 in the mask is a byte that a
        loaded kernel may have otherwise."""
        owner = self.owner(address)
        if owner is None:
            return b"", b""
        size = min(size, owner.address + owner.size - address)
        number, offset = divmod(address - _FIRST, _STRIDE)
        code = self._code[number].data()[offset : offset + size]
        mask = bytes(0 if address + n in self._changed else 0xFF for n in range(len(code)))
        return code, mask

    def _of(self, relocations: RelocationSection, base: dict[int, int]) -> Iterator[int]:
        """Addresses of bytes that these relocations, or what they list, will change."""
        target = relocations["sh_info"]
        name = self._elf.get_section(target).name
        if target in base:
            for entry in relocations.iter_relocations():
                at = base[target] + entry["r_offset"]
                yield from range(at, at + _WIDE.get(entry["r_info_type"], _FILLED))
                yield from self._opcode(at)
        elif name == _ALTERNATIVES:
            content = self._elf.get_section(target).data()
            for entry in relocations.iter_relocations():
                if entry["r_offset"] % _ALTERNATIVE == 0 and (at := self._pointed(entry, base)):
                    yield from range(at, at + content[entry["r_offset"] + _LENGTH_AT])
        elif name in _PATCHED:
            stride = _FIRST_OF.get(name, 1)
            for entry in relocations.iter_relocations():
                if entry["r_offset"] % stride == 0 and (at := self._pointed(entry, base)):
                    yield from range(at, at + _LONGEST_PATCH)

    def _opcode(self, at: int) -> Iterator[int]:
        """What stands before a displacement: patched calls and jumps become others."""
        number, offset = divmod(at - _FIRST, _STRIDE)
        before = self._code[number].data()[max(0, offset - 2) : offset]
        if before[-1:] and before[-1] in (_CALL, _JUMP):
            yield at - 1
        elif len(before) == 2 and before[0] == _JCC and before[1] & 0xF0 == 0x80:
            yield from (at - 2, at - 1)

    def _pointed(self, entry: object, base: dict[int, int]) -> int:
        """Where a relocation points to in the code; 0 when it is not there."""
        symbol = self._symbols.get_symbol(entry["r_info_sym"])  # type: ignore[index]
        section = base.get(symbol["st_shndx"], 0)
        return section + symbol["st_value"] + entry["r_addend"] if section else 0  # type: ignore[index]
