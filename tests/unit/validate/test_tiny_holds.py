# SPDX-License-Identifier: GPL-2.0-or-later
"""What the host finds wrong with a hold that is over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.hypervisor.holds import HoldReport
from lab.hypervisor.layout import HoldState
from lab.validate.tiny_holds import Request, wrong_with

RELEASED = HoldReport(HoldState.RELEASED, 1, 0, 0, True, 7, 0, 0, 0)
DEAF = replace(RELEASED, interrupts_on=False)
EXPIRED = replace(DEAF, state=HoldState.EXPIRED, expired=1)


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        (Request.HOLD, RELEASED),
        (Request.HOLD_WITHOUT_INTERRUPTS, DEAF),
        (Request.HOLD_BRIEFLY, EXPIRED),
    ],
)
def test_hold_as_it_was_asked_for_is_in_order(asked: Request, seen: HoldReport) -> None:
    assert wrong_with(asked, seen) == []


@pytest.mark.parametrize(
    ("asked", "seen", "said"),
    [
        (Request.HOLD, DEAF, "interrupts are said to be off"),
        (Request.HOLD_WITHOUT_INTERRUPTS, RELEASED, "interrupts are said to be on"),
        (Request.HOLD, replace(RELEASED, expired=1), "budget was over"),
        (Request.HOLD_BRIEFLY, DEAF, "0 calls went on because their budget was over"),
        (Request.HOLD, replace(RELEASED, reentries=0), "never came again"),
        (Request.HOLD, replace(RELEASED, generation=0), "0 calls were held"),
        (Request.HOLD, replace(RELEASED, state=HoldState.HELD), "the last is held"),
    ],
)
def test_hold_that_is_not_is_told(asked: Request, seen: HoldReport, said: str) -> None:
    assert any(said in text for text in wrong_with(asked, seen))
