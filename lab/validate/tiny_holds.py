# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's part in the cases of images/tiny/t_hold.c: it holds calls and lets them go, as asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from lab.hypervisor import names
from lab.hypervisor.holds import Hold, HoldReport
from lab.hypervisor.view import HypervisorView
from lab.model.ledger import RecordKind

if TYPE_CHECKING:
    from lab.validate.tiny import TinyRun

GET_PARTITION_ID = 0x46
GET_SYSTEM_PROPERTY = 0x7B
SAYS_HELD = 0x1D
"""NO_RESOURCES: the answer to one GET_SYSTEM_PROPERTY when a call is held, or was briefly."""
_BUDGET = 3.0
"""Seconds after which a hold ends that the guest has not asked to end: it says so in its own words then."""


class Request(IntEnum):
    """Marks of the guest."""

    HOLD = 0x40
    HOLD_WITHOUT_INTERRUPTS = 0x41
    HOLD_BRIEFLY = 0x42
    RELEASE = 0x43


_BUDGETS = {Request.HOLD: _BUDGET, Request.HOLD_WITHOUT_INTERRUPTS: _BUDGET, Request.HOLD_BRIEFLY: 0.2}


@dataclass
class HoldScript:
    """For one run: called again and again while the guest runs, and once when it has ended."""

    _position: int = 0
    _asked: Request | None = None
    _hold: Hold | None = None
    _seen: int = 0
    _told: bool = False

    def __call__(self, view: HypervisorView, result: TinyRun) -> None:
        """Do what the guest has asked for since the last time; write down what is wrong with a hold."""
        records = view.since(self._position).records
        for record in records:
            self._position = record.seq
            if record.kind is RecordKind.EVENT and record.code == names.Event.MARK:
                self._answer(Request(record.words[0]), view, result)
        if not result.end:
            self._tell(view)
        else:
            self._over(result)
            view.holds.clear()
            if not self._seen:
                result.problems.append("the guest asked for no hold")

    def _answer(self, request: Request, view: HypervisorView, result: TinyRun) -> None:
        if request is Request.RELEASE:
            if self._hold is not None:
                if not self._hold.look().held:
                    result.problems.append(f"{self._asked!r}: nothing is held when it is to be released")
                self._hold.release()
            return
        self._over(result)
        view.holds.clear()
        self._asked, self._seen, self._told = request, self._seen + 1, False
        self._hold = view.holds.arm(GET_PARTITION_ID, budget=_BUDGETS[request])

    def _tell(self, view: HypervisorView) -> None:
        """Once for each hold: say that a call is held, whose LP has made it again; or, if briefly, was."""
        if self._told or self._hold is None:
            return
        seen = self._hold.look()
        if seen.expired if self._asked is Request.HOLD_BRIEFLY else seen.held and seen.reentries:
            view.faults.clear()
            view.faults.inject(GET_SYSTEM_PROPERTY, status=SAYS_HELD)
            self._told = True

    def _over(self, result: TinyRun) -> None:
        """Look back at the hold that there was."""
        if self._hold is not None and self._asked is not None:
            wrong = wrong_with(self._asked, self._hold.look())
            result.problems += [f"{self._asked!r}: {text}" for text in wrong]
        self._hold = None


def wrong_with(asked: Request, seen: HoldReport) -> list[str]:
    """What the stand-in tells of a hold that is over, and should not."""
    wrong = []
    if seen.generation != 1 or seen.held:
        wrong.append(f"{seen.generation} calls were held, the last is {seen.state.name.lower()}")
    if not seen.reentries:
        wrong.append("the call never came again")
    if seen.expired != (asked is Request.HOLD_BRIEFLY):
        wrong.append(f"{seen.expired} calls went on because their budget was over")
    if seen.interrupts_on != (asked is Request.HOLD):
        wrong.append(f"interrupts are said to be {'on' if seen.interrupts_on else 'off'}")
    return wrong
