# SPDX-License-Identifier: GPL-2.0-or-later
"""The stand-in's contract, call by call, as a bare-metal root partition sees it.

The cases and what they demand are C, in images/tiny/t_*.c.
"""

from __future__ import annotations

import pytest

from lab.build.tiny import TinyCase, read_cases
from lab.validate.tiny import FUZZ, GROUPS, TinyRun

from .conftest import guest


def test_case(case: TinyCase, run: TinyRun) -> None:
    if (why := run.failures.get(case.name)) is not None:
        pytest.fail(f"{why}\n{run.evidence()}", pytrace=False)
    assert case.name in run.passed, f"the guest says nothing of it\n{run.console}\n{run.evidence()}"


def test_run_ends_with_a_healthy_stand_in(group: str, run: TinyRun) -> None:
    """No panic, nothing left of the children, no page of the root still deposited."""
    assert run.end and not run.died and not run.problems, f"{run.problems}\n{run.evidence()}"


def test_every_case_has_a_name_of_its_own_and_a_group() -> None:
    cases = read_cases(guest().symbols)
    assert len({c.name for c in cases}) == len(cases)
    assert {c.group for c in cases} == {*GROUPS, FUZZ}
    assert not [c.name for c in cases if ":" in c.name]
