# SPDX-License-Identifier: GPL-2.0-or-later
"""Build ``mshv-vmm`` and ``kvm-vmm``: static, with their payload inside, from our sources alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab.cache import Cache
from lab.hashing import digest, tree_digest
from lab.model.errors import LabUnavailable
from lab.paths import images_dir

BINARY = "mshv-vmm"
BINARIES = (BINARY, "kvm-vmm")
_RECIPE = "2"
_MAKE_SECONDS = 120.0


def build_vmm(cache: Cache, binary: str = BINARY) -> Path:
    """One of BINARIES in the cache, built unless it is there.

    LabUnavailable when make, compiler or linker are missing, fail or take too long.
    """
    images = images_dir()
    tools = "\n".join(tool_version(tool) for tool in ("gcc", "ld"))
    key = digest(_RECIPE, tree_digest(images / "vmm"), tree_digest(images / "payload"), tools)
    return cache.publish("vmm", key, _make, about={"what": "VMMs"}) / binary


def tool_version(tool: str) -> str:
    """First line of ``tool --version``. LabUnavailable if the tool is missing."""
    try:
        done = subprocess.run([tool, "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as e:
        raise LabUnavailable(
            f"{tool} does not run: {e}",
            hint="install the Debian packages gcc, libc6-dev, binutils and make",
        ) from e
    return done.stdout.splitlines()[0] if done.stdout else ""


def _make(out: Path) -> None:
    work = out / "objects"
    work.mkdir()
    command = ["make", "-s", "-j2", "-C", str(images_dir() / "vmm"), f"O={work}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_MAKE_SECONDS)
    except (OSError, subprocess.SubprocessError) as e:
        raise LabUnavailable(f"the VMMs could not be built: {e}", where=" ".join(command)) from e
    if done.returncode:
        raise LabUnavailable(
            "the VMMs do not build",
            where=" ".join(command),
            hint="the sources are the lab's own: report this, with the compiler's version",
            detail=done.stdout + done.stderr,
        )
    for name in BINARIES:
        (work / name).rename(out / name)
    for left in work.iterdir():
        left.unlink()
    work.rmdir()
