# SPDX-License-Identifier: GPL-2.0-or-later
"""Which compiler and linker are in use: part of every key, as another one makes other code."""

from __future__ import annotations

import functools

from lab.source.command import run


@functools.cache
def toolchain() -> str:
    """Versions of gcc and ld; LabUnavailable if one is missing."""
    tools = (["gcc", "-dumpfullversion"], ["gcc", "-dumpmachine"], ["ld", "--version"])
    said = [run(t, what="asking for tool versions", timeout=20).out.splitlines()[:1] for t in tools]
    return "\n".join(line for lines in said for line in lines)
