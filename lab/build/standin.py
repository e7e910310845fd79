# SPDX-License-Identifier: GPL-2.0-or-later
"""Build the stand-in hypervisor from ``images/hypervisor``."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.build.toolchain import toolchain
from lab.cache import Cache
from lab.hashing import digest, tree_digest
from lab.model.errors import LabUnavailable
from lab.paths import images_dir
from lab.source.command import run, tool_env

KIND = "standin"
_RECIPE = "1"
_BUDGET = 300.0


@dataclass(frozen=True, slots=True)
class StandIn:
    """``elf`` is the ELF32 that QEMU's multiboot loader takes, ``symbols`` the same image as ELF64
    with its symbols."""

    elf: Path
    symbols: Path
    key: str


def make_freestanding(source: Path, entry: Path, names: tuple[str, ...], what: str) -> None:
    """Build a bare-metal program in ``source`` and put its files ``names`` into ``entry``.

    LabUnavailable with the compiler's words if it fails."""
    with tempfile.TemporaryDirectory(prefix="objects-", dir=entry) as temp:
        done = run(
            ["make", "-C", source, f"O={temp}", f"-j{os.cpu_count() or 1}"],
            what=f"building {what}",
            timeout=_BUDGET,
            env={k: v for k, v in tool_env().items() if k not in ("MAKEFLAGS", "MAKELEVEL", "CFLAGS")},
            check=False,
        )
        if done.code != 0:
            errors = [line for line in done.err.splitlines() if "error" in line] or done.err.splitlines()
            raise LabUnavailable(f"{what} does not build", where=str(source), detail="\n".join(errors[:8]))
        for name in names:
            shutil.move(Path(temp, name), entry / name)


def build_standin(cache: Cache) -> StandIn:
    """The stand-in, out of the cache or built; LabUnavailable with the compiler's words if it fails."""
    source = images_dir() / "hypervisor"
    key = digest(KIND, _RECIPE, tree_digest(source), toolchain())

    def produce(entry: Path) -> None:
        make_freestanding(source, entry, ("hv.elf", "hv.elf64"), "the stand-in hypervisor")

    entry = cache.publish(KIND, key, produce, about={"name": "stand-in hypervisor"})
    return StandIn(entry / "hv.elf", entry / "hv.elf64", key)
