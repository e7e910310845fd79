# SPDX-License-Identifier: GPL-2.0-or-later
"""The allow-list: splats that are known, explained and no fault of what is tested.

An entry names class and functions, so that it lets pass one complaint and not a family of them, and says
why. What it lets pass is told as evidence; it is neither a failure nor silent.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lab.model.errors import BadInput
from lab.model.series import KernelVersion, VersionRange
from lab.model.splat import Splat, SplatClass

_NEEDED = ("class", "flavours", "fits", "why")
_KEYS = (*_NEEDED, "functions", "without", "under")
MIN_WHY = 40
"""Letters that a justification has at least: less is no justification."""
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_FRAME = re.compile(r"([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x")
_RACE = "data-race in "
_SIDE = re.compile(r"\b(?:read|write|read-write)(?: \([^)]*\))? to 0x[0-9a-f]+ of \d+ bytes by ")
"""How KCSAN begins each of the two accesses of a race (kernel/kcsan/report.c)."""
_INTERRUPT = ("asm_sysvec_", "asm_common_interrupt")
"""Where an interrupt came in (arch/x86/include/asm/idtentry.h): what is below it was only interrupted."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """One entry. ``functions`` are those of the title of a data race, else of the title or the frames.

    ``without`` in their place is for data races that have nothing to do with what is tested: no function that
    begins so may be anywhere in the report, on either side. What an interrupt came upon is no part of it.
    With ``under`` both sides must have been called by one of those functions, and ``without`` is about what
    is above it alone.
    """

    cls: SplatClass
    functions: tuple[str, ...]
    flavours: tuple[str, ...]
    fits: VersionRange
    why: str
    without: tuple[str, ...] = ()
    under: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Which entry it is, for people and for counting."""
        named = " / ".join(self.functions) or f"none of {', '.join(self.without)}"
        within = f"under {', '.join(self.under)}: " if self.under else ""
        return f"{self.cls.value}: {within}{named}"

    def matches(self, splat: Splat, flavour: str, version: KernelVersion) -> bool:
        """Whether this entry explains a splat on a kernel of that flavour and version.

        The two sides of a data race must be the functions of the entry, no more and no fewer; of any other
        splat every function of the entry must be in the title or among the frames. A report that is
        cut short or mixed with another is never explained.
        """
        if splat.corrupted or splat.cls is not self.cls:
            return False
        if flavour not in self.flavours or version not in self.fits:
            return False
        _, race, named = splat.title.partition(_RACE)
        if self.without:
            sides = list(_sides(splat.text))
            known = len(sides) == 2 or (bool(sides) and not self.under)
            return (
                bool(race) and known and self._strange(_NAME.findall(named)) and all(map(self._apart, sides))
            )
        if race:
            return set(_NAME.findall(named)) == set(self.functions)
        return set(self.functions) <= {*_NAME.findall(splat.title), *splat.frames}

    def _apart(self, side: list[str]) -> bool:
        """Whether an access with this stack (innermost first) has nothing to do with what is tested."""
        ends = [n for n, frame in enumerate(side) if frame in self.under]
        if self.under and not ends:
            return False
        return self._strange(side[: ends[0]] if ends else side)

    def _strange(self, functions: Iterable[str]) -> bool:
        return not any(function.startswith(self.without) for function in functions)


def _sides(text: Iterable[str]) -> Iterator[list[str]]:
    """The stack of each access that a report of a data race shows, innermost function first, as far as the
    interrupt in which it was made. The rest of the text ("Comm: mshv-vmm") does not say what was raced on."""
    side: list[str] | None = None
    interrupt = False
    for line in text:
        if _SIDE.search(line):
            if side is not None:
                yield side
            side, interrupt = [], False
        elif side is not None and (found := _FRAME.search(line)):
            interrupt = interrupt or found[1].startswith(_INTERRUPT)
            if not interrupt:
                side.append(found[1])
    if side is not None:
        yield side


def parse_table(text: str, where: str) -> tuple[Allowed, ...]:
    """Read an allow-list. BadInput names the entry and the key."""
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise BadInput(f"not an allow-list: {e}", where=where) from e
    entries = data.pop("allow", [])
    if data or not isinstance(entries, list):
        raise BadInput(f"unknown key {next(iter(data), 'allow')!r}", where=where, hint="write [[allow]]")
    found = tuple(_entry(entry, f"{where}: [[allow]] {n}") for n, entry in enumerate(entries, 1))
    names = [entry.name for entry in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise BadInput(f"two entries for {twice[0]}", where=where, hint="make one of them")
    return found


def _entry(entry: Any, where: str) -> Allowed:
    if not isinstance(entry, dict):
        raise BadInput("not a table", where=where)
    for key in entry:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(_KEYS)}"
            raise BadInput(f"unknown key {key!r}", where=where, hint=hint)
    for key in _NEEDED:
        if not entry.get(key):
            raise BadInput(f"{key} is missing", where=where, hint=f"every entry has {', '.join(_NEEDED)}")
    try:
        cls = SplatClass(entry["class"])
    except ValueError as e:
        hint = f"known are {', '.join(c.value for c in SplatClass)}"
        raise BadInput(f"unknown class {entry['class']!r}", where=where, hint=hint) from e
    try:
        fits = VersionRange.parse(str(entry["fits"]))
    except ValueError as e:
        raise BadInput(str(e), where=where, hint='write "7.3" or "7.2-7.4"') from e
    why = str(entry["why"]).strip()
    if len(why) < MIN_WHY:
        raise BadInput("that is no justification", where=where, hint="say why it is harmless and whose it is")
    functions, without = _names(entry, "functions", where), _names(entry, "without", where)
    under = _names(entry, "under", where)
    if (
        bool(functions) == bool(without)
        or (without and cls is not SplatClass.KCSAN)
        or (under and not without)
    ):
        raise BadInput(
            "an entry has functions, or, for kcsan alone, without, and under with it",
            where=where,
            hint="name one of them",
        )
    return Allowed(cls, functions, _names(entry, "flavours", where), fits, why, without, under)


def _names(entry: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = entry.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) and _NAME.fullmatch(v) for v in value):
        raise BadInput(f"{key} must be a list of names", where=where)
    return tuple(value)


def explains(
    entries: Iterable[Allowed], splat: Splat, flavour: str, version: KernelVersion
) -> Allowed | None:
    """The entry that explains a splat; None if there is none."""
    return next((entry for entry in entries if entry.matches(splat, flavour, version)), None)


def unused(entries: Iterable[Allowed], seen: Collection[str], flavours: Collection[str]) -> tuple[str, ...]:
    """Names of entries for these flavours that nothing asked for; ``seen`` are names of those that did."""
    return tuple(e.name for e in entries if set(e.flavours) & set(flavours) and e.name not in seen)
