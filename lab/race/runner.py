# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs recipes: each attempt on a lab forked from a snapshot, on the racy and on the fixed kernel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lab.judge.splats import parse
from lab.machine.gdb import Gdb
from lab.machine.symbols import SymbolTable
from lab.model.errors import GuestDied, LabError, LabUnavailable
from lab.model.race import Attempt, Outcome, Recipe, Setup, Side, Step
from lab.progress import NullProgress, Progress
from lab.race.calls import Calls
from lab.race.debuginfo import DebugInfo
from lab.race.engine import Choreographer
from lab.race.held import STUB_ROOM
from lab.race.kernels import RaceKernel, RaceKernels
from lab.race.memory import TABLE, KernelMemory
from lab.race.points import Point, Resolver
from lab.race.stage import Request, Stage, action_of, check
from lab.race.tasks import STACK, SYMBOLS, Tasks
from lab.templates import load_machine
from lab.validate.bringup import BootRequest, Lab
from lab.validate.forks import boot_or_fork

MACHINE = "mshv-root"
_MODULE = "mshv_root"
_KASAN = ("debug", "kasan")
"""Flavours whose tasks have a stack of twice the size."""
_SETTLE = 3.0
"""Seconds for released actors to end, and for a complaint to get into the log."""
_POLL = 0.02


@dataclass(frozen=True, slots=True)
class SideResult:
    """All attempts on one kernel."""

    side: Side
    attempts: tuple[Attempt, ...]

    def count(self, *outcomes: Outcome) -> int:
        """How many ended so."""
        return sum(attempt.outcome in outcomes for attempt in self.attempts)


@dataclass(frozen=True, slots=True)
class RecipeResult:
    """What came of a recipe. ``fixed`` is None where it names no fixed kernel."""

    recipe: Recipe
    racy: SideResult
    fixed: SideResult | None
    seconds: float

    @property
    def shown(self) -> bool:
        """Whether every attempt reached the race on the racy kernel, and none on the fixed one."""
        held = self.fixed is None or (
            self.fixed.count(Outcome.CLEAN, Outcome.BLOCKED) == len(self.fixed.attempts)
        )
        return (
            bool(self.racy.attempts) and self.racy.count(Outcome.REACHED) == len(self.racy.attempts) and held
        )


@dataclass
class RaceRunner:
    """Runs recipes on the kernels that it builds; several threads may make attempts at once."""

    kernels: RaceKernels
    progress: Progress
    qemu: str | None = None
    on_attempt: Callable[[Recipe, Side, Attempt], None] = lambda recipe, side, attempt: None
    _debug: dict[tuple[str, tuple[tuple[str, int], ...]], DebugInfo] = field(default_factory=dict)
    _reading: threading.Lock = field(default_factory=threading.Lock)

    def check(self, recipe: Recipe) -> None:
        """BadInput for what can be told before anything is built."""
        check(recipe.actors)
        for side in (recipe.racy, *([recipe.fixed] if recipe.fixed else [])):
            self.kernels.check(side, recipe.where)

    def run(self, recipe: Recipe, attempts: int) -> RecipeResult:
        """Both sides of a recipe. LabError where a kernel cannot be built or a point does not exist."""
        self.check(recipe)
        started = time.monotonic()
        sides = [self.side(recipe, side, attempts) for side in (recipe.racy, recipe.fixed) if side]
        fixed = sides[1] if len(sides) > 1 else None
        return RecipeResult(recipe, sides[0], fixed, round(time.monotonic() - started, 1))

    def side(self, recipe: Recipe, side: Side, attempts: int) -> SideResult:
        """Attempts on one kernel."""
        kernel = self.kernels.kernel(side, recipe.setup.flavour, recipe.where)
        made = []
        for number in range(1, attempts + 1):
            attempt = self.attempt(recipe, kernel)
            self.progress.step(number, attempts, f"{recipe.id} on {side}: {attempt.outcome}")
            self.on_attempt(recipe, side, attempt)
            made.append(attempt)
        return SideResult(side, tuple(made))

    def attempt(self, recipe: Recipe, kernel: RaceKernel) -> Attempt:
        """One attempt in a lab of its own. BadInput when a point does not exist in this kernel."""
        lab = self.boot(recipe.setup, kernel)
        try:
            stage = Stage.set(lab, recipe.setup)
            stage.pin(recipe.actors)
            return self._attempt(recipe, kernel, lab, stage)
        except GuestDied as e:
            return Attempt(Outcome.BROKEN, str(e).splitlines()[0], 0.0)
        finally:
            lab.close()

    def boot(self, setup: Setup, kernel: RaceKernel) -> Lab:
        """A lab on that kernel, with nothing set up yet."""
        request = BootRequest(
            machine=load_machine(MACHINE, {}),
            kernel=kernel.image,
            qemu=self.qemu,
            kernel_args=setup.kernel_args,
            template=MACHINE,
        )
        return boot_or_fork(request, NullProgress())

    def _attempt(self, recipe: Recipe, kernel: RaceKernel, lab: Lab, stage: Stage) -> Attempt:
        symbols = symbols_of(lab)
        debug = self.debug_info(kernel, lab)
        points = _resolve(recipe, Resolver(debug, symbols, kernel.read_source), stage)
        memory = KernelMemory(lab.hypervisor.root_memory, symbols[TABLE])
        known = {name: symbols[name] for name in SYMBOLS}
        # Resolved once: the debugger stops the machine, and then nobody answers over SSH.
        table = SymbolTable([(address, name) for name, address in symbols.items()])
        stack = STACK * (2 if kernel.image.flavour in _KASAN else 1)
        tasks = Tasks(memory, debug, known, table.name, lab.machine.spec.cpus, stack)
        actions = {a.name: action for a in recipe.actors if (action := action_of(a, stage)) is not None}
        rooms = stub_rooms(debug, len(recipe.actors))
        mark = lab.kernel_log.mark()
        held: list[str] = []

        def at_the_end() -> None:
            if recipe.proof.freed:
                held.extend(play.freed_memory(recipe.proof.freed))
            if recipe.proof.pages_left_held and (left := stage.pages_left()):
                held.append(f"{left} pages of the region are in the child's SLAT at the end of the order")

        with Gdb.attach(lab.machine) as gdb:
            play = Choreographer(
                gdb=gdb,
                tasks=tasks,
                memory=memory,
                actors={actor.name: actor for actor in recipe.actors},
                order=points,
                actions=actions,
                stubs={a.name: room for a, room in zip(recipe.actors, rooms, strict=True)},
                calls=Calls(lab.hypervisor.holds, lab.machine.spec.cpus)
                if any(point.call for _, point in points)
                else None,
                watch=lambda: lab.watch.check("the order"),
                on_order=at_the_end,
            )
            attempt = play.run()
        return self.judge(recipe, lab, stage, attempt, actions, mark, held)

    def judge(
        self,
        recipe: Recipe,
        lab: Lab,
        stage: Stage,
        attempt: Attempt,
        actions: dict[str, Request],
        mark: int,
        held: list[str],
    ) -> Attempt:
        """What the proof says, once everybody has gone on."""
        proof, evidence = recipe.proof, list(held)
        dead = ""
        if held:
            # What was seen suffices; the guest may not survive what comes next.
            return replace(attempt, outcome=_reached(attempt), evidence=tuple(evidence))
        try:
            slow = [name for name, action in actions.items() if not action.join()]
            if slow and attempt.outcome is Outcome.CLEAN:
                attempt = replace(attempt, outcome=Outcome.BROKEN, reason=f"{slow[0]} never ended")
            for vp, accesses in stage.submitted.items():
                try:
                    stage.child.collect(vp, accesses, 1.0)
                except LabError as e:
                    evidence.append(f"VP {vp}: {str(e).splitlines()[0]}")
            if proof.pages_left and (left := stage.pages_left()):
                evidence.append(f"{left} pages of the region are in the child's SLAT when all is over")
                return replace(attempt, outcome=_reached(attempt), evidence=tuple(evidence))
        except GuestDied as e:
            dead = f"{e.kind}: {e.what}"
        except LabError as e:
            dead = f"the proof could not be looked for: {str(e).splitlines()[0]}"
        titles = self._splats(lab, mark, proof.splat)
        if titles:
            return replace(attempt, outcome=_reached(attempt), evidence=(*evidence, *titles))
        if not dead and (others := [splat.title for splat in parse(_log(lab, mark))]):
            dead = f"the kernel complains of something else: {others[0]}"
        if dead and attempt.outcome in (Outcome.CLEAN, Outcome.BLOCKED, Outcome.BROKEN):
            return replace(attempt, outcome=Outcome.BROKEN, reason=dead, evidence=tuple(evidence))
        return replace(attempt, evidence=tuple(evidence))

    def _splats(self, lab: Lab, mark: int, classes: tuple[str, ...]) -> list[str]:
        """Titles of complaints of these classes since ``mark``; they may take a moment to be written."""
        if not classes:
            return []
        deadline = time.monotonic() + _SETTLE
        while True:
            lines = lab.machine.console.text().splitlines() if not lab.alive() else _log(lab, mark)
            found = [splat.title for splat in parse(lines) if splat.cls.value in classes]
            if found or time.monotonic() > deadline:
                return found
            time.sleep(_POLL)

    def complaints(self, lab: Lab, mark: int) -> list[str]:
        """Titles of all complaints since ``mark`` that the serial console shows; nobody is asked or waited
        for."""
        return [splat.title for splat in parse(lab.kernel_log.unread(mark))]

    def debug_info(self, kernel: RaceKernel, lab: Lab) -> DebugInfo:
        """Debug information at where this root has loaded the module: forks of one snapshot agree on that."""
        listed = lab.root.run(f"cd /sys/module/{_MODULE}/sections && grep -H . .text* .init.text 2>/dev/null")
        sections = {}
        for line in listed.out.splitlines():
            name, _, address = line.partition(":")
            sections[name] = int(address, 16)
        key = (kernel.image.key, tuple(sorted(sections.items())))
        with self._reading:
            if key not in self._debug:
                self._debug[key] = DebugInfo(kernel.described.debug, sections)
            return self._debug[key]


def stub_rooms(debug: DebugInfo, count: int) -> list[int]:
    """Free room between functions of the module, where nobody ever gets by himself. LabUnavailable."""
    spans = sorted(
        span
        for function in debug.functions.values()
        for instance in function.instances
        if not instance.inlined_in
        for span in instance.spans
    )
    rooms, end = [], 0
    for low, high in spans:
        if end and 0 <= low - end < 64 and low - end >= STUB_ROOM:
            rooms.append(end)
        end = max(end, high)
    if len(rooms) < count:
        raise LabUnavailable("no room in the module's code for a thread to wait in", where=_MODULE)
    return rooms[:count]


def _reached(attempt: Attempt) -> Outcome:
    """The proof is there. Without the order it proves something else, which is for people to look at."""
    return Outcome.REACHED if attempt.outcome in (Outcome.CLEAN, Outcome.BROKEN) else attempt.outcome


def _resolve(recipe: Recipe, resolver: Resolver, stage: Stage) -> list[tuple[Step, Point]]:
    found = []
    for number, step in enumerate(recipe.order, 1):
        where = f"{recipe.where}: order {number}"
        if step.at.done or step.at.hypercall is not None:
            point = Point(step.at, (), "", stage.target(step.at))
        else:
            point = resolver.resolve(step.at, where)
        found.append((step, point))
    return found


def symbols_of(lab: Lab) -> dict[str, int]:
    """Symbols of the running kernel and of the driver, by name; the driver's own come first."""
    text = lab.root.run("cat /proc/kallsyms", 30.0).out
    symbols: dict[str, int] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 3 or (len(words) > 3 and words[3] != f"[{_MODULE}]"):
            continue
        if len(words) > 3 or words[2] not in symbols:
            symbols[words[2]] = int(words[0], 16)
    missing = [name for name in (*SYMBOLS, TABLE) if not symbols.get(name)]
    if missing:
        raise LabUnavailable(f"the kernel does not tell where {missing[0]} is", where="/proc/kallsyms")
    return symbols


def _log(lab: Lab, mark: int) -> list[str]:
    try:
        return lab.kernel_log.since(mark)
    except LabError:
        return lab.machine.console.text().splitlines()
