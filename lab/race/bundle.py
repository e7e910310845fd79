# SPDX-License-Identifier: GPL-2.0-or-later
"""A finding as a folder: the recipe, what came of it, and on what exactly; and the same again elsewhere.

A replay forces the same order in fresh labs and compares outcome and order of events. It is no replay of
every instruction: see docs/races-explore.md for why there is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lab
from lab.build.standin import build_standin
from lab.hashing import file_sha256
from lab.machine.qemu import find_qemu
from lab.model.errors import BadInput
from lab.model.race import Attempt, Outcome, Recipe, Side
from lab.race.kernels import RaceKernel
from lab.race.recipes import load as load_recipe
from lab.race.runner import RaceRunner
from lab.race.schedules import to_toml
from lab.source.lockfile import dumps

RECIPE, FACTS, LOCK, README = "recipe.toml", "bundle.json", "source.lock", "README"
FORMAT = 1
REPLAYS = 10

Order = tuple[tuple[str, str], ...]
"""Actor and what he did, one after the other."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a folder holds. ``side``: which kernel of the recipe; ``seed`` is None for a forced recipe."""

    recipe: Recipe
    side: str
    outcome: Outcome
    events: Order
    hashes: Mapping[str, str]
    seed: int | None
    schedule: str

    def kernel_side(self) -> Side:
        """The kernel that it was seen on."""
        side = self.recipe.racy if self.side == "racy" else self.recipe.fixed
        assert side is not None
        return side


@dataclass(frozen=True, slots=True)
class Replay:
    """Attempts of a replay, and what is not as it was: ``changed`` says which hash, and from what to what."""

    bundle: Bundle
    attempts: tuple[Attempt, ...]
    changed: tuple[str, ...]

    @property
    def same_outcome(self) -> int:
        """Attempts that ended as the one in the bundle."""
        return sum(attempt.outcome is self.bundle.outcome for attempt in self.attempts)

    @property
    def same_order(self) -> int:
        """Attempts with the same outcome and the same events in the same order."""
        return sum(
            attempt.outcome is self.bundle.outcome and order_of(attempt) == self.bundle.events
            for attempt in self.attempts
        )


def order_of(attempt: Attempt) -> Order:
    """Events without their times and CPUs, which differ from run to run."""
    return tuple((event.actor, event.what) for event in attempt.events)


def hashes(runner: RaceRunner, kernel: RaceKernel) -> dict[str, str]:
    """What a run was made of. LabError where something is not at hand."""
    image = kernel.image
    found = {
        "lab": lab.__version__,
        "kernel": image.key,
        "bzImage sha256": file_sha256(image.bzimage),
        "source": kernel.source.key,
        "series": kernel.applied.key if kernel.applied is not None else "",
        "stand-in": build_standin(runner.kernels.cache).key,
        "qemu": find_qemu(runner.qemu).text,
    }
    return found | {f"{module.name} sha256": file_sha256(module) for module in image.modules}


def check_free(folder: Path) -> None:
    """BadInput when there is something in the way of a new bundle."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput("there is something already", where=str(folder), hint="name a new folder")


def save(
    folder: Path,
    recipe: Recipe,
    side: str,
    attempt: Attempt,
    runner: RaceRunner,
    *,
    seed: int | None = None,
    schedule: str = "",
) -> None:
    """Write a folder that :func:`load` reads; BadInput when there is something already."""
    check_free(folder)
    bundle = Bundle(recipe, side, attempt.outcome, order_of(attempt), {}, seed, schedule)
    kernel = runner.kernels.kernel(bundle.kernel_side(), recipe.setup.flavour, recipe.where)
    bundle = replace(bundle, hashes=hashes(runner, kernel))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECIPE).write_text(to_toml(recipe))
    (folder / LOCK).write_text(dumps(kernel.source.lock))
    (folder / FACTS).write_text(json.dumps(to_json(bundle, attempt), indent=1) + "\n")
    (folder / README).write_text(readme(bundle))


def load(folder: Path) -> Bundle:
    """A saved folder. BadInput names what is wrong with it."""
    where = str(folder / FACTS)
    try:
        data = json.loads((folder / FACTS).read_text())
    except (OSError, ValueError) as e:
        raise BadInput(f"not a bundle: {e}", where=where) from e
    recipe = load_recipe(folder / RECIPE)
    try:
        if data["format"] != FORMAT:
            raise BadInput(f"format {data['format']!r}, this lab knows {FORMAT}", where=where)
        bundle = Bundle(
            recipe=replace(recipe, id=str(data["id"])),
            side=str(data["side"]),
            outcome=Outcome(data["outcome"]),
            events=tuple((str(e["actor"]), str(e["what"])) for e in data["events"]),
            hashes={str(name): str(value) for name, value in data["hashes"].items()},
            seed=None if data["seed"] is None else int(data["seed"]),
            schedule=str(data["schedule"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise BadInput(f"not a bundle: {type(e).__name__}: {e}", where=where) from e
    if bundle.side not in ("racy", "fixed") or (bundle.side == "fixed" and recipe.fixed is None):
        raise BadInput(f"no kernel {bundle.side!r} in the recipe", where=where)
    return bundle


def to_json(bundle: Bundle, attempt: Attempt) -> dict[str, Any]:
    """What goes into bundle.json."""
    return {
        "format": FORMAT,
        "id": bundle.recipe.id,
        "side": bundle.side,
        "kernel": str(bundle.kernel_side()),
        "outcome": bundle.outcome.value,
        "reason": attempt.reason,
        "evidence": list(attempt.evidence),
        "seed": bundle.seed,
        "schedule": bundle.schedule,
        "hashes": dict(bundle.hashes),
        "notes": list(attempt.notes),
        "holds": {name: kind.value for name, kind in attempt.holds.items()},
        "events": [{"at": e.at, "actor": e.actor, "what": e.what, "cpu": e.cpu} for e in attempt.events],
    }


def readme(bundle: Bundle) -> str:
    """How to get there again, for whoever finds the folder."""
    lines = [
        f"{bundle.recipe.id}: {bundle.recipe.title}",
        "",
        f"Outcome on {bundle.kernel_side()}: {bundle.outcome}.",
        *([f"Seed {bundle.seed}: {bundle.schedule}", ""] if bundle.seed is not None else [""]),
        f"With hvlab {bundle.hashes.get('lab', '?')} and QEMU {bundle.hashes.get('qemu', '?')}:",
        "",
        f"  hvlab race replay --base lock:{LOCK} .",
        "",
        "builds the same kernel (the lock file names its source, the recipe what is on top), forces the",
        f"order in fresh labs, and says what of {FACTS} is not the same any more. The recipe alone runs with",
        "",
        f"  hvlab race run {RECIPE}",
        "",
    ]
    return "\n".join(lines)


def changed(saved: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """What is not the same, in words."""
    return tuple(
        f"{name}: {saved.get(name, 'nothing')} then, {now.get(name, 'nothing')} now"
        for name in dict.fromkeys((*saved, *now))
        if saved.get(name) != now.get(name)
    )


def replay(bundle: Bundle, runner: RaceRunner, times: int) -> Replay:
    """Force it so many times, each in a lab of its own. LabError."""
    runner.check(bundle.recipe)
    side = bundle.kernel_side()
    kernel = runner.kernels.kernel(side, bundle.recipe.setup.flavour, bundle.recipe.where)
    differs = changed(bundle.hashes, hashes(runner, kernel))
    return Replay(bundle, runner.side(bundle.recipe, side, times).attempts, differs)
