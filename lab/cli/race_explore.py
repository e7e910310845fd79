# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab race stress``, ``explore`` and ``replay``: races without a stated order, and findings again."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from lab.cli.selectors import add_kernel_selectors, selectors_of
from lab.model.errors import BadInput, ExitCode
from lab.model.mutant import SERIES
from lab.model.race import Actor, Outcome, Proof, Recipe, Setup, Side
from lab.progress import TextProgress
from lab.race.bundle import REPLAYS, check_free, load, replay, save
from lab.race.explore import CHANGES, REMOVERS, Exploration, Explorer, Finding
from lab.race.kernels import RaceKernels
from lab.race.recipes import SUFFIX, named
from lab.race.runner import RaceRunner
from lab.race.schedules import to_toml
from lab.race.stats import wilson
from lab.race.stress import HELD_ONLY, MANNERS, Budget, Count, Stress
from lab.validate.kernels import open_cache

_SECONDS = 60.0
SCHEDULES = 200
DEFAULT = Recipe(
    id="explored",
    title="a touch and a removal",
    claims=(),
    wording="A VP touches a page while the VMM removes the region.",
    setup=Setup(),
    actors=(Actor("vp", comm="vp-0", does=("touch 1",)), Actor("vmm", comm="mshv-vmm", does=("remove",))),
    order=(),
    proof=Proof(pages_left=True, pages_left_held=True),
    racy=Side(series=SERIES),
    fixed=None,
)
"""What is explored when functions or a mutant are named, and no recipe."""


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

    explore = inner.add_parser(
        "explore",
        help="look for an order that shows a race",
        description="Seeded schedules over the lines of functions: who goes first, and where he stands back. "
        "The first that fails is cut down to a recipe.",
        epilog="exit codes: 0 no schedule fails, 1 one does, 2 bad input, 3 schedules could not be judged, "
        "4 the lab could not run",
    )
    explore.add_argument(
        "functions", nargs="*", metavar="FUNCTION", help="of the driver (default: those that patches touch)"
    )
    explore.add_argument("--recipe", metavar="RECIPE", help="setup, actors and proof; its order is ignored")
    explore.add_argument("--side", choices=("racy", "fixed"), default="racy", help="kernel of the recipe")
    explore.add_argument("--mutant", metavar="M", help="the kernel is the series with this mutant")
    explore.add_argument(
        "--removal",
        choices=REMOVERS,
        help=f"what the VMM does without --recipe (default: {REMOVERS[0]})",
    )
    explore.add_argument(
        "--schedules", type=int, default=SCHEDULES, metavar="N", help="at most (default: %(default)s)"
    )
    explore.add_argument(
        "--changes",
        type=int,
        default=CHANGES,
        metavar="D",
        help="change points at most (default: %(default)s)",
    )
    explore.add_argument("--count", action="store_true", help="play all schedules, also behind a failing one")
    _add_seed(explore)
    explore.add_argument("--save", type=Path, metavar="DIR", help="write a bundle of the finding there")
    explore.add_argument(
        "--write", type=Path, metavar="FILE", help="write the finding's recipe there (default: print it)"
    )
    explore.add_argument("--json", action="store_true", help="print JSON")
    add_kernel_selectors(explore, series_option=False)
    explore.set_defaults(run=run_explore)

    again = inner.add_parser(
        "replay",
        help="the order of a saved bundle again, in fresh labs",
        description="Outcome and order of events are compared, not every instruction.",
        epilog="exit codes: 0 the same outcome every time, 1 another one, 2 bad input, 3 an attempt could "
        "not be judged, 4 the lab could not run",
    )
    again.add_argument("bundle", type=Path, metavar="BUNDLE", help="a folder that --save has written")
    again.add_argument("--times", type=int, default=REPLAYS, metavar="N", help="(default: %(default)s)")
    again.add_argument("--json", action="store_true", help="print JSON")
    add_kernel_selectors(again, series_option=False)
    again.set_defaults(run=run_replay)


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


def run_explore(args: argparse.Namespace) -> ExitCode:
    """Explore, and print what came of it."""
    if args.schedules < 1 or args.changes < 1:
        raise BadInput("--schedules and --changes must be 1 or more")
    if not args.functions and not args.recipe and not args.mutant:
        raise BadInput("nothing to explore is named", hint="functions, --recipe or --mutant")
    if args.write is not None and args.write.suffix != SUFFIX:
        raise BadInput(f"a recipe's file ends in {SUFFIX}", where=str(args.write))
    if args.save is not None:
        check_free(args.save)
    touch, remove = DEFAULT.actors
    remove = dataclasses.replace(remove, does=(args.removal or REMOVERS[0],))
    default = dataclasses.replace(
        DEFAULT,
        actors=(touch, remove),
        racy=Side(mutant=args.mutant) if args.mutant else DEFAULT.racy,
        fixed=DEFAULT.racy if args.mutant else None,
    )
    recipe = named(args.recipe) if args.recipe else default
    side = recipe.racy
    if args.recipe and (args.mutant or args.removal):
        raise BadInput("--recipe names kernel and actions already", hint="leave --mutant and --removal out")
    if args.side == "fixed":
        if recipe.fixed is None:
            raise BadInput("the recipe has no fixed kernel", where=recipe.where)
        side = recipe.fixed
    explorer = Explorer(
        _runner(args), recipe, side, _seed(args), tuple(args.functions), args.changes, args.count
    )
    said = explorer.run(args.schedules)
    finding = said.finding
    text = to_toml(finding.recipe) if finding is not None and finding.recipe is not None else ""
    if text and args.write is not None:
        args.write.write_text(text)
    if args.save is not None and finding is not None and finding.recipe is not None and finding.attempt:
        save(
            args.save,
            finding.recipe,
            "racy",
            finding.attempt,
            explorer.runner,
            seed=explorer.seed,
            schedule=f"schedule {finding.number} of at most {args.changes} changes: {finding.schedule}",
        )
    if args.json:
        print(json.dumps(exploration_json(said, text), indent=1))
    else:
        print("\n".join(explored(said)))
        if text:
            print(f"recipe written to {args.write}" if args.write else f"\n{text}", end="\n")
    if finding is not None:
        return ExitCode.FAIL
    return ExitCode.INCONCLUSIVE if said.lost * 10 > said.played else ExitCode.PASS


def explored(said: Exploration) -> list[str]:
    """An exploration for people."""
    traces = ", ".join(f"{name} passes {count}" for name, count in said.traces.items())
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(said.outcomes.items()))
    lines = [
        f"explored {said.side}, seed {said.seed}: {said.hits} of {said.played} schedules fail, "
        f"95 %: {wilson(said.hits, said.played)}",
        f"  {said.points} lines of {len(said.functions)} functions; {traces}",
        f"  {said.per_minute:.0f} schedules/min, {said.seconds:.1f} s, {said.labs} labs; {counts}",
        *(f"      {count} times: {reason}" for reason, count in said.reasons.most_common(3)),
    ]
    if said.finding is None:
        return lines
    finding = said.finding
    lines += [f"  schedule {finding.number}: {finding.schedule}", f"      {finding.evidence}"]
    if finding.recipe is None:
        return [*lines, f"      its order alone does not bring it back: {finding.why}"]
    lines.append(f"  cut down from {finding.steps} to {len(finding.recipe.order)} steps:")
    lines += [f"      {n}. {step.actor} is at {step.at}" for n, step in enumerate(finding.recipe.order, 1)]
    for side in _confirmed(finding):
        counts = ", ".join(f"{count} {outcome}" for outcome, count in side["outcomes"].items())
        lines.append(f"      forced in {side['of']} fresh labs, {side['kernel']}: {counts}")
    return lines


def _confirmed(finding: Finding) -> list[dict[str, Any]]:
    """What came of forcing the order in labs of its own, on each kernel."""
    if finding.confirmed is None:
        return []
    return [
        {
            "kernel": str(side.side),
            "of": len(side.attempts),
            "outcomes": {o.value: side.count(o) for o in Outcome if side.count(o)},
        }
        for side in (finding.confirmed.racy, finding.confirmed.fixed)
        if side is not None
    ]


def exploration_json(said: Exploration, text: str) -> dict[str, Any]:
    """An exploration for programs. ``text``: the finding's recipe."""
    finding = said.finding
    return {
        "kernel": str(said.side),
        "seed": said.seed,
        "functions": list(said.functions),
        "points": said.points,
        "traces": said.traces,
        "played": said.played,
        "hits": said.hits,
        "lost": said.lost,
        "seconds": round(said.seconds, 1),
        "per_minute": round(said.per_minute, 1),
        "labs": said.labs,
        "outcomes": dict(said.outcomes),
        "reasons": dict(said.reasons),
        "finding": None
        if finding is None
        else {
            "schedule": finding.number,
            "words": finding.schedule,
            "evidence": finding.evidence,
            "why": finding.why,
            "confirmed": _confirmed(finding),
            "recipe": text or None,
        },
    }


def run_replay(args: argparse.Namespace) -> ExitCode:
    """Force a bundle's order again, and compare."""
    if args.times < 1:
        raise BadInput("--times must be 1 or more")
    found = replay(load(args.bundle), _runner(args), args.times)
    bundle, of = found.bundle, len(found.attempts)
    if args.json:
        said = {
            "id": bundle.recipe.id,
            "kernel": str(bundle.kernel_side()),
            "mode": "outcome only",
            "outcome": bundle.outcome.value,
            "same_outcome": found.same_outcome,
            "same_order": found.same_order,
            "of": of,
            "changed": list(found.changed),
            "outcomes": [attempt.outcome.value for attempt in found.attempts],
        }
        print(json.dumps(said, indent=1))
    else:
        print(f"{bundle.recipe.id} on {bundle.kernel_side()}: {bundle.outcome} when it was saved")
        print(f"  the same outcome in {found.same_outcome} of {of}, 95 %: {wilson(found.same_outcome, of)}")
        print(f"  and the same order of events in {found.same_order} of {of}")
        print("\n".join(f"  not the same: {text}" for text in found.changed) or "  made of the same parts")
        print("  mode: outcome only; registers and memory are not compared")
    if any(attempt.outcome is Outcome.BROKEN for attempt in found.attempts):
        return ExitCode.INCONCLUSIVE
    return ExitCode.PASS if found.same_outcome == of else ExitCode.FAIL


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
