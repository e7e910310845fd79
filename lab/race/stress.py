# SPDX-License-Identifier: GPL-2.0-or-later
"""The actions of a recipe without its order, again and again: how often does the race come about by itself?

Plain stress lets the VMM begin all actions one right behind the other and leaves the rest to the scheduler.
Perturbed stress keeps threads at the recipe's points for random times. Both count, on both kernels.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lab.model.errors import GuestDied, LabError
from lab.model.race import Outcome, Recipe, Side
from lab.race.kernels import RaceKernel
from lab.race.perturb import Perturber
from lab.race.runner import RaceRunner
from lab.race.stage import Request, request_text
from lab.race.stats import Interval, wilson
from lab.race.theatre import Theatre, check_repeatable

Manner = Literal["plain", "perturbed"]
MANNERS: tuple[Manner, ...] = ("plain", "perturbed")
HELD_ONLY = (
    "the proof is a state while somebody is held, which nobody sees without a hold: counted is what a look "
    "from outside finds after the removal has returned and before the region is made anew"
)
_ACTION = 10.0
_LONGEST_LEAD: dict[Manner, int] = {"plain": 12, "perturbed": 80}
"""Milliseconds that the first action may be ahead of the next, at most: a VP takes some to get to the driver,
more under a debugger."""
_MOST_LABS_LOST = 5


@dataclass(frozen=True, slots=True)
class Count:
    """What one manner of stress did on one kernel. ``lost`` rounds could not be judged."""

    side: Side
    manner: Manner
    hits: int
    rounds: int
    lost: int
    seconds: float
    first: int
    """Number of the first round that hit, 0 when none did."""
    evidence: str
    labs: int
    delays: int

    @property
    def interval(self) -> Interval:
        """Of the probability that a round hits."""
        return wilson(self.hits, self.rounds)


@dataclass(frozen=True, slots=True)
class Budget:
    """When to stop, whichever comes first; None for no bound."""

    rounds: int | None
    seconds: float | None

    def spent(self, rounds: int, seconds: float) -> bool:
        """Whether it is used up."""
        return (self.rounds is not None and rounds >= self.rounds) or (
            self.seconds is not None and seconds >= self.seconds
        )


@dataclass
class Stress:
    """Stress for one recipe. ``seed`` decides all that is left to chance here; not what the guest does."""

    runner: RaceRunner
    recipe: Recipe
    seed: int
    on_count: Callable[[Count], None] = lambda count: None

    def check(self) -> None:
        """BadInput for what can be told before anything is built."""
        self.runner.check(self.recipe)
        check_repeatable(self.recipe.actors, self.recipe.where)

    def run(self, budget: Budget, manners: tuple[Manner, ...] = MANNERS) -> list[Count]:
        """Every manner on every kernel of the recipe, each within the budget. LabError."""
        self.check()
        found = []
        for side in (self.recipe.racy, *([self.recipe.fixed] if self.recipe.fixed else [])):
            kernel = self.runner.kernels.kernel(side, self.recipe.setup.flavour, self.recipe.where)
            for manner in manners:
                count = self.count(side, kernel, manner, budget)
                self.on_count(count)
                found.append(count)
        return found

    def count(self, side: Side, kernel: RaceKernel, manner: Manner, budget: Budget) -> Count:
        """One manner on one kernel. The time that labs take to boot does not count."""
        rng = random.Random(f"{self.seed}:{manner}")
        hits = rounds = lost = first = labs = delays = 0
        evidence, spent = "", 0.0
        theatre: Theatre | None = None
        try:
            while not budget.spent(rounds, spent) and lost < _MOST_LABS_LOST:
                if theatre is None or theatre.worn():
                    if theatre is not None:
                        theatre.close()
                    theatre = Theatre.open(self.runner, self.recipe, kernel)
                    labs += 1
                began = time.monotonic()
                try:
                    seen, kept = self._round(theatre, manner, rng)
                except LabError as e:
                    lost += 1
                    theatre.spoilt = str(e).splitlines()[0]
                    if isinstance(e, GuestDied) and self.recipe.proof.splat and _dies_of(theatre):
                        seen, kept, lost = [theatre.spoilt], 0, lost - 1
                    else:
                        spent += time.monotonic() - began
                        continue
                spent += time.monotonic() - began
                rounds, delays = rounds + 1, delays + kept
                if seen:
                    hits += 1
                    first, evidence = first or rounds, evidence or seen[0]
                if rounds % 50 == 0:
                    text = f"{manner} on {side}: {hits} of {rounds}"
                    self.runner.progress.step(rounds, budget.rounds, text)
        finally:
            if theatre is not None:
                theatre.close()
        return Count(side, manner, hits, rounds, lost, round(spent, 1), first, evidence, labs, delays)

    def _round(self, theatre: Theatre, manner: Manner, rng: random.Random) -> tuple[list[str], int]:
        """What was seen, and how often somebody was delayed."""
        theatre.let_run() if manner == "perturbed" else theatre.leave_gdb()
        theatre.renew()
        return self._perturbed(theatre, rng) if manner == "perturbed" else (self._plain(theatre, rng), 0)

    def _plain(self, theatre: Theatre, rng: random.Random) -> list[str]:
        stage = theatre.stage
        stage.child.repeat(1, self._requests(theatre, rng, "plain"), _ACTION)
        return self._seen(theatre, stage.pages_left())

    def _requests(self, theatre: Theatre, rng: random.Random, manner: Manner) -> list[str]:
        """The actions as one line for the VMM; the first has a random lead."""
        stage = theatre.stage
        requests = [request_text(words, stage) for a in self.recipe.actors for words in a.does]
        if theatre.idle is None:
            theatre.idle = stage.child.new_event()
        if lead := rng.randrange(_LONGEST_LEAD[manner] + 1):
            # Nobody signals this event: to read it is to wait.
            requests.insert(1, f"event read {theatre.idle} {lead}")
        return requests

    def _perturbed(self, theatre: Theatre, rng: random.Random) -> tuple[list[str], int]:
        stage, recipe = theatre.stage, self.recipe
        points = [
            (step, theatre.resolver.resolve(step.at, recipe.where))
            for step in recipe.order
            if not step.at.done and step.at.hypercall is None
        ]
        requests = self._requests(theatre, rng, "perturbed")
        action = Request(lambda: stage.child.repeat(1, requests, _ACTION))
        held = [0]

        def look() -> None:
            # The VMM has answered: what is there now must not be there, whoever is still on his way.
            if action.ended():
                held[0] = max(held[0], stage.pages_left())

        theatre.halt()
        play = Perturber(
            gdb=theatre.gdb,
            tasks=theatre.tasks,
            memory=theatre.memory,
            actors={actor.name: actor for actor in recipe.actors},
            order=points,
            actions={"lab": action},
            stubs=theatre.stubs,
            watch=lambda: theatre.lab.watch.check("the round"),
            rng=rng,
            over=action.ended,
            on_tick=look,
        )
        attempt = play.run()
        look()
        theatre.let_run()
        if attempt.outcome is Outcome.BROKEN:
            raise LabError(attempt.reason)
        if said := action.error():
            raise LabError(said)
        return self._seen(theatre, held[0]), play.delays

    def _seen(self, theatre: Theatre, held: int) -> list[str]:
        """What of the proof is there after a round."""
        proof, seen = self.recipe.proof, []
        if wrong := theatre.collect():
            raise LabError(wrong[0])
        if proof.pages_left_held and held:
            seen.append(f"{held} pages of the region are in the child's SLAT after the removal has returned")
        if proof.pages_left and (left := theatre.stage.pages_left()):
            seen.append(f"{left} pages of the region are in the child's SLAT when all is over")
        splats = theatre.splats()
        if proof.splat:
            seen += splats
        return seen


def _dies_of(theatre: Theatre) -> bool:
    """Whether a dead guest has complained before."""
    return bool(theatre.runner.complaints(theatre.lab, theatre.log))
