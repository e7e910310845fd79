# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks after every scenario: splats, calls the stand-in does not model, what was left behind."""

from __future__ import annotations

import time

from lab.hypervisor import format_record
from lab.hypervisor.record_text import record_caller, record_name
from lab.judge import ledger as judge_ledger
from lab.judge.splats import parse
from lab.model.errors import GuestDied
from lab.model.splat import HANGS, Damage
from lab.pytest_plugin.instruments import Evidence
from lab.pytest_plugin.scenario import ScenarioMark
from lab.validate import allowlist
from lab.validate.base import GONE_BUDGET, BaseLab

EXCERPT = 200
REPORT_SECONDS = 2.0
"""How long a report may take to print, times the flavour's factor."""
QUIET_SECONDS = 0.3
LOST_SECONDS = 0.5
"""How long partitions may take to go when the kernel has lost the task that held them: most never do."""
_POLL = 0.05


def check_afterwards(lab: BaseLab, mark: ScenarioMark, evidence: Evidence, ledger_start: int) -> None:
    """Add failures and doubts to the evidence; a lab that is no longer clean is not used again."""
    _check_ledger(lab, mark, evidence, ledger_start)
    try:
        lines = lab.kernel_log.since(lab.log_mark)
        lab.log_mark = lab.kernel_log.mark()
        left = lab.partitions_left(LOST_SECONDS if evidence.lost else GONE_BUDGET)
    except GuestDied as e:
        lab.spoil(f"the guest died: {e.what}")
        evidence.died(e)
        lines, left = lab.kernel_log.serial_since(lab.log_mark), []
        lab.log_mark = lab.kernel_log.mark()
    lines = whole_reports(lab, lines)
    told = False
    for number, splat in enumerate(parse(lines)):
        # Whatever it is, it may have disarmed what would report the next one.
        lab.spoil(f"kernel splat: {splat.title}")
        evidence.file(f"splat-{number}.txt", "\n".join(splat.text) + "\n")
        if splat.cls.value in mark.expects:
            evidence.add(f"expected splat: {splat.title}")
            continue
        if entry := allowlist.explains(splat, lab.kernel):
            evidence.allowed(entry.name, splat.title)
            continue
        evidence.splat(splat.id)
        if not told:
            told = True
            why = splat.cls not in HANGS  # else the report is of the hang, and says less than the stacks
            evidence.fail(f"kernel splat ({splat.cls.value}): {splat.title}", explains_hang=why)
            evidence.add(f"splat {splat.id}: {splat.title} <- {' <- '.join(splat.frames[:6])}")
    evidence.file("kernel-log.txt", "\n".join(lines) + "\n")
    if not lab.witness.sees_children:
        evidence.unseen("partitions left behind")
    if left:
        lab.spoil("partitions left")
        evidence.fail(f"left behind after the VMM has gone: partition {', '.join(map(str, left))}")


def whole_reports(lab: BaseLab, lines: list[str]) -> list[str]:
    """``lines`` with what still comes after them, when there is a report among them: slow kernels take a
    second to print one, and half of one has another id."""
    splats = list(parse(lines))
    if not splats:
        return lines
    deadline = time.monotonic() + REPORT_SECONDS * lab.factor
    quiet_since = time.monotonic()
    while lab.alive() and time.monotonic() < deadline:
        # A guest that gets no CPU is silent in the middle of a report, too.
        if splats[-1].damage is not Damage.CUT_SHORT and time.monotonic() > quiet_since + QUIET_SECONDS:
            break
        time.sleep(_POLL)
        if more := lab.kernel_log.unread(lab.log_mark):
            lab.log_mark = lab.kernel_log.mark()
            lines = lines + more
            splats = list(parse(lines))
            quiet_since = time.monotonic()
    return lines


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
