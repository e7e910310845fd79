# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel configuration: merge fragments, and check what became of every value that they ask for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.model.errors import BadInput, KernelBuildFailed
from lab.model.kernel import Flavour
from lab.model.series import KernelVersion

REQUIRED = ("HYPERV", "MSHV_ROOT", "VFIO", "VFIO_PCI", "VFIO_NOIOMMU")
"""Without these the kernel cannot do what the lab tests."""

FORMER = {"SYSCTL": ("PROC_SYSCTL", "fs/proc/Kconfig")}
"""Settings that an older kernel has under another name, declared in that file; fragments use the new one.
CONFIG_SYSCTL cannot be asked for there: without the former name /proc/sys and sysctl arguments are gone."""

_SET = re.compile(r"CONFIG_(\w+)=(.*)")
_UNSET = re.compile(r"# CONFIG_(\w+) is not set")
_DECLARED = re.compile(r"^\s*(?:menu)?config\s+(\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A value that a fragment asks for and that the final configuration does not have."""

    symbol: str
    wanted: str
    got: str
    known: bool

    def __str__(self) -> str:
        why = "" if self.known else " (no such setting in this kernel)"
        return f"CONFIG_{self.symbol}: wanted {self.wanted}, got {self.got}{why}"


def parse(text: str) -> dict[str, str]:
    """{symbol without CONFIG_: value} of a fragment or a .config; ``n`` for "is not set"."""
    values = {}
    for line in text.splitlines():
        line = line.strip()
        if found := _SET.fullmatch(line):
            values[found[1]] = found[2]
        elif found := _UNSET.fullmatch(line):
            values[found[1]] = "n"
    return values


def merge(fragments: Iterable[Path]) -> dict[str, str]:
    """Values of all fragments; a later fragment wins. BadInput for a line that is neither a setting
    nor a comment, as a typing error would otherwise just drop the setting."""
    merged: dict[str, str] = {}
    for path in fragments:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            text = line.strip()
            comment = text.startswith("#") and not text.startswith("# CONFIG_")
            if text and not comment and not _SET.fullmatch(text) and not _UNSET.fullmatch(text):
                raise BadInput(f"not a kernel setting: {text!r}", where=f"{path}:{number}")
        merged |= parse(path.read_text())
    return merged


def wanted(flavour: Flavour, tree: Path) -> dict[str, str]:
    """What a flavour asks of this very source: its fragments, and former names where the source has those."""
    values = merge(flavour.fragments)
    for symbol, (former, file) in FORMER.items():
        path = tree / file
        text = path.read_text(errors="replace") if path.is_file() else ""
        if symbol in values and former in _DECLARED.findall(text):
            values[former] = values[symbol]
    return values


def render(values: Mapping[str, str]) -> str:
    """Text of a configuration with these values, as Kconfig reads it."""
    lines = (f"# CONFIG_{k} is not set" if v == "n" else f"CONFIG_{k}={v}" for k, v in values.items())
    return "\n".join(lines) + "\n"


def mismatches(wanted: Mapping[str, str], final: Mapping[str, str], known: set[str]) -> list[Mismatch]:
    """What was asked for and is not so. A symbol absent from ``final`` counts as ``n``."""
    return [
        Mismatch(symbol, value, final.get(symbol, "n"), symbol in known)
        for symbol, value in wanted.items()
        if final.get(symbol, "n") != value
    ]


def declared_symbols(tree: Path) -> set[str]:
    """Every symbol that some Kconfig file of a source tree declares."""
    symbols: set[str] = set()
    for path in tree.rglob("Kconfig*"):
        if path.is_file():
            symbols.update(_DECLARED.findall(path.read_text(errors="replace")))
    return symbols


def check(
    wanted: Mapping[str, str], final: Mapping[str, str], tree: Path, version: KernelVersion
) -> list[Mismatch]:
    """The mismatches to tell the user; KernelBuildFailed if one of them is a REQUIRED setting."""
    if all(final.get(symbol, "n") == value for symbol, value in wanted.items()):
        return []
    found = mismatches(wanted, final, declared_symbols(tree))
    fatal = [str(m) for m in found if m.symbol in REQUIRED]
    if fatal:
        raise KernelBuildFailed(
            f"Linux {version} cannot be configured as a root partition",
            detail="\n".join(fatal),
            hint="use a kernel that has the MSHV root driver (6.15 or newer), or see its dependencies",
        )
    return found
