# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab race stress``, ``explore`` and ``replay``: races without a stated order, and findings again."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from lab.cli.selectors import add_kernel_selectors, selectors_of
from lab.model.errors import BadInput, ExitCode
from lab.progress import TextProgress
from lab.race.kernels import RaceKernels
from lab.race.recipes import named
from lab.race.runner import RaceRunner
from lab.race.stress import HELD_ONLY, MANNERS, Budget, Count, Stress
from lab.validate.kernels import open_cache

_SECONDS = 60.0


def add_verbs(inner: Any) -> None:
    """Register the verbs below ``race``."""
    stress = inner.add_parser(
        "stress",
        help="the actions of a recipe again and again, without its order",
        description="How often does the race come about by itself (plain), and with threads kept at the "
        "recipe's points for random times (perturbed)? On the racy and on the fixed kernel.",
        epilog="exit codes: 0 counted, and nothing on the fixed kernel, 1 the fixed kernel was hit, 2 bad "
        "input, 3 more than a tenth of the rounds could not be judged, 4 the lab could not run",
    )
    stress.add_argument("recipe", metavar="RECIPE", help="name, or file")
    stress.add_argument("--rounds", type=int, metavar="N", help="of each manner on each kernel")
    stress.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help=f"of each manner on each kernel (default: {_SECONDS:g}, unless --rounds is given)",
    )
    stress.add_argument("--only", choices=MANNERS, help="one manner instead of both")
    _add_seed(stress)
    stress.add_argument("--json", action="store_true", help="print JSON instead of the table")
    add_kernel_selectors(stress, series_option=False)
    stress.set_defaults(run=run_stress)


def _add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, metavar="S", help="of all that is left to chance (default: new)")


def _seed(args: argparse.Namespace) -> int:
    return args.seed if args.seed is not None else time.time_ns() % 1_000_000


def _runner(args: argparse.Namespace) -> RaceRunner:
    progress = TextProgress()
    return RaceRunner(RaceKernels(selectors_of(args), open_cache(), progress), progress, args.qemu)


def run_stress(args: argparse.Namespace) -> ExitCode:
    """Count, and print both kernels side by side."""
    if args.rounds is not None and args.rounds < 1:
        raise BadInput("--rounds must be 1 or more")
    if args.seconds is not None and args.seconds <= 0:
        raise BadInput("--seconds must be more than 0")
    recipe = named(args.recipe)
    seconds = args.seconds if args.seconds is not None or args.rounds is not None else _SECONDS
    stress = Stress(_runner(args), recipe, _seed(args))
    counts = stress.run(Budget(args.rounds, seconds), (args.only,) if args.only else MANNERS)
    note = HELD_ONLY if recipe.proof.pages_left_held else ""
    if args.json:
        said = {"id": recipe.id, "seed": stress.seed, "note": note, "counts": [count_json(c) for c in counts]}
        print(json.dumps(said, indent=1))
    else:
        print(f"{recipe.id}, seed {stress.seed}")
        print("\n".join(side_by_side(counts)))
        if note:
            print(f"  note: {note}")
    if any(count.lost * 10 > count.rounds for count in counts):
        return ExitCode.INCONCLUSIVE
    return ExitCode.FAIL if any(c.hits for c in counts if c.side == recipe.fixed) else ExitCode.PASS


def side_by_side(counts: list[Count]) -> list[str]:
    """A row for each manner, a column for each kernel."""
    sides = list(dict.fromkeys(str(count.side) for count in counts))
    width = max(44, *(len(side) + 2 for side in sides))
    lines = [f"  {'':<11}" + "".join(f"{side:<{width}}" for side in sides).rstrip()]
    for manner in dict.fromkeys(count.manner for count in counts):
        row = {str(count.side): count for count in counts if count.manner == manner}
        cells = [[*_cells(row[side])] if side in row else [] for side in sides]
        for line in range(max(map(len, cells))):
            text = "".join(f"{cell[line] if line < len(cell) else '':<{width}}" for cell in cells)
            lines.append(f"  {manner if line == 0 else '':<11}{text}".rstrip())
    return lines


def _cells(count: Count) -> list[str]:
    cells = [
        f"{count.hits} of {count.rounds}, 95 %: {count.interval}",
        f"{_rate(count):.1f} rounds/s, {count.seconds:g} s, {count.labs} labs",
    ]
    if count.first:
        cells.append(f"first hit in round {count.first}")
    if count.lost:
        cells.append(f"{count.lost} rounds lost")
    return cells


def _rate(count: Count) -> float:
    return count.rounds / count.seconds if count.seconds else 0.0


def count_json(count: Count) -> dict[str, Any]:
    """One count for programs."""
    return {
        "kernel": str(count.side),
        "manner": count.manner,
        "hits": count.hits,
        "rounds": count.rounds,
        "low": count.interval.low,
        "high": count.interval.high,
        "lost": count.lost,
        "seconds": count.seconds,
        "first": count.first,
        "evidence": count.evidence,
        "labs": count.labs,
        "delays": count.delays,
    }
