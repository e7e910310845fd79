# SPDX-License-Identifier: GPL-2.0-or-later
"""Expectations on hypercalls: what is found, how a difference reads, what makes a scenario doubtful."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lab.judge.ledger import (
    HV_MAP_GPA_LARGE_PAGE,
    HV_MAP_GPA_NO_ACCESS,
    HV_MAP_GPA_NOT_CACHED,
    HV_MAP_GPA_READABLE,
    HV_MAP_GPA_WRITABLE,
    HV_UNMAP_GPA_LARGE_PAGE,
    HVCALL_DELETE_PARTITION,
    HVCALL_MAP_GPA_PAGES,
    HVCALL_UNMAP_GPA_PAGES,
    Call,
    calls_seen,
    coalesce,
    diff,
    doubts,
    flag_names,
    leaked_maps,
    maps_of,
    readable,
    unmaps_of,
    unmodelled,
)
from lab.model.ledger import LedgerRecord, LedgerSlice, RecordFlag, RecordKind

MAP, UNMAP = HVCALL_MAP_GPA_PAGES, HVCALL_UNMAP_GPA_PAGES
RW = 0x3


def record(code: int, words: tuple[int, ...], **more: Any) -> LedgerRecord:
    fields: dict[str, Any] = {
        "kind": RecordKind.HYPERCALL, "flags": RecordFlag(0), "seq": 1, "tsc": 0, "lp": 0, "partition": 1,
        "vp": 0, "rep_start": 0, "rep_count": 1, "rep_done": 1, "status": 0, "rip": 0x10, "ret": 0x20,
    }  # fmt: skip
    return LedgerRecord(code=code, words=words, **(fields | more))


def mapping(
    gfn: int, pages: int, spa: int = 0, flags: int = RW, partition: int = 2, **more: Any
) -> LedgerRecord:
    more = {"rep_count": pages, "rep_done": pages} | more
    return record(MAP, (partition, gfn, flags, spa, spa + pages - 1, 1), **more)


def unmapping(gfn: int, pages: int, flags: int = 0, partition: int = 2, **more: Any) -> LedgerRecord:
    return record(UNMAP, (partition, gfn, flags), **({"rep_count": pages, "rep_done": pages} | more))


def ledger(*records: LedgerRecord, lost: int = 0) -> LedgerSlice:
    return LedgerSlice(records, lost, len(records))


def test_maps_and_unmaps_are_those_of_the_partition() -> None:
    a, b, c = mapping(1, 1), mapping(2, 1, partition=3), unmapping(1, 1)
    intercept = record(MAP, (2, 0, 0), kind=RecordKind.INTERCEPT)
    records = ledger(a, b, c, intercept)
    assert maps_of(records, 2) == [a]
    assert maps_of(records, 3) == [b]
    assert unmaps_of(records, 2) == [c]


def test_met_expectations_have_no_diff() -> None:
    seen = calls_seen([mapping(0x100, 4, spa=0x500), unmapping(0x100, 4)])
    assert diff([Call(0x100, 4, spa=0x500, flags=RW), Call(0x100, 4)], seen) == []
    assert diff([Call(0x100, 4), Call(0x100, 4)], seen) == [], "None means any"


def test_diff_shows_what_is_missing_and_what_is_too_much() -> None:
    seen = calls_seen([mapping(0x100, 1, spa=0x20000000), mapping(0x200, 1, spa=7, status=0x5, rep_done=0)])
    assert diff([Call(0x100, 1, spa=0xFEB00), Call(0x200, 1, status=5)], seen) == [
        "- gfn 0x100 pages 1 spa 0xfeb00",
        "+ gfn 0x100 pages 1 spa 0x20000000 flags 0x3",
        "  gfn 0x200 pages 1 spa 0x7 flags 0x3 status 0x5",
    ]


def test_a_call_that_failed_is_not_the_one_that_was_expected_to_succeed() -> None:
    seen = calls_seen([mapping(0x100, 1, status=0x5, rep_done=0)])
    assert diff([Call(0x100, 1)], seen) != []
    assert diff([Call(0x100, 1, status=None)], seen) == []


def test_diff_finds_the_order() -> None:
    a, b = Call(1, 1), Call(2, 1)
    assert diff([a, b], [b, a]) != []
    assert diff([a, b], [a, b, b]) == ["  gfn 0x1 pages 1", "  gfn 0x2 pages 1", "+ gfn 0x2 pages 1"]


def test_diff_of_many_calls_is_quick() -> None:
    calls = [Call(n, 1) for n in range(50_000)]
    start = time.process_time()
    assert len(diff(calls, calls[:100] + calls[101:])) == 50_000
    assert len(diff(calls, [Call(c.gfn, 2) for c in calls])) == 100_000
    assert time.process_time() - start < 3


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_diff_tells_both_sides_completely(want: list[int], have: list[int]) -> None:
    lines = diff([Call(n, 1) for n in want], [Call(n, 1) for n in have])
    if want == have:
        assert lines == []
        return
    assert [line[2:] for line in lines if line[0] in " -"] == [str(Call(n, 1)) for n in want]
    assert [line[2:] for line in lines if line[0] in " +"] == [str(Call(n, 1)) for n in have]


def test_batches_of_one_request_are_one_call() -> None:
    seen = calls_seen([mapping(0x100, 500, spa=0x9000), mapping(0x100 + 500, 12, spa=0x9000 + 500)])
    assert coalesce(seen) == [Call(0x100, 512, 0x9000, RW)]
    assert len(coalesce([Call(0, 1, 5, RW), Call(1, 1, 9, RW)])) == 2, "another SPA is another call"
    assert len(coalesce([Call(0, 1, 5, RW, 0xB), Call(1, 1, 6, RW)])) == 2, "a failed call stays alone"


def test_mapping_without_unmap_leaks() -> None:
    assert leaked_maps(ledger(mapping(0x100, 16), unmapping(0x104, 4)), 2) == [
        "partition 2: 4 page(s) from gfn 0x100 mapped and never unmapped",
        "partition 2: 8 page(s) from gfn 0x108 mapped and never unmapped",
    ]
    assert leaked_maps(ledger(mapping(0x100, 16), unmapping(0x100, 16)), 2) == []
    assert leaked_maps(ledger(mapping(0x100, 16), unmapping(0x100, 16, partition=3)), 2) != []


def test_deleted_partition_leaks_nothing() -> None:
    assert leaked_maps(ledger(mapping(0x100, 1), record(HVCALL_DELETE_PARTITION, (2,))), 2) == []
    failed = record(HVCALL_DELETE_PARTITION, (2,), status=0x7)
    assert leaked_maps(ledger(mapping(0x100, 1), failed), 2) != []


def test_failed_unmap_does_not_unmap_and_a_partial_map_counts_as_far_as_it_got() -> None:
    assert leaked_maps(ledger(mapping(0x100, 1), unmapping(0x100, 1, status=5, rep_done=0)), 2) != []
    partial = mapping(0x100, 8, status=0xB, rep_done=3)
    assert leaked_maps(ledger(partial), 2) == [
        "partition 2: 3 page(s) from gfn 0x100 mapped and never unmapped"
    ]


def test_large_pages_count_as_512_and_no_access_takes_away() -> None:
    large = mapping(0x200, 2, flags=RW | HV_MAP_GPA_LARGE_PAGE)
    assert leaked_maps(ledger(large), 2) == [
        "partition 2: 1024 page(s) from gfn 0x200 mapped and never unmapped"
    ]
    assert leaked_maps(ledger(large, unmapping(0x200, 2, flags=HV_UNMAP_GPA_LARGE_PAGE)), 2) == []
    assert leaked_maps(ledger(large, mapping(0x200, 1024, flags=HV_MAP_GPA_NO_ACCESS)), 2) == []


steps = st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.integers(0, 8)), max_size=20)


@given(steps)
def test_leaks_agree_with_a_set_of_frames(history: list[tuple[bool, int, int]]) -> None:
    frames: set[int] = set()
    records = []
    for is_map, first, pages in history:
        (frames.update if is_map else frames.difference_update)(range(first, first + pages))
        records.append((mapping if is_map else unmapping)(first, pages))
    told = set()
    for line in leaked_maps(ledger(*records), 2):
        words = line.split()
        told.update(range(int(words[6], 16), int(words[6], 16) + int(words[2])))
    assert told == frames


def name(record: LedgerRecord) -> str:
    return {0x76: "ADD_LOGICAL_PROCESSOR"}.get(record.code, f"MSR {record.code}")


def symbolise(record: LedgerRecord) -> str:
    return {0x20: "mshv_do_it+0x20", 0: ""}[record.ret]


def test_unmodelled_calls_name_code_status_and_caller() -> None:
    one = record(0x76, (), flags=RecordFlag.UNIMPLEMENTED, status=2)
    silent = record(0x76, (), flags=RecordFlag.IGNORED, ret=0)
    assert unmodelled(ledger(one, mapping(1, 1), one, silent), name, symbolise) == [
        "ADD_LOGICAL_PROCESSOR (0x0076) not implemented, status 0x2, called from mshv_do_it+0x20, 2 times",
        "ADD_LOGICAL_PROCESSOR (0x0076) accepted without effect, status 0x0",
    ]


def test_an_msr_that_is_not_modelled_counts_like_a_call() -> None:
    event = record(7, (0x40000118,), kind=RecordKind.EVENT, flags=RecordFlag.UNIMPLEMENTED)
    assert unmodelled(ledger(event), name, symbolise) == [
        "MSR 7 not implemented, called from mshv_do_it+0x20"
    ]


def test_a_slice_with_lost_records_is_doubtful() -> None:
    assert doubts(ledger(), name, symbolise) == []
    assert doubts(ledger(lost=3), name, symbolise) == ["the ledger lost 3 records of this scenario"]
    assert "does not model" in doubts(ledger(record(0x76, (), flags=RecordFlag.IGNORED)), name, symbolise)[0]


def test_a_difference_is_told_in_names() -> None:
    region, bar = (0x100000, 16), (0xFEB00, 16)
    flags = HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_NOT_CACHED

    def show(call: Call) -> str:
        return readable(call, region, bar, lambda code: "SUCCESS" if not code else "DENIED")

    want = [Call(0x100002, 1, 0xFEB02, flags, op="map"), Call(0x100002, 1, flags=0, op="unmap")]
    have = [Call(0x100002, 1, 0xFEB03, flags, op="map"), Call(0x200000, 1, flags=0, status=6, op="unmap")]
    assert diff(want, want, show) == []
    assert diff(want, have, show) == [
        "- map region page 2 (GFN 0x100002) 1 page(s) -> BAR page 2 (SPA 0xfeb02)"
        " READABLE|WRITABLE|NOT_CACHED SUCCESS",
        "- unmap region page 2 (GFN 0x100002) 1 page(s) 0 SUCCESS",
        "+ map region page 2 (GFN 0x100002) 1 page(s) -> BAR page 3 (SPA 0xfeb03)"
        " READABLE|WRITABLE|NOT_CACHED SUCCESS",
        "+ unmap GFN 0x200000 1 page(s) 0 DENIED",
    ]


def test_a_map_does_not_meet_the_expectation_of_an_unmap() -> None:
    assert diff([Call(1, 1, op="unmap")], [Call(1, 1, flags=0, op="map")]) != []
    assert diff([Call(1, 1)], [Call(1, 1, flags=0, op="map")]) == []
    assert flag_names("map", 0x10001 | 1 << 20) == "READABLE|NO_ACCESS|0x100000"
