# SPDX-License-Identifier: GPL-2.0-or-later
"""Series that are broken on purpose: each ends in its own clear verdict, in bounded time."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from lab import paths
from lab.machine.watch import BOOT_SILENCE

SERIES = paths.tests_dir() / "series"
SUBJECT = "BROKEN ON PURPOSE"
ONE = "map_refused_at_region_set_or_touch_leaks_nothing"
"""A scenario that base passes: enough where the kernel does not get that far."""
DRIVER_PATIENCE = 20.0
"""Seconds after which a scenario stuck in the driver must be called a hang."""
OVERHEAD = 60.0
"""Seconds for boot, ability probe, stacks and clean-up on two cores that others use too."""


def ended_in(run: Any, phase: str) -> str:
    """The patched kernel failed in that phase and no scenario is judged. Its reasons and evidence as text."""
    assert run.result["verdict"] == "fail"
    patched = run.kernel("patched")
    assert (patched["verdict"], patched["failed_phase"]) == ("fail", phase)
    assert not [s["id"] for s in run.result["scenarios"] if s["patched"]]
    assert run.result["reasons"], "a fail without a reason"
    text = "\n".join([*patched["reasons"], *patched["evidence"]])
    assert patched["reasons"][0] in run.result["reasons"][0], "the table does not say it"
    return text


def test_compile_error_names_file_line_and_patch(validate: Callable[..., Any]) -> None:
    run = validate(SERIES / "broken-compile", "-k", ONE, expect=1)
    text = ended_in(run, "build")
    assert "'regoin' undeclared" in text
    assert re.search(r"drivers/hv/mshv_regions\.c:\d+", text)
    assert f'in the patch "mshv: {SUBJECT}: does not compile"' in text
    assert "'regoin' undeclared" in run.done.out
    # A kernel that does not exist is never booted.
    assert run.phase("drive", "patched") is None


def test_patch_that_does_not_apply_names_hunk_and_base(validate: Callable[..., Any]) -> None:
    run = validate(SERIES / "broken-apply", "-k", ONE, expect=1)
    text = ended_in(run, "apply")
    assert f"patch 1/1 (mshv: {SUBJECT}: does not apply)" in text
    assert "drivers/hv/mshv_root_main.c: hunk 1 of 1 does not fit" in text
    assert f"Linux {run.result['base_version']}" in text and run.result["lock"]["version"] in text
    assert run.phase("build", "patched") is None


def test_panic_before_init_ends_in_its_own_verdict(validate: Callable[..., Any]) -> None:
    run = validate(SERIES / "panic-early", "-k", ONE, expect=1)
    text = ended_in(run, "boot")
    assert "panic in phase boot" in text
    assert "Kernel panic - not syncing: hvlab: panic before init, on purpose" in text
    assert "hvlab_panic_early" in text, "the console tail shows where"
    assert run.phase("drive", "patched")["wall"] < BOOT_SILENCE, "a panic must not be waited for like a hang"


def test_hang_at_boot_says_where_the_cpus_are(validate: Callable[..., Any]) -> None:
    run = validate(SERIES / "hang-boot", "-k", ONE, expect=1)
    text = ended_in(run, "boot")
    assert "boot-hang in phase boot" in text
    assert f"nothing on the console for {BOOT_SILENCE:.0f} s" in text
    # Looked at during its tick, the CPU has the function on its stack.
    assert re.search(r"CPU \d(: | stack, perhaps: .*)hvlab_hang_boot\+", text), text
    assert BOOT_SILENCE <= run.phase("drive", "patched")["wall"] < BOOT_SILENCE + OVERHEAD


def test_hang_in_the_driver_names_the_stuck_function(validate: Callable[..., Any]) -> None:
    run = validate(SERIES / "hang-driver", "-k", ONE, expect=1)
    scenario = run.scenario(ONE)
    assert scenario["base"]["verdict"] == "pass" and scenario["patched"]["verdict"] == "fail"
    reason = scenario["patched"]["reasons"][0]
    assert "driver-hang" in reason
    assert re.search(r"mshv-vmm \(\d+\) is stuck in .*mshv_", reason), reason
    stacks = [f for f in scenario["patched"]["files"] if f.endswith("last-words.txt")]
    text = (run.out / stacks[0]).read_text()
    assert re.search(r"task \d+ \(mshv-vmm\) state D\n(\[<0>\] .*\n)*\[<0>\] mshv_", text), text
    assert "CPUs:" in text
    assert run.phase("drive", "patched")["wall"] < DRIVER_PATIENCE + OVERHEAD
    assert any(ONE in r and "driver-hang" in r for r in run.result["reasons"])


def test_mutant_with_a_wrong_page_fails_though_base_cannot_do_it(validate: Callable[..., Any]) -> None:
    run = validate(SERIES / "mutant-c4-offset", "-k", "first_touch_of_page_n", expect=1)
    assert run.result["verdict"] == "fail"
    assert len(run.result["scenarios"]) == 3
    for scenario in run.result["scenarios"]:
        assert "C4" in scenario["claims"]
        assert scenario["base"] is None
        assert "map_on_first_touch" in scenario["base_reason"]
        assert scenario["patched"]["verdict"] == "fail"
        assert "first touch at page n" in scenario["patched"]["reasons"][0]
    named = [r for r in run.result["reasons"] if r.startswith("first_touch_of_page_n_maps_page_n")]
    assert len(named) == 3, run.result["reasons"]


def test_call_that_is_not_modelled_is_doubt_and_names_caller_and_patch(validate: Callable[..., Any]) -> None:
    run = validate(SERIES / "unmodelled-call", "-k", "control_mapping or access_without", expect=3)
    assert run.result["verdict"] == "inconclusive"
    for scenario in run.result["scenarios"]:
        assert scenario["base"]["verdict"] == "pass"
        assert scenario["patched"]["verdict"] == "inconclusive"
        (reason,) = scenario["patched"]["reasons"]
        assert "0x0abc" in reason and "called from mshv_region_create+" in reason
        assert "make a call that the lab does not model" in reason
    (told,) = run.result["surface"]
    assert (told["kind"], told["number"], told["state"]) == ("hypercall", 0x0ABC, "unknown")
    assert told["sites"] == ["drivers/hv/mshv_regions.c:mshv_region_create"]
    assert told["reached"] == [s["id"] for s in run.result["scenarios"]]
    assert "does not implement: scenarios that reach it are inconclusive" in " ".join(run.done.out.split())
