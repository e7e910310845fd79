# SPDX-License-Identifier: GPL-2.0-or-later
"""Small TOML files that people write: read whole, nothing unknown accepted, every error with its place."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.model.errors import BadInput


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a file, ``line`` of its header counted from 1 (0: the file itself)."""

    file: Path
    text: str
    data: Mapping[str, Any]
    line: int = 0

    @property
    def where(self) -> str:
        """``FILE`` or ``FILE:LINE``."""
        return f"{self.file}:{self.line}" if self.line else str(self.file)

    def only(self, known: Sequence[str]) -> None:
        """BadInput for a key that is not ``known``, with the nearest one that is."""
        for key in self.data:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(known)}"
                raise BadInput(f"unknown key {key!r}", where=self._place(key), hint=hint)

    def bad(self, key: str, what: str, hint: str = "") -> BadInput:
        """The error for a value of this table."""
        return BadInput(f"{key} {what}", where=self._place(key), hint=hint)

    def string(self, key: str, default: str | None = None) -> str:
        """A non-empty string; BadInput where it is none, or missing without a default."""
        value = self.data.get(key, default)
        if value is None:
            raise BadInput(f"{key} is missing", where=self.where)
        if not isinstance(value, str) or (not value and key in self.data):
            raise self.bad(key, "must be a string that is not empty")
        return value

    def strings(self, key: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """A list of strings."""
        return _strings(self, key, self.data.get(key, list(default)))

    def lists(self, key: str) -> tuple[tuple[str, ...], ...]:
        """A list of lists of strings; one empty list where there is no such key."""
        value = self.data.get(key, [[]])
        if not isinstance(value, list) or not value:
            raise self.bad(key, "must be a list of lists of strings", f'for example {key} = [[], ["WORD"]]')
        return tuple(_strings(self, key, v) for v in value)

    def number(self, key: str, default: float | None = None) -> float:
        """A number greater than zero; BadInput where it is none, or missing without a default."""
        value = self.data.get(key, default)
        if value is None:
            raise BadInput(f"{key} is missing", where=self.where)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise self.bad(key, "must be a number greater than zero")
        return float(value)

    def tables(self, key: str) -> list[Table]:
        """The tables of ``[[key]]``."""
        value = self.data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
            raise self.bad(key, "must be a list of tables", f"write [[{key}]]")
        lines = _headers(self.text, f"[[{key}]]") or [0]
        return [Table(self.file, self.text, v, lines[min(n, len(lines) - 1)]) for n, v in enumerate(value)]

    def table(self, key: str) -> Table:
        """The table ``[key]``, empty where there is none."""
        value = self.data.get(key, {})
        if not isinstance(value, dict):
            raise self.bad(key, "must be a table", f"write [{key}]")
        return Table(self.file, self.text, value, (_headers(self.text, f"[{key}]") or [0])[0])

    def _place(self, key: str) -> str:
        """``FILE:LINE`` where this table sets ``key``."""
        for number, line in enumerate(self.text.splitlines(), 1):
            name = line.lstrip(" \t[").split("=")[0].split("]")[0].strip(" \t\"'")
            if number > self.line and name == key:
                return f"{self.file}:{number}"
        return self.where


def read(path: Path, what: str) -> Table:
    """The whole file as one table; BadInput when it is not there or no TOML. ``what`` says what it is."""
    try:
        text = path.read_text()
        data = tomllib.loads(text)
    except FileNotFoundError as e:
        raise BadInput(f"no such {what}", where=str(path)) from e
    except OSError as e:
        raise BadInput(f"cannot read the {what}: {e.strerror}", where=str(path)) from e
    except ValueError as e:  # UnicodeDecodeError, TOMLDecodeError
        raise BadInput(f"not a {what}: {e}", where=str(path)) from e
    return Table(path, text, data)


def _strings(table: Table, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
        raise table.bad(key, "must be a list of strings that are not empty")
    return tuple(value)


def _headers(text: str, header: str) -> list[int]:
    """Lines (counted from 1) that open a table."""
    return [n for n, line in enumerate(text.splitlines(), 1) if line.replace(" ", "").startswith(header)]
