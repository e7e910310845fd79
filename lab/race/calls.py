# SPDX-License-Identifier: GPL-2.0-or-later
"""Points at hypercalls: the stand-in holds the call, and nobody needs a breakpoint.

The hypervisor does not know who calls, so whoever makes such a call is held for a moment: the choreographer
looks whose stack it is, and lets strangers go on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.hypervisor.holds import ALWAYS, Hold, HoldPlan, HoldReport
from lab.hypervisor.layout import HOLD_LONGEST
from lab.race.points import CallTarget


@dataclass
class Calls:
    """The holds of one attempt, by the number of their step."""

    plan: HoldPlan
    _armed: dict[int, Hold] = field(default_factory=dict)
    _taken: set[int] = field(default_factory=set)

    def arm(self, number: int, target: CallTarget) -> None:
        """Hold such calls from now on; once for each step."""
        if number not in self._armed:
            self._armed[number] = self.plan.arm(
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

    def caught(self) -> list[tuple[int, HoldReport]]:
        """Steps at whose call somebody is held of whom nobody has said yet who he is."""
        return [
            (number, seen)
            for number, hold in self._armed.items()
            if number not in self._taken and (seen := hold.look()).held
        ]

    def take(self, number: int) -> None:
        """It is the actor of the step: he stays."""
        self._taken.add(number)

    def pass_by(self, number: int) -> None:
        """It is somebody else: he goes on, and the next one is held."""
        self._armed[number].release()

    def end(self, number: int) -> None:
        """Let whoever is held at a step go on, and hold nobody there any more."""
        self._armed[number].clear()
        self._taken.add(number)

    def still(self, number: int) -> bool:
        """Whether the call of a step is held now: a hold that is too long ends by itself."""
        return self._armed[number].look().held

    def clear(self) -> None:
        """Hold nobody any more."""
        for hold in self._armed.values():
            hold.clear()
