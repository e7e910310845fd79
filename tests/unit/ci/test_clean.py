# SPDX-License-Identifier: GPL-2.0-or-later
"""What counts as a clean run: compared with base, and judged anew from the report that it left."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import pytest

from lab.model.result import ScenarioOutcome
from lab.model.verdict import Verdict
from lab.paths import repo_root
from lab.validate.exchange import ReportWriter, read_report

LOST = "driver-hang: task 284 does not answer any more: note: mshv-vmm[284] exited"


@pytest.fixture(scope="module")
def clean() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hvlab_ci_clean", repo_root() / "ci" / "clean.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_numbers_and_what_others_did_do_not_tell_failures_apart(clean: ModuleType) -> None:
    one = clean.alike([f"{LOST}; CPUs are in vp_notify", "left behind: partition 30"])
    two = clean.alike([f"{LOST.replace('284', '88')}; CPUs are in a, b", "left behind: partition 4"])
    assert one == two == clean.alike(one)
    assert one != clean.alike([LOST.replace("hang", "oops"), "left behind: partition 4"])


def run_with(clean: ModuleType, folder: Path, *, reasons: tuple[str, ...], complete: bool = True) -> object:
    """The runs of an earlier start, one of which was not clean, with the report that it left."""
    runs = clean.CleanRuns(folder / "clean.json", None)
    asked = [f"{LOST}; CPUs are in the_idle_loop"]
    runs.known["known"]["plain"] = {"lost": clean.alike(asked)}
    runs.known["jobs"]["plain-1"] = {"clean": False, "seconds": 9.5}
    report = ReportWriter(runs.out / "plain-1" / clean.REPORT)
    for outcome in (
        ScenarioOutcome("good", (), Verdict.PASS, ()),
        ScenarioOutcome("lost", (), Verdict.FAIL, reasons, splats=("oops/x/1",)),
    ):
        report.write("outcome", **asdict(outcome))
    if complete:
        report.write("end", status=0, cpu=1.0)
    report.close()
    assert read_report(runs.out / "plain-1" / clean.REPORT).complete is complete
    return runs.again("plain-1", "plain", None)


def test_run_that_failed_as_base_does_is_clean_when_judged_anew(clean: ModuleType, tmp_path: Path) -> None:
    found = run_with(clean, tmp_path, reasons=(f"{LOST}; CPUs are in vp_notify",))
    assert found["clean"] and found["like base"] == ["lost"] and found["seconds"] == 9.5


def test_run_that_failed_otherwise_stays_unclean(clean: ModuleType, tmp_path: Path) -> None:
    found = run_with(clean, tmp_path, reasons=("another reason",))
    assert not found["clean"] and list(found["bad"]) == ["lost"]


def test_run_without_a_whole_report_stays_as_it_was(clean: ModuleType, tmp_path: Path) -> None:
    found = run_with(clean, tmp_path, reasons=(f"{LOST}; CPUs are in x",), complete=False)
    assert found == {"clean": False, "seconds": 9.5}
