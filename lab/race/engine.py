# SPDX-License-Identifier: GPL-2.0-or-later
"""Brings threads of the root into a stated order: each is held at its point until it is its turn.

A held thread goes round in a loop of two instructions (a *spin hold*), so that its CPU takes interrupts and
RCU goes on: a CPU that stands still makes others wait who would not, and an order that can happen looks
impossible. That holds where the root has interrupts off, too: the hypervisor below still takes its own, and
another CPU's hypercall may wait for that. A frozen CPU is there for comparison.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lab.machine.gdb import Gdb, Stop
from lab.model.errors import LabError
from lab.model.race import Actor, Attempt, Event, HoldKind, Outcome, Step
from lab.race.memory import KernelMemory, NotMapped
from lab.race.points import Point
from lab.race.tasks import Tasks, Waiting

STUB = b"\xf3\x90\xeb\xfc"
"""pause; jmp to the pause: what a thread under a spin hold executes."""
STUB_ROOM = 8
"""Bytes that a stub takes, with the jump back that replaces its own."""
_JUMP_AT = 2
_JUMP, _JUMP_SIZE = 0xE9, 5
INTERRUPTS_ON = 1 << 9
"""EFLAGS.IF."""
_POINTERS = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", *(f"r{n}" for n in range(8, 16)))
_KERNEL_HALF = 0x1FFFF
"""Bits 63..47 of a kernel address."""
POISON = 0x6B
"""POISON_FREE (include/linux/poison.h)."""
_POISONED = 32
"""Bytes that are looked at."""
_SLICE = 0.1
_SAMPLES = 5
_SURE = 4
"""Samples of a running task that must agree on what it waits for."""
_GAP = 0.01
STEP_BUDGET = 10.0
"""Seconds for the next point of an order to come: the host may be busy with other things."""
_LOOK_EVERY = 0.5
_LOOKS = 4
"""Looks in a row that must find an actor in the same wait before he is said to be blocked."""


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


@dataclass(slots=True)
class _Held:
    """A thread that is kept at ``address``; ``stub`` is where it spins, 0 under a frozen CPU."""

    cpu: int
    address: int
    kind: HoldKind
    stub: int = 0
    step: int = 0
    registers: Mapping[str, int] = field(default_factory=dict)
    mapped: frozenset[str] = frozenset()
    """Registers that pointed to memory of the kernel then."""


@dataclass(slots=True)
class _Patience:
    """What the looks at an actor have found so far."""

    next: float = field(default_factory=lambda: time.monotonic() + _LOOK_EVERY)
    waits: str = ""
    same: int = 0


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
    watch: Callable[[], None] = lambda: None
    """Raises when the machine is dead."""
    budget: float = STEP_BUDGET
    events: list[Event] = field(default_factory=list)
    holds: dict[str, HoldKind] = field(default_factory=dict)
    passed: int = 0
    foreign: int = 0
    on_order: Callable[[], None] = lambda: None
    """Called when the order is complete: the machine is stopped, and everybody is where he was held."""
    _held: dict[str, _Held] = field(default_factory=dict)
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
        )

    def freed_memory(self, actor: str) -> list[str]:
        """Registers of a held actor that point to memory which is not there any more, or which the allocator
        has poisoned (slub_debug=P)."""
        held = self._held.get(actor)
        found = []
        for name, value in held.registers.items() if held is not None else ():
            if held is None or name not in held.mapped:
                continue
            data = self._behind(value)
            if data is None:
                found.append(f"{name} of {actor} points to freed memory: {value:#x} is not mapped any more")
            elif data == bytes([POISON]) * _POISONED:
                found.append(f"{name} of {actor} points to freed memory: {value:#x} holds {POISON:#x}")
        return found

    def _behind(self, address: int) -> bytes | None:
        """Some bytes of the kernel's memory at an address; None where it has none, or it is no address."""
        if address >> 47 != _KERNEL_HALF:
            return None
        try:
            return self.memory.read(address, _POISONED)
        except NotMapped:
            return None

    # ---- the order

    def _go(self) -> tuple[Outcome, str]:
        for number, (step, point) in enumerate(self.order):
            if (held := self._held.get(step.actor)) is not None:
                if held.step == number:
                    self._say(step.actor, f"was waiting at {point}", held.cpu)
                    continue
                self._release(step.actor)
            self._begin(step.actor)
            failure = self._until_done(number) if step.at.done else self._until_hit(number)
            if failure is not None:
                return failure
        self.on_order()
        return Outcome.CLEAN, ""

    def _until_hit(self, number: int) -> tuple[Outcome, str] | None:
        step, point = self.order[number]
        deadline = time.monotonic() + self.budget
        patience = _Patience()
        while True:
            stop = self._run(min(_SLICE, max(_GAP, deadline - time.monotonic())))
            if stop is not None and self._hit(stop, number):
                return None
            if stop is not None:
                continue
            action = self.actions.get(step.actor)
            if action is not None and action.ended():
                self.gdb.interrupt()
                said = action.error()
                how = f"failed: {said}" if said else "ended without getting there"
                return Outcome.NOT_REACHED, f"{step.actor} does not reach {point}: its action {how}"
            what = f"does not reach {point}"
            if blocked := self._blocked(step.actor, what, patience):
                return blocked
            if time.monotonic() > deadline:
                return self._late(step.actor, what)

    def _until_done(self, number: int) -> tuple[Outcome, str] | None:
        step = self.order[number][0]
        action = self.actions[step.actor]
        deadline = time.monotonic() + self.budget
        patience = _Patience()
        while not action.answered():
            stop = self._run(_GAP)
            if stop is not None:
                self._hit(stop, number)
            elif blocked := self._blocked(step.actor, "does not end", patience):
                return blocked
            elif time.monotonic() > deadline:
                return self._late(step.actor, "does not end")
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
            frozen = {h.cpu for h in self._held.values() if h.kind is HoldKind.FREEZE}
            free = [cpu for cpu in range(self.gdb.cpus) if cpu not in frozen]
            if not free:
                raise LabError("every CPU is frozen: nobody is left to go on", where="the order")
            self.gdb.resume(free if frozen else None)
        return self.gdb.wait(budget)

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
        self._hold(who, stop.cpu, registers, address, later[0])
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

    # ---- holds

    def _hold(self, who: str, cpu: int, registers: Mapping[str, int], address: int, number: int) -> None:
        step, point = self.order[number]
        kind = HoldKind.SPIN if step.hold is HoldKind.AUTO else step.hold
        off = "" if registers["eflags"] & INTERRUPTS_ON else ", interrupts off"
        mapped = frozenset(name for name in _POINTERS if self._behind(registers.get(name, 0)) is not None)
        held = _Held(cpu, address, kind, step=number, registers=dict(registers), mapped=mapped)
        if kind is HoldKind.SPIN:
            held.stub = self.stubs[who]
            self._patch(held.stub, STUB)
            self.gdb.set_register(cpu, "rip", held.stub)
        self._held[who] = held
        self.holds[who] = kind
        self._say(who, f"at {point}: {point.place}, held ({kind}{off})", cpu)

    def _release(self, who: str) -> None:
        held = self._held.pop(who)
        if held.kind is HoldKind.FREEZE:
            self.gdb.step(held.cpu)
        else:
            # The thread is at the pause or at the jump behind it: that becomes the jump back.
            at = held.stub + _JUMP_AT
            distance = held.address - (at + _JUMP_SIZE)
            self._patch(at, bytes([_JUMP]) + struct.pack("<i", distance))
            self._pass_once.add((who, held.address))
        self._say(who, "released", held.cpu)

    def _patch(self, address: int, code: bytes) -> None:
        self.gdb.write_physical(self.memory.physical(address), code)

    def _free_all(self, armed: set[int]) -> None:
        """Release whoever is held. The stubs stay: a thread may have been preempted in one."""
        try:
            if self.gdb.running:
                self.gdb.interrupt()
            for who in list(self._held):
                self._release(who)
            # A released thread would stop at its own point once more.
            for address in sorted(armed):
                self.gdb.clear_breakpoint(address)
        except LabError as e:
            self._say("lab", f"cannot release everybody: {str(e).splitlines()[0]}")

    # ---- why it does not go on

    def _blocked(self, who: str, what: str, patience: _Patience) -> tuple[Outcome, str] | None:
        """Look now and then at an actor that is waited for: who is in the same wait at several looks in a row
        is blocked. Nobody is while nobody is held."""
        if not self._held or time.monotonic() < patience.next:
            return None
        patience.next = time.monotonic() + _LOOK_EVERY
        if self.gdb.running:
            stop = self.gdb.interrupt()
            if stop.trap:
                return None  # somebody has just got to a point: that comes first
        seen = self._seen(who)
        waits = seen.waits if seen is not None else ""
        patience.same = patience.same + 1 if waits and waits == patience.waits else 1
        patience.waits = waits
        if waits and seen is not None and patience.same >= _LOOKS:
            return Outcome.BLOCKED, self._told(who, what, seen)
        return None

    def _seen(self, who: str) -> Waiting | None:
        """Where an actor's task is; None when there is none."""
        actor = self.actors[who]
        try:
            task = None if actor.interrupt else self.tasks.named(actor.comm)
            return None if task is None else self._look(task)
        except NotMapped:
            return None

    def _told(self, who: str, what: str, seen: Waiting) -> str:
        stack = " <- ".join(frame.split("+")[0] for frame in seen.frames[:8])
        holders = ", ".join(f"{name} ({held.kind})" for name, held in self._held.items()) or "nobody"
        return f"{who} {what}: it waits for {seen.waits} while {holders} is held: {stack}"

    def _late(self, who: str, what: str) -> tuple[Outcome, str]:
        """The budget is over: say what the actor waits for."""
        if self.gdb.running:
            self.gdb.interrupt()
        actor, seen = self.actors[who], self._seen(who)
        if actor.interrupt:
            return Outcome.NOT_REACHED, f"{who} {what} within {self.budget:g} s: no such interrupt came"
        if seen is None:
            return Outcome.NOT_REACHED, f"{who} {what}: there is no task {actor.comm}"
        if seen.waits:
            return Outcome.BLOCKED, self._told(who, what, seen)
        stack = " <- ".join(frame.split("+")[0] for frame in seen.frames[:8])
        how = "runs" if seen.on_cpu else "sleeps"
        return Outcome.NOT_REACHED, f"{who} {what} within {self.budget:g} s; it {how}: {stack}"

    def _look(self, task: int) -> Waiting:
        """Where a task is. One that runs is looked at several times: an interrupt may be on top."""
        seen = self.tasks.where(task)
        if not seen.on_cpu:
            return seen
        votes: dict[str, list[Waiting]] = {}
        for _ in range(_SAMPLES):
            for cpu in range(self.gdb.cpus):
                registers = self.gdb.registers(cpu)
                own = self.tasks.cpu_of(registers)
                if own is not None and self.tasks.current(own) == task:
                    found = self.tasks.running(task, registers["rsp"], registers["rip"])
                    votes.setdefault(found.waits, []).append(found)
            frozen = {h.cpu for h in self._held.values() if h.kind is HoldKind.FREEZE}
            free = [cpu for cpu in range(self.gdb.cpus) if cpu not in frozen]
            if not free:
                break
            self.gdb.resume(free if frozen else None)
            if self.gdb.wait(_GAP) is None:
                self.gdb.interrupt()
        best = max(votes.values(), key=len, default=[seen])
        sure = len(best) >= _SURE
        return best[0] if sure else Waiting("", True, best[0].frames)

    def _say(self, actor: str, what: str, cpu: int | None = None) -> None:
        self.events.append(Event(round(time.monotonic() - self._start, 4), actor, what, cpu))
