# SPDX-License-Identifier: GPL-2.0-or-later
"""Preprocessor conditions as far as an x86 kernel decides them; what it does not decide counts as true."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from lab.surface.lexer import Kind, Token

_KNOWN = {
    "CONFIG_X86": True,
    "CONFIG_X86_64": True,
    "CONFIG_ARM64": False,
    "__ASSEMBLY__": False,
    "__ASSEMBLER__": False,
}
_WORD = re.compile(
    r"defined\s*\(\s*(\w+)\s*\)|defined\s+(\w+)|IS_\w+\s*\(\s*(\w+)\s*\)|(\w+)|(&&|\|\||[!()])"
)

Truth = bool | None
"""None: not decided by the architecture."""


def truth(expression: str) -> Truth:
    """Whether ``#if expression`` holds on x86; None where that depends on anything else."""
    words: list[Truth | str] = []
    at = 0
    for m in _WORD.finditer(expression):
        if expression[at : m.start()].strip():
            return None
        at = m.end()
        name = m[1] or m[2] or m[3]
        if name:
            words.append(_KNOWN.get(name))
        elif m[4]:
            words.append(bool(int(m[4])) if m[4].isdigit() else None)
        else:
            words.append(m[5])
    return None if expression[at:].strip() else _Parser(words).value()


class _Parser:
    """Recursive descent over ``!``, ``&&``, ``||`` and parentheses, in three values."""

    def __init__(self, words: list[Truth | str]) -> None:
        self._words = words
        self._at = 0

    def value(self) -> Truth:
        result = self._or()
        return result if self._at == len(self._words) else None

    def _next(self, word: str) -> bool:
        if self._at < len(self._words) and self._words[self._at] == word:
            self._at += 1
            return True
        return False

    def _or(self) -> Truth:
        result = self._and()
        while self._next("||"):
            other = self._and()
            result = True if result or other else (None if result is None or other is None else False)
        return result

    def _and(self) -> Truth:
        result = self._not()
        while self._next("&&"):
            other = self._not()
            if result is False or other is False:
                result = False
            elif result is None or other is None:
                result = None
        return result

    def _not(self) -> Truth:
        if self._next("!"):
            inner = self._not()
            return None if inner is None else not inner
        if self._next("("):
            inner = self._or()
            self._next(")")
            return inner
        if self._at >= len(self._words) or isinstance(self._words[self._at], str):
            return None
        word = self._words[self._at]
        self._at += 1
        return word if not isinstance(word, str) else None


def compiled(stream: Iterable[Token]) -> Iterator[Token]:
    """The tokens that an x86 compiler may see: branches that x86 rules out are gone, doubt stays."""
    # One entry per open #if: was a branch taken for certain, is this one live.
    open_ifs: list[tuple[bool, bool]] = []
    for token in stream:
        if token.kind is not Kind.DIRECTIVE:
            if all(live for _, live in open_ifs):
                yield token
            continue
        m = re.match(r"#\s*(\w+)\s*(.*)", token.text, re.DOTALL)
        word, rest = (m[1], m[2]) if m else ("", "")
        if word in ("if", "ifdef", "ifndef"):
            holds = truth({"if": rest, "ifdef": f"defined({rest})", "ifndef": f"!defined({rest})"}[word])
            open_ifs.append((holds is True, holds is not False))
        elif word == "elif" and open_ifs:
            done = open_ifs[-1][0]
            holds = truth(rest)
            open_ifs[-1] = (done or holds is True, not done and holds is not False)
        elif word == "else" and open_ifs:
            done = open_ifs[-1][0]
            open_ifs[-1] = (True, not done)
        elif word == "endif" and open_ifs:
            open_ifs.pop()
        elif all(live for _, live in open_ifs):
            yield token
