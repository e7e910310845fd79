# SPDX-License-Identifier: GPL-2.0-or-later
"""Arrows between the rooms go one way."""

import ast
from pathlib import Path

import pytest

from lab import paths

LAB = Path(paths.__file__).parent
LEVEL = {
    "model": 0,
    "paths": 1,
    "usage": 1,
    "progress": 2,
    "series": 3,
    "source": 3,
    "templates": 3,
    "machine": 4,
    "build": 4,
    "judge": 5,
    "child": 5,
    "root": 5,
    "hypervisor": 5,
    "validate": 6,
    "race": 6,
    "report": 6,
    "cli": 7,
    "pytest_plugin": 7,
}
SAME_LEVEL = {("child", "root"), ("series", "source"), ("source", "series")}
"""Rooms of one level do not know each other, but for these: the child is driven through the root."""
FORBIDDEN = {
    "judge": {"machine", "root", "child", "hypervisor", "build", "source", "series"},
    "machine": {"root", "child", "hypervisor"},
    "root": {"machine", "build"},
    "hypervisor": {"machine", "root", "child", "build", "series", "source"},
    "report": {"machine", "root", "child", "hypervisor", "build", "series", "source", "validate"},
}


def imports():
    """(file, importing room, imported room) for every import inside lab."""
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
