# SPDX-License-Identifier: GPL-2.0-or-later
"""Why an actor does not go on: looks at his task while the machine stands still, and what they say."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.machine.gdb import Gdb
from lab.model.race import Actor, Outcome
from lab.race.held import Held, free_cpus
from lab.race.memory import NotMapped
from lab.race.tasks import Tasks, Waiting

_SAMPLES = 5
_SURE = 4
"""Samples of a running task that must agree on what it waits for."""
_GAP = 0.01
_LOOK_EVERY = 0.5
_LOOKS = 4
"""Looks in a row that must find an actor in the same wait before he is said to be blocked."""
_FRAMES = 8


@dataclass(slots=True)
class Patience:
    """What the looks at an actor have found so far."""

    next: float = field(default_factory=lambda: time.monotonic() + _LOOK_EVERY)
    waits: str = ""
    same: int = 0


@dataclass(frozen=True)
class Looks:
    """``held``: who is held at the moment, by name."""

    gdb: Gdb
    tasks: Tasks
    actors: Mapping[str, Actor]
    held: Mapping[str, Held]

    def blocked(self, who: str, what: str, patience: Patience) -> tuple[Outcome, str] | None:
        """Look now and then at an actor that is waited for: who is in the same wait at several looks in a row
        is blocked. Nobody is while nobody is held."""
        if not self.held or time.monotonic() < patience.next:
            return None
        patience.next = time.monotonic() + _LOOK_EVERY
        if self.gdb.running:
            stop = self.gdb.interrupt()
            if stop.trap:
                return None  # somebody has just got to a point: that comes first
        seen = self.seen(who)
        waits = seen.waits if seen is not None else ""
        patience.same = patience.same + 1 if waits and waits == patience.waits else 1
        patience.waits = waits
        if waits and seen is not None and patience.same >= _LOOKS:
            return Outcome.BLOCKED, self._told(who, what, seen)
        return None

    def late(self, who: str, what: str, budget: float) -> tuple[Outcome, str]:
        """The budget is over: say what the actor waits for."""
        if self.gdb.running:
            self.gdb.interrupt()
        actor, seen = self.actors[who], self.seen(who)
        if actor.interrupt:
            return Outcome.NOT_REACHED, f"{who} {what} within {budget:g} s: no such interrupt came"
        if seen is None:
            return Outcome.NOT_REACHED, f"{who} {what}: there is no task {actor.comm}"
        if seen.waits:
            return Outcome.BLOCKED, self._told(who, what, seen)
        how = "runs" if seen.on_cpu else "sleeps"
        return Outcome.NOT_REACHED, f"{who} {what} within {budget:g} s; it {how}: {_stack(seen)}"

    def seen(self, who: str) -> Waiting | None:
        """Where an actor's task is; None when there is none."""
        actor = self.actors[who]
        try:
            task = None if actor.interrupt else self.tasks.named(actor.comm)
            return None if task is None else self.look(task)
        except NotMapped:
            return None

    def look(self, task: int) -> Waiting:
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
            free = free_cpus(self.gdb.cpus, self.held.values())
            if free == []:
                break
            self.gdb.resume(free)
            if self.gdb.wait(_GAP) is None:
                self.gdb.interrupt()
        best = max(votes.values(), key=len, default=[seen])
        sure = len(best) >= _SURE
        return best[0] if sure else Waiting("", True, best[0].frames)

    def _told(self, who: str, what: str, seen: Waiting) -> str:
        holders = ", ".join(f"{name} ({held.how})" for name, held in self.held.items()) or "nobody"
        return f"{who} {what}: it waits for {seen.waits} while {holders} is held: {_stack(seen)}"


def _stack(seen: Waiting) -> str:
    return " <- ".join(frame.split("+")[0] for frame in seen.frames[:_FRAMES])
