# SPDX-License-Identifier: GPL-2.0-or-later
"""A ledger out of the driver's own traces, where no stand-in keeps one.

Kprobes on the driver's map and unmap functions give partition, frames and result; its tracepoints tell
which partitions come and go, what memory is withdrawn and which GPA intercepts it sees. One function call
may take several hypercalls, and what the hypervisor answered to each is not seen: only whether the function
failed. So frames and failures can be judged, numbers of hypercalls and their statuses cannot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lab.hypervisor.names import HYPERCALLS
from lab.model.ledger import LedgerRecord, RecordFlag, RecordKind
from lab.root.tracefs import TraceEvent

GROUP = "hvlab"
_CODE = {name: code for code, name in HYPERCALLS.items()}
_FAILED = 1
"""Status of a request that failed: the hypervisor's own is not seen, and 0 would be success."""
_ACCESS = {"R": 0, "W": 1, "X": 2}
_CALLER = 1
"""The root partition's id in our ledger."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A kprobe of the driver: the function's arguments by register, and its result."""

    call: str
    name: str
    function: str
    arguments: str

    def definitions(self) -> tuple[str, str]:
        """Two lines for ``kprobe_events``: entry and return."""
        return (
            f"p:{GROUP}/{self.name} {self.function} {self.arguments}",
            f"r:{GROUP}/{self.name}_ret {self.function} ret=$retval:s32",
        )


PROBES = (
    # (partition, gfn, pages, flags, page list, first SPA page or 0)
    Probe(
        "MAP_GPA_PAGES",
        "map",
        "hv_do_map_gpa_hcall",
        "partition=%di:u64 gfn=%si:u64 pages=%dx:u64 flags=%cx:u32 spa=%r9:u64",
    ),
    # (partition, gfn, pages, flags)
    Probe(
        "UNMAP_GPA_PAGES",
        "unmap",
        "hv_call_unmap_gpa_pages",
        "partition=%di:u64 gfn=%si:u64 pages=%dx:u64 flags=%cx:u32",
    ),
)

TRACEPOINTS = {
    "mshv_hvcall_create_partition": "CREATE_PARTITION",
    "mshv_hvcall_initialize_partition": "INITIALIZE_PARTITION",
    "mshv_hvcall_finalize_partition": "FINALIZE_PARTITION",
    "mshv_hvcall_withdraw_memory": "WITHDRAW_MEMORY",
    "mshv_hvcall_delete_partition": "DELETE_PARTITION",
    "mshv_handle_gpa_intercept": "",
}
"""Tracepoints of drivers/hv/mshv_trace.h and the hypercall that each tells of (none: an intercept)."""


def records(events: Iterable[TraceEvent]) -> list[LedgerRecord]:
    """Ledger records in the order in which the requests ended. A request whose end is not traced yet is
    left out: its result is not known."""
    probes = {probe.name: probe for probe in PROBES}
    open_calls: dict[int, list[tuple[Probe, TraceEvent]]] = {}
    found: list[LedgerRecord] = []
    for event in events:
        stack = open_calls.setdefault(event.pid, [])
        if event.name in probes:
            stack.append((probes[event.name], event))
        elif event.name.endswith("_ret") and event.name.removesuffix("_ret") in probes:
            while stack:
                probe, begun = stack.pop()
                if probe.name == event.name.removesuffix("_ret"):
                    found.append(_request(len(found) + 1, probe, begun, _number(event, "ret")))
                    break
        elif event.name in TRACEPOINTS:
            found.append(_tracepoint(len(found) + 1, event))
    return found


def children(found: Iterable[LedgerRecord]) -> list[int]:
    """Partitions that were created and not deleted, oldest first."""
    alive: dict[int, None] = {}
    for record in found:
        if record.kind is not RecordKind.HYPERCALL or record.status:
            continue
        if record.code == _CODE["CREATE_PARTITION"]:
            alive[record.words[3]] = None
        elif record.code == _CODE["DELETE_PARTITION"]:
            alive.pop(record.words[0], None)
    return list(alive)


def _number(event: TraceEvent, name: str) -> int:
    return int(event.fields.get(name, "0"), 0)


def _record(seq: int, event: TraceEvent, kind: RecordKind, code: int, **values: int) -> LedgerRecord:
    pages, done = values.get("pages", 0), values.get("done", 0)
    return LedgerRecord(
        seq=seq,
        tsc=round(event.time * 1e6),
        lp=event.cpu,
        kind=kind,
        flags=RecordFlag(0),
        partition=_CALLER,
        vp=0,
        code=code,
        rep_start=0,
        rep_count=pages,
        rep_done=done,
        status=values.get("status", 0),
        rip=0,
        ret=0,
        words=(),
    )


def _request(seq: int, probe: Probe, begun: TraceEvent, result: int) -> LedgerRecord:
    pages = _number(begun, "pages")
    record = _record(
        seq,
        begun,
        RecordKind.HYPERCALL,
        _CODE[probe.call],
        pages=pages,
        done=0 if result else pages,
        status=_FAILED if result else 0,
    )
    words = [_number(begun, name) for name in ("partition", "gfn", "flags")]
    if probe.call == "MAP_GPA_PAGES":
        spa = _number(begun, "spa")  # 0 for RAM, whose pages come as a list
        words += [spa, spa + pages - 1 if spa else 0, int(bool(spa))]
    return replace(record, words=tuple(words))


def _tracepoint(seq: int, event: TraceEvent) -> LedgerRecord:
    call = TRACEPOINTS[event.name]
    partition = _number(event, "partition_id")
    if not call:
        access = _ACCESS.get(event.fields.get("access_type", ""), 0)
        # Which of the two messages of a GPA it was is not traced.
        record = _record(seq, event, RecordKind.INTERCEPT, 0)
        return replace(record, words=(_number(event, "gfn") << 12, access, 0))
    if call == "CREATE_PARTITION":
        status = _FAILED if partition <= 0 else 0
        record = _record(seq, event, RecordKind.HYPERCALL, _CODE[call], status=status)
        return replace(record, words=(_number(event, "flags"), 0, 0, max(partition, 0)))
    status = _number(event, "status")
    withdrawn = _number(event, "withdrawn")
    record = _record(
        seq, event, RecordKind.HYPERCALL, _CODE[call], status=status, pages=withdrawn, done=withdrawn
    )
    return replace(record, words=(partition,))
