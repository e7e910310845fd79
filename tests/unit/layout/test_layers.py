# SPDX-License-Identifier: GPL-2.0-or-later
"""Arrows between the rooms go one way."""

import ast
import functools
from pathlib import Path

import pytest

from lab import paths

LAB = Path(paths.__file__).parent
LEVEL = {
    "model": 0,
    "paths": 1,
    "unwind": 1,
    "usage": 1,
    "lease": 1,
    "hashing": 1,
    "printable": 1,
    "whole": 1,
    "progress": 2,
    "cache": 3,
    "series": 4,
    "source": 4,
    "templates": 4,
    "surface": 4,
    "machine": 5,
    "build": 5,
    "judge": 6,
    "child": 6,
    "root": 6,
    "hypervisor": 6,
    "validate": 7,
    "race": 7,
    "report": 7,
    "nightly": 8,
    "pytest_plugin": 8,
    "cli": 9,
}
SAME_LEVEL = {("child", "root"), ("series", "source"), ("source", "series"), ("race", "validate")}
"""Rooms of one level do not know each other, but for these: the child is driven through the root, and races
are run on the labs that validation boots."""
FORBIDDEN = {
    "judge": {"machine", "root", "child", "hypervisor", "build", "source", "series"},
    "machine": {"root", "child", "hypervisor"},
    "root": {"machine", "build"},
    "hypervisor": {"machine", "root", "child", "build", "series", "source"},
    "report": {"machine", "root", "child", "hypervisor", "build", "series", "source", "validate"},
}


@functools.cache
def imports():
    """(file, importing room, imported room) for every import inside lab."""
    return list(_imports())


def _imports():
    for file in sorted(LAB.rglob("*.py")):
        parts = file.relative_to(LAB).parts
        room = parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lab":
                inner = node.module.split(".")[1:]
                names = [inner[0]] if inner else [alias.name for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [a.name.split(".")[1] for a in node.names if a.name.startswith("lab.")]
            for name in names:
                if name != room and not name.startswith("__"):
                    yield file.relative_to(LAB.parent), room, name


def test_every_room_has_a_level():
    rooms = {
        p.stem for p in LAB.iterdir() if p.suffix == ".py" or (p.is_dir() and (p / "__init__.py").exists())
    }
    assert rooms - {"__init__"} <= set(LEVEL)


@pytest.mark.parametrize("room", sorted(LEVEL))
def test_room_imports_only_from_below(room):
    wrong = [
        f"{file}: {room} -> {other}"
        for file, importer, other in imports()
        if importer == room
        and (
            LEVEL[other] > LEVEL[room]
            or (LEVEL[other] == LEVEL[room] and (room, other) not in SAME_LEVEL)
            or other in FORBIDDEN.get(room, ())
        )
    ]
    assert not wrong, "\n".join(wrong)
