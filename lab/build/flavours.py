# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel flavours: the table in ``images/kernel/flavours.toml``."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

from lab.model.errors import BadInput
from lab.model.kernel import Flavour
from lab.paths import images_dir

_KEYS = {"fragments", "time_factor"}


def flavour(name: str) -> Flavour:
    """The flavour called ``name``; BadInput with the nearest known name if there is none."""
    table = load(images_dir() / "kernel" / "flavours.toml")
    if name not in table:
        near = difflib.get_close_matches(name, table, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(table))}"
        raise BadInput(f"unknown flavour {name!r}", hint=hint)
    return table[name]


def load(path: Path) -> dict[str, Flavour]:
    """Read a flavour table; fragments are files beside it. BadInput names the flavour and the key."""
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as e:
        raise BadInput(f"not a flavour table: {e}", where=str(path)) from e
    table = {}
    for name, entry in data.items():
        where = f"{path}: [{name}]"
        unknown = set(entry) - _KEYS if isinstance(entry, dict) else {name}
        if unknown:
            raise BadInput(f"unknown keys {sorted(unknown)}", where=where, hint=f"known are {sorted(_KEYS)}")
        fragments = tuple(path.parent / f for f in entry.get("fragments", []))
        missing = [f.name for f in fragments if not f.is_file()]
        if missing or not fragments:
            raise BadInput(f"fragments missing: {missing or 'none given'}", where=where)
        table[name] = Flavour(name, fragments, float(entry.get("time_factor", 1.0)))
    return table
