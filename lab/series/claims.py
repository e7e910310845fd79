# SPDX-License-Identifier: GPL-2.0-or-later
"""The claims file: what a series says about itself."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.model.errors import BadInput
from lab.model.series import VersionRange

FILE_NAME = "claims.toml"
_KEYS = ("fits", "fixes", "guards", "changed")


@dataclass(frozen=True, slots=True)
class Claims:
    """``fits``: kernel versions; ``fixes``: claims that must hold afterwards; ``guards``: claims that
    must keep holding; ``changed``: scenarios whose evidence the series is expected to change."""

    fits: VersionRange | None = None
    fixes: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def beside(series: str) -> Path | None:
    """The claims file that belongs to a SERIES argument: in its folder, or ``NAME.claims.toml`` beside
    an mbox ``NAME.mbox``; None if there is none."""
    path = Path(series)
    if path.is_dir():
        candidate = path / FILE_NAME
    elif path.is_file():
        candidate = path.with_name(f"{path.name.split('.')[0]}.{FILE_NAME}")
    else:
        return None
    return candidate if candidate.is_file() else None


def load(path: Path) -> Claims:
    """Read a claims file; BadInput with file and line for an unknown key or a wrong value."""
    try:
        text = path.read_text()
        data: dict[str, Any] = tomllib.loads(text)
    except FileNotFoundError as e:
        raise BadInput("no such claims file", where=str(path)) from e
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise BadInput(f"not a claims file: {e}", where=str(path)) from e
    for key in data:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(_KEYS)}"
            raise BadInput(f"unknown key {key!r}", where=place_of(path, text, key), hint=hint)
    fits: VersionRange | None = None
    if "fits" in data:
        try:
            fits = VersionRange.parse(str(data["fits"]))
        except ValueError as e:
            raise BadInput(str(e), where=place_of(path, text, "fits"), hint='write "7.3" or "7.2-7.4"') from e
    lists = {}
    for key in _KEYS[1:]:
        value = data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise BadInput(f"{key} must be a list of strings", where=place_of(path, text, key))
        lists[key] = tuple(value)
    return Claims(fits, **lists)


def place_of(path: Path, text: str, key: str) -> str:
    """``FILE:LINE`` of the first line of ``text`` that sets ``key`` or opens the table of that name."""
    pattern = re.compile(rf'^\s*\[*"?{re.escape(key)}\b')
    for number, line in enumerate(text.splitlines(), 1):
        if pattern.match(line):
            return f"{path}:{number}"
    return str(path)
