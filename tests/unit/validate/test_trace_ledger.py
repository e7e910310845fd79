# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver's traces as a ledger: what they tell, and what they do not."""

from __future__ import annotations

from lab import paths
from lab.hypervisor import format_record
from lab.judge import ledger as judge_ledger
from lab.model.ledger import LedgerSlice, RecordKind
from lab.root.tracefs import parse_trace, trace_loss
from lab.validate import trace_ledger

# In the form that trace_pipe has; two threads at once, and a request that has not ended.
TRACE = (paths.tests_dir() / "golden" / "traces" / "child-with-bar.log").read_text()


def records(text=TRACE):
    return trace_ledger.records(parse_trace(text))


def slice_of(text=TRACE):
    found = records(text)
    return LedgerSlice(tuple(found), 0, len(found))


def test_map_of_a_bar_gives_frames_and_physical_pages():
    bar = next(r for r in judge_ledger.maps_of(slice_of(), 3) if r.words[1] == 0x100000)
    assert (bar.rep_count, bar.rep_done, bar.status) == (1024, 1024, 0)
    assert bar.words == (3, 0x100000, 0x200003, 1042432, 1042432 + 1023, 1)


def test_map_of_ram_has_no_physical_pages():
    ram = next(r for r in judge_ledger.maps_of(slice_of(), 3) if r.words[1] == 0)
    assert ram.words == (3, 0, 0x10000, 0, 0, 0)


def test_failed_map_of_another_thread_is_paired_with_its_own_return():
    failed = [r for r in judge_ledger.maps_of(slice_of(), 3) if r.status]
    assert [(r.words[1], r.rep_done) for r in failed] == [(2097152, 0)]


def test_request_that_has_not_ended_is_left_out():
    assert [r.words[1] for r in judge_ledger.unmaps_of(slice_of(), 3)] == [2097152], "its result is not known"


def test_intercept_has_its_address_and_access():
    (intercept,) = (r for r in records() if r.kind is RecordKind.INTERCEPT)
    assert intercept.words[:2] == (0x100005000, 1)


def test_partitions_come_and_go():
    assert trace_ledger.children(records()) == [3]
    gone = " kworker-7 [000] ..... 11.0: mshv_hvcall_delete_partition: partition_id=3 status=0x0\n"
    refused = gone.replace("status=0x0", "status=0x5")
    assert trace_ledger.children(records(TRACE + refused)) == [3], "the hypervisor refused the deletion"
    assert trace_ledger.children(records(TRACE + gone)) == []
    failed = " mshv-vmm-101 [000] ..... 12.0: mshv_hvcall_create_partition: flags=0x0 partition_id=-12\n"
    assert trace_ledger.children(records(TRACE + failed)) == [3], "a creation that failed made nothing"


def test_withdrawn_memory_names_partition_and_pages():
    line = " kworker-7 [0] . 11.0: mshv_hvcall_withdraw_memory: partition_id=3 withdrawn=298 status=0x0\n"
    line = line.replace("[0] .", "[000] .....")
    (withdrawn,) = records(line)
    assert (withdrawn.words, withdrawn.rep_done, withdrawn.status) == ((3,), 298, 0)


def test_every_record_can_be_printed():
    assert all(format_record(record) for record in records())
    assert [record.seq for record in records()] == list(range(1, len(records()) + 1))


def test_lost_events_are_counted():
    assert trace_loss(TRACE) == 0
    assert trace_loss("CPU:0 [LOST 5 EVENTS]\n" + TRACE + "CPU:1 [LOST 7 EVENTS]\n") == 12


def test_probes_are_lines_that_tracefs_takes():
    for probe in trace_ledger.PROBES:
        entry, back = probe.definitions()
        assert entry.startswith(f"p:hvlab/{probe.name} {probe.function} partition=%di:u64 gfn=%si:u64")
        assert back == f"r:hvlab/{probe.name}_ret {probe.function} ret=$retval:s32"
