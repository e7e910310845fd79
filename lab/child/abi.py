# SPDX-License-Identifier: GPL-2.0-or-later
"""Does a kernel still speak the interface that ``images/vmm/mshv_abi.h`` wrote down?"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from lab.model.errors import LabUnavailable
from lab.paths import images_dir

_UAPI = "include/uapi/linux/mshv.h"
_HYPERV = "include/hyperv"
_REAL = {"linux/types.h"}
"""Exists for user space with what we need of it."""
_SECONDS = 60.0
_INCLUDE = re.compile(r"^\s*#\s*include\s*<((?:linux|asm)/[^>]+)>", re.MULTILINE)
_ERROR = re.compile(r"(?:fatal )?error: (?:static assertion failed: )?(.*)")


def check_abi(kernel_tree: Path) -> list[str]:
    """Differences between our definitions and the headers of ``kernel_tree``; empty when they agree.

    Each difference is one line, ``what: detail``. Every size, offset and number is asserted by
    ``images/vmm/abi_check.c``; nothing is built. LabUnavailable when the tree has no such headers
    or the compiler cannot run.
    """
    uapi, hyperv = kernel_tree / _UAPI, kernel_tree / _HYPERV
    if not uapi.is_file() or not hyperv.is_dir():
        raise LabUnavailable(
            f"no {_UAPI} or no {_HYPERV}",
            where=str(kernel_tree),
            hint="give a kernel source tree of 6.15 or newer",
        )
    vmm = images_dir() / "vmm"
    with tempfile.TemporaryDirectory(prefix="hvlab-abi-") as name:
        work = Path(name)
        # The check wants the layouts only, so kernel-internal includes become empty files.
        for header in sorted(hyperv.glob("*.h")):
            for included in _INCLUDE.findall(header.read_text()):
                if included in _REAL:
                    continue
                stub = work / "stub" / included
                stub.parent.mkdir(parents=True, exist_ok=True)
                stub.touch()
        (work / "stub" / "mshv_uapi.h").write_text(f'#include "{uapi.resolve()}"\n')
        (work / "stub" / "hyperv").symlink_to(hyperv.resolve())
        command = ["gcc", "-fsyntax-only", "-std=gnu11", "-I", str(work / "stub"), str(vmm / "abi_check.c")]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            )
        except (OSError, subprocess.SubprocessError) as e:
            raise LabUnavailable(f"the ABI check cannot run: {e}", where=" ".join(command)) from e
    if done.returncode == 0:
        return []
    found = [m[1].strip('"').replace('"', "") for m in map(_ERROR.search, done.stderr.splitlines()) if m]
    return found or [f"gcc failed: {done.stderr.strip()[-500:]}"]
