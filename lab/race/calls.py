# SPDX-License-Identifier: GPL-2.0-or-later
"""Points at hypercalls: the stand-in holds the call, and nobody needs a breakpoint.

The hypervisor does not know who calls, so whoever makes such a call is held for a moment: the choreographer
looks whose stack it is, and lets strangers go on. A step has a hold for each CPU, lest its actor gets by
while a stranger is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lab.hypervisor.holds import ALWAYS, Hold, HoldPlan, HoldReport
from lab.hypervisor.layout import HOLD_LONGEST
from lab.race.points import CallTarget


@dataclass
class Calls:
    """The holds of one attempt, by the number of their step. ``cpus``: of the root."""

    plan: HoldPlan
    cpus: int
    _armed: dict[int, list[Hold]] = field(default_factory=dict)
    _taken: dict[int, Hold | None] = field(default_factory=dict)

    def arm(self, number: int, target: CallTarget) -> None:
        """Hold such calls from now on; once for each step. BadInput when there are too many steps."""
        if number not in self._armed:
            self._armed[number] = [self._hold(target) for _ in range(self.cpus)]

    def _hold(self, target: CallTarget) -> Hold:
        return self.plan.arm(
            target.code,
            partition=target.partition,
            gfn=target.gfn,
            skip=target.skip,
            count=ALWAYS,
            budget=HOLD_LONGEST,
        )

    @property
    def armed(self) -> bool:
        """Whether somebody may come to a hypercall that is waited for."""
        return len(self._armed) > len(self._taken)

    def caught(self) -> Iterator[tuple[int, Hold, HoldReport]]:
        """Steps at whose call somebody is held of whom nobody has said yet who he is."""
        for number, holds in list(self._armed.items()):
            for hold in holds:
                if number not in self._taken and (seen := hold.look()).held:
                    yield number, hold, seen

    def take(self, number: int, hold: Hold) -> None:
        """It is the actor of the step: he stays, and nobody else is held for it any more."""
        self._taken[number] = hold
        for other in self._armed[number]:
            if other is not hold:
                other.clear()

    def end(self, number: int) -> None:
        """Let whoever is held at a step go on, and hold nobody there any more."""
        self._taken.setdefault(number, None)
        for hold in self._armed[number]:
            hold.clear()

    def still(self, number: int) -> bool:
        """Whether the actor of a step is held now: a hold that is too long ends by itself."""
        hold = self._taken.get(number)
        return hold is not None and hold.look().held

    def clear(self) -> None:
        """Hold nobody any more."""
        for number in self._armed:
            self.end(number)
