# SPDX-License-Identifier: GPL-2.0-or-later
"""At the end of every scenario: what the children's SLATs map is explained by what their VMMs have."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from lab.child.protocol import LiveRegion
from lab.child.vmm import Vmm
from lab.judge import slat as judge_slat
from lab.model.errors import GuestDied, LabError
from lab.model.ledger import SlatRun
from lab.pytest_plugin.instruments import Evidence
from lab.pytest_plugin.scenario import ScenarioMark
from lab.validate.base import GONE_BUDGET, BaseLab

_POLL = 0.02
_SHOWN = 8
"""Problems in the evidence; a region of the wrong pages has one for each."""


def audit_children(lab: BaseLab, mark: ScenarioMark, evidence: Evidence, vmms: Sequence[Vmm]) -> None:
    """Compare every child's SLAT with the live regions of these VMMs.

    The root's kernel may be at work while both are read (a destroyed partition goes after an RCU grace
    period, pages migrate), so only what stays for GONE_BUDGET seconds counts. A scenario that has failed
    already keeps its own reason: what one look finds is evidence then, no second failure.
    """
    if not lab.witness.sees_slat:
        return
    if mark.slat_left:
        evidence.add(f"the SLAT is not audited: {mark.slat_left}")
        return
    running = [vmm for vmm in vmms if vmm.running]
    if not running:
        return  # no VMM, no partition: check_afterwards waits until they are gone
    try:
        problems, leaves = _settled(lab, running, 0.0 if evidence.failed else GONE_BUDGET)
    except GuestDied:
        return  # told by the checks that follow
    except LabError as e:
        if evidence.failed:
            evidence.add(f"the SLAT was not audited: {e}")
        else:
            evidence.doubt(f"lab: the SLAT was not audited: {e}")
        return
    if not problems:
        return
    for line in problems[:_SHOWN]:
        evidence.add(f"SLAT audit: {line}")
    evidence.file("slat-audit.txt", "\n".join([*problems, "", "all leaves:", *leaves]) + "\n")
    if not evidence.failed:
        evidence.fail(f"SLAT audit: {judge_slat.classes(problems)}")


def _settled(lab: BaseLab, vmms: Sequence[Vmm], patience: float) -> tuple[list[str], list[str]]:
    deadline = time.monotonic() + patience
    while True:
        regions = [live for live in (explained(vmm.live()) for vmm in vmms) if live]
        slats = [lab.hypervisor.slat(partition) for partition in lab.witness.children()]
        problems = match(slats, regions)
        if not problems or time.monotonic() > deadline:
            return problems, [judge_slat.describe(run) for runs in slats for run in runs]
        lab.watch.check("waiting for the SLAT to agree with the regions")
        time.sleep(_POLL)


def explained(live: Iterable[LiveRegion]) -> list[judge_slat.Region]:
    """What a VMM's regions allow in a SLAT. A device whose place nobody knows any more allows nothing."""
    return [
        judge_slat.Region(
            "mmio" if region.device else "ram",
            region.gfn,
            region.pages,
            spa=region.spa if region.device else None,
            writable=region.writable,
            executable=region.executable,
            name={"vfio": "BAR", "devmem": "/dev/mem"}.get(region.kind, region.kind),
            behind=region.behind,
            gone=region.gone or (region.device and region.spa is None),
        )
        for region in live
    ]


def match(slats: Sequence[Sequence[SlatRun]], vmms: Sequence[Sequence[judge_slat.Region]]) -> list[str]:
    """Problems of all partitions, each against the VMM that explains most of it. A partition without a
    VMM of ours is another program's and is not judged here."""
    left = list(range(len(vmms)))
    problems: list[str] = []
    found = {
        (i, j): judge_slat.audit(runs, regions)
        for i, runs in enumerate(slats)
        for j, regions in enumerate(vmms)
    }
    waiting = set(range(len(slats)))
    for (i, j), lines in sorted(found.items(), key=lambda item: (len(item[1]), item[0])):
        if i in waiting and j in left:
            waiting.discard(i)
            left.remove(j)
            problems += lines
    return problems
