# SPDX-License-Identifier: GPL-2.0-or-later
"""Tokens of C source: comments and strings are gone, preprocessor lines are whole, lines are known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

_TOKEN = re.compile(
    r"""
    (?P<comment>/\*.*?(?:\*/|\Z)|//(?:[^\n\\]|\\.)*)
  | (?P<directive>^[ \t]*\#(?:[^\n\\/]|\\.|/\*.*?\*/|/(?![/*]))*)
  | (?P<string>L?"(?:[^"\\\n]|\\.)*"|L?'(?:[^'\\\n]|\\.)*')
  | (?P<name>[A-Za-z_]\w*)
  | (?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)
  | (?P<punct>->|<<|>>|[^\s\w])
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


class Kind(Enum):
    """What a token is. A string or character constant is one token without its text."""

    NAME = "name"
    NUMBER = "number"
    PUNCT = "punct"
    STRING = "string"
    DIRECTIVE = "directive"


@dataclass(frozen=True, slots=True)
class Token:
    """A token and the line it begins on."""

    kind: Kind
    text: str
    line: int


def tokens(source: str) -> Iterator[Token]:
    """The tokens of a C file. Source that no compiler would take gives tokens too, never an error."""
    line, at = 1, 0
    for m in _TOKEN.finditer(source):
        line += source.count("\n", at, m.start())
        at = m.start()
        group = m.lastgroup
        if group == "comment" or group is None:
            continue
        text = m[0]
        if group == "directive":
            text = _COMMENT.sub(" ", text.replace("\\\n", " ")).strip()
        yield Token(Kind(group), "" if group == "string" else text, line)


def number(text: str) -> int | None:
    """The value of an integer constant (suffixes allowed), None for anything else."""
    digits = re.sub(r"[uUlL]+\Z", "", text)
    try:
        if re.fullmatch(r"0[0-7]+", digits):
            return int(digits, 8)
        return int(digits, 0)
    except ValueError:
        return None
