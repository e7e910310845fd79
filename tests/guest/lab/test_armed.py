# SPDX-License-Identifier: GPL-2.0-or-later
"""A detector that does not fire on the kernel under test makes every pass inconclusive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab import paths

SERIES = paths.tests_dir() / "series" / "mmio-on-demand"
ONE = "map_refused_at_region_set_or_touch_leaks_nothing"
MUTE = "kernel_args=sysctl.kernel.hung_task_warnings=0"
"""A real way to lose a detector: khungtaskd runs and finds the task, but may not say so."""
DETECTORS = {"warn", "panic", "hung-task", "ledger-leak", "slat-leak", "ledger-overflow"}

WHOLE_BUILD = 3600.0
"""Seconds; another configuration is another whole kernel."""


def test_every_detector_fires_on_a_sound_kernel(validate: Callable[..., Any]) -> None:
    run = validate(SERIES, "-k", f"{ONE} or removed_region_leaves or bar_of_several", expect=0)
    for side in ("base", "patched"):
        proofs = {d["name"]: d for d in run.kernel(side)["detectors"]}
        assert set(proofs) == DETECTORS
        assert all(d["fired"] and d["detail"] for d in proofs.values()), proofs


def test_silent_detector_is_named_and_nothing_passes(validate: Callable[..., Any]) -> None:
    run = validate(SERIES, "-k", ONE, "--param", MUTE, expect=3)
    assert run.result["verdict"] == "inconclusive"
    for side in ("base", "patched"):
        proofs = {d["name"]: d["fired"] for d in run.kernel(side)["detectors"]}
        assert proofs == {name: name != "hung-task" for name in DETECTORS}
    scenario = run.scenario(ONE)
    for side in ("base", "patched"):
        assert scenario[side]["verdict"] == "inconclusive"
        assert any("detector hung-task stayed silent" in r for r in scenario[side]["reasons"])
    assert any("hung-task" in r for r in run.result["reasons"])
    assert "hung-task" in run.done.out


@pytest.mark.long
def test_detector_taken_out_of_the_configuration_is_missed(
    validate: Callable[..., Any], tmp_path: Path
) -> None:
    fragment = tmp_path / "less.config"
    fragment.write_text("# CONFIG_DETECT_HUNG_TASK is not set\n")
    run = validate(SERIES, "--config", fragment, "-k", ONE, expect=3, timeout=WHOLE_BUILD)
    proofs = {d["name"]: d["fired"] for d in run.kernel("patched")["detectors"]}
    assert proofs == {name: name != "hung-task" for name in DETECTORS}
    assert any("detector hung-task stayed silent" in r for r in run.result["reasons"])
