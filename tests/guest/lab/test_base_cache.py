# SPDX-License-Identifier: GPL-2.0-or-later
"""What base says is the same for every series: the second run takes it from the cache, and says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab import paths

SERIES = paths.tests_dir() / "series" / "mmio-on-demand"
EXPR = "removed_region_leaves or bar_of_several or map_refused_at_region_set"


def without_times(scenario: dict[str, Any]) -> dict[str, Any]:
    sides = {s: {k: v for k, v in side(scenario, s).items() if k != "seconds"} for s in ("base", "patched")}
    return {**scenario, **sides}


def side(scenario: dict[str, Any], name: str) -> dict[str, Any]:
    """What one kernel did in a scenario; empty where that kernel could not decide it."""
    return scenario[name] or {}


def verdicts(scenario: dict[str, Any]) -> tuple[str | None, str | None]:
    return side(scenario, "base").get("verdict"), side(scenario, "patched").get("verdict")


def test_second_run_takes_base_from_the_cache(validate: Callable[..., Any]) -> None:
    first = validate(SERIES, "-k", EXPR, expect=0)
    second = validate(SERIES, "-k", EXPR, expect=0)
    assert second.kernel("base")["cached"] and not second.kernel("patched")["cached"]
    drive = second.phase("drive", "base")
    assert drive["note"] == "cached" and drive["wall"] < 1.0
    assert second.phase("drive", "patched")["wall"] > drive["wall"]
    assert second.result["verdict"] == first.result["verdict"] == "pass"
    judged = {s["id"]: verdicts(s) for s in second.result["scenarios"]}
    assert ("fail", "pass") in judged.values() and ("pass", "pass") in judged.values(), judged
    for one, two in zip(first.result["scenarios"], second.result["scenarios"], strict=True):
        assert without_times(one) == without_times(two) or one["patched"] != two["patched"]
        assert side(one, "base").get("verdict") == side(two, "base").get("verdict")
        assert side(one, "base").get("observations") == side(two, "base").get("observations")
        assert one["change"] == two["change"]
    assert "(cached)" in second.done.out


def test_other_selection_or_machine_is_not_taken_from_the_cache(validate: Callable[..., Any]) -> None:
    validate(SERIES, "-k", "bar_of_several", expect=None)
    other = validate(SERIES, "-k", "bar_of_several", "--param", "cpus=3", expect=None)
    again = validate(SERIES, "-k", "bar_of_several", "--param", "cpus=3", expect=None)
    assert again.kernel("base")["cached"]
    assert other.result["verdict"] == again.result["verdict"]
