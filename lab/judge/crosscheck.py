# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver's own traces against the stand-in's ledger: two witnesses of one story must agree.

Both sides are ledger records (traces through ``lab.validate.trace_ledger``). A traced request may have taken
several hypercalls, and its clock is another one, so what is compared is free of time between the sides: what
each request asked, in its order, and what came of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lab.judge.ledger import (
    HV_STATUS_SUCCESS,
    HVCALL_DELETE_PARTITION,
    HVCALL_MAP_GPA_PAGES,
    HVCALL_UNMAP_GPA_PAGES,
    HVCALL_WITHDRAW,
    calls_seen,
    pages_of,
)
from lab.model.ledger import LedgerRecord, RecordKind

# include/hyperv/hvgdk_mini.h
HVCALL_INITIALIZE_PARTITION = 0x0041
HVCALL_FINALIZE_PARTITION = 0x0042
_LIFE = {
    HVCALL_INITIALIZE_PARTITION: "initialize",
    HVCALL_FINALIZE_PARTITION: "finalize",
    HVCALL_DELETE_PARTITION: "delete",
}
_REQUESTS = {HVCALL_MAP_GPA_PAGES: "map", HVCALL_UNMAP_GPA_PAGES: "unmap"}


def disagreements(
    traced: Iterable[LedgerRecord], ledger: Iterable[LedgerRecord], partition: int
) -> list[str]:
    """Everything about ``partition`` that only one of them says; empty when they agree.

    Life-cycle calls: the same, in the same order, with the same outcome. Map and unmap requests: each has
    hypercalls of its own kind inside of its frames, a successful one exactly its pages, with its SPA where it
    names one; no hypercall lies outside of every request (what is taken back of a failed map is an unmap
    inside of that map). Memory withdrawn: the same number of pages.
    """
    ours, theirs = _of(traced, partition), _of(ledger, partition)
    lines = _life(ours, theirs)
    lines += _requests(ours, theirs)
    before, after = _withdrawn(ours), _withdrawn(theirs)
    if before != after:
        lines.append(f"withdrawn: traced {before} pages, ledger {after}")
    return lines


def _of(records: Iterable[LedgerRecord], partition: int) -> list[LedgerRecord]:
    return [r for r in records if r.kind is RecordKind.HYPERCALL and r.words[:1] == (partition,)]


def _life(ours: Sequence[LedgerRecord], theirs: Sequence[LedgerRecord]) -> list[str]:
    said, seen = _outcomes(ours), _outcomes(theirs)
    return [] if said == seen else [f"life of the partition: traced {said}, ledger {seen}"]


def _outcomes(records: Sequence[LedgerRecord]) -> list[str]:
    """Life-cycle calls. What was asked again after the hypervisor got the memory that it lacked is one."""
    found: list[tuple[int, int]] = []
    for r in records:
        if r.code in _LIFE:
            if found and found[-1][0] == r.code and found[-1][1] != HV_STATUS_SUCCESS:
                found.pop()
            found.append((r.code, r.status))
    return [f"{_LIFE[code]} {'refused' if status else 'done'}" for code, status in found]


def _withdrawn(records: Sequence[LedgerRecord]) -> int:
    return sum(max(0, r.rep_done - r.rep_start) for r in records if r.code == HVCALL_WITHDRAW)


def _requests(ours: Sequence[LedgerRecord], theirs: Sequence[LedgerRecord]) -> list[str]:
    """Requests in their order, each with the hypercalls that it took from the front of what is left."""
    lines = []
    calls = [r for r in theirs if r.code in _REQUESTS]
    used: set[int] = set()
    for request in (r for r in ours if r.code in _REQUESTS):
        first, pages = request.words[1], request.rep_count
        own = _taken(request, [c for c in calls if c.seq not in used])
        used |= {c.seq for c in own}
        said = f"{_REQUESTS[request.code]} of {pages} pages from gfn {first:#x}"
        if not own:
            lines.append(f"{said}: traced, and no hypercall for it")
            continue
        done = sum(pages_of(c) for c in own if c.code == request.code)
        if request.status == HV_STATUS_SUCCESS and done != pages:
            lines.append(f"{said}: traced as done, the hypervisor did {done}")
        if request.status != HV_STATUS_SUCCESS and all(c.status == HV_STATUS_SUCCESS for c in own):
            lines.append(f"{said}: traced as failed, and the hypervisor refused nothing of it")
        lines += _places(request, own, said)
    for call, record in zip(calls_seen(calls), calls, strict=True):
        if record.seq not in used:
            lines.append(f"hypercall without a traced request: {call}")
    return lines


def _taken(request: LedgerRecord, left: Sequence[LedgerRecord]) -> list[LedgerRecord]:
    """The hypercalls of one request: those next in the ledger that lie inside of its frames, up to the one
    that completes it. Hypercalls of other requests in between stay."""
    first, end = request.words[1], request.words[1] + request.rep_count
    found: list[LedgerRecord] = []
    done = 0
    failed = request.status != HV_STATUS_SUCCESS
    for call in left:
        start = call.words[1]
        inside = first <= start and start + pages_of(call) <= end
        # What a failed map has mapped is unmapped again inside of it.
        kind = call.code == request.code or (failed and bool(found) and call.code == HVCALL_UNMAP_GPA_PAGES)
        if not inside or not kind:
            continue
        found.append(call)
        done += pages_of(call) if call.code == request.code else -pages_of(call)
        refused = any(c.status != HV_STATUS_SUCCESS for c in found)
        if (not failed and done >= request.rep_count) or (failed and refused and done <= 0):
            break
    return found


def _places(request: LedgerRecord, own: Sequence[LedgerRecord], said: str) -> list[str]:
    """Where the request names physical pages, its hypercalls must map just these."""
    if request.code != HVCALL_MAP_GPA_PAGES or len(request.words) < 4 or not request.words[3]:
        return []
    offset = request.words[3] - request.words[1]
    return [
        f"{said}: gfn {c.words[1]:#x} traced with SPA page {offset + c.words[1]:#x}, ledger {c.words[3]:#x}"
        for c in own
        if c.code == HVCALL_MAP_GPA_PAGES and pages_of(c) and c.words[3] != offset + c.words[1]
    ]
