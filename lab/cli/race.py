# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab race``: a stated order of threads, forced on a racy and on a fixed kernel."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from lab.cli import race_explore
from lab.cli.race_export import add_export, add_from_splat
from lab.cli.selectors import add_kernel_selectors, selectors_of
from lab.model.errors import BadInput, ExitCode
from lab.model.race import Attempt, Outcome, Recipe
from lab.progress import TextProgress
from lab.race import bundle
from lab.race.diagram import lanes, svg
from lab.race.kernels import RaceKernels
from lab.race.recipes import load_all, named, recipes_dir
from lab.race.runner import RaceRunner, RecipeResult, SideResult
from lab.validate.kernels import open_cache

ATTEMPTS = 5


def add_verbs(verbs: Any) -> None:
    """Register ``race`` and its verbs."""
    parser = verbs.add_parser(
        "race",
        help="force a reported race: every time on the racy kernel, never on the fixed one",
        description="Recipes of tests/races say in which order which threads get where, and what shows it.",
    )
    inner = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    run = inner.add_parser(
        "run",
        help="try recipes",
        description="Each attempt is a lab of its own. The racy kernel must reach the race in every attempt, "
        "the fixed one in none.",
        epilog="exit codes: 0 every recipe does what it says, 1 one does not, 2 bad input, 3 an attempt "
        "could not be judged, 4 the lab could not run",
    )
    run.add_argument("recipes", nargs="*", metavar="RECIPE", help="name, or file")
    run.add_argument("--all", action="store_true", help="every recipe of tests/races")
    run.add_argument(
        "--attempts", type=int, default=ATTEMPTS, metavar="N", help="on each kernel (default: %(default)s)"
    )
    run.add_argument("--save", type=Path, metavar="DIR", help="write a bundle of each recipe below DIR")
    run.add_argument(
        "--out", type=Path, metavar="DIR", help="write result.json and a picture of each recipe's kernels"
    )
    run.add_argument("--json", action="store_true", help="print JSON instead of the table")
    add_kernel_selectors(run, series_option=False)
    run.set_defaults(run=run_recipes)
    show = inner.add_parser("show", help="what a recipe says", description="Print recipes, in words.")
    show.add_argument("recipes", nargs="*", metavar="RECIPE", help="name, or file (default: all)")
    show.set_defaults(run=run_show)
    add_export(inner, chosen)
    add_from_splat(inner)
    race_explore.add_verbs(inner)


def chosen(names: list[str]) -> tuple[Recipe, ...]:
    """Recipes by name or file; all of the lab's own without a name. BadInput."""
    if not names:
        return load_all(recipes_dir())
    return tuple(named(name) for name in names)


def run_recipes(args: argparse.Namespace) -> ExitCode:
    """Try them, and print the table as it grows."""
    if not args.recipes and not args.all:
        raise BadInput("no recipe is named", hint="hvlab race run --all, or see hvlab race show")
    if args.attempts < 1:
        raise BadInput("--attempts must be 1 or more")
    recipes = chosen([] if args.all else args.recipes)
    progress = TextProgress()
    runner = RaceRunner(RaceKernels(selectors_of(args), open_cache(), progress), progress, args.qemu)
    for recipe in recipes:
        runner.check(recipe)
        if args.save is not None:
            bundle.check_free(args.save / recipe.id)
    results = []
    for recipe in recipes:
        result = runner.run(recipe, args.attempts)
        results.append(result)
        if args.save is not None:
            save_first(result, args.save / recipe.id, runner)
        if not args.json:
            print("\n".join(told(result)), flush=True)
    if args.out is not None:
        write(results, args.out)
    if args.json:
        print(json.dumps({"recipes": [as_json(result) for result in results]}, indent=1))
    if any(_broken(result) for result in results):
        print("hvlab: an attempt broke off, so nothing can be said of it", file=sys.stderr)
        return ExitCode.INCONCLUSIVE
    return ExitCode.PASS if all(result.shown for result in results) else ExitCode.FAIL


def save_first(result: RecipeResult, folder: Path, runner: RaceRunner) -> None:
    """A bundle of the first attempt that reached the race; of the first one when none did."""
    attempts = result.racy.attempts
    attempt = next((a for a in attempts if a.outcome is Outcome.REACHED), attempts[0])
    bundle.save(folder, result.recipe, "racy", attempt, runner)


def write(results: list[RecipeResult], folder: Path) -> None:
    """``result.json``, and a space-time diagram of the first attempt on each kernel. BadInput."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"recipes": [as_json(result) for result in results]}, indent=1)
        (folder / "result.json").write_text(text + "\n")
        for result in results:
            actors = [actor.name for actor in result.recipe.actors]
            for name, side in (("racy", result.racy), ("fixed", result.fixed)):
                if side is not None and side.attempts:
                    title = f"{result.recipe.id} on {side.side}"
                    picture = svg(side.attempts[0], actors, title)
                    (folder / f"{result.recipe.id}-{name}.svg").write_text(picture + "\n")
    except OSError as e:
        raise BadInput(f"cannot write there: {e.strerror}", where=str(folder)) from e


def run_show(args: argparse.Namespace) -> ExitCode:
    """Print recipes in words."""
    for recipe in chosen(args.recipes):
        print("\n".join(in_words(recipe)))
    return ExitCode.PASS


def in_words(recipe: Recipe) -> list[str]:
    """What a recipe asks for."""
    claims = f" ({', '.join(recipe.claims)})" if recipe.claims else ""
    lines = [f"{recipe.id}{claims}: {recipe.title}", f"  {recipe.wording}"]
    for actor in recipe.actors:
        who = f"the task {actor.comm}" if actor.comm else "an interrupt"
        does = f", which does: {'; '.join(actor.does)}" if actor.does else ""
        lines.append(f"  {actor.name} is {who}{does}")
    for number, step in enumerate(recipe.order, 1):
        held = ", where the hypervisor holds it" if step.at.hypercall is not None else ""
        lines.append(f"  {number}. {step.actor} is at {step.at}{held}")
    lines.append(f"  racy: {recipe.racy}; fixed: {recipe.fixed or 'none'}")
    return lines


def told(result: RecipeResult) -> list[str]:
    """Some lines for people: counts, then the first attempt of each side."""
    lines = [f"{result.recipe.id}: {'as it says' if result.shown else 'NOT as it says'}, {result.seconds} s"]
    for name, side in (("racy", result.racy), ("fixed", result.fixed)):
        if side is None:
            continue
        counts = ", ".join(f"{side.count(o)} {o}" for o in Outcome if side.count(o))
        lines.append(f"  {name:5} ({side.side}): {counts} of {len(side.attempts)}{_median(side)}")
        if side.attempts:
            first = side.attempts[0]
            lines += [f"      {line}" for line in (*first.evidence[:2], first.reason, *first.notes) if line]
            lines += [f"      {line}" for line in lanes(first, [a.name for a in result.recipe.actors])]
    return lines


def _median(side: SideResult) -> str:
    seconds = [a.seconds for a in side.attempts if a.outcome is not Outcome.BROKEN]
    return f", median {statistics.median(seconds):.2f} s" if seconds else ""


def as_json(result: RecipeResult) -> dict[str, Any]:
    """One recipe for programs."""

    def side(found: SideResult | None) -> dict[str, Any] | None:
        if found is None:
            return None
        return {
            "kernel": str(found.side),
            "reached": found.count(Outcome.REACHED),
            "of": len(found.attempts),
            "outcomes": {o.value: found.count(o) for o in Outcome if found.count(o)},
            "attempts": [_attempt(attempt) for attempt in found.attempts],
        }

    return {
        "id": result.recipe.id,
        "claims": list(result.recipe.claims),
        "racy": side(result.racy),
        "fixed": side(result.fixed),
        "shown": result.shown,
        "seconds": result.seconds,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "outcome": attempt.outcome.value,
        "reason": attempt.reason,
        "seconds": attempt.seconds,
        "holds": {name: kind.value for name, kind in attempt.holds.items()},
        "evidence": list(attempt.evidence),
        "passed": attempt.passed,
        "foreign": attempt.foreign,
        "notes": list(attempt.notes),
        "events": [{"at": e.at, "actor": e.actor, "what": e.what, "cpu": e.cpu} for e in attempt.events],
    }


def _broken(result: RecipeResult) -> bool:
    sides = [result.racy, *([result.fixed] if result.fixed else [])]
    return any(side.count(Outcome.BROKEN) for side in sides)
