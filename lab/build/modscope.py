# SPDX-License-Identifier: GPL-2.0-or-later
"""Does a series stay inside the ``mshv_root`` module? Then nothing else has to be built.

A series stays inside when every file that it touches is a source of the module, a header that only
the module's sources include, or documentation, and when it adds no code that a module does not have
(boot parameters, early initcalls) outside ``#ifndef MODULE``.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from lab.model.kernel import AppliedSeries, KernelSource

FOLDER = "drivers/hv"
MODULE = "mshv_root"
_ASSIGN = re.compile(r"^mshv_root-\S+\s*[:+]?=\s*(.*)$", re.MULTILINE)
_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
_HOOK = re.compile(
    r"^\s*(__setup|__setup_param|early_param|core_param|early_initcall|(?:core|postcore|arch|subsys|fs|rootfs)"
    r"_initcall(?:_sync)?|console_initcall|EXPORT_SYMBOL\w*)\s*\(",
)
_NOT_BUILT = ("Documentation", "MAINTAINERS", "CREDITS", ".mailmap")


def outside(source: KernelSource, applied: AppliedSeries) -> str:
    """Why the series cannot be built as the module alone; "" if it can."""
    makefile = source.tree / FOLDER / "Makefile"
    if not makefile.is_file():
        return f"{FOLDER} has no Makefile"
    own = module_sources(makefile.read_text())
    headers = own_headers(source.tree / FOLDER, own)
    for name in (*applied.files, *applied.deleted):
        path = PurePosixPath(name)
        if path.parts[0] in _NOT_BUILT:
            continue
        if str(path.parent) != FOLDER or path.name not in own | headers:
            return f"{name} is not only part of {MODULE}"
        if name in applied.deleted:
            return f"{name} is removed"
        before = source.tree / name
        known = set(boot_hooks(before.read_text(errors="replace"))) if before.is_file() else set()
        added = [
            hook
            for hook in boot_hooks((applied.overlay / name).read_text(errors="replace"))
            if hook not in known
        ]
        if added:
            return f"{name} adds {added[0]}, which a module does not have"
    return ""


def module_sources(makefile: str) -> set[str]:
    """C files of the module, from the Makefile of its folder (continued lines joined)."""
    text = makefile.replace("\\\n", " ")
    objects = " ".join(_ASSIGN.findall(text)).split()
    return {f"{o.removesuffix('.o')}.c" for o in objects if o.endswith(".o")}


def own_headers(folder: Path, own: set[str]) -> set[str]:
    """Headers in ``folder`` that no C file outside the module includes, directly or through others.
    C files that the module's sources include count as headers."""
    texts = {p.name: p.read_text(errors="replace") for p in folder.glob("*.[ch]")}
    includes = {name: set(_INCLUDE.findall(text)) & set(texts) for name, text in texts.items()}

    def reach(start: set[str]) -> set[str]:
        seen: set[str] = set()
        todo = list(start)
        while todo:
            for name in includes.get(todo.pop(), set()) - seen:
                seen.add(name)
                todo.append(name)
        return seen

    mine = reach(own)
    others = {name for name in texts if name.endswith(".c")} - own - mine
    return mine - reach(others)


def boot_hooks(text: str) -> list[str]:
    """Lines that register something with the boot of a built-in driver, outside ``#ifndef MODULE``."""
    found = []
    guards: list[bool] = []
    for line in text.splitlines():
        directive = re.match(r"\s*#\s*(if\w*|elif\w*|else|endif)\b(.*)", line)
        if directive is None:
            if not any(guards) and _HOOK.match(line):
                found.append(line.strip())
        elif directive[1].startswith("if"):
            guards.append(_excludes_modules(directive[1], directive[2]))
        elif guards and directive[1] == "endif":
            guards.pop()
        elif guards:
            guards[-1] = False
    return found


def _excludes_modules(word: str, rest: str) -> bool:
    condition = rest.split("/*")[0].strip()
    if word == "ifndef":
        return condition == "MODULE"
    return word == "if" and condition.replace(" ", "") in ("!defined(MODULE)", "!definedMODULE")
