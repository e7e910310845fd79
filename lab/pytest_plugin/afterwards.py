# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks after every scenario: splats, calls the stand-in does not model, what was left behind."""

from __future__ import annotations

from lab.hypervisor import format_record
from lab.hypervisor.record_text import record_caller, record_name
from lab.judge import ledger as judge_ledger
from lab.judge.splats import parse
from lab.model.errors import GuestDied
from lab.pytest_plugin.instruments import Evidence
from lab.pytest_plugin.scenario import ScenarioMark
from lab.validate.base import BaseLab

EXCERPT = 200


def check_afterwards(lab: BaseLab, mark: ScenarioMark, evidence: Evidence, ledger_start: int) -> None:
    """Add failures and doubts to the evidence; a lab that is no longer clean is not used again."""
    _check_ledger(lab, mark, evidence, ledger_start)
    try:
        lines = lab.kernel_log.since(lab.log_mark)
        lab.log_mark = lab.kernel_log.mark()
        left = lab.partitions_left()
    except GuestDied as e:
        lab.spoil(f"the guest died: {e.what}")
        evidence.died(e)
        lines, left = lab.kernel_log.serial_since(lab.log_mark), []
    for number, splat in enumerate(parse(lines)):
        lab.spoil(f"kernel splat: {splat.title}")
        evidence.file(f"splat-{number}.txt", "\n".join(splat.text) + "\n")
        if splat.cls.value in mark.expects:
            evidence.add(f"expected splat: {splat.title}")
            continue
        evidence.splat(splat.id)
        if not splat.after:
            evidence.fail(f"kernel splat ({splat.cls.value}): {splat.title}")
            evidence.add(f"splat {splat.id}: {splat.title} <- {' <- '.join(splat.frames[:6])}")
    evidence.file("kernel-log.txt", "\n".join(lines) + "\n")
    if not lab.witness.sees_children:
        evidence.unseen("partitions left behind")
    if left:
        lab.spoil("partitions left")
        evidence.fail(f"left behind after the VMM has gone: partition {', '.join(map(str, left))}")


def _check_ledger(lab: BaseLab, mark: ScenarioMark, evidence: Evidence, start: int) -> None:
    if not lab.witness.sees_ledger:
        return
    try:
        records = lab.witness.since(start)
    except GuestDied as e:
        lab.spoil(f"the guest died: {e.what}")
        evidence.died(e)
        return
    if not mark.unmodelled_ok:
        for line in judge_ledger.doubts(records, record_name, lambda r: record_caller(r, lab.symbolise)):
            evidence.doubt(line)
    tail = records.records[-EXCERPT:]
    evidence.file("ledger.txt", "\n".join(format_record(r, resolve=lab.symbolise) for r in tail) + "\n")
