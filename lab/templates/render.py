# SPDX-License-Identifier: GPL-2.0-or-later
"""A template and the user's parameters become TOML text."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
from jinja2 import nodes
from jinja2.sandbox import SandboxedEnvironment

from lab import paths
from lab.model.errors import BadInput
from lab.templates.text import suggest

SUFFIX = ".toml.j2"

_TEMPLATE_FAILS = (TypeError, ValueError, ArithmeticError, AttributeError, RecursionError, MemoryError)
"""What expressions and filters raise inside a template besides Jinja2's own errors."""

ParamValue = int | bool | str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as its template declares it."""

    name: str
    default: ParamValue
    help: str
    line: int
    choices: tuple[str, ...] = ()
    """Allowed values; empty: any."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered template: the TOML text, and the template it came from."""

    path: Path
    source: str
    text: str

    def place(self, key: str, nth: int = 0) -> str:
        """``file:line`` of the nth line of the template that sets ``key`` (the file if none does)."""
        return _place(self.path, self.source, rf"\s*(\[\[)?{re.escape(key)}\s*(=|\]\])", nth)


def available() -> dict[str, Path]:
    """Names of the shipped machine templates and their files."""
    folder = paths.templates_dir() / "machines"
    return {path.name.removesuffix(SUFFIX): path for path in sorted(folder.glob("*" + SUFFIX))}


def find(name: str) -> Path:
    """The file of a shipped template's name, or of a path to a template. Raises BadInput."""
    if "/" in name or name.endswith(".j2") or name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise BadInput("no such machine template", where=name)
        return path
    shipped = available()
    if name not in shipped:
        raise BadInput(
            f"no machine template is called {name!r}{suggest(name, shipped)}",
            hint="use one of " + ", ".join(shipped) + ", or give the path of a template",
        )
    return shipped[name]


def about(path: Path) -> str:
    """What a template says of itself: its first comment behind the licence's. Raises BadInput."""
    comments = [text.strip() for text in re.findall(r"\{#(.*?)#\}", _read(path), re.DOTALL)]
    return next((text for text in comments if not text.startswith("SPDX-")), "")


def parameters(path: Path) -> list[Parameter]:
    """Declared parameters of a template, in order. Raises BadInput for a template that cannot be read."""
    return _declarations(path, _read(path))


def render(path: Path, params: Mapping[str, str]) -> Rendered:
    """Render the template with the user's parameters (text, as typed). Raises BadInput."""
    source = _read(path)
    declared = {item.name: item for item in _declarations(path, source)}
    for given in params:
        if given not in declared:
            lines = [item.line for item in declared.values()]
            near = difflib.get_close_matches(given, declared, 1)
            line = declared[near[0]].line if near else min(lines, default=1)
            raise BadInput(
                f"unknown parameter {given!r}{suggest(given, declared)}",
                where=f"{path}:{line}",
                hint="parameters here: " + (", ".join(declared) or "none"),
            )
    values = {
        item.name: _convert(path, item, params[item.name]) if item.name in params else item.default
        for item in declared.values()
    }
    try:
        text = _environment(values).from_string(source).render()
    except jinja2.UndefinedError as error:
        line = _template_line(error)
        word = re.match(r"'(\w+)' is undefined", error.message or "")
        near_text = suggest(word[1], declared) if word else ""
        raise BadInput(f"{error.message}{near_text}", where=f"{path}:{line}") from None
    except (jinja2.TemplateError, *_TEMPLATE_FAILS) as error:
        raise BadInput(
            f"template fails: {error or type(error).__name__}", where=f"{path}:{_template_line(error)}"
        ) from None
    return Rendered(path, source, text)


def _toml(value: str | int | Iterable[str]) -> str:
    """A TOML literal: a JSON string, number or array of those is one."""
    return json.dumps(value if isinstance(value, (str, int)) else list(value))


def _words(text: str) -> list[str]:
    return text.split()


def _environment(values: Mapping[str, ParamValue]) -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["toml"] = _toml
    environment.filters["words"] = _words
    environment.globals["param"] = lambda name, default, help="", choices="": values[name]
    return environment


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"machine template cannot be read: {error}", where=str(path)) from None


def _declarations(path: Path, source: str) -> list[Parameter]:
    try:
        tree = _environment({}).parse(source)
    except jinja2.TemplateSyntaxError as error:
        raise BadInput(f"template syntax: {error.message}", where=f"{path}:{error.lineno}") from None
    except RecursionError:
        raise BadInput("template syntax: nested too deeply", where=str(path)) from None
    found: dict[str, Parameter] = {}
    for call in tree.find_all(nodes.Call):
        if not isinstance(call.node, nodes.Name) or call.node.name != "param":
            continue
        place = f"{path}:{call.lineno}"
        args = [arg.value if isinstance(arg, nodes.Const) else None for arg in call.args]
        if len(args) not in (2, 3, 4) or call.kwargs or any(arg is None for arg in args):
            raise BadInput(
                'a parameter is declared as param("name", default, "help", "choices")', where=place
            )
        name = str(args[0])
        if name in found:
            raise BadInput(f"parameter {name!r} is declared twice", where=place)
        help_text = str(args[2]) if len(args) > 2 else ""
        choices = tuple(str(args[3]).split()) if len(args) == 4 else ()
        default = args[1]
        if not isinstance(default, (int, str)):
            raise BadInput(f"default of {name!r} must be text, a number or true/false", where=place)
        found[name] = Parameter(name, default, help_text, call.lineno, choices)
    return list(found.values())


def _convert(path: Path, parameter: Parameter, text: str) -> ParamValue:
    where = f"{path}:{parameter.line}"
    if parameter.choices and text not in parameter.choices:
        allowed = ", ".join(parameter.choices)
        raise BadInput(
            f"{parameter.name}={text!r} is not one of {allowed}{suggest(text, parameter.choices)}",
            where=where,
        )
    if isinstance(parameter.default, bool):
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise BadInput(f"{parameter.name}={text!r} is not true or false", where=where)
        return text.lower() in ("true", "1", "yes")
    if isinstance(parameter.default, int):
        try:
            return int(text, 0)
        except ValueError:
            raise BadInput(f"{parameter.name}={text!r} is not a number", where=where) from None
    if any(ord(char) < 0x20 or char in '"\\' for char in text):
        raise BadInput(
            f"{parameter.name}={text!r} contains a quote, backslash or control character", where=where
        )
    return text


def _template_line(error: BaseException) -> int:
    """Line of the template where rendering failed: Jinja2 puts frames of ``<template>`` in the traceback."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _place(path: Path, source: str, pattern: str, nth: int) -> str:
    hits = [number for number, line in enumerate(source.splitlines(), 1) if re.match(pattern, line)]
    return f"{path}:{hits[min(nth, len(hits) - 1)]}" if hits else str(path)
