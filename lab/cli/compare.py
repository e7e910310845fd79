# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab compare``: the same scenarios on several machines, side by side."""

from __future__ import annotations

import argparse
import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab.cli.selectors import add_kernel_selectors, check_expression, selectors_of
from lab.machine.qemu import choose_accel, find_qemu
from lab.progress import TextProgress
from lab.report import side_by_side
from lab.validate.compare import CompareRequest, compare, load_machines, split_params
from lab.validate.kernels import embedded_series
from lab.validate.preflight import require_reachable

DEFAULT = ("mshv-root", "kvm-root")


def add_verbs(verbs: Any) -> None:
    """Register ``compare``."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "compare",
        help="the same scenarios on several machines, side by side",
        description="The same kernels and scenarios on several machines, so that the stand-in is not its own "
        "yardstick.",
        epilog="exit codes: 0 the machines agree on the newest kernel, 1 they differ there, or the series "
        "does not build, 2 bad input, 3 nothing was judged twice or something is in doubt, 4 a machine did "
        "not get to the scenarios",
    )
    parser.add_argument(
        "series",
        nargs="?",
        metavar="SERIES",
        help="mbox, maildir, directory, A..B (with --tree) or -; default: the embedded series",
    )
    add_kernel_selectors(parser, series_option=False)
    parser.add_argument("--stock", action="store_true", help="only the base kernel, without any series")
    parser.add_argument(
        "--machine",
        metavar="M",
        action="append",
        help="machine template, at least twice (default: mshv-root and kvm-root)",
    )
    parser.add_argument(
        "--param",
        metavar="[M:]K=V",
        action="append",
        default=[],
        help="parameter of machine M's template, or of every machine that has it",
    )
    parser.add_argument(
        "-k", metavar="EXPR", dest="expression", help="only scenarios that match (as pytest's -k)"
    )
    parser.add_argument("--quick", action="store_true", help="only the quick set")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="output folder (default: hvlab-out/compare-<time> here)"
    )
    parser.add_argument("--json", action="store_true", help="print comparison.json instead of the table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare, write ``comparison.json``, print the table."""
    machines = split_params(args.machine or list(DEFAULT), args.param)
    check_expression(args.expression)
    # What is wrong with a machine shows before a kernel is built, not after.
    for spec in load_machines(machines).values():
        if spec.booted_by_lab:
            choose_accel(spec, find_qemu(args.qemu))
        else:
            require_reachable(spec)
    out = args.out or Path("hvlab-out") / datetime.datetime.now().strftime("compare-%Y%m%d-%H%M%S")
    selectors = selectors_of(args, series=args.series or str(embedded_series()))
    request = CompareRequest(
        selectors=replace(selectors, series=None) if args.stock else selectors,
        machines=machines,
        out=out.resolve(),
        quick=args.quick,
        expression=args.expression,
    )
    result = compare(request, TextProgress())
    (request.out / "comparison.json").write_text(side_by_side.dumps(result) + "\n")
    if args.json:
        print(side_by_side.dumps(result))
    else:
        print(side_by_side.table(result))
        print(f"report    {out}/comparison.json")
    return result.exit_code
