# SPDX-License-Identifier: GPL-2.0-or-later
"""Debug information of an object file, asked by several threads at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from lab.race.debuginfo import DebugInfo

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no C compiler")
MANY = 120
PLACE = {".text": 0x1000}


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("debug")
    parts = [
        f"struct s{n} {{ long a; struct {{ int b, c{n}; }}; }};\n"
        f"static inline int in{n}(struct s{n} *s) {{ return s->c{n} * {n} + s->b; }}\n"
        f"int out{n}(struct s{n} *s) {{ int v = in{n}(s);\n if (v > {n})\n v -= s->a;\n return v; }}\n"
        for n in range(MANY)
    ]
    (folder / "many.c").write_text("".join(parts))
    subprocess.run(["gcc", "-g", "-O2", "-c", "many.c", "-o", "many.o"], cwd=folder, check=True)
    return folder / "many.o"


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns all the time."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


def told(info: DebugInfo, about: int) -> object:
    match about % 3:
        case 0:
            return info.functions
        case 1:
            return info.rows
        case _:
            return info.offsets(f"s{MANY - 1}")


@pytest.mark.usefixtures("restless")
def test_threads_that_ask_at_once_are_told_the_same(module: Path) -> None:
    alone = [told(DebugInfo(module, PLACE), about) for about in range(3)]
    assert alone[2] == {"a": 0, "b": 8, f"c{MANY - 1}": 12}
    for _ in range(3):
        info, together = DebugInfo(module, PLACE), Barrier(3)

        def ask(about: int, info: DebugInfo = info, together: Barrier = together) -> object:
            together.wait(10)
            return told(info, about)

        with ThreadPoolExecutor(max_workers=3) as pool:
            assert list(pool.map(ask, range(3))) == alone
