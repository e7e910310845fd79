# SPDX-License-Identifier: GPL-2.0-or-later
"""From what ``gcov --json-format`` says of many guests to the lines that no scenario ran.

Counts of guests are added: a line is run when any guest ran it. Format: "Invoking gcov" in GCC's manual,
--json-format, version 1 (GCC 9 to 13) and 2 (GCC 14 on, with more keys).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.model.coverage import CoveredFile

FORMATS = ("1", "2")
_MAX_LINE = 1 << 24


class NotGcov(ValueError):
    """The text is not what gcov prints."""


@dataclass(slots=True)
class Place:
    """One line in one function of one object: how often it ran, and how often each branch was taken."""

    count: int = 0
    branches: list[int] = field(default_factory=list)
    whole: bool = True
    """Whether some guest ran every block of the line."""


@dataclass(slots=True)
class Counts:
    """Sums over guests. Keys: (object, function, number among the function's places at that line)."""

    lines: dict[str, dict[int, dict[tuple[str, str, int], Place]]] = field(default_factory=dict)
    functions: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    """{file: {function: (first line, calls)}}."""

    def add(self, text: str, object_name: str, wanted: Collection[str]) -> None:
        """Add one object's counts in one guest. ``wanted`` are paths in the tree; gcov names files by
        where the build had them, so the end of the path decides. NotGcov if ``text`` is something else."""
        try:
            said = json.loads(text)
            if said["format_version"] not in FORMATS:
                raise NotGcov(f"gcov's format {said['format_version']!r} is not known here")
            for file in said["files"]:
                name = _in_tree(file["file"], wanted)
                if name is not None:
                    self._file(name, file, object_name)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as e:
            raise e if isinstance(e, NotGcov) else NotGcov(f"not gcov's JSON: {e}") from e

    def _file(self, name: str, file: Mapping[str, object], object_name: str) -> None:
        functions = self.functions.setdefault(name, {})
        for said in _list(file["functions"]):
            label = str(said["name"])
            _, calls = functions.get(label, (0, 0))
            functions[label] = int(said["start_line"]), calls + _count(said["execution_count"])
        lines = self.lines.setdefault(name, {})
        seen: dict[tuple[int, str], int] = {}
        for said in _list(file["lines"]):
            number, function = int(said["line_number"]), str(said.get("function_name", ""))
            if not 0 < number < _MAX_LINE:
                raise NotGcov(f"line number {number}")
            nth = seen[number, function] = seen.get((number, function), -1) + 1
            place = lines.setdefault(number, {}).setdefault((object_name, function, nth), Place(whole=False))
            count = _count(said["count"])
            place.count += count
            if count and not said.get("unexecuted_block", False):
                place.whole = True
            taken = [_count(b["count"]) for b in _list(said.get("branches", []))]
            if len(place.branches) < len(taken):
                place.branches += [0] * (len(taken) - len(place.branches))
            for i, value in enumerate(taken):
                place.branches[i] += value

    def line(self, path: str, number: int) -> tuple[bool, bool] | None:
        """(run, run only in part) of a line; None where it has no code."""
        places = self.lines.get(path, {}).get(number)
        if not places:
            return None
        ran = [p for p in places.values() if p.count]
        return bool(ran), bool(ran) and all(not p.whole or 0 in p.branches for p in ran)


def covered(
    counts: Counts, path: str, source: Sequence[str], lines: Iterable[int] | None = None
) -> CoveredFile:
    """What ran of ``lines`` (None: of all lines) of a file whose text is ``source``."""
    if path not in counts.lines:
        number = len(source) if lines is None else len(set(lines))
        return CoveredFile(path, without_code=number, unmeasured="no profiled object has code of it")
    run, not_run, half, without = [], [], [], 0
    looked_at = range(1, len(source) + 1) if lines is None else sorted(set(lines))
    for number in looked_at:
        said = counts.line(path, number)
        if said is None:
            without += 1
        elif said[0]:
            run.append(number)
            half += [number] if said[1] else []
        else:
            not_run.append(number)
    shown = {n: source[n - 1] for n in not_run if n <= len(source)}
    among = set(not_run)
    idle = sorted(
        (start, name)
        for name, (start, calls) in counts.functions.get(path, {}).items()
        if not calls and start in among
    )
    return CoveredFile(
        path,
        run=tuple(run),
        not_run=tuple(not_run),
        half=tuple(half),
        without_code=without,
        text=shown,
        functions=tuple(dict.fromkeys(_plain(name) for _, name in idle)),
    )


def _plain(function: str) -> str:
    """The name in the source: the compiler adds ``.part.0``, ``.constprop.1``, ``.isra.0``, ``.cold``."""
    return function.split(".")[0]


def _in_tree(path: str, wanted: Collection[str]) -> str | None:
    for name in wanted:
        if path == name or path.endswith("/" + name):
            return name
    return None


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise NotGcov(f"a list was expected, not {type(value).__name__}")
    return value


def _count(value: object) -> int:
    # A counter that was read half-written, or arcs that were added up from such ones.
    return max(0, int(str(value)))
