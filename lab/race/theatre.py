# SPDX-License-Identifier: GPL-2.0-or-later
"""A lab in which the same actors play again and again: the region is made anew, the boot is not.

A fork of the snapshot costs seconds with all that is set up in it, a new region some hundredths of one. What
an earlier round may have left in the kernel is the price; findings are therefore confirmed in a fork of their
own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from lab.child.protocol import VmmError
from lab.machine.gdb import Gdb
from lab.machine.symbols import SymbolTable
from lab.model.errors import BadInput, LabError
from lab.model.race import Actor, Attempt, Outcome, Recipe, Step
from lab.race.debuginfo import DebugInfo
from lab.race.engine import Choreographer
from lab.race.kernels import RaceKernel
from lab.race.memory import TABLE, KernelMemory
from lab.race.points import Point, Resolver
from lab.race.runner import RaceRunner, stub_rooms, symbols_of
from lab.race.stage import Request, Stage, action_of
from lab.race.tasks import SYMBOLS, Tasks
from lab.validate.bringup import Lab

REPEATABLE = ("touch", "remove", "munmap")
"""Actions after which the region can be made anew in the same partition."""
_COLLECT = 2.0
_ENOUGH_ROUNDS = 400
"""Rounds in one lab: then a fresh one, so that nothing piles up in the VMM."""


def check_repeatable(actors: Sequence[Actor], where: str) -> None:
    """BadInput when an actor does something that cannot be done again in the same lab."""
    for actor in actors:
        for words in actor.does:
            if words.split()[0] not in REPEATABLE:
                raise BadInput(
                    f"{words!r} cannot be repeated in one lab",
                    where=where,
                    hint=f"actions that can are {', '.join(REPEATABLE)}",
                )


@dataclass
class Theatre:
    """One lab, everything known of its kernel, and a region that can be made anew."""

    runner: RaceRunner
    recipe: Recipe
    kernel: RaceKernel
    lab: Lab
    stage: Stage
    debug: DebugInfo
    resolver: Resolver
    memory: KernelMemory
    tasks: Tasks
    stubs: dict[str, int]
    rounds: int = 0
    log: int = 0
    spoilt: str = ""
    idle: int | None = None
    """An event of the VMM that nobody signals."""
    _gdb: Gdb | None = None
    _known: dict[str, int] = field(default_factory=dict)

    @classmethod
    def open(cls, runner: RaceRunner, recipe: Recipe, kernel: RaceKernel) -> Theatre:
        """A fork with the recipe's setup. LabError."""
        lab = runner.boot(recipe.setup, kernel)
        try:
            stage = Stage.set(lab, recipe.setup)
            symbols = symbols_of(lab)
            debug = runner.debug_info(kernel, lab)
            memory = KernelMemory(lab.hypervisor.root_memory, symbols[TABLE])
            table = SymbolTable([(address, name) for name, address in symbols.items()])
            known = {name: symbols[name] for name in SYMBOLS}
            tasks = Tasks(memory, debug, known, table.name, lab.machine.spec.cpus)
            rooms = stub_rooms(debug, len(recipe.actors))
            lab.kernel_log.position()
            return cls(
                runner,
                recipe,
                kernel,
                lab,
                stage,
                debug,
                Resolver(debug, symbols, kernel.read_source),
                memory,
                tasks,
                {actor.name: room for actor, room in zip(recipe.actors, rooms, strict=True)},
                log=lab.kernel_log.mark(),
            )
        except BaseException:
            lab.close()
            raise

    @property
    def gdb(self) -> Gdb:
        """The debugger; attached when it is first asked for, which stops the machine."""
        if self._gdb is None:
            self._gdb = Gdb.attach(self.lab.machine)
        return self._gdb

    def leave_gdb(self) -> None:
        """Let go of the machine."""
        if self._gdb is not None:
            self._gdb.close()
            self._gdb = None

    def let_run(self) -> None:
        """The machine runs, without a breakpoint: somebody wants to talk to the root."""
        if self._gdb is not None:
            if self._gdb.running:
                self._gdb.interrupt()
            self._gdb.clear_breakpoints()
            self._gdb.resume()

    def halt(self) -> None:
        """The machine stands still, for breakpoints to be set."""
        if self.gdb.running:
            self.gdb.interrupt()

    def worn(self) -> bool:
        """Whether another lab should be taken for the next round."""
        return bool(self.spoilt) or self.rounds >= _ENOUGH_ROUNDS or not self.lab.alive()

    def renew(self) -> None:
        """The region as it was before the round. The machine runs. LabError when it cannot be."""
        self.rounds += 1
        stage, child = self.stage, self.stage.child
        self.collect()
        number = stage.region.map
        if stage.region.id in {region.id for region in child.regions()}:
            child.unmap(stage.region, keep_host=True)
        if number is not None:
            # When the round has unmapped it, the VMM knows nothing of it any more.
            with suppress(VmmError):
                child.drop_host(number)
        setup = self.recipe.setup
        old = stage.region
        device = self.lab.test_device()
        if setup.ram:
            stage.mapped = child.map_anonymous(old.gfn, setup.pages)
        else:
            stage.mapped = child.map_bar(device.bdf, device.bar, old.gfn, setup.pages)
        if setup.touched:
            child.access([stage.access(page) for page in setup.touched])

    def collect(self) -> list[str]:
        """Wait for every VP's accesses; what went wrong with them."""
        wrong = []
        for vp, accesses in self.stage.submitted.items():
            try:
                self.stage.child.collect(vp, accesses, _COLLECT)
            except LabError as e:
                wrong.append(f"VP {vp}: {str(e).splitlines()[0]}")
        self.stage.submitted.clear()
        return wrong

    def actions(self) -> dict[str, Request]:
        """Fresh actions of all actors."""
        made = {actor.name: action_of(actor, self.stage) for actor in self.recipe.actors}
        return {name: action for name, action in made.items() if action is not None}

    def known_tasks(self) -> dict[str, int]:
        """The task of each actor, looked up once: the VMM keeps its threads. The machine stands still."""
        for actor in self.recipe.actors:
            if actor.comm and actor.name not in self._known and (task := self.tasks.named(actor.comm)):
                self._known[actor.name] = task
        return self._known

    def splats(self) -> list[str]:
        """Complaints in the kernel log that nobody has asked for yet; with one the lab is spoilt."""
        found = self.runner.complaints(self.lab, self.log)
        self.log = self.lab.kernel_log.mark()
        if found:
            self.spoilt = found[0]
        return found

    def force(self, order: Sequence[tuple[Step, Point]], budget: float) -> Attempt:
        """One forced order on a new region, judged as a recipe's attempt is."""
        self.let_run()
        self.renew()
        actions = self.actions()
        held: list[int] = []
        self.halt()
        play = Choreographer(
            gdb=self.gdb,
            tasks=self.tasks,
            memory=self.memory,
            actors={actor.name: actor for actor in self.recipe.actors},
            order=order,
            actions=actions,
            stubs=self.stubs,
            watch=lambda: self.lab.watch.check("the order"),
            budget=budget,
            on_order=lambda: held.append(self.stage.pages_left()),
        )
        attempt = play.run()
        self.let_run()
        return self.judge(attempt, actions, max(held, default=0))

    def judge(self, attempt: Attempt, actions: dict[str, Request], held: int) -> Attempt:
        """What the proof says once everybody has gone on, and whatever else the kernel complains of."""
        evidence = list(attempt.evidence)
        proof = self.recipe.proof
        if slow := [name for name, action in actions.items() if not action.join()]:
            self.spoilt = f"{slow[0]} never ended"
            return replace(attempt, outcome=Outcome.BROKEN, reason=self.spoilt)
        if wrong := self.collect():
            self.spoilt = wrong[0]
        if proof.pages_left_held and held:
            evidence.append(f"{held} pages of the region are in the child's SLAT while it must have none")
        if proof.pages_left and (left := self.stage.pages_left()):
            evidence.append(f"{left} pages of the region are in the child's SLAT when all is over")
        evidence += self.splats()
        if evidence and attempt.outcome is Outcome.CLEAN:
            attempt = replace(attempt, outcome=Outcome.REACHED)
        return replace(attempt, evidence=tuple(evidence))

    def close(self) -> None:
        """End the lab."""
        try:
            self.leave_gdb()
        finally:
            self.lab.close()
