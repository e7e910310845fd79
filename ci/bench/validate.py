#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How long is it from an edited patch to the verdict?

Copies a series, puts a random word into a comment of a file that its last patch touches, and runs
``hvlab validate`` on the copy: nothing of the patched side is in the cache, everything of the base side
is (a first run without the edit, not counted, sees to that). Prints wall and CPU seconds of every phase
as ``result.json`` has them, the time to the quick set's verdict and to the full set's, and the CPU
seconds of the whole process tree.

The last line is ``ratio N.NN``: the median time to the quick verdict / 30 s, which is what it may take.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench

LIMIT = 30.0
QUICK = "quick verdict"
BUDGET = 1800
_STATEMENT = re.compile(r"\+\t+[^*/\"\\]*[)\w];")


@dataclass(frozen=True, slots=True)
class Run:
    """One validate: seconds in all, to the quick verdict, and of CPU; the phases; the verdict."""

    wall: float
    quick: float
    cpu: float
    phases: list[dict[str, Any]]
    verdict: str


def edited(series: Path, into: Path, word: str) -> Path:
    """A copy of the series with a comment in the last patch; no line more or less, so the hunks fit."""
    copy = into / f"series-{word}"
    shutil.copytree(series, copy)
    patch = sorted(copy.glob("*.patch"))[-1]
    lines = patch.read_text().split("\n")
    file = ""
    for number, line in enumerate(lines):
        if line.startswith("+++ b/"):
            file = line.removeprefix("+++ b/")
        elif file.endswith(".c") and _STATEMENT.fullmatch(line):
            lines[number] += f" /* {word} */"
            patch.write_text("\n".join(lines))
            print(f"edited {file}, line {number + 1} of {patch.name}: {lines[number].strip('+').strip()}")
            return copy
    raise SystemExit(f"{patch}: adds no statement to a C file that a comment could follow")


def validate(series: Path, out: Path, args: argparse.Namespace) -> Run:
    """Run ``hvlab validate`` as a user does."""
    command = [str(Path(sys.executable).with_name("hvlab")), "validate", str(series), "--out", str(out)]
    command += ["--quick"] * args.quick_only + (["--qemu", args.qemu] if args.qemu else [])
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUDGET)
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if args.verbose:
        print(done.stderr)
    if not (out / "result.json").is_file():
        raise SystemExit(f"hvlab validate ended with {done.returncode} and no result:\n{done.stderr}")
    result = json.loads((out / "result.json").read_text())
    phases = result["phases"]
    quick = next((p["wall"] for p in phases if p["name"] == QUICK), float("nan"))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, quick, cpu, phases, result["verdict"])


def show(run: Run) -> None:
    """Phases of one run."""
    for phase in run.phases:
        if phase["name"] != QUICK:
            label = f"{phase['name']} {phase['side']}".strip()
            note = f" ({phase['note']})" if phase["note"] else ""
            print(f"  {label:16} {phase['wall']:6.2f} s wall {phase['cpu']:6.2f} s CPU{note}")
    print(f"  quick verdict after {run.quick:.1f} s, everything after {run.wall:.1f} s; {run.cpu:.1f} s CPU")


def main() -> int:
    """Parse and run."""
    options = bench.parser(__doc__)
    options.add_argument("--times", type=int, default=3, help="edits (default: %(default)s)")
    options.add_argument("--no-warm-up", action="store_true", help="the cache is warm already")
    options.add_argument("--quick-only", action="store_true", help="leave the rest of the scenarios out")
    options.add_argument("--verbose", action="store_true", help="show what hvlab validate says")
    return bench.main(run, options)


def run(args: argparse.Namespace) -> float:
    """Edit and validate again and again; the median ratio to the limit."""
    series, runs = Path(args.series).resolve(), []
    with tempfile.TemporaryDirectory(prefix="hvlab-bench-") as temp:
        if not args.no_warm_up:
            warm = validate(series, Path(temp, "warm"), args)
            print(f"warm-up: {warm.verdict} after {warm.wall:.1f} s")
        for number in range(args.times):
            word = f"bench-{secrets.token_hex(4)}"
            copy = edited(series, Path(temp), word)
            done = validate(copy, Path(temp, f"out-{number}"), args)
            print(f"edit {number + 1}: {done.verdict}")
            show(done)
            runs.append(done)
    for name in ("quick", "wall", "cpu"):
        print(f"median {name}: {bench.spread([getattr(r, name) for r in runs])} s")
    return bench.median([r.quick for r in runs]) / LIMIT


if __name__ == "__main__":
    sys.exit(main())
