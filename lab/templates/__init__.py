# SPDX-License-Identifier: GPL-2.0-or-later
"""Machine templates: rendered with Jinja2, read as TOML, loaded into :class:`MachineSpec`.

A template declares its parameters itself: ``param("cpus", 2, "what it means")`` returns the value
that the user gave, else the default, and converts to the type of the default. A fourth argument lists
the allowed values, blank-separated. Declarations are found by reading the template, so they can be
listed without rendering it.

Everything that a template or a user may get wrong ends in BadInput with the template's file and line
and, for a name that does not exist, the nearest one that does.
"""

from __future__ import annotations

from collections.abc import Mapping

from lab.model.machine import MachineSpec
from lab.templates.machines import parse_machine
from lab.templates.render import Parameter, Rendered, about, available, find, parameters, render
from lab.templates.text import parse_params, parse_size

__all__ = [
    "Parameter",
    "Rendered",
    "about",
    "available",
    "find",
    "load_machine",
    "parameters",
    "parse_machine",
    "parse_params",
    "parse_size",
    "render",
]


def load_machine(name: str, params: Mapping[str, str] | None = None) -> MachineSpec:
    """Render the template ``name`` (or the template at that path) and load it. Raises BadInput."""
    return parse_machine(render(find(name), params or {}))
