# SPDX-License-Identifier: GPL-2.0-or-later
"""What base says is the same for every series: the second run takes it from the cache, and says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab import paths

SERIES = paths.tests_dir() / "series" / "mmio-on-demand"
EXPR = "removed_region_leaves or bar_of_several or map_refused_at_region_set"


def without_times(scenario: dict[str, Any]) -> dict[str, Any]:
    sides = {s: {k: v for k, v in scenario[s].items() if k != "seconds"} for s in ("base", "patched")}
    return {**scenario, **sides}


def test_second_run_takes_base_from_the_cache(validate: Callable[..., Any]) -> None:
    first = validate(SERIES, "-k", EXPR, expect=0)
    second = validate(SERIES, "-k", EXPR, expect=0)
    assert second.kernel("base")["cached"] and not second.kernel("patched")["cached"]
    drive = second.phase("drive", "base")
    assert drive["note"] == "cached" and drive["wall"] < 1.0
    assert second.phase("drive", "patched")["wall"] > drive["wall"]
    assert second.result["verdict"] == first.result["verdict"] == "pass"
    judged = {s["id"]: (s["base"]["verdict"], s["patched"]["verdict"]) for s in second.result["scenarios"]}
    assert ("fail", "pass") in judged.values() and ("pass", "pass") in judged.values(), judged
    for one, two in zip(first.result["scenarios"], second.result["scenarios"], strict=True):
        assert without_times(one) == without_times(two) or one["patched"] != two["patched"]
        assert one["base"]["verdict"] == two["base"]["verdict"]
        assert one["base"]["observations"] == two["base"]["observations"]
        assert one["change"] == two["change"]
    assert "(cached)" in second.done.out


def test_other_selection_or_machine_is_not_taken_from_the_cache(validate: Callable[..., Any]) -> None:
    validate(SERIES, "-k", "bar_of_several", expect=None)
    other = validate(SERIES, "-k", "bar_of_several", "--param", "cpus=3", expect=None)
    again = validate(SERIES, "-k", "bar_of_several", "--param", "cpus=3", expect=None)
    assert again.kernel("base")["cached"]
    assert other.result["verdict"] == again.result["verdict"]
