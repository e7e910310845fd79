# SPDX-License-Identifier: GPL-2.0-or-later
"""Which warnings of the compiler a series has brought in."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PLACE = re.compile(r"^(\S+?):\d+: ")


def new_warnings(patched: Iterable[str], base: Iterable[str]) -> tuple[str, ...]:
    """Those of ``patched`` that ``base`` has not, wherever in the file: a patch moves lines.

    Each is ``FILE:LINE: TEXT``.
    """
    known = {_PLACE.sub(r"\1: ", warning) for warning in base}
    return tuple(warning for warning in patched if _PLACE.sub(r"\1: ", warning) not in known)
