# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab validate``: a series in, a verdict with its evidence out."""

from __future__ import annotations

import argparse
import datetime
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab.cli.selectors import add_kernel_selectors, add_machine, check_expression, selectors_of
from lab.machine.qemu import choose_accel, describe, find_qemu
from lab.model.errors import BadInput
from lab.nightly.outputs import write_reports
from lab.progress import TextProgress
from lab.race.judging import RecipesUnderTest
from lab.race.recipes import load_all, recipes_dir
from lab.report import result_json, terminal
from lab.templates import load_machine, parse_params
from lab.validate.kernels import embedded_series
from lab.validate.walk import ValidateRequest, validate


def add_verbs(verbs: Any) -> None:
    """Register ``validate``."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "validate",
        help="judge a series on base and patched kernel",
        description="A series in, a verdict with its evidence out: base and patched kernel are built, "
        "booted, driven through the same scenarios and compared.",
        epilog="exit codes: 0 pass, 1 the series fails, 2 bad input, 3 inconclusive, 4 the lab or its base "
        "could not run",
    )
    parser.add_argument(
        "series",
        nargs="?",
        metavar="SERIES",
        help="mbox, maildir, directory, A..B (with --tree) or -; default: the embedded series",
    )
    add_kernel_selectors(parser, series_option=False)
    add_machine(parser)
    parser.add_argument(
        "--flavour", metavar="F", action="append", help="kernel flavour, may be repeated (default: plain)"
    )
    parser.add_argument("--fixes", metavar="C1,C2", default="", help="claims that the series is said to fix")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="output folder (default: hvlab-out/<time> here)"
    )
    parser.add_argument(
        "-k", metavar="EXPR", dest="expression", help="only scenarios that match (as pytest's -k)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="only the scenarios of the claims that the series names"
    )
    parser.add_argument(
        "--whole-kernel",
        action="store_true",
        help="rebuild the whole kernel even if the series touches only the driver's module",
    )
    parser.add_argument(
        "--coverage",
        action="store_true",
        help="run the scenarios once more on a patched kernel with counters: which changed lines ran",
    )
    parser.add_argument(
        "--coverage-of",
        metavar="PATH",
        default="",
        help="as --coverage, but all lines of a folder, file or pattern of the kernel tree (drivers/hv)",
    )
    parser.add_argument(
        "--keep", metavar="NAME", nargs="?", const="kept", help="leave the first failed lab up under NAME"
    )
    parser.add_argument("--json", action="store_true", help="print result.json instead of the table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Validate and write every voice of the report; returns the documented exit code."""
    embedded = args.series is None
    series = str(embedded_series()) if embedded else args.series
    out = args.out or Path("hvlab-out") / datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    fixes = tuple(filter(None, (c.strip() for c in args.fixes.split(","))))
    if bad := [c for c in fixes if not c.startswith("C") or not c[1:].isdigit()]:
        raise BadInput(f"not a claim id: {bad[0]}", where="--fixes", hint="claims look like C16")
    execution = _check_early(args)
    progress = TextProgress()
    request = ValidateRequest(
        selectors=selectors_of(args, series=series),
        flavours=tuple(args.flavour or ["plain"]),
        out=out.resolve(),
        fixes=fixes,
        machine=args.machine,
        params=tuple(args.param),
        quick=args.quick,
        expression=args.expression,
        keep=args.keep,
        embedded=embedded,
        coverage=args.coverage,
        coverage_of=args.coverage_of,
        whole=args.whole_kernel,
        races=RecipesUnderTest(load_all(recipes_dir())),
    )
    result = replace(validate(request, progress), reproduce=(_command(args),), execution=execution)
    write_reports(result, request.out)
    if args.json:
        print(result_json.dumps(result))
    else:
        print(terminal.table(result, colour=sys.stdout.isatty(), out=out))
    return result.exit_code


def _check_early(args: argparse.Namespace) -> str:
    """Refuse what only the drive would stumble over, minutes later, on every scenario.

    Returns how the guests will be executed."""
    spec, qemu = load_machine(args.machine, parse_params(args.param)), find_qemu(args.qemu)
    accel = choose_accel(spec, qemu)
    check_expression(args.expression)
    return describe(qemu, accel)


def _command(args: argparse.Namespace) -> str:
    words = ["hvlab", "validate"]
    if args.series:
        words.append(args.series)
    words += ["--base", "lock:base.lock"] if not args.tree else ["--tree", args.tree]
    for flavour in args.flavour or []:
        words += ["--flavour", flavour]
    for fragment in args.config:
        words += ["--config", str(fragment)]
    if args.fixes:
        words += ["--fixes", args.fixes]
    return shlex.join(words)
