# SPDX-License-Identifier: GPL-2.0-or-later
"""Text from strangers (mails, builds, guests) that is safe to show."""

from __future__ import annotations

import re

# C0 without tab and line feed, C1, line separators, surrogates, non-characters; and what turns the
# direction of writing, so that a name reads as another one.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def printable(text: str) -> str:
    """``text`` with each control character replaced: it cannot move a cursor or change a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))
