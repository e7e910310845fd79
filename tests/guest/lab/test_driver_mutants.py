# SPDX-License-Identifier: GPL-2.0-or-later
"""The runner of the driver's mutants: killed, equivalent and broken ones are told apart."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from lab.progress import NullProgress
from lab.series.mutants import load_driver_mutants
from lab.validate.driver_mutants import open_runner
from lab.validate.kernels import Selectors

FEW = ("leaf-is-one-page", "region-start-for-touched", "stray-character")


def test_killed_equivalent_and_unbuildable_mutants_are_told_apart(tmp_path: Path) -> None:
    mutants = tuple(m for m in load_driver_mutants() if m.id in FEW)
    only = "first_touch_of_page_n or default_maps_the_whole"
    runner = open_runner(Selectors(), NullProgress(), tmp_path, expression=only)
    results = {r.id: r for r in runner.run(mutants)}
    assert set(results) == set(FEW)
    killed, broken, equal = (
        results[n] for n in ("region-start-for-touched", "stray-character", "leaf-is-one-page")
    )
    assert killed.by.startswith("first_touch_of_page_n"), killed
    assert "BAR page" in killed.evidence
    assert broken.by == "build", broken
    assert "mshv_regions.c" in broken.evidence
    assert not equal.killed, equal
    assert equal.equivalent
    assert not equal.doubt, equal
    driven = tmp_path / f"{killed.id}-plain"
    shutil.rmtree(driven, ignore_errors=True)  # not there when an earlier run had the result
    again = {r.id: r for r in runner.run(mutants)}[killed.id]
    assert not driven.exists(), "a second run does not take it from the cache"
    # The seconds of the first run have the wait for the unharmed kernel in them.
    assert replace(again, seconds=killed.seconds) == killed
