# SPDX-License-Identifier: GPL-2.0-or-later
"""The claim files ``tests/claims/C*.toml``, one for each review claim; docs/guide.md says what is in one."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lab import paths
from lab.model.claim import Claim, Decider
from lab.model.errors import BadInput
from lab.series.claims import place_of

_TEXTS = ("id", "title", "class", "source", "version", "wording", "property")
_OPTIONAL = ("message", "undecided", "recipe")
_DECIDER = ("scenarios", "flavours", "fails_with", "refutes")
_ID = re.compile(r"C[1-9]\d*")


def folder() -> Path:
    """Where the claim files are."""
    return paths.tests_dir() / "claims"


def load_all(where: Path | None = None) -> tuple[Claim, ...]:
    """Every claim, in the order of their numbers. BadInput with file and line."""
    files = sorted((where or folder()).glob("*.toml"), key=lambda path: (len(path.stem), path.stem))
    return tuple(load(path) for path in files)


def select(claims: tuple[Claim, ...], ids: Iterable[str]) -> tuple[Claim, ...]:
    """The claims that are named, all for no name. BadInput for a name that is no claim's."""
    wanted = tuple(ids)
    known = [claim.id for claim in claims]
    for name in wanted:
        if name not in known:
            raise BadInput(f"no such claim: {name!r}", hint=f"known are {', '.join(known)}")
    return tuple(claim for claim in claims if not wanted or claim.id in wanted)


def load(path: Path) -> Claim:
    """Read one claim file; BadInput with file and line for an unknown key or a wrong value."""
    try:
        text = path.read_text()
        data: dict[str, Any] = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise BadInput(f"not a claim file: {e}", where=str(path)) from e
    _known(data, (*_TEXTS, *_OPTIONAL, "decided_by"), path, text)
    values = {key: _text(data, key, path, text) for key in (*_TEXTS, *_OPTIONAL)}
    for key in _TEXTS:
        if not values[key]:
            raise BadInput(f"{key} is missing or empty", where=place_of(path, text, key))
    if not _ID.fullmatch(values["id"]) or values["id"] != path.stem:
        raise BadInput("id must be that of the file, such as C4 in C4.toml", where=place_of(path, text, "id"))
    rows = data.get("decided_by", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadInput("decided_by must be [[decided_by]]", where=place_of(path, text, "decided_by"))
    deciders = tuple(_decider(row, path, text) for row in rows)
    if not values["undecided"] and (not deciders or not all(d.refutes for d in deciders)):
        raise BadInput(
            "nothing decides this claim, or not whole, and undecided does not say why",
            where=str(path),
            hint='add [[decided_by]] with scenarios, or undecided = "why"',
        )
    if not values["message"] and len(values["source"]) < 20:
        raise BadInput(
            "without a message id the source must say where to find the remark",
            where=place_of(path, text, "source"),
        )
    cls = values.pop("class")
    return Claim(cls=cls, deciders=deciders, **values)


def _decider(row: dict[str, Any], path: Path, text: str) -> Decider:
    _known(row, _DECIDER, path, text)
    lists = {}
    for key in ("scenarios", "flavours"):
        value = row.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise BadInput(f"{key} must be a list of strings", where=place_of(path, text, key))
        lists[key] = tuple(value)
    if not lists["scenarios"]:
        raise BadInput("decided_by without scenarios", where=place_of(path, text, "decided_by"))
    pattern, refutes = row.get("fails_with", ""), row.get("refutes", True)
    try:
        re.compile(pattern)
    except (re.error, TypeError) as e:
        raise BadInput(
            f"fails_with is no regular expression: {e}", where=place_of(path, text, "fails_with")
        ) from e
    if not isinstance(refutes, bool):
        raise BadInput("refutes must be true or false", where=place_of(path, text, "refutes"))
    return Decider(lists["scenarios"], lists["flavours"], pattern, refutes)


def _known(values: dict[str, Any], keys: tuple[str, ...], path: Path, text: str) -> None:
    for key in values:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(keys)}"
            raise BadInput(f"unknown key {key!r}", where=place_of(path, text, key), hint=hint)


def _text(data: dict[str, Any], key: str, path: Path, text: str) -> str:
    value = data.get(key, "")
    if not isinstance(value, str):
        raise BadInput(f"{key} must be a string", where=place_of(path, text, key))
    return " ".join(value.split())
