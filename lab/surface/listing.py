# SPDX-License-Identifier: GPL-2.0-or-later
"""Our list of the surface, ``images/surface/interface.toml``: one line an entry."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lab.model.errors import LabUnavailable
from lab.model.surface import Entry, State
from lab.paths import images_dir
from lab.surface.derive import Derived, Use
from lab.surface.kinds import KINDS

_KEYS = frozenset({"number", "state", "count", "answer", "why", "by", "l1vh", "child"})
DYNAMIC = "dynamic"
"""The table of functions whose hypercall code is no constant of the source, and why that is fine."""


def path() -> Path:
    return images_dir() / "surface" / "interface.toml"


class Surface:
    """The entries of the list, found by number or name."""

    def __init__(self, entries: Iterable[Entry], dynamic: Mapping[str, str]) -> None:
        self.entries = tuple(entries)
        self.dynamic = dict(dynamic)
        self._by_number = {(e.kind, n): e for e in reversed(self.entries) for n in e.numbers}
        self._by_name = {(e.kind, e.name): e for e in self.entries}

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def find(self, use: Use) -> Entry | None:
        """The entry that a use is about: by its number, else by its name."""
        if use.number is not None:
            return self._by_number.get((use.kind, use.number))
        return self._by_name.get((use.kind, use.name))

    def number(self, kind: str, number: int) -> Entry | None:
        return self._by_number.get((kind, number))

    def without(self, entry: Entry) -> Surface:
        """The list as if somebody had removed a line."""
        return Surface((e for e in self.entries if e is not entry), self.dynamic)

    def for_l1vh(self) -> Surface:
        """The list as an L1VH parent sees it."""
        return Surface((e.for_l1vh() for e in self.entries), self.dynamic)

    def counts(self) -> dict[str, Counter[State]]:
        """Per kind, how many entries are in which state."""
        result: dict[str, Counter[State]] = {kind: Counter() for kind in KINDS}
        for entry in self.entries:
            result[entry.kind][entry.state] += 1
        return {kind: counter for kind, counter in result.items() if counter}


def load(file: Path | None = None) -> Surface:
    """Read the list. A wrong key, state or kind is an error with its place: the list is part of the lab."""
    file = file or path()
    return parse(file.read_text(), str(file))


def parse(text: str, where: str = "interface.toml") -> Surface:
    """The list from its text."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise LabUnavailable(f"the list of the surface is not TOML: {e}", where=where) from e
    dynamic = tables.pop(DYNAMIC, {})
    unknown = set(tables) - set(KINDS)
    if unknown:
        raise LabUnavailable(
            f"unknown kinds {sorted(unknown)}", where=where, hint=f"kinds: {', '.join(KINDS)}"
        )
    entries = [
        _entry(kind, name, line, f"{where}: {kind}.{name}")
        for kind, table in tables.items()
        for name, line in table.items()
    ]
    return Surface(entries, dynamic)


def _entry(kind: str, name: str, line: dict[str, Any], where: str) -> Entry:
    wrong = set(line) - _KEYS
    if wrong:
        raise LabUnavailable(
            f"unknown keys {sorted(wrong)}", where=where, hint=f"keys: {', '.join(sorted(_KEYS))}"
        )
    try:
        entry = Entry(kind=kind, name=name, **{**line, "state": State(line["state"])})
    except (KeyError, ValueError, TypeError) as e:
        raise LabUnavailable(f"not an entry: {e}", where=where) from e
    if entry.state is State.UNKNOWN:
        raise LabUnavailable("an entry is implemented, refused or ignored", where=where)
    if entry.state is not State.IMPLEMENTED and not entry.why:
        raise LabUnavailable(f"{entry.state} wants a reason in 'why'", where=where)
    if (entry.state is State.REFUSED) != bool(entry.answer):
        raise LabUnavailable("'answer' belongs to what is refused, and must be there", where=where)
    return entry


def missing(derived: Derived, surface: Surface) -> list[Use]:
    """Uses in a source that the list knows nothing of, one for each number or name."""
    found: dict[tuple[str, object], Use] = {}
    for use in derived.uses:
        if surface.find(use) is None:
            found.setdefault((use.kind, use.name if use.number is None else use.number), use)
    return list(found.values())


def misnamed(derived: Derived, surface: Surface) -> list[str]:
    """Entries whose number is not the one that the source's headers give their name."""
    wrong = []
    for entry in surface:
        value = derived.constants.value(entry.name)
        if value is not None and value != entry.number:
            wrong.append(
                f"{entry.kind} {entry.name} is {value:#x} in the headers, {entry.number:#x} in the list"
            )
    return wrong


def unissued(derived: Derived, surface: Surface) -> list[Entry]:
    """Entries that nothing in the source issues and nobody else is said to."""
    used = {(u.kind, u.number) for u in derived.uses} | {(u.kind, u.name) for u in derived.uses}
    return [
        e
        for e in surface
        if not e.by and not any((e.kind, n) in used for n in e.numbers) and (e.kind, e.name) not in used
    ]


def undeclared(derived: Derived, surface: Surface) -> list[Use]:
    """Calls with a code that is no constant, in functions that the list does not name."""
    return [use for use in derived.dynamic if use.site not in surface.dynamic]
