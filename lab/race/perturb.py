# SPDX-License-Identifier: GPL-2.0-or-later
"""Threads that get to points are kept there for a random time: no order is asked for, only disorder."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lab.machine.gdb import Stop
from lab.model.race import Outcome
from lab.race.engine import Choreographer

LONGEST = 0.12
"""Seconds of the longest delay."""
_GAP = 0.004
_BUDGET = 6.0
"""Seconds for a round to end."""


@dataclass
class Perturber(Choreographer):
    """One round. ``order`` lists points of actors; in which order they come is left to chance.

    ``over`` says that everybody has done what he had to do, ``on_tick`` is called again and again while the
    round goes on, machine running or not.
    """

    rng: random.Random = field(default_factory=random.Random)
    over: Callable[[], bool] = lambda: True
    on_tick: Callable[[], None] = lambda: None
    delays: int = 0
    _until: dict[str, float] = field(default_factory=dict)

    def _go(self) -> tuple[Outcome, str]:
        for name, action in self.actions.items():
            self._say(name, "begins")
            action.start()
        deadline = time.monotonic() + _BUDGET
        while not self.over() or self._held:
            self.on_tick()
            now = time.monotonic()
            if now > deadline:
                return Outcome.BROKEN, f"a round did not end within {_BUDGET:g} s"
            due = [who for who, until in self._until.items() if until <= now]
            if due:
                self._stop()
                for who in due:
                    del self._until[who]
                    self._release(who)
            stop = self._run(_GAP)
            if stop is not None:
                self._delay(stop)
        self._stop()
        return Outcome.CLEAN, ""

    def _stop(self) -> None:
        if self.gdb.running and (stop := self.gdb.interrupt()):
            self._delay(stop)

    def _delay(self, stop: Stop) -> None:
        """Keep whoever stopped at a point of his, for some time or not at all."""
        registers = self.gdb.registers(stop.cpu)
        address = registers["rip"]
        here = [n for n, (step, point) in enumerate(self.order) if address in point.addresses]
        if not here:
            return
        who = self._actor_at(stop, registers, here)
        if who is None:
            self.gdb.step(stop.cpu)
            return
        number = next(n for n in here if self.order[n][0].actor == who)
        if self.rng.random() < 0.5:
            self.gdb.step(stop.cpu)
            return
        self.delays += 1
        self._hold(who, stop.cpu, registers, number)
        self._until[who] = time.monotonic() + self.rng.random() * LONGEST

    def _actor_at(self, stop: Stop, registers: Mapping[str, int], here: list[int]) -> str | None:
        """Whose point it is; None for somebody else's, and for one who has just been let go from it."""
        cpu = self.tasks.cpu_of(registers)
        if cpu is None:
            self.foreign += 1
            return None
        who = self._who(cpu, registers["rsp"], {self.order[n][0].actor for n in here})
        if who is None or who in self._held:
            self.passed += 1
            return None
        if (who, registers["rip"]) in self._pass_once:
            self._pass_once.discard((who, registers["rip"]))
            return None
        return who
