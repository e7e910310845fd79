# SPDX-License-Identifier: GPL-2.0-or-later
"""What source can issue: every use of a name of the interface, and the code of every hypercall."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.surface.constants import Constants
from lab.surface.functions import Block, Call, assigned, blocks, calls
from lab.surface.kinds import CPUID_LEAVES, SYNTHETIC_MSRS, kind_of
from lab.surface.lexer import Kind, Token, number

HEADERS = ("include/hyperv",)
SCOPE = (
    "drivers/hv",
    "arch/x86/hyperv",
    "arch/x86/kernel/cpu/mshyperv.c",
    "arch/x86/include/asm/mshyperv.h",
    "include/asm-generic/mshyperv.h",
    "include/clocksource/hyperv_timer.h",
    "drivers/clocksource/hyperv_timer.c",
    "drivers/iommu/hyperv",
    "drivers/iommu/hyperv-iommu.c",
    "drivers/pci/controller",
)
"""Files and folders that speak the interface; of ``drivers/pci/controller`` only ``pci-hyperv*``."""
CODE_MASK = 0xFFFF
DEPTH = 4
"""How many callers up the code of a hypercall is looked for."""
_HYPERCALL = re.compile(r"_?hv_(do|ghcb|tdx|std|snp)(_\w+)?_hypercall\w*")
_MSR = re.compile(r"\w*(rdmsr|wrmsr|get_\w*msr|set_\w*msr|msr_read|msr_write)\w*")
_CPUID = re.compile(r"\w*cpuid\w*")

Read = Callable[[str], str | None]
"""The text of a file of a tree by its path, None where there is none."""


@dataclass(frozen=True, slots=True, order=True)
class Use:
    """A name of the interface in code. A number without a name has an empty ``name``."""

    kind: str
    name: str
    number: int | None
    file: str
    line: int
    function: str

    @property
    def site(self) -> str:
        return f"{self.file}:{self.function}" if self.function else self.file


@dataclass(frozen=True, slots=True)
class Derived:
    """What a tree can issue. ``dynamic`` are hypercalls whose code is no constant of the source."""

    uses: tuple[Use, ...]
    dynamic: tuple[Use, ...]
    constants: Constants

    def numbers(self, kind: str) -> dict[int, str]:
        """Number to name of all uses of a kind; empty name where source has the bare number."""
        found: dict[int, str] = {}
        for use in self.uses:
            if use.kind == kind and use.number is not None:
                found[use.number] = found.get(use.number) or use.name
        return found


def tree_reader(tree: Path) -> Read:
    """Reads files of a folder."""

    def read(path: str) -> str | None:
        try:
            return (tree / path).read_text(errors="replace")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    return read


def files_of(tree: Path, parts: Sequence[str] = SCOPE) -> list[str]:
    """C files and headers of a kernel tree that speak the interface."""
    found: set[str] = set()
    for part in parts:
        place = tree / part
        if place.is_file():
            found.add(part)
        else:
            found |= {str(p.relative_to(tree)) for p in place.rglob("*.[ch]")}
    return sorted(f for f in found if "pci/controller" not in f or "/pci-hyperv" in f)


def derive_tree(tree: Path) -> Derived:
    """What a kernel tree can issue."""
    return derive(tree_reader(tree), files_of(tree), files_of(tree, HEADERS))


def derive(read: Read, files: Iterable[str], headers: Iterable[str]) -> Derived:
    """What some files can issue, with the constants of some headers and of the files themselves."""
    constants = Constants()
    sources = {f: text for f in dict.fromkeys(files) if (text := read(f)) is not None}
    for header in headers:
        text = read(header)
        if text is not None:
            constants.read(header, text)
    for file, text in sources.items():
        constants.read(file, text)
    parsed = [b for f, text in sources.items() if f not in headers for b in blocks(f, text)]
    uses = sorted({*_names(parsed, constants), *_bare_numbers(parsed)})
    resolved, dynamic = _codes(parsed, constants)
    named = {(u.number, u.site) for u in uses if u.kind == "hypercall"}
    extra = [u for u in resolved if (u.number, u.site) not in named]
    return Derived(tuple(sorted({*uses, *extra})), tuple(sorted(set(dynamic))), constants)


def _names(parsed: Sequence[Block], constants: Constants) -> Iterator[Use]:
    kinds: dict[str, str] = {}
    for block in parsed:
        for token in block.body:
            if token.kind is not Kind.NAME:
                continue
            name = token.text
            if name not in kinds:
                kinds[name] = kind_of(name, constants)
            if kinds[name]:
                yield Use(kinds[name], name, constants.value(name), block.file, token.line, block.name)


def _bare_numbers(parsed: Sequence[Block]) -> Iterator[Use]:
    """MSRs and CPUID leaves that are asked for by number."""
    for block in parsed:
        for call in calls(block):
            for kind, form, numbers in (("msr", _MSR, SYNTHETIC_MSRS), ("cpuid", _CPUID, CPUID_LEAVES)):
                if not form.fullmatch(call.name) or not call.arguments or len(call.arguments[0]) != 1:
                    continue
                value = number(call.arguments[0][0].text)
                if value is not None and value in numbers:
                    yield Use(kind, "", value, block.file, call.line, block.name)


def _codes(parsed: Sequence[Block], constants: Constants) -> tuple[list[Use], list[Use]]:
    """The codes of all hypercalls: those that are bare numbers, and the calls whose code is not constant."""
    by_callee: dict[str, list[tuple[Block, Call]]] = {}
    sites: list[tuple[Block, Call]] = []
    for block in parsed:
        for call in calls(block):
            by_callee.setdefault(call.name, []).append((block, call))
            if _HYPERCALL.fullmatch(call.name) and call.arguments and not _HYPERCALL.fullmatch(block.name):
                sites.append((block, call))

    def look(
        block: Block, expression: Sequence[Token], depth: int, seen: frozenset[str]
    ) -> tuple[set[int], bool]:
        """Codes that an expression may hold, and whether any was found."""
        names = [t for t in expression if t.kind is Kind.NAME]
        codes = {
            value & CODE_MASK
            for t in names
            if kind_of(t.text, constants) == "hypercall" and (value := constants.value(t.text)) is not None
        }
        if codes or any(kind_of(t.text, constants) == "hypercall" for t in names):
            return codes, True
        value = constants.evaluate(expression)
        if value is not None:
            return {value & CODE_MASK}, True
        if depth == 0 or any(t.text in (".", "->") for t in expression):
            return set(), False
        found: set[int] = set()
        known = False
        for name in dict.fromkeys(t.text for t in names):
            if name in seen:
                continue
            inner = seen | {name}
            for right in assigned(block, name):
                more, hit = look(block, right, depth - 1, inner)
                found, known = found | more, known or hit
            if name in block.parameters:
                at = block.parameters.index(name)
                for caller, call in by_callee.get(block.name, ()):
                    if at < len(call.arguments):
                        more, hit = look(caller, call.arguments[at], depth - 1, frozenset())
                        found, known = found | more, known or hit
        return found, known

    resolved, dynamic = [], []
    for block, call in sites:
        codes, known = look(block, call.arguments[0], DEPTH, frozenset())
        if not known:
            dynamic.append(Use("hypercall", "", None, block.file, call.line, block.name))
        resolved += [Use("hypercall", "", c, block.file, call.line, block.name) for c in codes]
    return resolved, dynamic
