# SPDX-License-Identifier: GPL-2.0-or-later
"""Recipes as what notices a mutant: where it takes an order of threads, no scenario comes upon it."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.model.errors import LabError
from lab.model.race import Outcome, Recipe
from lab.race.runner import RaceRunner, SideResult

ATTEMPTS = 2
"""On each kernel. Both must agree: an order that comes about by force does so every time."""


@dataclass
class Recipes:
    """The recipes of some mutants; what the fixed kernels do is asked once each."""

    runner: RaceRunner
    recipes: tuple[Recipe, ...]
    _fixed: dict[str, str] = field(default_factory=dict)

    def notice(self, mutant: str) -> tuple[str, str] | None:
        """(who noticed, what was seen) when a recipe of this mutant reaches its race, and its fixed twin does
        not; None when there is no recipe, or it does not."""
        for recipe in self.recipes:
            if recipe.racy.mutant != mutant or recipe.fixed is None:
                continue
            try:
                racy = self.runner.side(recipe, recipe.racy, ATTEMPTS)
                if racy.count(Outcome.REACHED) < ATTEMPTS or self._fixed_fails(recipe):
                    continue
            except LabError:
                continue
            seen = "; ".join(racy.attempts[0].evidence[:2])
            return f"race {recipe.id}", seen
        return None

    def _fixed_fails(self, recipe: Recipe) -> bool:
        """Whether the kernel without the mutant shows the same, or cannot be judged."""
        if recipe.id not in self._fixed:
            assert recipe.fixed is not None
            side: SideResult = self.runner.side(recipe, recipe.fixed, ATTEMPTS)
            good = side.count(Outcome.CLEAN, Outcome.BLOCKED) == ATTEMPTS
            self._fixed[recipe.id] = "" if good else "the fixed kernel is no better"
        return bool(self._fixed[recipe.id])
