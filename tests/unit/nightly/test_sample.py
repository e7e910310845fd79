# SPDX-License-Identifier: GPL-2.0-or-later
"""The sample nightly holds what it promises, and survives its file."""

from __future__ import annotations

from pathlib import Path

import sample

from lab.model import nightly as n
from lab.model.verdict import Verdict
from lab.nightly import store


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    store.save(tmp_path / "nightly.json", sample.REPORT)
    assert store.load(tmp_path / "nightly.json", n.NightlyReport) == sample.REPORT


def test_it_has_every_verdict_and_every_oddity() -> None:
    versions = sample.REPORT.versions
    assert {v.series.id: v.verdict for v in versions} == {
        "mmio-on-demand/v1": Verdict.FAIL,
        "mmio-on-demand/v2": Verdict.FAIL,
        "vp-lifetime/v1": Verdict.FAIL,
        "vp-lifetime/v2": Verdict.PASS,
        "irqfd-rework/v1": Verdict.INCONCLUSIVE,
        "irqfd-rework/v2": Verdict.INCONCLUSIVE,
    }
    variants = [variant for v in versions for variant in v.variants]
    scenarios = [s for variant in variants for s in variant.scenarios]
    assert any(v.lost for v in variants) and any(v.failed_phase for v in variants)
    assert any(s.culprit for s in scenarios) and any(s.quarantined for s in scenarios)
    assert any(s.rerun_new and 0 < s.rerun_new.hits < s.rerun_new.tries for s in scenarios)
    assert any(v.series.repairs for v in versions) and any(v.delta for v in versions)
