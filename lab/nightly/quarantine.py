# SPDX-License-Identifier: GPL-2.0-or-later
"""The quarantine file: scenarios whose failure is known, is shown, and decides nothing until a day.

::

    [[quarantine]]
    scenario = "guest_dies_alone"      # its id, or its name for all its parameters
    variant = "debug"                  # optional: the id of one variant
    reason = "hangs on busy hosts, see docs/finds"
    expires = 2027-01-31               # the last day on which it counts
"""

from __future__ import annotations

import datetime
import difflib
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.model.errors import BadInput

TABLE = "quarantine"
_NEEDED = ("scenario", "reason", "expires")
_KEYS = (*_NEEDED, "variant")
_FORM = f"write [[{TABLE}]] and below it {', '.join(_NEEDED)}"
_HEADER = re.compile(rf"^\s*\[\[\s*{TABLE}\s*\]\]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One scenario in quarantine. ``variant`` "" means every variant; ``where`` is ``FILE:LINE``."""

    scenario: str
    reason: str
    expires: datetime.date
    variant: str = ""
    where: str = ""

    def covers(self, scenario: str, variant: str) -> bool:
        """Whether this is about a scenario (by id, or by name without parameters) of a variant."""
        named = self.scenario in (scenario, scenario.partition("[")[0])
        return named and self.variant in ("", variant)


def load(path: Path) -> tuple[Entry, ...]:
    """All entries, expired ones too. BadInput with file and line for what is unknown, missing or wrong."""
    try:
        text = path.read_text()
        data: dict[str, Any] = tomllib.loads(text)
    except FileNotFoundError as e:
        raise BadInput("no such quarantine file", where=str(path)) from e
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise BadInput(f"not a quarantine file: {e}", where=str(path)) from e
    for key in data:
        if key != TABLE:
            raise BadInput(f"unknown key {key!r}", where=_line(path, text, 0, key), hint=_FORM)
    tables = data.get(TABLE, [])
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise BadInput(f"{TABLE} is no list of tables", where=_line(path, text, 0, TABLE), hint=_FORM)
    return tuple(_entry(path, text, number, table) for number, table in enumerate(tables, 1))


def in_force(entries: Iterable[Entry], today: datetime.date) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """The entries that count on a day, and a sentence for each that does not any more."""
    entries = tuple(entries)
    told = tuple(
        f"quarantine of {e.scenario} ended on {e.expires} and does not count any more ({e.where})"
        for e in entries
        if e.expires < today
    )
    return tuple(e for e in entries if e.expires >= today), told


def find(entries: Sequence[Entry], scenario: str, variant: str) -> Entry | None:
    """The first entry about a scenario of a variant."""
    return next((e for e in entries if e.covers(scenario, variant)), None)


def _entry(path: Path, text: str, number: int, table: dict[str, Any]) -> Entry:
    def place(key: str) -> str:
        return _line(path, text, number, key)

    for key in table:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(_KEYS)}"
            raise BadInput(f"unknown key {key!r}", where=place(key), hint=hint)
    for key in _NEEDED:
        if key not in table:
            raise BadInput(f"{key} is missing", where=place(""), hint=_FORM)
    for key in ("scenario", "reason", "variant"):
        value = table.get(key, "any")
        if not isinstance(value, str) or not value.strip():
            raise BadInput(f"{key} must be a text that says something", where=place(key))
    expires = table["expires"]
    # A date with a time is a date too, for Python.
    if not isinstance(expires, datetime.date) or isinstance(expires, datetime.datetime):
        raise BadInput("expires must be a date", where=place("expires"), hint="for example 2027-01-31")
    return Entry(table["scenario"], table["reason"], expires, table.get("variant", ""), place(""))


def _line(path: Path, text: str, number: int, key: str) -> str:
    """``FILE:LINE`` of a key in the table of that number (0: before the first); of its header if the key is
    "" or not found."""
    setting = re.compile(rf'^\s*\[*\s*["\']?{re.escape(key)}\b') if key else None
    at, header = 0, 0
    for count, line in enumerate(text.splitlines(), 1):
        if _HEADER.match(line):
            at += 1
            header = count if at == number else header
        if at == number and setting and setting.match(line):
            return f"{path}:{count}"
    return f"{path}:{header}" if header else str(path)
