# SPDX-License-Identifier: GPL-2.0-or-later
"""The allow-list: splats that are known, explained and no fault of what is tested.

An entry names class and functions, so that it lets pass one complaint and not a family of them, and says
why. What it lets pass is told as evidence; it is neither a failure nor silent.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from lab.model.errors import BadInput
from lab.model.series import KernelVersion, VersionRange
from lab.model.splat import Splat, SplatClass

_KEYS = ("class", "functions", "flavours", "fits", "why")
MIN_WHY = 40
"""Letters that a justification has at least: less is no justification."""
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_PATTERN = re.compile(r"[A-Za-z_]\w{3,}\*")
"""A family of functions by what their names begin with; four letters at least, so that it is one."""
_RACE = "data-race in "


@dataclass(frozen=True, slots=True)
class Allowed:
    """One entry. ``functions`` are those of the title of a data race, else of the title or the frames.

    Of a data race they may be families (``virtqueue_*``): then both sides must be of one of them.
    """

    cls: SplatClass
    functions: tuple[str, ...]
    flavours: tuple[str, ...]
    fits: VersionRange
    why: str

    @property
    def name(self) -> str:
        """Which entry it is, for people and for counting."""
        return f"{self.cls.value}: {' / '.join(self.functions)}"

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
        if race:
            sides = set(_NAME.findall(named))
            if any("*" in function for function in self.functions):
                return all(any(fnmatchcase(side, f) for f in self.functions) for side in sides)
            return sides == set(self.functions)
        return set(self.functions) <= {*_NAME.findall(splat.title), *splat.frames}


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
    for key in _KEYS:
        if not entry.get(key):
            raise BadInput(f"{key} is missing", where=where, hint=f"every entry has {', '.join(_KEYS)}")
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
    functions = _names(entry, "functions", where, patterns=cls is SplatClass.KCSAN)
    return Allowed(cls, functions, _names(entry, "flavours", where), fits, why)


def _names(entry: dict[str, Any], key: str, where: str, *, patterns: bool = False) -> tuple[str, ...]:
    def known(value: object) -> bool:
        name = isinstance(value, str) and _NAME.fullmatch(value)
        return bool(name or (patterns and isinstance(value, str) and _PATTERN.fullmatch(value)))

    value = entry[key]
    if not isinstance(value, list) or not all(map(known, value)):
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
