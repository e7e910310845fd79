# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers behind names: ``#define`` and ``enum`` in headers, followed through each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lab.surface.conditions import compiled
from lab.surface.lexer import Kind, Token, number, tokens

DEPTH = 16
"""How far a name is followed through other names."""
_CAST = re.compile(r"(__)?[us](8|16|32|64)|u?int(32|64)?(_t)?|unsigned|long|enum")


@dataclass(frozen=True, slots=True)
class Constant:
    """A name that a header gives a number to. ``group`` is the enumeration's tag, empty for a #define."""

    name: str
    file: str
    line: int
    group: str
    body: tuple[Token, ...]
    plus: int = 0
    """Added to ``body``: a member of an enumeration without a value of its own."""


class Constants:
    """All constants of some headers; the first definition of a name counts."""

    def __init__(self) -> None:
        self._found: dict[str, Constant] = {}

    def read(self, file: str, source: str) -> None:
        """Add the constants of a header."""
        live = list(compiled(tokens(source)))
        for token in live:
            if token.kind is Kind.DIRECTIVE:
                self._define(file, token)
        for constant in _enumerations(file, live):
            self._found.setdefault(constant.name, constant)

    def _define(self, file: str, token: Token) -> None:
        m = re.match(r"#\s*define\s+(\w+)(?!\w|\()\s*(.*)", token.text, re.DOTALL)
        if m and m[2].strip():
            body = tuple(tokens(m[2]))
            self._found.setdefault(m[1], Constant(m[1], file, token.line, "", body))

    def get(self, name: str) -> Constant | None:
        return self._found.get(name)

    def __iter__(self) -> Iterator[Constant]:
        return iter(self._found.values())

    def value(self, name: str, depth: int = DEPTH) -> int | None:
        """The number behind a name; None where it is no integer constant."""
        constant = self._found.get(name)
        if constant is None or depth == 0:
            return None
        inner = self.evaluate(constant.body, depth - 1)
        return None if inner is None else inner + constant.plus

    def group(self, name: str, depth: int = DEPTH) -> str:
        """The enumeration that a name belongs to, also through a ``#define`` for one member."""
        constant = self._found.get(name)
        if constant is None or depth == 0:
            return ""
        names = [t.text for t in constant.body if t.kind is Kind.NAME]
        return constant.group or (self.group(names[0], depth - 1) if len(names) == 1 else "")

    def evaluate(self, body: Sequence[Token], depth: int = DEPTH) -> int | None:
        """The value of a constant expression of ``| + - << & ~``, parentheses, casts and BIT()."""
        return _Expression(self, body, depth).value()


def _enumerations(file: str, live: Sequence[Token]) -> Iterable[Constant]:
    at = 0
    while at < len(live):
        if live[at].kind is not Kind.NAME or live[at].text != "enum":
            at += 1
            continue
        at += 1
        tag = ""
        if at < len(live) and live[at].kind is Kind.NAME:
            tag = live[at].text
            at += 1
        if at >= len(live) or live[at].text != "{":
            continue
        end = at + 1
        while end < len(live) and live[end].text != "}":
            end += 1
        yield from _members(file, tag, [t for t in live[at + 1 : end] if t.kind is not Kind.DIRECTIVE])
        at = end


def _members(file: str, tag: str, inner: Sequence[Token]) -> Iterable[Constant]:
    body: tuple[Token, ...] = (Token(Kind.NUMBER, "0", 0),)
    plus, depth = 0, 0
    member: list[Token] = []
    for token in [*inner, Token(Kind.PUNCT, ",", 0)]:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if token.text != "," or depth:
            member.append(token)
            continue
        if member and member[0].kind is Kind.NAME:
            if len(member) > 2 and member[1].text == "=":
                body, plus = tuple(member[2:]), 0
            yield Constant(member[0].text, file, member[0].line, tag, body, plus)
            plus += 1
        member = []


class _Expression:
    def __init__(self, constants: Constants, body: Sequence[Token], depth: int) -> None:
        self._constants = constants
        self._body = body
        self._depth = depth
        self._at = 0

    def value(self) -> int | None:
        result = self._level(0)
        return result if self._at == len(self._body) else None

    _LEVELS = (("|",), ("&",), ("<<", ">>"), ("+", "-"), ("*",))

    def _peek(self) -> str:
        return self._body[self._at].text if self._at < len(self._body) else ""

    def _level(self, level: int) -> int | None:
        if level == len(self._LEVELS):
            return self._unary()
        left = self._level(level + 1)
        while self._peek() in self._LEVELS[level] and self._peek():
            operator = self._peek()
            self._at += 1
            right = self._level(level + 1)
            left = None if left is None or right is None else _apply(operator, left, right)
        return left

    def _unary(self) -> int | None:
        if self._at >= len(self._body):
            return None
        token = self._body[self._at]
        self._at += 1
        if token.kind is Kind.NUMBER:
            return number(token.text)
        if token.text in ("~", "-", "+"):
            inner = self._unary()
            return inner if inner is None or token.text == "+" else (~inner if token.text == "~" else -inner)
        if token.text == "(":
            if _CAST.fullmatch(self._peek()):
                while self._peek() not in ("", ")"):
                    self._at += 1
                self._at += 1
                return self._unary()
            inner = self._level(0)
            if self._peek() == ")":
                self._at += 1
            return inner
        if token.kind is Kind.NAME and self._peek() == "(":
            self._at += 1
            inner = self._level(0)
            if self._peek() == ")":
                self._at += 1
            return 1 << inner if token.text in ("BIT", "BIT_ULL") and inner is not None else None
        return self._constants.value(token.text, self._depth) if token.kind is Kind.NAME else None


def _apply(operator: str, a: int, b: int) -> int | None:
    if operator in ("<<", ">>") and not 0 <= b < 64:
        return None
    return {
        "|": a | b,
        "&": a & b,
        "+": a + b,
        "-": a - b,
        "*": a * b,
        "<<": a << b if operator == "<<" else 0,
        ">>": a >> b if operator == ">>" else 0,
    }[operator]
