# SPDX-License-Identifier: GPL-2.0-or-later
"""One validation of two flavours, whose guests share the processors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab import paths

SERIES = paths.tests_dir() / "series" / "mmio-on-demand"
FLAVOURS = ("plain", "debug")


def test_two_flavours_are_each_judged_whole(validate: Callable[..., Any]) -> None:
    words = [word for name in FLAVOURS for word in ("--flavour", name)]
    done = validate(SERIES, *words, "-k", "first_touch_of_page_n or removed_region_leaves", expect=0)
    kernels = done.result["kernels"]
    for side in ("base", "patched"):
        assert list(kernels[side]["flavours"]) == list(FLAVOURS), done.done
    for name in FLAVOURS:
        kernel = kernels["patched"]["flavours"][name]
        assert kernel["verdict"] == "pass", done.done
        found = [s for s in done.result["scenarios"] if s["flavour"] == name]
        assert len(found) == 5 and all(s["patched"]["verdict"] == "pass" for s in found), done.done
        assert (done.out / f"patched-{name}" / "evidence").is_dir()
        told = [p["note"] for p in done.result["phases"] if (p["name"], p["side"]) == ("drive", "patched")]
        assert any(note.startswith(f"{name}: ") for note in told), told
    fired = {d["name"] for d in kernels["patched"]["flavours"]["debug"]["detectors"] if d["fired"]}
    assert {"lockdep", "kasan"} <= fired
