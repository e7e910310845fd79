# SPDX-License-Identifier: GPL-2.0-or-later
"""The line that repeats a failed run of the fuzzer."""

from __future__ import annotations

from lab.validate.fuzz import FuzzRun
from lab.validate.tiny import TinyRun


def test_line_has_all_that_the_run_was_started_with() -> None:
    run = FuzzRun(7, 1000, TinyRun(), number=12, hypervisor_args=("scheduler=core", "parent=l1vh"))
    assert run.replay == (
        "python ci/fuzz.py --seed 7 --calls 12 --hypervisor-arg scheduler=core --hypervisor-arg parent=l1vh"
    )


def test_run_that_made_no_call_is_repeated_whole() -> None:
    assert FuzzRun(7, 1000, TinyRun()).replay == "python ci/fuzz.py --seed 7 --calls 1000"
