# SPDX-License-Identifier: GPL-2.0-or-later
"""Functions and initialised tables of a C file, with their tokens; calls and assignments inside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.surface.conditions import compiled
from lab.surface.lexer import Kind, Token, tokens

_OPEN, _CLOSE = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class Block:
    """A function, a table with an initialiser, or a ``#define``; ``parameters`` are a function's."""

    file: str
    name: str
    parameters: tuple[str, ...]
    body: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A call ``name(arguments)`` in a block."""

    name: str
    arguments: tuple[tuple[Token, ...], ...]
    line: int


def blocks(file: str, source: str) -> Iterator[Block]:
    """Everything in a file that can hold a use of a name, in order."""
    head: list[Token] = []
    body: list[Token] = []
    depth = 0
    for token in compiled(tokens(source)):
        if token.kind is Kind.DIRECTIVE:
            yield from _define(file, token)
            continue
        if depth == 0 and token.text == ";":
            head = []
        elif depth == 0 and token.text == "{":
            depth, body = 1, []
        elif depth == 0:
            head.append(token)
        else:
            depth += {"{": 1, "}": -1}.get(token.text, 0)
            if depth:
                body.append(token)
                continue
            name, parameters = _head(head)
            yield Block(file, name, parameters, tuple(body))
            # A variable may follow the brace ("struct x {...} y = {"): then its head is what follows.
            head = []


def _define(file: str, token: Token) -> Iterator[Block]:
    inner = [t for t in tokens(token.text.lstrip("# \t")) if t.text]
    if len(inner) > 2 and inner[0].text == "define":
        body = tuple(Token(t.kind, t.text, token.line) for t in inner[2:])
        yield Block(file, f"#define {inner[1].text}", (), body)


def _head(head: Sequence[Token]) -> tuple[str, tuple[str, ...]]:
    """The name in front of a brace, and parameter names where it is a function."""
    names = [t.text for t in head if t.kind is Kind.NAME]
    if not head or not names:
        return "", ()
    if any(t.text == "=" for t in head):
        first = next(i for i, t in enumerate(head) if t.text in ("=", "["))
        return (head[first - 1].text if first else ""), ()
    if head[0].text in ("struct", "union", "enum") and "(" not in (t.text for t in head):
        return names[-1], ()
    candidates = []
    level = 0
    for i, token in enumerate(head):
        if token.text == "(" and level == 0 and i and head[i - 1].kind is Kind.NAME:
            candidates.append(i)
        level += {"(": 1, ")": -1}.get(token.text, 0)
    plain = [i for i in candidates if not head[i - 1].text.startswith("__") or i == candidates[0]]
    if not plain:
        return names[-1], ()
    at = plain[-1]
    parameters = []
    for argument in split(head, at):
        words = [t.text for t in argument if t.kind is Kind.NAME]
        parameters.append(words[-1] if words else "")
    return head[at - 1].text, tuple(parameters)


def split(stream: Sequence[Token], at: int) -> tuple[tuple[Token, ...], ...]:
    """The arguments of the parenthesis that opens at index ``at``."""
    arguments: list[tuple[Token, ...]] = []
    current: list[Token] = []
    level = 0
    for token in stream[at + 1 :]:
        if token.text and token.text in _CLOSE and level == 0:
            break
        if token.text == "," and level == 0:
            arguments.append(tuple(current))
            current = []
            continue
        if token.text and token.text in _OPEN:
            level += 1
        elif token.text and token.text in _CLOSE:
            level -= 1
        current.append(token)
    if current or arguments:
        arguments.append(tuple(current))
    return tuple(arguments)


def calls(block: Block) -> Iterator[Call]:
    """All calls in a block, nested ones too."""
    body = block.body
    for i, token in enumerate(body[:-1]):
        if token.kind is Kind.NAME and body[i + 1].text == "(":
            yield Call(token.text, split(body, i + 1), token.line)


def assigned(block: Block, variable: str) -> Iterator[tuple[Token, ...]]:
    """What a variable of a block is set to: right sides of ``=`` and ``|=``, its initialiser."""
    body = block.body
    for i, token in enumerate(body[:-1]):
        if token.text != variable or token.kind is not Kind.NAME or (i and body[i - 1].text in (".", "->")):
            continue
        at = (
            i + 2
            if body[i + 1].text == "="
            else i + 3
            if [t.text for t in body[i + 1 : i + 3]] == ["|", "="]
            else 0
        )
        if not at or (body[at : at + 1] and body[at].text == "="):
            continue
        right: list[Token] = []
        level = 0
        for t in body[at:]:
            if level == 0 and t.text in (";", ","):
                break
            level += 1 if t.text in ("(", "[", "{") else -1 if t.text in (")", "]", "}") else 0
            right.append(t)
        yield tuple(right)
