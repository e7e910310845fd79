# SPDX-License-Identifier: GPL-2.0-or-later
"""Coverage of a series: the line that no scenario runs is named, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab import paths

SERIES = paths.tests_dir() / "series"
MAIN = "drivers/hv/mshv_root_main.c"
ONE = "map_refused_at_region_set_or_touch_leaks_nothing"
"""A scenario that makes a partition and sets a region."""


def file_of(run: Any, path: str) -> Any:
    found = run.result["coverage"]
    assert found is not None, run.result["notes"]
    return next(f for f in found["files"] if f["path"] == path)


def text_of(run: Any, numbers: list[int]) -> list[str]:
    """Numbers of lines that the series adds, as text."""
    patch = next((SERIES / "unreached-line").glob("*.patch")).read_text().split("\n")
    start = next(i for i, line in enumerate(patch) if line.startswith("@@ "))
    number = int(patch[start].split("+")[1].split(",")[0])
    lines = {}
    for line in patch[start + 1 :]:
        lines[number] = line[1:].strip()
        number += 1
    return [lines[n] for n in numbers]


def test_exactly_the_line_that_nobody_runs_is_named(validate: Callable[..., Any]) -> None:
    run = validate(SERIES / "unreached-line", "--coverage", "-k", ONE, expect=0)
    file = file_of(run, MAIN)
    assert text_of(run, file["not_run"]) == ["return -EXDEV;"]
    ran = text_of(run, file["run"])
    assert 'pr_debug("a partition is asked for\\n");' in ran
    assert "if (_IOC_NR(ioctl) == nobody_asks)" in ran
    assert not [line for line in ran if line.startswith(("/*", "const"))]
    assert "if (_IOC_NR(ioctl) == nobody_asks)" in text_of(run, file["half"]), "it decided one way only"
    found = run.result["coverage"]
    assert (found["scope"], found["lost"], found["guests"]) == ("changed lines", [], 1)
    said = f"changed lines run: {found['run']} of {found['total']}; not run: {MAIN}:{file['not_run'][0]}"
    assert said in " ".join(run.done.out.split())
    assert "return -EXDEV;" in (run.out / "report.html").read_text()


def test_counts_that_die_with_a_guest_are_told(validate: Callable[..., Any]) -> None:
    run = validate(SERIES / "hang-driver", "--coverage", "-k", ONE, expect=1)
    found = run.result["coverage"]
    assert found is not None, run.result["notes"]
    assert found["lost"] and found["lost"][0].startswith(f"{ONE}: "), found
    assert "counts lost with a guest" in " ".join(run.done.out.split())


def test_a_compile_error_leaves_nothing_to_measure(validate: Callable[..., Any]) -> None:
    run = validate(SERIES / "broken-compile", "--coverage", "-k", ONE, expect=1)
    assert run.result["coverage"] is None
    assert any(note.startswith("coverage was not measured") for note in run.result["notes"])
