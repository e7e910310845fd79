# SPDX-License-Identifier: GPL-2.0-or-later
"""Brings threads of the root into a stated order: each is held at its point until it is its turn.

A held thread goes round in a loop of two instructions (a *spin hold*), so that its CPU takes interrupts and
RCU goes on: a CPU that stands still makes others wait who would not, and an order that can happen looks
impossible. That holds where the root has interrupts off, too: the hypervisor below still takes its own, and
another CPU's hypercall may wait for that. A frozen CPU is there for comparison. Where the point is a
hypercall the hypervisor holds the call, which is as good as a spin hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from lab.hypervisor.holds import Hold, HoldReport
from lab.hypervisor.names import HYPERCALL_WRAPPERS
from lab.machine.gdb import Gdb, Stop
from lab.model.errors import LabError
from lab.model.race import Actor, Attempt, Event, HoldKind, Outcome, Step
from lab.race.calls import Calls
from lab.race.held import Held, free_cpus, freed_memory, held_at, leave_stub, spin
from lab.race.looks import Looks, Patience
from lab.race.memory import KernelMemory, NotMapped
from lab.race.points import Point
from lab.race.tasks import Tasks, Waiting

_SLICE = 0.1
_GAP = 0.01
STEP_BUDGET = 10.0
"""Seconds for the next point of an order to come: the host may be busy with other things."""


class Action(Protocol):
    """What an actor does, started once."""

    def start(self) -> None:
        """Begin, and do not wait."""

    def ended(self) -> bool:
        """Whether it has ended, well or not: nothing will come of it any more."""

    def answered(self) -> bool:
        """Whether its request was answered, which is what ``done`` in an order means."""

    def error(self) -> str:
        """How it failed; empty when it did not, or goes on."""


@dataclass
class Choreographer:
    """One attempt at one order. The machine is stopped when it begins and when it has ended."""

    gdb: Gdb
    tasks: Tasks
    memory: KernelMemory
    actors: Mapping[str, Actor]
    order: Sequence[tuple[Step, Point]]
    actions: Mapping[str, Action]
    stubs: Mapping[str, int]
    """Free room in the kernel's code for each actor, STUB_ROOM bytes each."""
    calls: Calls | None = None
    """For points at hypercalls; None where the order has none."""
    watch: Callable[[], None] = lambda: None
    """Raises when the machine is dead."""
    budget: float = STEP_BUDGET
    events: list[Event] = field(default_factory=list)
    holds: dict[str, HoldKind] = field(default_factory=dict)
    passed: int = 0
    foreign: int = 0
    on_order: Callable[[], None] = lambda: None
    """Called when the order is complete: the machine is stopped, and everybody is where he was held."""
    _notes: dict[str, None] = field(default_factory=dict)
    _held: dict[str, Held] = field(default_factory=dict)
    _pass_once: set[tuple[str, int]] = field(default_factory=set)
    _began: set[str] = field(default_factory=set)
    _start: float = 0.0

    def run(self) -> Attempt:
        """Go through the order; then release everybody. What the proof says is not asked here: an order that
        came about is ``clean``."""
        self._start = time.monotonic()
        armed = {a for step, point in self.order if not step.at.done for a in point.addresses}
        try:
            for address in sorted(armed):
                self.gdb.set_breakpoint(address)
            outcome, reason = self._go()
        except LabError as e:
            outcome, reason = Outcome.BROKEN, str(e).splitlines()[0]
        finally:
            self._free_all(armed)
        return Attempt(
            outcome,
            reason,
            round(time.monotonic() - self._start, 3),
            tuple(self.events),
            dict(self.holds),
            passed=self.passed,
            foreign=self.foreign,
            notes=tuple(self._notes),
        )

    def freed_memory(self, actor: str) -> list[str]:
        """Registers of a held actor that point to memory which is not there any more, or which the allocator
        has poisoned (slub_debug=P)."""
        held = self._held.get(actor)
        return [] if held is None else freed_memory(self.memory, held, actor)

    @cached_property
    def _looks(self) -> Looks:
        return Looks(self.gdb, self.tasks, self.actors, self._held)

    # ---- the order

    def _go(self) -> tuple[Outcome, str]:
        for number, (step, point) in enumerate(self.order):
            if (held := self._held.get(step.actor)) is not None:
                if held.step == number:
                    self._say(step.actor, f"was waiting at {point}", held.cpu)
                    continue
                if early := self._ended_early():
                    return early
                self._release(step.actor)
            self._arm_calls(number)
            self._begin(step.actor)
            failure = self._until_done(number) if step.at.done else self._until_hit(number)
            if failure is not None:
                return failure
        self.on_order()
        return self._ended_early() or (Outcome.CLEAN, "")

    def _until_hit(self, number: int) -> tuple[Outcome, str] | None:
        step, point = self.order[number]
        deadline = time.monotonic() + self.budget
        patience = Patience()
        while True:
            stop = self._run(self._slice(deadline))
            if stop is not None and self._hit(stop, number):
                return None
            if self._caught(number):
                return None
            if stop is not None:
                continue
            action = self.actions.get(step.actor)
            if action is not None and action.ended():
                if self.gdb.running:
                    self.gdb.interrupt()
                said = action.error()
                how = f"failed: {said}" if said else "ended without getting there"
                return Outcome.NOT_REACHED, f"{step.actor} does not reach {point}: its action {how}"
            what = f"does not reach {point}"
            if blocked := self._looks.blocked(step.actor, what, patience):
                return blocked
            if time.monotonic() > deadline:
                return self._looks.late(step.actor, what, self.budget)

    def _until_done(self, number: int) -> tuple[Outcome, str] | None:
        step = self.order[number][0]
        action = self.actions[step.actor]
        deadline = time.monotonic() + self.budget
        patience = Patience()
        while not action.answered():
            stop = self._run(_GAP)
            if stop is not None:
                self._hit(stop, number)
            self._caught(number)
            if stop is not None:
                continue
            if blocked := self._looks.blocked(step.actor, "does not end", patience):
                return blocked
            if time.monotonic() > deadline:
                return self._looks.late(step.actor, "does not end", self.budget)
        if self.gdb.running:
            self._hit(self.gdb.interrupt(), number)
        if said := action.error():
            return Outcome.BROKEN, f"{step.actor} fails: {said}"
        self._say(step.actor, "has ended")
        return None

    def _begin(self, name: str) -> None:
        if name in self.actions and name not in self._began:
            self._began.add(name)
            self._say(name, "begins: " + "; ".join(self.actors[name].does))
            self.actions[name].start()

    def _run(self, budget: float) -> Stop | None:
        """Let whoever is not frozen run, until somebody stops or for so long. It may be running already."""
        self.watch()
        if not self.gdb.running:
            free = free_cpus(self.gdb.cpus, self._held.values())
            if free == []:
                raise LabError("every CPU is frozen: nobody is left to go on", where="the order")
            self.gdb.resume(free)
        return self.gdb.wait(budget)

    def _slice(self, deadline: float) -> float:
        """How long to let the machine run: nothing stops it when the hypervisor holds a call."""
        if self.calls is not None and self.calls.armed:
            return _GAP
        return min(_SLICE, max(_GAP, deadline - time.monotonic()))

    # ---- stops

    def _hit(self, stop: Stop, number: int) -> bool:
        """Deal with a stop; whether it was the step that is wanted."""
        registers = self.gdb.registers(stop.cpu)
        address = registers["rip"]
        waited = {
            n: step.actor
            for n, (step, point) in enumerate(self.order)
            if not step.at.done and address in point.addresses
        }
        if not waited:
            return False  # stopped because it was asked to
        cpu = self.tasks.cpu_of(registers)
        if cpu is None:
            self.foreign += 1
            self.gdb.step(stop.cpu)
            return False
        who = self._who(cpu, registers["rsp"], set(waited.values()))
        if who is None or who in self._held:
            self.passed += 1
            self.gdb.step(stop.cpu)
            return False
        if (who, address) in self._pass_once:
            self._pass_once.discard((who, address))
            self.gdb.step(stop.cpu)
            return False
        later = [n for n, actor in waited.items() if actor == who and n >= number]
        if not later or any(self.order[n][0].actor == who for n in range(number, later[0])):
            self.passed += 1
            self.gdb.step(stop.cpu)
            return False
        step, point = self.order[later[0]]
        if step.hold is HoldKind.NONE:
            if later[0] == number:
                self._say(who, f"at {point}: {point.place}, goes on", stop.cpu)
            self.gdb.step(stop.cpu)
            return later[0] == number
        self._hold(who, stop.cpu, registers, later[0])
        return later[0] == number

    def _who(self, cpu: int, stack_pointer: int, candidates: set[str]) -> str | None:
        """Which of these actors is on that CPU."""
        interrupt = self.tasks.in_interrupt(cpu, stack_pointer)
        comm = self.tasks.comm(self.tasks.current(cpu))
        for name in sorted(candidates):
            actor = self.actors[name]
            if actor.interrupt if interrupt else actor.comm == comm:
                return name
        return None

    # ---- hypercalls

    def _arm_calls(self, number: int) -> None:
        """Hold the next hypercall of whoever may come to one that is his next step, from this one on."""
        for actor in {step.actor for step, _ in self.order[number:]} - set(self._held):
            n = next(n for n in range(number, len(self.order)) if self.order[n][0].actor == actor)
            target = self.order[n][1].call
            if self.calls is not None and target is not None:
                self.calls.arm(n, target)

    def _caught(self, number: int) -> bool:
        """Deal with calls that the hypervisor holds; whether one was the step that is wanted."""
        if self.calls is None or not any(self.calls.caught()):
            return False
        wanted = self.gdb.running and self._hit(self.gdb.interrupt(), number)
        for n, hold, seen in self.calls.caught():
            with suppress(NotMapped):  # the list of tasks is just being changed: look again in a moment
                wanted = self._take(self.calls, n, hold, seen, number) or wanted
        return wanted

    def _take(self, calls: Calls, n: int, hold: Hold, seen: HoldReport, number: int) -> bool:
        """Keep whoever makes the call of step ``n`` if it is its actor; whether that is the step wanted."""
        step, point = self.order[n]
        if step.actor in self._held or not self._calls(step.actor, seen):
            self.passed += 1
            hold.release()
            return False
        place = f"at {point}: {self._caller(seen)}"
        if step.hold is HoldKind.NONE:
            if n == number:
                self._say(step.actor, f"{place}, goes on", seen.lp)
                calls.end(n)
            else:
                hold.release()
            return n == number
        calls.take(n, hold)
        held = Held(seen.lp, seen.rip, HoldKind.HYPERCALL, step=n, deaf=not seen.interrupts_on)
        self._held[step.actor] = held
        self.holds[step.actor] = held.kind
        self._say(
            step.actor, f"{place}, held ({held.kind}, interrupts {'off' if held.deaf else 'on'})", held.cpu
        )
        self._notes[call_note(step.actor, point, held)] = None
        return n == number

    def _calls(self, actor: str, seen: HoldReport) -> bool:
        """Whether it is that actor who makes a call. By its stack: somebody may be on top of him by now."""
        if self.actors[actor].interrupt:
            return self.tasks.in_interrupt(seen.lp, seen.rsp)
        task = self.tasks.owner(seen.rsp)
        return task is not None and self.tasks.comm(task) == self.actors[actor].comm

    def _caller(self, seen: HoldReport) -> str:
        """The function of the kernel that makes the call."""
        task = self.tasks.owner(seen.rsp) or self.tasks.current(seen.lp)
        frames = [f.split("+")[0] for f in self.tasks.running(task, seen.rsp, seen.rip).frames[1:]]
        return next((f"in {name}()" for name in frames if name not in HYPERCALL_WRAPPERS), "somewhere")

    def _ended_early(self) -> tuple[Outcome, str] | None:
        """Whose hold has ended by itself: then the order says nothing."""
        for who, held in self._held.items():
            if held.kind is HoldKind.HYPERCALL and self.calls is not None and not self.calls.still(held.step):
                return Outcome.BROKEN, f"{who} was held for too long: its call has gone on by itself"
        return None

    # ---- holds

    def _hold(self, who: str, cpu: int, registers: Mapping[str, int], number: int) -> None:
        step, point = self.order[number]
        kind = HoldKind.SPIN if step.hold is HoldKind.AUTO else step.hold
        held = held_at(self.memory, cpu, registers, kind, number)
        if kind is HoldKind.SPIN:
            spin(self.gdb, self.memory, held, self.stubs[who])
        self._held[who] = held
        self.holds[who] = kind
        self._say(who, f"at {point}: {point.place}, held ({held.how})", cpu)

    def _release(self, who: str) -> None:
        held = self._held.pop(who)
        if held.kind is HoldKind.FREEZE:
            self.gdb.step(held.cpu)
        elif held.kind is HoldKind.HYPERCALL:
            assert self.calls is not None
            self.calls.end(held.step)
        else:
            leave_stub(self.gdb, self.memory, held)
            self._pass_once.add((who, held.address))
        self._say(who, "released", held.cpu)

    def _free_all(self, armed: set[int]) -> None:
        """Release whoever is held. The stubs stay: a thread may have been preempted in one."""
        try:
            if self.calls is not None:
                self.calls.clear()
            if self.gdb.running:
                self.gdb.interrupt()
            for who in list(self._held):
                self._release(who)
            # A released thread would stop at its own point once more.
            for address in sorted(armed):
                self.gdb.clear_breakpoint(address)
        except LabError as e:
            self._say("lab", f"cannot release everybody: {str(e).splitlines()[0]}")

    def _look(self, task: int) -> Waiting:
        """Where a task is. One that runs is looked at several times: an interrupt may be on top."""
        return self._looks.look(task)

    def _say(self, actor: str, what: str, cpu: int | None = None) -> None:
        self.events.append(Event(round(time.monotonic() - self._start, 4), actor, what, cpu))


def call_note(actor: str, point: Point, held: Held) -> str:
    """What a hold at a hypercall means for everybody else."""
    how = f"{actor} was held at {point} by the hypervisor"
    if held.deaf:
        return (
            f"{how}, with interrupts off as the kernel has them there: who needs CPU {held.cpu} to answer "
            "or a grace period waits for the call, as on any machine, but longer"
        )
    return f"{how}, with interrupts on: CPU {held.cpu} took them meanwhile"
