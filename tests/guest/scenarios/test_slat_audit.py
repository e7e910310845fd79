# SPDX-License-Identifier: GPL-2.0-or-later
"""The audit that follows every scenario, turned on real tables: it is silent while all is well, and each
kind of violation makes it speak."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.judge import slat as judge_slat
from lab.pytest_plugin.audit import explained

scenario = pytest.mark.scenario


@scenario(claims=("C16",), quick=True)
def test_every_leaf_is_explained_by_a_region_of_the_vmm(mapped, device, slat, evidence):
    m = mapped(device)
    m.touch(0)
    runs = slat.runs(m.partition)
    regions = explained(m.child.live())
    ram, bar = regions
    evidence.add("; ".join(map(judge_slat.describe, runs)))
    assert (ram.kind, bar.kind, bar.spa) == ("ram", "mmio", m.bar_spa + m.first_page)
    assert not judge_slat.audit(runs, regions), judge_slat.audit(runs, regions)[0]
    known = sum(pages for _, pages, _ in ram.behind)
    assert known, "the VMM knows no page of its own RAM"
    frames = range(bar.gfn, bar.gfn + bar.pages)
    device_leaves = slat.runs(m.partition, frames)
    ram_leaves = [run for run in slat.runs(m.partition, range(ram.pages)) if not run.no_access]
    assert device_leaves, "nothing of the BAR is mapped after a touch"
    assert ram_leaves, "nothing of the RAM is mapped while the child runs in it"
    assert all(run.uncached for run in device_leaves), "the BAR is mapped with a cache"
    assert not any(run.uncached for run in ram_leaves), "RAM is mapped without a cache"

    def found(*regions: judge_slat.Region) -> str:
        return judge_slat.classes(judge_slat.audit(runs, regions))

    # The same tables against regions that are not so: what a leak or a wrong mapping looks like.
    planted = {
        "region gone": found(ram),
        "host mapping gone": found(ram, replace(bar, gone=True)),
        "other page": found(ram, replace(bar, spa=(bar.spa or 0) + 1)),
        "read-only": found(ram, replace(bar, writable=False)),
        "RAM moved": found(replace(ram, behind=tuple((f, n, p + 1) for f, n, p in ram.behind)), bar),
        "RAM not executable": found(replace(ram, executable=False), bar),
        "device for RAM": found(ram, replace(bar, kind="ram", behind=())),
        "RAM for device": found(replace(ram, kind="mmio", behind=()), bar),
    }
    evidence.observe("planted violations", planted)
    assert all(planted.values()), [name for name, text in planted.items() if not text]
    assert len(set(planted.values())) == len(planted), planted
