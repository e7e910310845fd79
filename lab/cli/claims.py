# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab claims``: what running says about the claims of the review, on the base and with a series."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.cli.selectors import add_kernel_selectors, add_machine, selectors_of
from lab.judge import claims as judge
from lab.machine.qemu import choose_accel, find_qemu
from lab.model.claim import Claim, ClaimTable, Standing
from lab.model.errors import BadInput, ExitCode
from lab.model.result import KernelRun
from lab.nightly.outputs import write_reports
from lab.progress import TextProgress
from lab.race.judging import RecipesUnderTest
from lab.race.recipes import load_all as load_recipes
from lab.race.recipes import recipes_dir
from lab.report import claims as text
from lab.report import result_read
from lab.templates import load_machine, parse_params
from lab.validate.claim_files import load_all, select
from lab.validate.kernels import embedded_series
from lab.validate.walk import ValidateRequest, validate

WIDTH = 100
FLAVOURS = "plain"


def add_verbs(verbs: Any) -> None:
    """Register ``claims``."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "claims",
        help="the claims of the review, decided by running",
        description="Each claim of the review (tests/claims) on the base kernel and with a series: "
        "reproduced, not reproduced, or not decided and why. Runs the scenarios that decide them, or reads "
        "what hvlab validate has written.",
        epilog="exit codes: 0 on the newest kernel no claim is reproduced and all are decided, 1 one is "
        "reproduced there, 2 bad input, 3 one is not decided there, 4 the lab could not run",
    )
    parser.add_argument("claims", metavar="CLAIM", nargs="*", help="such as C4 (default: all of them)")
    parser.add_argument(
        "--series", metavar="S", help="mbox, maildir, directory, A..B (with --tree) or -; default: ours"
    )
    parser.add_argument(
        "--flavour",
        metavar="F,F",
        action="append",
        help=f"kernel flavours to run, such as plain,debug (default: {FLAVOURS})",
    )
    parser.add_argument(
        "--from", metavar="RESULT.json", nargs="+", type=Path, dest="results", help="read these, run nothing"
    )
    add_kernel_selectors(parser, series_option=False)
    add_machine(parser)
    parser.add_argument("--whole-kernel", action="store_true", help="rebuild all of it for the series")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="output folder (default: hvlab-out/claims-<time> here)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Print the table of claims."""
    chosen = select(load_all(), args.claims)
    table = _read(chosen, args.results) if args.results else _run(chosen, args)
    if args.json:
        print(json.dumps({"kernels": list(table.kernels), "claims": text.as_dict(table)}, indent=1))
    else:
        print("\n".join([*text.lines(table, WIDTH), "", *text.summary(table)]))
    return _exit_code(table)


def _exit_code(table: ClaimTable) -> ExitCode:
    newest = {row.findings[-1].standing for row in table.rows}
    if Standing.REPRODUCED in newest:
        return ExitCode.FAIL
    return ExitCode.INCONCLUSIVE if Standing.NOT_DECIDED in newest else ExitCode.PASS


def _run(chosen: Sequence[Claim], args: argparse.Namespace) -> ClaimTable:
    choose_accel(load_machine(args.machine, parse_params(args.param)), find_qemu(args.qemu))
    flavours = [f.strip() for words in args.flavour or [FLAVOURS] for f in words.split(",")]
    out = args.out or Path("hvlab-out") / datetime.datetime.now().strftime("claims-%Y%m%d-%H%M%S")
    args.flavour = None
    progress = TextProgress()
    deciding = tuple(claim.id for claim in chosen if claim.deciders)
    if not deciding:
        return judge.table(chosen, (("base", ()), (args.series or embedded_series().name, ())))
    request = ValidateRequest(
        selectors=selectors_of(args, series=args.series or str(embedded_series())),
        flavours=tuple(dict.fromkeys(filter(None, flavours))),
        out=out.resolve(),
        machine=args.machine,
        params=tuple(args.param),
        embedded=args.series is None,
        whole=args.whole_kernel,
        claims=deciding,
        races=RecipesUnderTest(load_recipes(recipes_dir())),
    )
    result = validate(request, progress)
    write_reports(result, request.out)
    print(f"report   {out}/report.html, {out}/result.json", file=sys.stderr)
    base = [r for r in result.runs if r.side == "base"]
    patched = [r for r in result.runs if r.side == "patched"]
    return judge.table(chosen, ((result.base_version, base), (result.series_name, patched)))


def _read(chosen: Sequence[Claim], results: Sequence[Path]) -> ClaimTable:
    """Results of the same kernel are taken together, whatever flavours they are of; bases come first."""
    bases: dict[str, list[KernelRun]] = {}
    patched: dict[str, list[KernelRun]] = {}
    for path in results:
        try:
            values = json.loads(path.read_text())
            (base, base_runs), (series, runs) = result_read.kernels(values)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            raise BadInput(
                f"not a result of hvlab validate: {type(e).__name__}: {e}",
                where=str(path),
                hint="give the result.json of an output folder",
            ) from e
        bases.setdefault(base, []).extend(base_runs)
        patched.setdefault(series, []).extend(runs)
    return judge.table(chosen, (*bases.items(), *patched.items()))
