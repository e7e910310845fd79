# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of one rendered template, key by key: what is wrong is told with the template's line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from lab.model.errors import BadInput
from lab.templates.limits import LAST_PORT, MAX_CPUS, MAX_MEMORY, MIN_MEMORY
from lab.templates.render import Rendered
from lab.templates.text import human, parse_size, suggest

SIZE = (int, str)
"""Types of a size in a template."""


class Checks:
    """Raises BadInput for a value that cannot be."""

    def __init__(self, rendered: Rendered) -> None:
        self.rendered = rendered

    def bad(self, what: str, key: str, nth: int = 0) -> BadInput:
        return BadInput(what, where=self.rendered.place(key, nth))

    def keys(self, data: Mapping[str, Any], known: Mapping[str, Any], nth: int, what: str) -> None:
        for key, value in data.items():
            if key not in known:
                raise self.bad(f"unknown key {key!r} in {what}{suggest(key, known)}", key, nth)
            if isinstance(value, bool) != (known[key] is bool) or not isinstance(value, known[key]):
                raise self.bad(f"{key} = {value!r} has the wrong type", key, nth)

    def choice(self, data: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
        value = str(data.get(key, allowed[0]))
        if value not in allowed:
            raise self.bad(
                f"{key} = {value!r} is not one of {', '.join(allowed)}{suggest(value, allowed)}", key
            )
        return value

    def size(self, data: Mapping[str, Any], key: str, low: int, high: int, nth: int = 0) -> int:
        try:
            value = parse_size(data[key])
        except ValueError as error:
            raise self.bad(f"{key}: {error}", key, nth) from None
        if not low <= value <= high:
            raise self.bad(f"{key} = {data[key]!r} is not between {human(low)} and {human(high)}", key, nth)
        return value

    def words(self, data: Mapping[str, Any], key: str) -> tuple[str, ...]:
        items = data.get(key, [])
        for item in items:
            if not isinstance(item, str) or not item.isprintable() or " " in item or not item:
                raise self.bad(f"{key}: {item!r} is not one printable word", key)
        return tuple(items)

    def required(self, data: Mapping[str, Any], keys: Iterable[str]) -> None:
        for key in keys:
            if key not in data:
                raise BadInput(f"the machine does not set {key!r}", where=str(self.rendered.path))

    def given(self, data: Mapping[str, Any], key: str, what: str, example: str, parameter: str = "") -> None:
        """A value that nobody but the user knows, so that the template's default for it is empty."""
        if not data.get(key):
            raise BadInput(
                f"the {data.get('name', 'machine')} machine needs {what}",
                where=self.rendered.place(key),
                hint=f"give --param {parameter or key}={example}",
            )

    def name(self, data: Mapping[str, Any]) -> str:
        name = str(data["name"])
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,40}", name):
            raise self.bad(f"name = {name!r}: use small letters, digits, '-', '_', '.'", "name")
        return name

    def size_of_machine(self, data: Mapping[str, Any]) -> tuple[int, int]:
        cpus = int(data["cpus"])
        if not 1 <= cpus <= MAX_CPUS:
            raise self.bad(f"cpus = {cpus} is not between 1 and {MAX_CPUS}", "cpus")
        memory = self.size(data, "memory", MIN_MEMORY, MAX_MEMORY)
        if memory % (1 << 20):
            raise self.bad("memory must be whole MiB", "memory")
        return cpus, memory

    def port(self, data: Mapping[str, Any], key: str) -> int:
        if not 1 <= data[key] <= LAST_PORT:
            raise self.bad(f"{key} = {data[key]} is not between 1 and {LAST_PORT}", key)
        return int(data[key])
