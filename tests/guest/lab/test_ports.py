# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenarios that need a device behind a root port: it is reset, unplugged and torn out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab import paths

SERIES = paths.tests_dir() / "series" / "mmio-on-demand"
BEHIND_PORTS = (
    "reset_under_a_storm_shows_the_device_or_nothing",
    "device_that_is_unplugged_in_good_order_leaves_nothing",
    "device_that_is_torn_out_leaves_no_way_to_its_place",
)
FIXES = ("removed_region_leaves", "bar_of_several")
"""Scenarios of what the series is said to fix: without them its verdict is doubt."""


def test_devices_behind_ports_can_be_reset_and_go(validate: Callable[..., Any]) -> None:
    chosen = " or ".join((*BEHIND_PORTS, *FIXES))
    run = validate(SERIES, "-k", chosen, "--param", "ports=on", expect=0)
    for name in BEHIND_PORTS:
        patched = run.scenario(name)["patched"]
        assert patched["verdict"] == "pass", patched
        assert patched["observations"], "it looked at nothing"
