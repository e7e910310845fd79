# SPDX-License-Identifier: GPL-2.0-or-later
"""What crosses a process boundary arrives as it was sent, and a torn file tells what it can."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lab.model.errors import BadInput
from lab.model.kernel import KernelImage
from lab.model.result import DetectorProof, KernelRun, ScenarioOutcome
from lab.model.verdict import Verdict
from lab.validate import exchange

IMAGE = KernelImage(
    key="k",
    release="7.3.4",
    flavour="plain",
    bzimage=Path("/b/bzImage"),
    vmlinux=Path("/b/vmlinux"),
    system_map=Path("/b/System.map"),
    config=Path("/b/.config"),
    build_dir=None,
    modules=(Path("/b/mshv_root.ko"),),
)
OUTCOME = ScenarioOutcome(
    id="first_touch[last]",
    claims=("C4",),
    verdict=Verdict.FAIL,
    reasons=("wrong",),
    evidence=("e",),
    observations={"page": "BAR page 3"},
    splats=("s",),
    files=("f",),
    seconds=1.5,
)
RUN = KernelRun(
    side="base",
    release="7.3.4",
    flavour="plain",
    key="k",
    verdict=Verdict.FAIL,
    outcomes=(OUTCOME, ScenarioOutcome("n", (), None, ("lacks",))),
    detectors=(DetectorProof("warn", True, "t"),),
    abilities={"a": True},
)


def test_kernel_image_survives_json():
    assert exchange.image_from_json(exchange.image_to_json(IMAGE)) == IMAGE


def test_a_kernel_with_fixes_carries_the_one_without_them():
    fixed = replace(IMAGE, key="f", fixes=("isr-wake",), unfixed=IMAGE)
    values = json.loads(json.dumps(exchange.image_to_json(fixed)))
    assert exchange.image_from_json(values) == fixed


def test_a_kernel_file_from_before_the_fixes_is_read():
    values = exchange.image_to_json(IMAGE)
    del values["fixes"], values["unfixed"]
    assert exchange.image_from_json(values) == IMAGE


def test_kernel_run_survives_json():
    assert exchange.run_from_json(exchange.run_to_json(RUN)) == RUN


def write_report(path, *, end=True):
    writer = exchange.ReportWriter(path)
    writer.write("abilities", map_on_first_touch=True)
    writer.write("outcome", **exchange.outcome_to_json(OUTCOME))
    writer.write("proof", name="warn", fired=True, detail="t")
    if end:
        writer.write("end", cpu=2.5)
    writer.close()


def test_report_gives_back_what_was_written(tmp_path):
    write_report(tmp_path / "r")
    report = exchange.read_report(tmp_path / "r")
    assert report.outcomes == [OUTCOME]
    assert report.proofs == [DetectorProof("warn", True, "t")]
    assert report.abilities == {"map_on_first_touch": True}
    assert report.complete and report.cpu == 2.5


def test_report_without_end_is_a_killed_run(tmp_path):
    write_report(tmp_path / "r", end=False)
    report = exchange.read_report(tmp_path / "r")
    assert report.outcomes == [OUTCOME]
    assert not report.complete


def test_torn_last_line_costs_only_itself(tmp_path):
    write_report(tmp_path / "r")
    text = (tmp_path / "r").read_text()
    (tmp_path / "r").write_text(text[:-8])
    report = exchange.read_report(tmp_path / "r")
    assert report.outcomes == [OUTCOME]
    assert not report.complete


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"bzimage": 1}'])
def test_what_is_no_kernel_file_is_refused_with_its_place(tmp_path, text):
    path = tmp_path / "kernel.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"kernel\.json"):
        exchange.read_kernel_file(path)
