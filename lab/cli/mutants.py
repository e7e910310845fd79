# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab mutants``: one defect at a time in the driver, and which scenario notices."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from pathlib import Path
from typing import Any

from lab.cli.selectors import add_kernel_selectors, check_expression, selectors_of
from lab.model.errors import BadInput, ExitCode
from lab.model.mutant import DriverMutant, MutantResult
from lab.progress import NullProgress, TextProgress
from lab.race.kernels import RaceKernels
from lab.race.killing import Recipes
from lab.race.recipes import load_all, recipes_dir
from lab.race.runner import RaceRunner
from lab.series.mutants import load_driver_mutants
from lab.validate.driver_mutants import open_runner
from lab.validate.kernels import open_cache


def add_verbs(verbs: Any) -> None:
    """Register ``mutants``."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "mutants",
        help="break the driver on purpose: which scenario notices which defect",
        description="Builds each mutant of tests/mutants/driver, drives the scenarios until one that passes "
        "without it fails, and prints who noticed what. A recipe of tests/races about a mutant is tried "
        "before (not with -k).",
        epilog="exit codes: 0 every mutant is killed, 1 some survive, 2 bad input, 3 the kernel without a "
        "mutant does not pass, so that nothing can be said, 4 the lab could not run",
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="mutants to try (default: all)")
    add_kernel_selectors(parser, series_option=False)
    parser.add_argument(
        "--flavour", metavar="F", action="append", help="kernel flavour instead of those the mutants name"
    )
    parser.add_argument(
        "-k", metavar="EXPR", dest="expression", help="only scenarios that match (as pytest's -k)"
    )
    parser.add_argument("--all-scenarios", action="store_true", help="do not stop at the first that notices")
    parser.add_argument(
        "--mutants", metavar="DIR", type=Path, help="folder of mutants (default: tests/mutants/driver)"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="folder for evidence (default: hvlab-out/...)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Try them, and print the table as it grows."""
    check_expression(args.expression)
    mutants = _chosen(load_driver_mutants(args.mutants), args.ids)
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    out = (args.out or Path("hvlab-out") / f"mutants-{stamp}").resolve()
    runner = open_runner(
        selectors_of(args),
        TextProgress(),
        out,
        tuple(args.flavour or ()),
        args.all_scenarios,
        args.expression,
    )
    if not args.expression:
        recipes = RaceRunner(RaceKernels(selectors_of(args), open_cache(), NullProgress()), NullProgress())
        runner.notice = Recipes(recipes, load_all(recipes_dir())).notice
    began, results = time.monotonic(), []
    for result in runner.run(mutants):
        results.append(result)
        if not args.json:
            print("\n".join(row(result)), flush=True)
    if args.json:
        print(json.dumps(as_json(results), indent=1))
    else:
        print("\n".join(summary(results, time.monotonic() - began)))
    for side, why in runner.void.items():
        print(f"hvlab: void, nothing is said of mutants on {side}: {why}", file=sys.stderr)
    if runner.void:
        return ExitCode.INCONCLUSIVE
    return ExitCode.FAIL if any(r.survived for r in results) else ExitCode.PASS


def _chosen(mutants: tuple[DriverMutant, ...], ids: list[str]) -> tuple[DriverMutant, ...]:
    unknown = [i for i in ids if i not in {m.id for m in mutants}]
    if unknown:
        raise BadInput(f"no such mutant: {', '.join(unknown)}", hint="ls tests/mutants/driver")
    return tuple(m for m in mutants if not ids or m.id in ids)


def row(result: MutantResult) -> list[str]:
    """Two lines of the table: what became of it, and what was seen."""
    state = result.by or ("equivalent" if result.equivalent else "SURVIVED")
    lines = [f"{result.id:34} {result.kind:24} {result.flavour:7} {result.seconds:6.1f} s  {state}"]
    if result.killed and result.equivalent:
        lines.append("    its argument for being equivalent is wrong")
    if told := result.evidence or result.doubt or result.equivalent:
        lines.append(f"    {told[:200]}")
    if result.also:
        lines.append(f"    also: {', '.join(result.also)}")
    return lines


def summary(results: list[MutantResult], seconds: float) -> list[str]:
    """Kill rate, and the survivors by name."""
    real = [r for r in results if not r.equivalent or r.killed]
    killed = sum(r.killed for r in real)
    rate = f" ({100 * killed / len(real):.0f} %)" if real else ""
    lines = [f"{killed} of {len(real)} mutants killed{rate} in {seconds:.0f} s"]
    equal = [r.id for r in results if r.equivalent and not r.killed]
    if equal:
        lines.append(f"equivalent: {', '.join(equal)}")
    left = [r.id for r in results if r.survived]
    if left:
        lines.append(f"survivors: {', '.join(left)}")
    return lines


def as_json(results: list[MutantResult]) -> dict[str, object]:
    """The table for programs."""
    return {
        "mutants": [
            {
                "id": r.id,
                "class": r.kind,
                "killed": r.killed,
                "by": r.by,
                "evidence": r.evidence,
                "seconds": r.seconds,
                "flavour": r.flavour,
                "equivalent": r.equivalent,
                "doubt": r.doubt,
                "also": list(r.also),
            }
            for r in sorted(results, key=lambda r: r.id)
        ]
    }
