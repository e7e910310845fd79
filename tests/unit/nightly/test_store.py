# SPDX-License-Identifier: GPL-2.0-or-later
"""Records of a nightly survive their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.model import nightly as n
from lab.model.errors import BadInput
from lab.model.series import Patch
from lab.model.verdict import Verdict
from lab.nightly import store

PATCH = Patch("mshv: Do it", "A <a@example.org>", "<1@example.org>", b"From: \xff\n\n", ("drivers/hv/x.c",))
SERIES = n.InboxSeries("do-it", 2, "Do it", "A <a@example.org>", "2026-01-02", "<0@x>", (PATCH,), "k")
REPORT = n.VersionReport(
    series=SERIES,
    base=n.BaseGuess(n.BaseFound.BLOBS, "all 3 blobs are Linux 7.3.4's", base="debian:7.3"),
    checks=(n.CheckResult("checkpatch", 1, Verdict.FAIL, ("WARNING: x",), advisory=True),),
    variants=(
        n.VariantResult(
            variant=n.Variant(kernel_args=("hv_nofull_mmio",)),
            verdict=Verdict.FAIL,
            scenarios=(
                n.Scenario("s", ("C3",), None, Verdict.FAIL, "new", rerun_same=n.Rate(3, 3, 0.4, 1.0)),
            ),
            changed_lines=(3, 4),
            detectors=(("lockdep", True),),
        ),
    ),
)


def test_a_report_comes_back_as_it_was(tmp_path: Path) -> None:
    store.save(tmp_path / "sub" / "v.json", REPORT)
    assert store.load(tmp_path / "sub" / "v.json", n.VersionReport) == REPORT
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["v.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"schema": 9, "value": {}}',
        '{"schema": 1, "value": {"series": 1}}',
        '{"schema": 1}',
        "\xff",
    ],
)
def test_anything_else_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(BadInput, match="not a VersionReport") as e:
        store.load(tmp_path / "v.json", n.VersionReport)
    assert e.value.where == str(tmp_path / "v.json")


def test_verdict_is_the_worst_of_what_counts() -> None:
    assert REPORT.verdict is Verdict.FAIL
    style = n.VersionReport(SERIES, REPORT.base, checks=REPORT.checks)
    assert style.verdict is Verdict.INCONCLUSIVE, "style alone decides nothing, and nothing ran"


def test_variants_have_names_fit_for_folders() -> None:
    assert n.Variant().id == "plain"
    assert n.Variant(machine="kvm-root", params=("ports=on",)).id == "plain+ports=on@kvm-root"
    assert "/" not in n.Variant(params=("a=../x",)).id
