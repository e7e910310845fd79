# SPDX-License-Identifier: GPL-2.0-or-later
"""Two witnesses that agree are quiet, and every way to disagree is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.judge.crosscheck import disagreements
from lab.judge.ledger import (
    HVCALL_DELETE_PARTITION,
    HVCALL_MAP_GPA_PAGES,
    HVCALL_UNMAP_GPA_PAGES,
    HVCALL_WITHDRAW,
)
from lab.model.ledger import LedgerRecord, RecordFlag, RecordKind

CHILD = 3


def record(seq, code, words, pages=0, done=None, status=0):
    return LedgerRecord(
        seq=seq,
        tsc=seq,
        lp=0,
        kind=RecordKind.HYPERCALL,
        flags=RecordFlag(0),
        partition=1,
        vp=0,
        code=code,
        rep_start=0,
        rep_count=pages,
        rep_done=pages if done is None else done,
        status=status,
        rip=0,
        ret=0,
        words=(CHILD, *words),
    )


def mapped(seq, gfn, pages, spa, **more):
    return record(seq, HVCALL_MAP_GPA_PAGES, (gfn, 0, spa, spa + pages - 1, 1), pages, **more)


def unmapped(seq, gfn, pages, **more):
    return record(seq, HVCALL_UNMAP_GPA_PAGES, (gfn, 0), pages, **more)


TRACED = [
    mapped(1, 0x100, 8, 0x5000),
    mapped(2, 0x200, 8, 0x6000, done=0, status=1),
    unmapped(3, 0x100, 8),
    record(4, HVCALL_WITHDRAW, (), 9),
    record(5, HVCALL_DELETE_PARTITION, ()),
]
LEDGER = [
    mapped(11, 0x100, 4, 0x5000),
    mapped(12, 0x104, 4, 0x5004),
    mapped(13, 0x200, 4, 0x6000),
    mapped(14, 0x204, 4, 0x6004, done=0, status=6),
    unmapped(15, 0x200, 4),
    unmapped(16, 0x100, 8),
    record(17, HVCALL_WITHDRAW, (), 9),
    record(18, HVCALL_DELETE_PARTITION, (), status=11),
    record(19, HVCALL_DELETE_PARTITION, ()),
]


def test_requests_in_batches_with_one_taken_back_agree():
    assert disagreements(TRACED, LEDGER, CHILD) == []
    assert disagreements(TRACED, LEDGER, CHILD + 1) == []


def ledger_with(seq, **changes):
    return [replace(r, **changes) if r.seq == seq else r for r in LEDGER]


@pytest.mark.parametrize(
    ("traced", "ledger", "said"),
    [
        (TRACED, LEDGER[1:], "traced as done, the hypervisor did 4"),
        (TRACED, [r for r in LEDGER if r.seq != 16], "unmap of 8 pages from gfn 0x100: traced, and no"),
        (TRACED[1:], LEDGER, "hypercall without a traced request"),
        ([r for r in TRACED if r.seq != 3], LEDGER, "hypercall without a traced request"),
        (
            TRACED,
            ledger_with(11, words=(CHILD, 0x100, 0, 0x5001, 0x5004, 1)),
            "SPA page 0x5000, ledger 0x5001",
        ),
        (TRACED, ledger_with(14, status=0, rep_done=4), "refused nothing"),
        (TRACED, ledger_with(17, rep_done=8), "traced 9 pages, ledger 8"),
        (TRACED, LEDGER[:-1], "traced ['delete done'], ledger ['delete refused']"),
        (TRACED[:-1], LEDGER, "life of the partition"),
    ],
)
def test_each_disagreement_is_told(traced, ledger, said):
    told = disagreements(traced, ledger, CHILD)
    assert any(said in line for line in told), told
