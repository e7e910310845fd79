# SPDX-License-Identifier: GPL-2.0-or-later
"""Words and sizes as people write them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from lab.model.errors import BadInput

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse_size(text: str | int) -> int:
    """Bytes of ``"64K"``, ``"4M"``, ``"1G"``, ``"1GiB"`` or a plain number. Raises ValueError."""
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"(\d+)\s*([KMG]?)(i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is not a size like 64K, 4M or 1G")
    return int(match[1]) * _UNITS[match[2].upper()]


def human(size: int) -> str:
    """``4M`` for 4 << 20: the inverse of parse_size."""
    for unit in ("G", "M", "K"):
        if size >= _UNITS[unit] and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)


def parse_params(words: Iterable[str]) -> dict[str, str]:
    """Parameters of a template as a user gives them, ``K=V`` each; the last one of a name counts. Raises
    BadInput."""
    found: dict[str, str] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign:
            raise BadInput(f"{word!r} is not K=V", where="--param", hint="for example --param cpus=2")
        found[key] = value
    return found


def suggest(word: str, known: Iterable[str]) -> str:
    """``; did you mean '...'?``, or nothing when no known word is near."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else ""
