#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How large is the stand-in, and how long does it take to build?

Lines of its C and assembly: all of them, and those that are neither blank nor only comment. What only
compares it with a kernel's headers (abi_check) is no part of it. The build is from nothing, with one job
for each CPU; the last line is ``build N.NN s``, the median of three.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench

from lab import paths

SUFFIXES = (".c", ".h", ".S")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_STRING = re.compile(r'"(?:\\.|[^"\\])*"')


def code_lines(text: str) -> int:
    """Lines that are not blank once comments are gone."""
    # A comment's opening inside a string is none; our strings hold no line ends.
    bare = _COMMENT.sub("", _STRING.sub('""', text))
    return sum(bool(line.strip()) for line in bare.splitlines())


def count(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Suffix to files, lines, lines of code."""
    found = dict.fromkeys(SUFFIXES, (0, 0, 0))
    for path in sorted(folder.iterdir()):
        if path.suffix in SUFFIXES and not path.stem.startswith("abi_check"):
            text = path.read_text()
            files, lines, code = found[path.suffix]
            found[path.suffix] = files + 1, lines + len(text.splitlines()), code + code_lines(text)
    return found


def build(folder: Path, jobs: int) -> float:
    """Seconds of one build from nothing."""
    with tempfile.TemporaryDirectory() as objects:
        began = time.monotonic()
        command = ["make", "-s", f"-j{jobs}", "-C", str(folder), f"O={objects}"]
        subprocess.run(command, check=True, timeout=600)
        return time.monotonic() - began


def main() -> int:
    """Count and build."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--builds", type=int, default=3, help="default: %(default)s")
    args = parser.parse_args()
    folder = paths.images_dir() / "hypervisor"
    print(bench.host())
    found = count(folder)
    for suffix, (files, lines, code) in found.items():
        print(f"{suffix}: {files} files, {lines} lines, {code} of code")
    files, lines, code = (sum(row[i] for row in found.values()) for i in range(3))
    print(f"all: {files} files, {lines} lines, {code} of code")
    jobs = len(os.sched_getaffinity(0))
    seconds = [build(folder, jobs) for _ in range(args.builds)]
    print(f"{args.builds} builds with {jobs} jobs: {bench.spread(seconds)} s")
    print(f"build {bench.median(seconds):.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
