# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks for an order that shows a race, where nobody has stated one: seeded schedules over the lines of the
functions that a series touches, and the shortest order that a failing one comes down to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lab.model.errors import BadInput, LabError
from lab.model.race import Attempt, Outcome, Recipe, Side, Step
from lab.race.debuginfo import DebugInfo
from lab.race.kernels import RaceKernel
from lab.race.player import Player
from lab.race.points import Point
from lab.race.runner import RaceRunner, RecipeResult
from lab.race.schedules import Schedule, draw, merged, minimal
from lab.race.theatre import Theatre, check_repeatable
from lab.series import changed_lines

REMOVERS = ("remove", "munmap")
CHANGES = 2
"""Change points of a schedule, at most."""
CONFIRM = 3
"""Forks in which a finding is forced once more."""
_MINIMISE_BUDGET = 1.5
_MOST_LOST = 5

Table = list[tuple[Step, Point]]


@dataclass(frozen=True, slots=True)
class Finding:
    """A schedule that failed. ``recipe`` is the order that it comes down to, None when no order brings it
    back (``why`` says what came of forcing it); ``confirmed``: CONFIRM forks of each kernel."""

    number: int
    schedule: str
    evidence: str
    steps: int
    recipe: Recipe | None
    confirmed: RecipeResult | None
    why: str

    @property
    def attempt(self) -> Attempt | None:
        """A forced attempt that showed it."""
        forced = self.confirmed.racy.attempts if self.confirmed else ()
        return next((a for a in forced if a.outcome is Outcome.REACHED), None)


@dataclass
class Exploration:
    """What came of it. ``played`` schedules took ``seconds``, boots and calibration not counted."""

    recipe: Recipe
    side: Side
    seed: int
    functions: tuple[str, ...] = ()
    points: int = 0
    traces: dict[str, int] = field(default_factory=dict)
    played: int = 0
    lost: int = 0
    seconds: float = 0.0
    hits: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    """Why schedules did not get through."""
    finding: Finding | None = None
    first_hit: int | None = None
    labs: int = 0

    @property
    def per_minute(self) -> float:
        """Schedules per minute."""
        return 60 * self.played / self.seconds if self.seconds else 0.0


@dataclass
class Explorer:
    """``recipe`` gives setup, actors and proof; its order is not looked at. ``functions``: where points lie,
    those that the kernel's patches touch when empty."""

    runner: RaceRunner
    recipe: Recipe
    side: Side
    seed: int
    functions: tuple[str, ...] = ()
    changes: int = CHANGES
    go_on: bool = False
    """Play all schedules, also behind the first that fails: to count."""
    on_schedule: Callable[[int, Schedule, Attempt], None] = lambda number, schedule, attempt: None
    _theatre: Theatre | None = None
    _table: Table = field(default_factory=list)
    _traces: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def check(self) -> None:
        """BadInput for what can be told before anything is built."""
        self.runner.check(self.recipe)
        check_repeatable(self.recipe.actors, self.recipe.where)
        kinds = [_removes(actor.does) for actor in self.recipe.actors]
        if sorted(kinds) != [False, True] or any(actor.interrupt for actor in self.recipe.actors):
            raise BadInput(
                "an exploration has two actors: one that touches pages, one that removes or unmaps",
                where=self.recipe.where,
            )

    def run(self, schedules: int) -> Exploration:
        """Play schedules until one fails, then cut it down and confirm it. LabError."""
        self.check()
        kernel = self.runner.kernels.kernel(self.side, self.recipe.setup.flavour, self.recipe.where)
        said = Exploration(self.recipe, self.side, self.seed)
        failed: tuple[int, Schedule, Player, Attempt] | None = None
        try:
            self._prepare(kernel, said)
            for number in range(1, schedules + 1):
                schedule = draw(self.seed, number, self._traces, self.changes)
                began = time.monotonic()
                play, attempt = self._play(kernel, schedule, said)
                said.seconds += time.monotonic() - began
                self.on_schedule(number, schedule, attempt)
                said.outcomes[attempt.outcome.value] += 1
                if attempt.reason:
                    said.reasons[attempt.reason] += 1
                said.played += 1
                if attempt.outcome is Outcome.BROKEN and not attempt.evidence:
                    said.lost += 1
                    if said.lost >= _MOST_LOST:
                        break
                if attempt.evidence and play is not None:
                    said.hits += 1
                    if failed is None:
                        failed, said.first_hit = (number, schedule, play, attempt), number
                    if not self.go_on:
                        break
                if number % 10 == 0:
                    text = f"{self.side}: {said.hits} fail, {said.per_minute:.0f} schedules/min"
                    self.runner.progress.step(number, schedules, text)
            if failed is not None:
                said.finding = self._finding(kernel, *failed, said)
        finally:
            self._close()
        return said

    # ---- labs

    def _open(self, kernel: RaceKernel, said: Exploration) -> Theatre:
        if self._theatre is None or self._theatre.worn():
            self._close()
            self._theatre = Theatre.open(self.runner, self.recipe, kernel)
            said.labs += 1
            if self._table:
                self._table = self._points(self._theatre, said.functions)
        return self._theatre

    def _close(self) -> None:
        if self._theatre is not None:
            self._theatre.close()
            self._theatre = None

    # ---- points

    def _prepare(self, kernel: RaceKernel, said: Exploration) -> None:
        """Which points there are, and which of them each actor passes."""
        theatre = self._open(kernel, said)
        said.functions = self.functions or touched(theatre.debug, kernel)
        if not said.functions:
            raise BadInput(
                "this kernel has no patch whose functions could be explored", hint="name functions"
            )
        self._table = self._points(theatre, said.functions)
        said.points = len(self._table) // len(self.recipe.actors)
        removers = [a.name for a in self.recipe.actors if _removes(a.does)]
        others = [a.name for a in self.recipe.actors if not _removes(a.does)]
        traces: dict[str, list[int]] = {actor.name: [] for actor in self.recipe.actors}
        # Once as it should be, once with the removal first: an error path has lines of its own.
        for first in ([*others, *removers], [*removers, *others]):
            theatre = self._open(kernel, said)
            play, attempt = self._attempt(
                theatre, Schedule(tuple(first), dict.fromkeys(first, ())), every=True
            )
            if attempt.outcome not in (Outcome.CLEAN, Outcome.REACHED):
                raise LabError(
                    f"the actors do not get through by themselves: {attempt.reason or attempt.outcome}",
                    hint="the one that touches must pass the functions that are explored",
                )
            for number in play.trace:
                owner = self._table[number][0].actor
                if number not in traces[owner]:
                    traces[owner].append(number)
        if missing := [name for name in others if not traces[name]]:
            raise BadInput(f"{missing[0]} passes no line of these functions", hint="name others")
        self._traces = {name: tuple(numbers) for name, numbers in traces.items()}
        said.traces = {name: len(numbers) for name, numbers in traces.items()}

    def _points(self, theatre: Theatre, functions: Iterable[str]) -> Table:
        """Every line of every function for every actor."""
        table: Table = []
        for name in functions:
            for point in theatre.resolver.every_line(name, "explore"):
                table += [(Step(actor.name, point.spec), point) for actor in self.recipe.actors]
        return table

    def _gate(self) -> int | None:
        """Where the actor is brought that does not remove: his first point that was ever passed."""
        starter = next(a.name for a in self.recipe.actors if not _removes(a.does))
        return self._traces[starter][0] if self._traces else None

    # ---- one schedule

    def _play(
        self, kernel: RaceKernel, schedule: Schedule, said: Exploration
    ) -> tuple[Player | None, Attempt]:
        theatre = self._open(kernel, said)
        try:
            return self._attempt(theatre, schedule)
        except LabError as e:
            theatre.spoilt = str(e).splitlines()[0]
            titles = tuple(self.runner.complaints(theatre.lab, theatre.log))
            return None, Attempt(Outcome.BROKEN, theatre.spoilt, 0.0, evidence=titles)

    def _attempt(
        self, theatre: Theatre, schedule: Schedule, *, every: bool = False
    ) -> tuple[Player, Attempt]:
        recipe = self.recipe
        theatre.let_run()
        theatre.renew()
        actions = theatre.actions()
        theatre.halt()

        def violated() -> str:
            left = theatre.stage.pages_left() if recipe.proof.pages_left_held else 0
            return (
                f"{left} pages of the region are in the child's SLAT while it must have none" if left else ""
            )

        play = Player(
            gdb=theatre.gdb,
            tasks=theatre.tasks,
            memory=theatre.memory,
            actors={actor.name: actor for actor in recipe.actors},
            order=self._table,
            actions=actions,
            stubs=theatre.stubs,
            watch=lambda: theatre.lab.watch.check("a schedule"),
            schedule=schedule,
            gate=self._gate(),
            tasks_known=theatre.known_tasks(),
            removers=frozenset(a.name for a in recipe.actors if _removes(a.does)),
            violated=violated,
            later=lambda actor: self._traces.get(actor, ()),
            every=every,
        )
        attempt = play.run()
        theatre.let_run()
        if play.found:
            attempt = replace(attempt, evidence=(play.found,))
        return play, theatre.judge(attempt, actions, 0)

    # ---- a failing schedule

    def _finding(
        self,
        kernel: RaceKernel,
        number: int,
        schedule: Schedule,
        play: Player,
        attempt: Attempt,
        said: Exploration,
    ) -> Finding:
        steps = (*play.steps, *play.sightings[-1:])
        why = ""

        def fails(order: Sequence[Step]) -> bool:
            theatre = self._open(kernel, said)
            resolved = [
                (s, Point(s.at, (), "") if s.at.done else theatre.resolver.resolve(s.at, "explore"))
                for s in order
            ]
            nonlocal why
            try:
                forced = theatre.force(resolved, _MINIMISE_BUDGET)
            except LabError as e:
                why = theatre.spoilt = str(e).splitlines()[0]
                return False
            why = f"{forced.outcome}: {forced.reason}" if forced.reason else str(forced.outcome)
            return forced.outcome is Outcome.REACHED

        usable = len({step.actor for step in steps}) > 1
        whole = next((o for o in dict.fromkeys((merged(steps), steps)) if usable and fails(o)), None)
        text = self._named(schedule)
        if whole is None:
            return Finding(number, text, attempt.evidence[0], len(steps), None, None, why)
        order = minimal(whole, fails)
        self._close()
        recipe = self._recipe(order, number)
        confirmed = self.runner.run(recipe, CONFIRM)
        return Finding(number, text, attempt.evidence[0], len(steps), recipe, confirmed, "")

    def _recipe(self, order: tuple[Step, ...], number: int) -> Recipe:
        told = " Then ".join(f"{step.actor} is at {step.at}." for step in order)
        return replace(
            self.recipe,
            title=f"found by exploration: seed {self.seed}, schedule {number}",
            wording=f"On {self.side}. {told}",
            order=order,
            racy=self.side,
            fixed=self.recipe.fixed if self.recipe.fixed != self.side else None,
        )

    def _named(self, schedule: Schedule) -> str:
        """A schedule with its points in words."""
        at = [
            f"{actor} stands back at {self._table[n][1]}"
            for actor, numbers in schedule.changes.items()
            for n in numbers
        ]
        return "; ".join([f"{' before '.join(schedule.first)}", *at])


def touched(debug: DebugInfo, kernel: RaceKernel) -> tuple[str, ...]:
    """Functions of the driver in which the kernel's patches add or change a line that has code."""
    if kernel.applied is None:
        return ()
    return functions_of(debug, changed_lines(kernel.applied))


def functions_of(debug: DebugInfo, lines: Mapping[str, Sequence[int]]) -> tuple[str, ...]:
    """The functions that these lines with code belong to, as they lie in the files."""
    begins = sorted((f.file, f.line, f.name) for f in debug.functions.values() if f.line)
    found: dict[tuple[str, int], str] = {}
    code = {(row.file, row.line) for row in debug.rows}
    for file, numbers in lines.items():
        for number in numbers:
            if (file, number) not in code:
                continue
            before = [b for b in begins if b[0] == file and b[1] <= number]
            if before:
                found[before[-1][:2]] = before[-1][2]
    return tuple(found[key] for key in sorted(found))


def _removes(does: Sequence[str]) -> bool:
    return any(words.split()[0] in REMOVERS for words in does)
