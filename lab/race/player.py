# SPDX-License-Identifier: GPL-2.0-or-later
"""Plays a schedule: one actor at a time, by priority; whoever comes to a change point stands back.

The *gate* is where the schedule begins: one actor is brought there first, since the VMM cannot begin what a
VP does once it stands still itself. After the removing actors have ended, every further stop of the others is
looked at, and is where a violation is said to have been.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from lab.machine.gdb import Stop
from lab.model.errors import LabError
from lab.model.race import Attempt, Outcome, PointSpec, Step
from lab.race.engine import Choreographer
from lab.race.held import INTERRUPTS_ON
from lab.race.memory import NotMapped
from lab.race.schedules import Schedule
from lab.race.stage import Submission

_SLICE = 0.02
_LOOK_AFTER = 0.2
"""Seconds without progress after which the stack of an actor that runs is looked at."""
_GATE_BUDGET = 5.0
_TURN_BUDGET = 5.0
_SOMETHING = "something"
_LISTENS = ("anon_pipe_read", "pipe_read", "unix_stream_read")
"""What the stack says of the VMM when a request, or its answer, is still on the way."""
_IDLE = "futex"
"""What the stack says of a thread of the VMM that waits for its next job."""


class State(Enum):
    """Of an actor."""

    WAITING = "waiting"
    """Has not begun."""
    HELD = "held"
    FREE = "free"
    BLOCKED = "blocked"
    """Was let go, and waits for something."""
    DONE = "done"


@dataclass
class Player(Choreographer):
    """One schedule. ``order`` is the table of points: what is played says ``schedule``.

    ``tasks_known``: address of each actor's task; ``removers``: actors after whose end ``violated`` must say
    nothing; ``later``: points of an actor behind another, where it is looked at then.
    """

    schedule: Schedule = field(default_factory=lambda: Schedule((), {}))
    gate: int | None = None
    """Number of the point; None: wherever one that does not remove comes by first."""
    tasks_known: Mapping[str, int] = field(default_factory=dict)
    removers: frozenset[str] = frozenset()
    violated: Callable[[], str] = lambda: ""
    later: Callable[[str], Sequence[int]] = lambda actor: ()
    every: bool = False
    """Stop nobody, but write down every point that is passed: see ``trace``."""
    trace: list[int] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    found: str = ""
    sightings: list[Step] = field(default_factory=list)
    """Where the violation was seen behind ``steps``. The last of them is the best to name: the further an
    actor gets, the more likely a kernel without the defect gets there too."""
    blocked: bool = False
    """Somebody had to wait, so the order does not say all."""
    _state: dict[str, State] = field(default_factory=dict)
    _next: dict[str, list[int]] = field(default_factory=dict)
    _armed: set[int] = field(default_factory=set)
    _numbers: dict[int, list[int]] = field(default_factory=dict)
    _watching: bool = False

    def run(self) -> Attempt:
        """Play it. What the proof says in the end is not asked here."""
        self._start = time.monotonic()
        for number, (_, point) in enumerate(self.order):
            for address in point.addresses:
                self._numbers.setdefault(address, []).append(number)
        self._state = dict.fromkeys(self.schedule.first, State.WAITING)
        self._next = {actor: list(numbers) for actor, numbers in self.schedule.changes.items()}
        try:
            self._arm(
                [
                    *([] if self.gate is None else [self.gate]),
                    *(n for numbers in self._next.values() for n in numbers),
                ]
            )
            if self.every:
                self._arm(range(len(self.order)))
            outcome, reason = self._go()
        except (LabError, NotMapped) as e:
            outcome, reason = Outcome.BROKEN, (str(e).splitlines() or [type(e).__name__])[0]
        finally:
            self._free_all(self._armed)
        seconds = round(time.monotonic() - self._start, 3)
        events = tuple(self.events)
        return Attempt(outcome, reason, seconds, events, dict(self.holds), (), self.passed, self.foreign)

    def _go(self) -> tuple[Outcome, str]:
        starter = next(actor for actor in self.schedule.first if actor not in self.removers)
        if (failure := self._open(starter)) is not None:
            return failure
        priority = list(self.schedule.first)
        while not self._settled():
            ready = [a for a in priority if self._state[a] in (State.WAITING, State.HELD)]
            waiting = [a for a in priority if self._state[a] is State.BLOCKED]
            if not ready and not waiting:
                return Outcome.CLEAN, ""
            who = (ready or waiting)[0]
            if ready:
                self._let_go(who)
            if not self._turn(who, patient=not ready):
                return Outcome.BLOCKED, f"{who} does not go on, and nobody else can: {self._stack(who)}"
            if self._state[who] is State.HELD:
                priority.remove(who)
                priority.append(who)
        return Outcome.CLEAN, ""

    def _settled(self) -> bool:
        """Whether the violation was there as soon as the removal had ended: nothing more can be learned."""
        return bool(self.found) and not self.sightings

    # ---- turns

    def _open(self, starter: str) -> tuple[Outcome, str] | None:
        """Bring one to the gate, and let the request that began it be answered."""
        self._begin(starter)
        self._state[starter] = State.FREE
        if self.gate is not None:
            self._next[starter].insert(0, self.gate)
        deadline = time.monotonic() + _GATE_BUDGET
        while self._state[starter] is not State.HELD or not self._answered(starter):
            stop = self._run(_SLICE)
            if stop is not None:
                self._arrive(stop)
            elif time.monotonic() > deadline:
                return Outcome.NOT_REACHED, f"{starter} does not come to any point where it could begin"
        if self.gdb.running:
            self._arrive(self.gdb.interrupt())
        return None

    def _answered(self, starter: str) -> bool:
        action = self.actions[starter]
        return not isinstance(action, Submission) or action.answered()

    def _let_go(self, who: str) -> None:
        if self._state[who] is State.HELD:
            self._release(who)
        else:
            self._begin(who)
        self._state[who] = State.FREE

    def _turn(self, who: str, patient: bool) -> bool:
        """Until it stands back, has ended or waits for something; False when nothing of that comes."""
        deadline = time.monotonic() + _TURN_BUDGET
        look, asleep = time.monotonic() + _LOOK_AFTER, 0
        while True:
            stop = self._run(_SLICE)
            if stop is not None:
                self._arrive(stop)
                look, asleep = time.monotonic() + _LOOK_AFTER, 0
                deadline = time.monotonic() + _TURN_BUDGET
                if self._settled() or self._state[who] is State.HELD:
                    return True
                continue
            self._ends()
            if self._settled() or self._state[who] is State.DONE:
                return True
            now = time.monotonic()
            if now > deadline:
                return False
            if patient:
                continue
            waits = self._waits(who)
            # One that sleeps for no reason that is known gets some time to go on by itself.
            asleep = asleep + 1 if waits and (waits != _SOMETHING or now > look) else 0
            if not waits and now > look:
                self._pause()
                waits = self._look_at(who)
                look = now + _LOOK_AFTER
                asleep = 3 if waits else 0
            if asleep >= 3 and self._state[who] is State.FREE:
                self._pause()
                if self._state[who] is not State.FREE:
                    return True
                self._state[who], self.blocked = State.BLOCKED, True
                self._say(who, f"waits for {waits}")
                return True

    def _waits(self, who: str) -> str:
        """What a sleeping actor waits for, by its stack; empty for one that runs."""
        task = self.tasks_known.get(who)
        if task is None:
            return ""
        try:
            seen = self.tasks.where(task)
        except NotMapped:
            return ""
        listens = any(frame.startswith(_LISTENS) for frame in seen.frames)
        return "" if seen.on_cpu or listens else seen.waits or _SOMETHING

    def _stack(self, who: str) -> str:
        self._pause()
        task = self.tasks_known.get(who)
        if task is None:
            return "no task of that name"
        seen = self.tasks.where(task)
        return " <- ".join(frame.split("+")[0] for frame in seen.frames[:8]) or "nothing on its stack"

    def _look_at(self, who: str) -> str:
        task = self.tasks_known.get(who)
        return "" if task is None else self._look(task).waits

    def _ends(self) -> None:
        """Write down who has ended."""
        for who, state in self._state.items():
            if state in (State.FREE, State.BLOCKED) and self._over(who):
                self._pause()
                if self._state[who] is State.HELD:
                    continue
                self._state[who] = State.DONE
                self._say(who, "has ended")
                if who in self.removers:
                    self.steps.append(Step(who, PointSpec()))
                    self._removed()

    def _over(self, who: str) -> bool:
        action = self.actions[who]
        if action.ended():
            if said := action.error():
                raise LabError(f"{who} fails: {said}")
            return True
        if who in self.removers:
            return False
        try:
            seen = self.tasks.where(self.tasks_known[who])
        except (NotMapped, KeyError):
            return False
        return not seen.on_cpu and any(frame.startswith(_IDLE) for frame in seen.frames)

    def _removed(self) -> None:
        """A remover has ended. When it was the last, look now and from here on."""
        if any(self._state[who] is not State.DONE for who in self.removers):
            return
        self._watching = True
        self.found = self.violated()
        for who in self._state:
            if self._state[who] is not State.DONE:
                self._arm(self.later(who))

    # ---- stops

    def _pause(self) -> None:
        if self.gdb.running:
            self._arrive(self.gdb.interrupt())

    def _arrive(self, stop: Stop) -> None:
        """Deal with a stop: hold who is to stand back here, look if there is to look, let others pass."""
        registers = self.gdb.registers(stop.cpu)
        address = registers["rip"]
        numbers = self._numbers.get(address, []) if address in self._armed else []
        if not numbers:
            return
        cpu = self.tasks.cpu_of(registers)
        who = None
        if cpu is None:
            self.foreign += 1
        else:
            who = self._who(cpu, registers["rsp"], {self.order[n][0].actor for n in numbers})
        if who is None or who in self._held or (who, address) in self._pass_once:
            self._pass_once.discard((who or "", address))
            self.gdb.step(stop.cpu)
            return
        number = next(n for n in numbers if self.order[n][0].actor == who)
        if self._watching and (found := self.violated()):
            if not self.found:
                self._say(who, f"at {self.order[number][1]}: {found}", stop.cpu)
            self.found = found
            self.sightings.append(self.order[number][0])
            self.gdb.step(stop.cpu)
            return
        # Where interrupts are off only the CPU can be held, and then nobody's request gets to the VMM.
        if self.every and number not in self.trace and registers["eflags"] & INTERRUPTS_ON:
            self.trace.append(number)
        if self.gate is None and who not in self.removers:
            self.gate = number
            self._next[who].insert(0, number)
        wanted = self._next.get(who, [])
        if number not in wanted:
            self.gdb.step(stop.cpu)
            return
        del wanted[: wanted.index(number) + 1]
        self._hold(who, stop.cpu, registers, number)
        self._state[who] = State.HELD
        self.steps.append(self.order[number][0])

    def _arm(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            for address in self.order[number][1].addresses:
                self.gdb.set_breakpoint(address)
                self._armed.add(address)
