# SPDX-License-Identifier: GPL-2.0-or-later
"""What the debug information of the driver's module says, at the addresses where a root has loaded it.

A module is relocatable: its sections all begin at 0. Here each is put to where the kernel loaded it before
the debug information is read (pyelftools), so that addresses are those of the running kernel.
"""

from __future__ import annotations

import bisect
import io
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from elftools.common.exceptions import DWARFError, ELFError
from elftools.dwarf.compileunit import CompileUnit
from elftools.dwarf.die import DIE
from elftools.dwarf.ranges import BaseAddressEntry
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from lab.model.errors import LabUnavailable

Span = tuple[int, int]
"""First address, and the one behind the last."""
_SYMTAB = ".symtab"
_VALUE = 8
"""Offset of st_value in an Elf64_Sym (ELF-64 object file format, symbol table)."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the line table: the instruction at ``address`` begins line ``line`` of ``file``."""

    address: int
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Instance:
    """Code of a function: its own (``inlined_in`` is empty), or a copy inside of another one."""

    spans: tuple[Span, ...]
    inlined_in: str = ""

    def __contains__(self, address: int) -> bool:
        return any(low <= address < high for low, high in self.spans)

    def around(self, address: int) -> bool:
        """Whether the address is between its first and its last instruction: the compiler mixes inlined code
        with what is around it."""
        return min(low for low, _ in self.spans) <= address < max(high for _, high in self.spans)


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the module: where it is declared, and all code that was made of it."""

    name: str
    file: str
    line: int
    instances: tuple[Instance, ...]


class DebugInfo:
    """``path``: the module with debug information; ``sections``: where its sections are loaded.

    LabUnavailable when there is no debug information in it. Several threads may ask.
    """

    def __init__(self, path: Path, sections: Mapping[str, int]) -> None:
        self._where = str(path)
        # elftools reads all of a file through one stream.
        self._reading = threading.RLock()
        try:
            elf = ELFFile(io.BytesIO(_placed(path.read_bytes(), sections)))
            if not elf.has_dwarf_info():
                raise LabUnavailable("no debug information", where=self._where)
            self._dwarf = elf.get_dwarf_info(relocate_dwarf_sections=True)
            self._units = list(self._dwarf.iter_CUs())
        except (ELFError, DWARFError) as e:
            raise LabUnavailable(f"cannot read debug information: {e}", where=self._where) from e

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The line table, by address: only rows at which a statement begins."""
        with self._reading:
            return self._read_rows()

    def _read_rows(self) -> tuple[Row, ...]:
        found = []
        for unit in self._units:
            program = self._dwarf.line_program_for_CU(unit)
            if program is None:
                continue
            names = self._files(unit)
            for entry in program.get_entries():
                state = entry.state
                if state is not None and state.is_stmt and not state.end_sequence and state.line:
                    found.append(Row(state.address, names.get(state.file, ""), state.line))
        return tuple(sorted(set(found), key=lambda row: (row.address, row.file, row.line)))

    @cached_property
    def _row_addresses(self) -> list[int]:
        return [row.address for row in self.rows]

    def line_at(self, address: int) -> Row | None:
        """The row that an address belongs to."""
        index = bisect.bisect_right(self._row_addresses, address) - 1
        return self.rows[index] if index >= 0 else None

    @cached_property
    def functions(self) -> dict[str, Function]:
        """Functions that the module's own files define, by name."""
        with self._reading:
            return self._read_functions()

    def _read_functions(self) -> dict[str, Function]:
        found: dict[str, tuple[str, int, list[Instance]]] = {}
        for unit in self._units:
            names = self._files(unit)
            for die in unit.get_top_DIE().iter_children():
                if die.tag != "DW_TAG_subprogram":
                    continue
                origin = _origin(die)
                name = _name(origin)
                if not name:
                    continue
                file = names.get(_number(origin, "DW_AT_decl_file"), "")
                known = found.setdefault(name, (file, _number(origin, "DW_AT_decl_line"), []))
                if spans := self._spans(die):
                    known[2].append(Instance(spans))
                    self._inlined(die, name, names, found)
        return {
            name: Function(name, file, line, tuple(instances))
            for name, (file, line, instances) in found.items()
            if instances
        }

    def _inlined(
        self,
        die: DIE,
        inside: str,
        names: Mapping[int, str],
        found: dict[str, tuple[str, int, list[Instance]]],
    ) -> None:
        for child in die.iter_children():
            if child.tag == "DW_TAG_inlined_subroutine":
                origin = _origin(child)
                file = names.get(_number(origin, "DW_AT_decl_file"), "")
                known = found.setdefault(_name(origin), (file, _number(origin, "DW_AT_decl_line"), []))
                if spans := self._spans(child):
                    known[2].append(Instance(spans, inside))
            if child.tag in ("DW_TAG_inlined_subroutine", "DW_TAG_lexical_block"):
                self._inlined(child, inside, names, found)

    def offsets(self, structure: str) -> dict[str, int]:
        """Members of a structure and their offsets in bytes, those of unnamed parts included. LabUnavailable
        when the module does not know it."""
        with self._reading:
            for unit in self._units:
                for die in unit.get_top_DIE().iter_children():
                    if die.tag == "DW_TAG_structure_type" and _name(die) == structure and die.has_children:
                        return dict(_members(die, 0))
        raise LabUnavailable(f"no struct {structure} in the debug information", where=self._where)

    def _files(self, unit: CompileUnit) -> dict[int, str]:
        """File names of a unit by number, as paths inside of the source tree where they can be."""
        program = self._dwarf.line_program_for_CU(unit)
        if program is None:
            return {}
        header = program.header
        first = 0 if header.version >= 5 else 1
        directories = [d.decode(errors="replace") for d in header.get("include_directory", [])]
        if first:
            directories.insert(0, "")
        files = {}
        for number, entry in enumerate(header.get("file_entry", []), first):
            folder = directories[entry.dir_index] if entry.dir_index < len(directories) else ""
            files[number] = _inside(str(PurePosixPath(folder) / entry.name.decode(errors="replace")))
        return files

    def _spans(self, die: DIE) -> tuple[Span, ...]:
        low = die.attributes.get("DW_AT_low_pc")
        high = die.attributes.get("DW_AT_high_pc")
        if low is not None and high is not None:
            end = high.value if high.form == "DW_FORM_addr" else low.value + high.value
            return ((low.value, end),) if end > low.value else ()
        ranges = die.attributes.get("DW_AT_ranges")
        lists = self._dwarf.range_lists()
        if ranges is None or lists is None or not isinstance(die.cu, CompileUnit):
            return ()
        base, spans = _number(die.cu.get_top_DIE(), "DW_AT_low_pc"), []
        for entry in lists.get_range_list_at_offset(ranges.value, cu=die.cu):
            if isinstance(entry, BaseAddressEntry):
                base = entry.base_address
                continue
            offset = 0 if getattr(entry, "is_absolute", False) else base
            if entry.end_offset > entry.begin_offset:
                spans.append((entry.begin_offset + offset, entry.end_offset + offset))
        return tuple(spans)


def _placed(data: bytes, sections: Mapping[str, int]) -> bytes:
    """An object file whose symbols are at the addresses of their sections."""
    elf = ELFFile(io.BytesIO(data))
    base = {index: sections.get(section.name, 0) for index, section in enumerate(elf.iter_sections())}
    table = elf.get_section_by_name(_SYMTAB)
    if not isinstance(table, SymbolTableSection):
        return data
    placed = bytearray(data)
    size = table["sh_entsize"]
    for number, symbol in enumerate(table.iter_symbols()):
        if address := base.get(symbol["st_shndx"], 0):
            at = table["sh_offset"] + number * size + _VALUE
            placed[at : at + 8] = (symbol["st_value"] + address).to_bytes(8, "little")
    return bytes(placed)


def _origin(die: DIE) -> DIE:
    """What a DIE is an instance of; itself when it is none."""
    seen = 0
    while "DW_AT_abstract_origin" in die.attributes and seen < 8:
        die = die.get_DIE_from_attribute("DW_AT_abstract_origin")
        seen += 1
    return die


def _name(die: DIE) -> str:
    attribute = die.attributes.get("DW_AT_name")
    return attribute.value.decode(errors="replace") if attribute is not None else ""


def _number(die: DIE, attribute: str) -> int:
    value = die.attributes.get(attribute)
    return int(value.value) if value is not None else 0


def _members(die: DIE, base: int) -> Iterator[tuple[str, int]]:
    for member in die.iter_children():
        if member.tag != "DW_TAG_member":
            continue
        offset = base + _number(member, "DW_AT_data_member_location")
        if name := _name(member):
            yield name, offset
        else:
            yield from _members(member.get_DIE_from_attribute("DW_AT_type"), offset)


def _inside(path: str) -> str:
    """``/src/drivers/hv/x.c`` as ``drivers/hv/x.c``: builds see their source in a folder of that name."""
    parts = PurePosixPath(path).parts
    return str(PurePosixPath(*parts[parts.index("src") + 1 :])) if "src" in parts else path
