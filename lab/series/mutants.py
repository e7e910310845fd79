# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the driver as files: a mail patch whose message ends in trailers that say what it is."""

from __future__ import annotations

import functools
import io
import re
from dataclasses import replace
from pathlib import Path

from _pytest.mark.expression import Expression

from lab import paths
from lab.hashing import digest
from lab.model.errors import BadInput
from lab.model.mutant import CLASSES, PLAIN, SERIES, DriverMutant
from lab.model.series import Series
from lab.series.mails import collect
from lab.series.patches import assemble
from lab.series.reader import load

BASE = "base"
FLAVOURS = frozenset(("plain", "debug", "kcsan", "lockdep", "kasan", "ubsan"))
CLAIMS = frozenset(f"C{n}" for n in range(1, 24))
_ID = re.compile(r"[a-z0-9][a-z0-9-]*")
_TRAILER = re.compile(r"([A-Z][A-Za-z-]*):\s*(.*)")
_KEYS = {"On", "Class", "Claims", "Flavours", "Scenarios", "Equivalent"}
_FORM = "tests/mutants/driver/README.md says what a mutant file holds"


def driver_mutants_dir() -> Path:
    """Where the lab's own are."""
    return paths.tests_dir() / "mutants" / "driver"


def load_driver_mutants(folder: Path | None = None) -> tuple[DriverMutant, ...]:
    """All mutants of a folder (default: the lab's own), by name. BadInput with file and line."""
    return tuple(
        load_driver_mutant(path) for path in sorted((folder or driver_mutants_dir()).glob("*.patch"))
    )


def load_driver_mutant(path: Path) -> DriverMutant:
    """One mutant. BadInput names the file, and the line of the trailer where one is wrong."""
    if not _ID.fullmatch(path.stem):
        raise BadInput("not a mutant's name", where=str(path), hint="small letters, digits and hyphens")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise BadInput(f"cannot be read: {error}", where=str(path)) from None
    trailers = _trailers(text, path)
    kind, on = _one_of(trailers, "Class", CLASSES, path), _one_of(trailers, "On", (BASE, SERIES), path)
    assembled = assemble(collect(str(path), None, io.BytesIO()))
    if len(assembled.patches) != 1:
        raise BadInput(f"{len(assembled.patches)} patches in one mutant", where=str(path), hint=_FORM)
    return DriverMutant(
        id=path.stem,
        title=assembled.patches[0].subject,
        on=on,
        kind=kind,
        patch=assembled.patches[0],
        key=assembled.key,
        path=str(path),
        claims=_list(trailers, "Claims", CLAIMS, path),
        flavours=_list(trailers, "Flavours", FLAVOURS, path) or PLAIN,
        scenarios=_expression(trailers, path),
        equivalent=trailers.get("Equivalent", (0, ""))[1],
    )


def series_with(mutant: DriverMutant) -> Series:
    """What the mutant is made on, and the mutant as its last patch: ready for :func:`lab.series.apply`."""
    if mutant.on == BASE:
        return Series(name=mutant.id, patches=(mutant.patch,), key=digest("mutant", mutant.key))
    return series_behind(_series(mutant.on), mutant)


def series_behind(under: Series, mutant: DriverMutant) -> Series:
    """Any series with the mutant as its last patch; whether it applies there is to be seen."""
    return replace(
        under,
        name=mutant.id,
        patches=(*under.patches, mutant.patch),
        key=digest("mutant", under.key, mutant.key),
    )


@functools.cache
def _series(name: str) -> Series:
    return load(str(paths.tests_dir() / "series" / name), None, io.BytesIO())


def _trailers(text: str, path: Path) -> dict[str, tuple[int, str]]:
    """{key: (line, value)} of the last paragraph before the diff; a line that begins with a space goes on."""
    lines = text.split("\n")
    if "---" not in lines:
        raise BadInput("no line --- between the message and the diff", where=str(path), hint=_FORM)
    end = lines.index("---")
    while end > 0 and not lines[end - 1].strip():
        end -= 1
    start = end
    while start > 0 and lines[start - 1].strip():
        start -= 1
    found: dict[str, tuple[int, str]] = {}
    last = ""
    for number, line in enumerate(lines[start:end], start + 1):
        where = f"{path}:{number}"
        if line.startswith(" ") and last:
            found[last] = (found[last][0], f"{found[last][1]} {line.strip()}")
            continue
        match = _TRAILER.fullmatch(line)
        if match is None or match[1] not in _KEYS:
            known = ", ".join(sorted(_KEYS))
            raise BadInput(f"unknown trailer {line!r}", where=where, hint=f"the trailers are {known}")
        last = match[1]
        if last in found:
            raise BadInput(f"{last} is there twice", where=where)
        found[last] = (number, match[2].strip())
    for key, (number, value) in found.items():
        if not value:
            raise BadInput(f"{key} says nothing", where=f"{path}:{number}")
    return found


def _one_of(trailers: dict[str, tuple[int, str]], key: str, known: tuple[str, ...], path: Path) -> str:
    if key not in trailers:
        raise BadInput(f"no trailer {key}", where=str(path), hint=_FORM)
    number, value = trailers[key]
    if value not in known:
        raise BadInput(f"{key} is {value!r}", where=f"{path}:{number}", hint=f"one of: {', '.join(known)}")
    return value


def _list(
    trailers: dict[str, tuple[int, str]], key: str, known: frozenset[str], path: Path
) -> tuple[str, ...]:
    number, value = trailers.get(key, (0, ""))
    words = tuple(value.replace(",", " ").split())
    for word in words:
        if word not in known:
            raise BadInput(f"{key}: no such thing as {word}", where=f"{path}:{number}")
    return words


def _expression(trailers: dict[str, tuple[int, str]], path: Path) -> str:
    number, value = trailers.get("Scenarios", (0, ""))
    if value:
        try:
            Expression.compile(value)
        except Exception as error:  # its class differs between pytest 8 and 9
            raise BadInput(f"Scenarios: not an expression: {error}", where=f"{path}:{number}") from None
    return value
