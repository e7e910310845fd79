# SPDX-License-Identifier: GPL-2.0-or-later
"""Ledger records and the ring, and the fault plan, in a synthetic RAM file."""

from __future__ import annotations

import pytest

from lab.hypervisor import callers, decode_record, format_record, layout, names
from lab.hypervisor.layout import BLOCK, State
from lab.hypervisor.view import HypervisorView
from lab.model.errors import BadInput
from lab.model.ledger import RecordFlag, RecordKind

from .conftest import BLOCK_AT, CAPACITY, StandIn, encode_record

MAP_BAR = {
    "seq": 65,
    "tsc": 5_000_000,
    "lp": 1,
    "vp": 1,
    "partition": 1,
    "kind": 1,
    "code": 0x4B,
    "rep_count": 16,
    "rep_done": 5,
    "status": 0x0B,
    "flags": 8,
    "rip": 0xFFFFFFFFA0000000,
    "ret": 0xFFFFFFFF81098E23,
    "frames": (0xFFFFFFFF81650000,),
    "words": (2, 8, 0x200003, 0xFEBF0, 0xFEBFF, 1),
}
SYMBOLS = {0xFFFFFFFF81098E23: "hv_std_hypercall+0x13", 0xFFFFFFFF81650000: "hv_do_map_gpa_hcall+0x17c"}


def test_a_record_decodes_field_by_field() -> None:
    record = decode_record(encode_record(**MAP_BAR))
    assert record.kind is RecordKind.HYPERCALL
    assert record.flags is RecordFlag.INJECTED
    assert (record.seq, record.lp, record.partition, record.vp) == (65, 1, 1, 1)
    assert (record.code, record.status, record.rep_count, record.rep_done) == (0x4B, 0x0B, 16, 5)
    assert record.words == MAP_BAR["words"]
    assert callers(record) == tuple(SYMBOLS)


def test_bytes_of_another_length_are_no_record() -> None:
    with pytest.raises(ValueError, match="160"):
        decode_record(bytes(128))


def test_a_record_reads_as_one_line() -> None:
    line = format_record(decode_record(encode_record(**MAP_BAR)), tsc_hz=10**9, resolve=SYMBOLS.get)
    assert "5.000ms LP1 partition 1 VP1 MAP_GPA_PAGES" in line
    assert "gfn=0x8 flags=R|W|NOT_CACHED spa=0xfebf0 spa_last=0xfebff contiguous=1" in line
    assert "-> INSUFFICIENT_MEMORY (5 of 16 reps) !injected by hv_do_map_gpa_hcall+0x17c" in line
    assert "\n" not in line


def test_intercepts_and_events_read_by_their_own_names() -> None:
    intercept = encode_record(kind=2, partition=2, code=0x80000000, words=(0x8000, 0, 0x1000))
    line = format_record(decode_record(intercept))
    assert "intercept UNMAPPED_GPA gpa=0x8000 access=read rip=0x1000" in line
    event = encode_record(kind=4, code=names.Event.MSR_READ, flags=2, words=(0x400000F0,))
    assert "event MSR_READ msr=0x400000f0 !unimplemented" in format_record(decode_record(event))
    begin = encode_record(kind=4, code=names.Event.HOLD_BEGIN, words=(0x4C, 2, 0, 1, 0))
    text = "event HOLD_BEGIN call=UNMAP_GPA_PAGES partition=2 slot=0 generation=1 interrupts_on=0"
    assert text in format_record(decode_record(begin))


def test_only_records_after_the_position_are_given(standin: StandIn, view: HypervisorView) -> None:
    standin.start()
    standin.record(code=0x40)
    start = view.position()
    standin.record(code=0x41)
    standin.record(code=0x42)
    part = view.since(start)
    assert [r.code for r in part.records] == [0x41, 0x42]
    assert (part.lost, part.end) == (0, 3)
    assert view.since(part.end).records == ()


def test_overwritten_records_are_counted_as_lost(standin: StandIn, view: HypervisorView) -> None:
    standin.start()
    for code in range(CAPACITY + 3):
        standin.record(code=code)
    part = view.since(1)
    assert part.lost == 2
    assert [r.seq for r in part.records] == list(range(4, CAPACITY + 4))


def test_a_record_being_written_comes_with_the_next_slice(standin: StandIn, view: HypervisorView) -> None:
    standin.start()
    standin.record(code=1)
    standin.record(seq=0, code=2)
    standin.record(code=3)
    part = view.since(0)
    assert ([r.code for r in part.records], part.lost, part.end) == ([1], 0, 1)


def test_a_record_that_nobody_will_finish_is_lost(standin: StandIn, view: HypervisorView) -> None:
    standin.start()
    standin.record(code=1)
    standin.record(seq=0, code=2)
    standin.record(code=3)
    standin.u32("state", State.PANICKED)
    part = view.since(0)
    assert ([r.code for r in part.records], part.lost, part.end) == ([1, 3], 1, 3)


def test_the_ledger_is_switched_in_the_control_block(standin: StandIn, view: HypervisorView) -> None:
    standin.start()
    where = BLOCK_AT + BLOCK["control.ledger_on"]
    view.ledger_enable(True, dispatches=True)
    assert standin.get(where, 8) == b"\1\0\0\0\1\0\0\0"
    view.ledger_enable(True)
    assert standin.get(where, 8) == b"\1\0\0\0\0\0\0\0"
    view.ledger_enable(False)
    assert standin.get(where, 8) == bytes(8)


def _slot(standin: StandIn, n: int) -> tuple[int, ...]:
    at = BLOCK_AT + BLOCK["control.fault"] + n * layout.FAULT.size
    return layout.FAULT.unpack(standin.get(at, layout.FAULT.size))


def test_a_fault_fills_the_first_free_slot(standin: StandIn, view: HypervisorView) -> None:
    standin.start()
    first = view.faults.inject(0x4B, status=0x0B)
    view.faults.inject(0x4C, status=5, skip=2, count=3, complete=4, partition=7, gfn=range(8, 24))
    assert _slot(standin, 0) == (1, 0x4B, 0, 0, 2**64 - 1, 0, 1, 0x0B, 0xFFFFFFFF, 0, 0)
    assert _slot(standin, 1) == (1, 0x4C, 7, 8, 23, 2, 3, 5, 4, 0, 0)
    first.clear()
    assert _slot(standin, 0)[0] == 0
    view.faults.inject(0x40, status=6)
    assert _slot(standin, 0)[:2] == (1, 0x40)


def test_hits_are_read_live_and_kept_after_clearing(standin: StandIn, view: HypervisorView) -> None:
    standin.start()
    fault = view.faults.inject(0x4B, status=0x0B, count=4)
    slot = BLOCK_AT + BLOCK["control.fault"]
    standin.at(slot + layout.FAULT_HITS, b"\3\0\0\0")
    standin.at(slot + layout.FAULT_COUNT, b"\1\0\0\0")
    assert (fault.hits, fault.left) == (3, 1)
    view.faults.clear()
    standin.at(slot + layout.FAULT_HITS, b"\t\0\0\0")
    assert (fault.hits, fault.left) == (3, 0)


def test_a_fault_that_cannot_be_is_refused(standin: StandIn, view: HypervisorView) -> None:
    standin.start()
    with pytest.raises(BadInput, match="count 0"):
        view.faults.inject(0x4B, status=5, count=0)
    with pytest.raises(BadInput, match="complete"):
        view.faults.inject(0x4B, status=5, complete=0x1000)
    with pytest.raises(BadInput, match="range"):
        view.faults.inject(0x4B, status=5, gfn=range(8, 8))
    for _ in range(layout.FAULTS):
        view.faults.inject(0x4B, status=5)
    with pytest.raises(BadInput, match="taken"):
        view.faults.inject(0x4B, status=5)
