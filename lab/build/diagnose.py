# SPDX-License-Identifier: GPL-2.0-or-later
"""Find the first error in what a failed build said, and the patch that it belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.model.errors import KernelBuildFailed

_CONTEXT = 3
_SHOWN = 12
_COMPILER = re.compile(r"^(\S+?):(\d+)(?::\d+)?: (?:fatal )?error: (.*)$")
_KCONFIG = re.compile(r"^(\S*Kconfig\S*):(\d+): (.*)$")
_MAKEFILE = re.compile(r"^(\S*(?:Makefile|Kbuild)\S*):(\d+): \*\*\* (.*?)\.?(?:  Stop\.)?$")
_LINKER = re.compile(
    r"^(?:\S*ld: )?(\S+?):(?:(\d+)|\([^)]*\))?:? ((?:undefined reference to|multiple definition of) .*)$"
)
_QUOTED = re.compile(r"[`'\"](\w+)['\"]")
_MODPOST = re.compile(r"^ERROR: modpost: (.*)$")
_NO_RULE = re.compile(r"No rule to make target '([^']+)', needed by '([^']+)'")
_FAILED = re.compile(r"^make(?:\[\d+\])?: \*\*\* (?:\[\S+: (\S+?)\] Error \d+|(.*))$")
_NOISE = re.compile(r"^make(?:\[\d+\])?: ")
_INCLUDED = re.compile(r"^(?:In file included from|                 from) (\S+?):(\d+)")


@dataclass(frozen=True, slots=True)
class Finding:
    """The first error: a file of the source tree (or "" if unknown), its line (or 0), what it says.

    ``via`` are files that include the failing one; ``lines`` what the tools printed around it.
    """

    file: str
    line: int
    message: str
    via: tuple[str, ...]
    lines: tuple[str, ...]


def first_error(lines: Sequence[str], src: str) -> Finding:
    """The first error in a build's output; ``src`` is the source path that the build saw."""
    for match_line in (_match_tool, _match_make):
        for number, line in enumerate(lines):
            found = match_line(line)
            if found is None:
                continue
            file, at, message = found
            around = lines[max(0, number - 2) : number + _SHOWN]
            shown = tuple(said for said in around if not _NOISE.match(said) or said == line)
            return Finding(_relative(file, src), at, message, _includers(lines, number, src), shown)
    return Finding("", 0, "the build failed without naming an error", (), tuple(lines[-_SHOWN:]))


def blame(finding: Finding, last_patch: Mapping[str, str]) -> str:
    """Subject of the patch that touched the failing file (or what includes it) last; "" if none did.

    An object stands for the source file that it is made from.
    """
    for name in (finding.file, *finding.via):
        stem = name.removesuffix(".o")
        for candidate in (name, f"{stem}.c", f"{stem}.S"):
            if candidate in last_patch:
                return last_patch[candidate]
    text = "\n".join((finding.message, *finding.lines))
    for name, subject in last_patch.items():
        if re.search(rf"(?<![\w-]){re.escape(Path(name).name)}\b", text):
            return subject
    return ""


def blame_symbol(finding: Finding, overlay: Path, last_patch: Mapping[str, str]) -> str:
    """Subject of the patch that touched the one file of the series which uses the symbol that the
    linker misses; the linker itself may know no better than ``vmlinux.o``."""
    symbol = _QUOTED.search(finding.message)
    if symbol is None:
        return ""
    for name, subject in last_patch.items():
        path = overlay / name
        if path.is_file() and re.search(rf"\b{symbol[1]}\b", path.read_text(errors="replace")):
            return subject
    return ""


def failure(
    lines: Sequence[str], *, src: str, what: str, roots: Sequence[Path], last_patch: Mapping[str, str]
) -> KernelBuildFailed:
    """The error to raise: first error, the source around it (from the first of ``roots`` that has
    the file), and the patch that it belongs to."""
    finding = first_error(lines, src)
    where = f"{finding.file}:{finding.line}" if finding.line else finding.file
    patch = blame(finding, last_patch) or blame_symbol(finding, roots[0], last_patch)
    detail = list(finding.lines)
    excerpt = _excerpt(finding, roots)
    if excerpt:
        detail += ["", *excerpt]
    hint = f"the file was last touched by patch: {patch}" if patch else ""
    return KernelBuildFailed(
        f"{what}: {finding.message}", where=where, hint=hint, detail="\n".join(detail), patch=patch
    )


def _match_tool(line: str) -> tuple[str, int, str] | None:
    for pattern in (_COMPILER, _KCONFIG, _MAKEFILE):
        if (found := pattern.match(line)) and not line.startswith(("ld:", "make")):
            return found[1], int(found[2]), found[3]
    if found := _MODPOST.match(line):
        return "", 0, found[1]
    if found := _LINKER.match(line):
        return found[1], int(found[2] or 0), found[3]
    return None


def _match_make(line: str) -> tuple[str, int, str] | None:
    if found := _NO_RULE.search(line):
        return found[2], 0, f"no rule to make {found[1]}, needed by {found[2]}"
    if found := _FAILED.match(line):
        return found[1] or "", 0, f"{found[1]} could not be made" if found[1] else found[2]
    return None


def _includers(lines: Sequence[str], number: int, src: str) -> tuple[str, ...]:
    via: list[str] = []
    while number > 0 and ((found := _INCLUDED.match(lines[number - 1])) or len(via) == 0):
        number -= 1
        if found:
            via.append(_relative(found[1], src))
        elif ": In function" not in lines[number] and ": At top level" not in lines[number]:
            break
    return tuple(reversed(via))


def _relative(file: str, src: str) -> str:
    return file.removeprefix(src.rstrip("/") + "/").removeprefix("./")


def _inside(root: Path, name: str) -> Path | None:
    """The file of that name in a tree. The name comes from the build (``#line 1 "/etc/shadow"`` is
    valid C): nothing outside the tree may get into a report."""
    path = root / name
    if not path.is_file() or not path.resolve().is_relative_to(root.resolve()):
        return None
    return path


def _excerpt(finding: Finding, roots: Sequence[Path]) -> list[str]:
    if not finding.line:
        return []
    path = next((p for r in roots if (p := _inside(r, finding.file)) is not None), None)
    if path is None:
        return []
    text = path.read_text(errors="replace").splitlines()
    first = max(1, finding.line - _CONTEXT)
    numbered = enumerate(text[first - 1 : finding.line + _CONTEXT], first)
    return [f"{'>' if n == finding.line else ' '}{n:6d}  {line}" for n, line in numbered]
