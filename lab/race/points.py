# SPDX-License-Identifier: GPL-2.0-or-later
"""From the points of a recipe to addresses in a running kernel, or to why there is none and what is near."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lab.model.errors import BadInput
from lab.model.race import PointSpec
from lab.race.debuginfo import DebugInfo, Function

_NEAR_LINES = 3
_MAX_BODY = 2000
"""Lines of a function that are looked at."""

ReadSource = Callable[[str], str]
"""Text of a file of the kernel's source, by its path inside of the tree. OSError."""


@dataclass(frozen=True, slots=True)
class CallTarget:
    """Which calls of code ``code`` a point means: ``partition`` and ``gfn`` None for any; ``skip`` that match
    are let by first."""

    code: int
    partition: int | None = None
    gfn: range | None = None
    skip: int = 0


@dataclass(frozen=True, slots=True)
class Point:
    """A point in the running kernel: where a thread is held that gets there.

    A line may lie at several addresses, when the compiler made several copies of it; ``place`` says where the
    first of them is, by the line table. A hypercall has no address: ``call`` says which calls are meant.
    """

    spec: PointSpec
    addresses: tuple[int, ...]
    place: str
    call: CallTarget | None = None

    def __str__(self) -> str:
        return str(self.spec)


class Resolver:
    """Resolves the points of one running kernel.

    ``symbols``: entry of each function, by name (kernel and modules); ``sizes``: bytes of code where known.
    """

    def __init__(self, debug: DebugInfo, symbols: Mapping[str, int], read_source: ReadSource) -> None:
        self._debug = debug
        self._symbols = symbols
        self._read = read_source

    def knows(self, function: str) -> bool:
        """Whether the driver has a function of that name, if only in copies."""
        return function in self._debug.functions

    def resolve(self, spec: PointSpec, where: str) -> Point:
        """The addresses of a point. BadInput with the nearest candidates where it does not exist."""
        if spec.file:
            return self._line(spec, spec.file, spec.line, where)
        if spec.source:
            return self._source(spec, where)
        entry = self._entry(spec, where)
        address = entry + spec.offset
        if spec.offset:
            self._check_inside(spec, entry, address, where)
        return Point(spec, (address,), self._place(address))

    def every_line(self, name: str, where: str) -> tuple[Point, ...]:
        """A point for each line of a function that has code, named by its text. BadInput."""
        function = self._debug.functions.get(name)
        if function is None:
            raise self._unknown(name, where)
        file, first, body = self._body(function, where)
        texts = [" ".join(text.split()) for text in body]
        lines = {
            row.line
            for row in self._debug.rows
            if row.file == file
            and first <= row.line < first + len(body)
            and any(row.address in instance for instance in function.instances)
        }
        found: dict[tuple[int, ...], Point] = {}
        for line in sorted(lines):
            text = texts[line - first]
            if not text:
                continue
            nth = sum(text in other for other in texts[: line - first + 1])
            point = self._line(PointSpec(function=name, source=text, nth=nth), file, line, where, function)
            found.setdefault(point.addresses, point)
        return tuple(found.values())

    # ---- functions

    def _entry(self, spec: PointSpec, where: str) -> int:
        if spec.function in self._symbols:
            return self._symbols[spec.function]
        function = self._debug.functions.get(spec.function)
        if function is not None:
            inside = sorted({i.inlined_in for i in function.instances if i.inlined_in})
            raise BadInput(
                f"{spec.function}() is inlined into {', '.join(inside)} and has no entry of its own",
                where=where,
                hint='name a line of it: { function = "...", source = "text of the line" }',
            )
        raise self._unknown(spec.function, where)

    def _unknown(self, name: str, where: str) -> BadInput:
        near = difflib.get_close_matches(name, [*self._debug.functions, *self._symbols], 3, 0.75)
        hint = f"did you mean {', '.join(dict.fromkeys(near))}?" if near else "see /proc/kallsyms of a root"
        return BadInput(f"no function {name}() in this kernel", where=where, hint=hint)

    def _check_inside(self, spec: PointSpec, entry: int, address: int, where: str) -> None:
        function = self._debug.functions.get(spec.function)
        own = [i for i in function.instances if not i.inlined_in and entry in i] if function else []
        if not own:
            return  # a function of the kernel proper, of whose code nothing is known here
        if not any(address in instance for instance in own):
            size = max(high for instance in own for _, high in instance.spans) - entry
            raise BadInput(
                f"{spec.function}() has {size:#x} bytes, {spec.offset:#x} lies behind it", where=where
            )

    # ---- lines

    def _source(self, spec: PointSpec, where: str) -> Point:
        function = self._debug.functions.get(spec.function)
        if function is None:
            if spec.function in self._symbols:
                raise BadInput(
                    f"{spec.function}() is not of the driver: only of that the lines are known",
                    where=where,
                    hint=f'name its entry: "{spec.function}"',
                )
            raise self._unknown(spec.function, where)
        file, first, body = self._body(function, where)
        wanted = " ".join(spec.source.split())
        lines = [first + n for n, text in enumerate(body) if wanted in " ".join(text.split())]
        if len(lines) < spec.nth:
            texts = [" ".join(text.split()) for text in body]
            near = difflib.get_close_matches(wanted, [t for t in texts if t], 2, 0.5)
            many = f"only {len(lines)} lines" if lines else "no line"
            hint = f"near: {' | '.join(near)}" if near else f"see {file}:{first}"
            raise BadInput(f"{many} of {spec.function}() has {spec.source!r}", where=where, hint=hint)
        return self._line(spec, file, lines[spec.nth - 1], where, function)

    def _body(self, function: Function, where: str) -> tuple[str, int, list[str]]:
        """File, first line and text of a function, from its name to the brace that ends it."""
        rows = [
            row
            for instance in function.instances
            for low, _ in instance.spans
            if (row := self._debug.line_at(low)) is not None
        ]
        files = dict.fromkeys([function.file, *(row.file for row in rows)])
        for file in files:
            try:
                text = self._read(file).splitlines()
            except OSError:
                continue
            if (found := find_body(text, function.name)) is not None:
                first, end = found
                return file, first, text[first - 1 : end]
        raise BadInput(f"no source of {function.name}() at hand", where=where)

    def _line(
        self, spec: PointSpec, file: str, line: int, where: str, function: Function | None = None
    ) -> Point:
        of_file = [r for r in self._debug.rows if r.file == file or r.file.endswith(f"/{file}")]
        if not of_file:
            names = sorted({r.file for r in self._debug.rows if r.file.endswith(".c")})
            near = difflib.get_close_matches(file, names, 2, 0.3)
            raise BadInput(f"no code of {file} in the driver", where=where, hint=f"near: {', '.join(near)}")
        rows = [r for r in of_file if r.line == line]
        if function is not None:
            rows = [r for r in rows if any(i.around(r.address) for i in function.instances)]
        if not rows:
            lines = sorted({r.line for r in of_file}, key=lambda n: (abs(n - line), n))[:_NEAR_LINES]
            near_text = ", ".join(map(str, sorted(lines)))
            raise BadInput(
                f"line {line} of {file} has no code", where=where, hint=f"nearest with code: {near_text}"
            )
        addresses = self._first_of_each_copy(sorted({r.address for r in rows}), function)
        return Point(spec, addresses, self._place(addresses[0]))

    def _first_of_each_copy(self, addresses: list[int], function: Function | None) -> tuple[int, ...]:
        """One address for each copy of the function that the line is in: the first one. Where no function is
        named, for each function that has code of the line in it."""
        functions = [function] if function is not None else list(self._debug.functions.values())
        first: dict[tuple[int, ...], int] = {}
        for address in addresses:
            owner = tuple(i.spans[0][0] for f in functions for i in f.instances if i.around(address))
            first.setdefault(owner, address)
        return tuple(sorted(first.values()))

    def _place(self, address: int) -> str:
        row = self._debug.line_at(address)
        owners = [
            name
            for name, function in self._debug.functions.items()
            if any(address in i for i in function.instances)
        ]
        return f"{row.file}:{row.line}" if row is not None and owners else f"{address:#x}"


def find_body(text: list[str], name: str) -> tuple[int, int] | None:
    """First and last line (from 1) of the definition of a function; None when the file has none.

    A definition is the name and a parenthesis, and an opening brace before the next semicolon.
    """
    heads = re.compile(rf"\b{re.escape(name)}\s*\(")
    for number, line in enumerate(text):
        if not heads.search(line) or line[:1] in ("\t", " ", "/", "*", "#"):
            continue
        depth, opened = 0, False
        for end in range(number, min(len(text), number + _MAX_BODY)):
            for character in _without_strings(text[end]):
                if character == ";" and not opened and depth == 0:
                    break
                depth += (character == "{") - (character == "}")
                opened = opened or character == "{"
            else:
                if opened and depth == 0:
                    return number + 1, end + 1
                continue
            break
    return None


def _without_strings(line: str) -> str:
    return re.sub(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'', "", line)
