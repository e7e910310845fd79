# SPDX-License-Identifier: GPL-2.0-or-later
"""Do the stand-in's numbers, sizes and offsets agree with a kernel's own headers?"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from lab.model.errors import BadInput, LabUnavailable
from lab.paths import images_dir

_SECONDS = 60.0
_ERROR = re.compile(r"error: (?:static assertion failed: |call to .* attribute error: )?\"?(?P<text>.*?)\"?$")
_HEADERS = "include/hyperv/hvhdk.h"


def check_abi(kernel_tree: Path, *, compiler: str = "gcc") -> list[str]:
    """Compile ``images/hypervisor/abi_check.c`` against ``kernel_tree``'s include/hyperv.

    Returns one line per disagreement, none if all agree. A name that this kernel does not define is
    a disagreement too. Raises BadInput if the tree has no such headers, LabUnavailable without gcc.
    """
    if not (kernel_tree / _HEADERS).is_file():
        hint = "give a Linux source tree, 6.15 or newer"
        raise BadInput(f"no {_HEADERS}", where=str(kernel_tree), hint=hint)
    source = images_dir() / "hypervisor"
    command = [
        compiler, "-O2", "-S", "-o", "/dev/null", "-std=gnu11", "-fmax-errors=0", "-w",
        "-fno-diagnostics-show-caret",
        "-I", str(source / "abi_shim"), "-I", str(source), "-I", str(kernel_tree / "include" / "hyperv"),
        str(source / "abi_check.c"),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise LabUnavailable(f"cannot check the interface: {e}", hint=f"install {compiler}") from e
    problems = [m["text"] for line in done.stderr.splitlines() if (m := _ERROR.search(line))]
    if done.returncode and not problems:
        problems = [done.stderr.strip() or f"{compiler} ended with {done.returncode}"]
    return problems
