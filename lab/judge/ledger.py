# SPDX-License-Identifier: GPL-2.0-or-later
"""The ledger oracle: what the kernel asked of the hypervisor, against what it should have asked.

Numbers are the TLFS interface as the kernel defines it in include/hyperv (the header is named at each).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from lab.model.ledger import LedgerRecord, LedgerSlice, RecordFlag, RecordKind

# include/hyperv/hvgdk_mini.h
HVCALL_DELETE_PARTITION = 0x0043
HVCALL_DEPOSIT = 0x0048
HVCALL_WITHDRAW = 0x0049
HVCALL_MAP_GPA_PAGES = 0x004B
HVCALL_UNMAP_GPA_PAGES = 0x004C
HV_STATUS_SUCCESS = 0x0000
HV_UNMAP_GPA_LARGE_PAGE = 0x2
# include/hyperv/hvhdk_mini.h
HV_MAP_GPA_READABLE = 0x1
HV_MAP_GPA_WRITABLE = 0x2
HV_MAP_GPA_EXECUTABLE = 0xC
HV_MAP_GPA_ADJUSTABLE = 0x8000
HV_MAP_GPA_NO_ACCESS = 0x10000
HV_MAP_GPA_NOT_CACHED = 0x200000
HV_MAP_GPA_LARGE_PAGE = 0x80000000

LARGE_PAGES = 512
"""4 KiB pages in one repetition of a large-page call."""
ALIGN_LIMIT = 600
"""Calls up to which a diff is aligned at best; beyond, only equal beginnings and ends are."""


def maps_of(records: LedgerSlice, partition: int) -> list[LedgerRecord]:
    """MAP_GPA_PAGES calls whose target is ``partition``, failed ones too."""
    return _calls(records, HVCALL_MAP_GPA_PAGES, partition)


def unmaps_of(records: LedgerSlice, partition: int) -> list[LedgerRecord]:
    """UNMAP_GPA_PAGES calls whose target is ``partition``, failed ones too."""
    return _calls(records, HVCALL_UNMAP_GPA_PAGES, partition)


def _calls(records: LedgerSlice, code: int, partition: int) -> list[LedgerRecord]:
    return [
        record
        for record in records.records
        if record.kind is RecordKind.HYPERCALL and record.code == code and record.words[:1] == (partition,)
    ]


def pages_of(record: LedgerRecord) -> int:
    """4 KiB pages that a map or unmap call has done (``rep_done`` counts from the call's very start)."""
    return max(0, record.rep_done - record.rep_start) * _stride(record)


def _stride(record: LedgerRecord) -> int:
    flags = record.words[2] if len(record.words) > 2 else 0
    large = HV_MAP_GPA_LARGE_PAGE if record.code == HVCALL_MAP_GPA_PAGES else HV_UNMAP_GPA_LARGE_PAGE
    return LARGE_PAGES if flags & large else 1


@dataclass(frozen=True, slots=True)
class Call:
    """A map or unmap call, seen or expected; as an expectation None means "any".

    ``gfn``, ``spa`` and ``pages`` in 4 KiB frames; ``spa`` is the first page of a map call. ``op``: ``map``
    or ``unmap``, "" for either.
    """

    gfn: int
    pages: int
    spa: int | None = None
    flags: int | None = None
    status: int | None = HV_STATUS_SUCCESS
    op: str = field(default="", compare=False)

    def matches(self, seen: Call) -> bool:
        """Does ``seen`` meet this expectation?"""
        return (
            self.gfn == seen.gfn
            and self.pages == seen.pages
            and self.spa in (None, seen.spa)
            and self.flags in (None, seen.flags)
            and self.status in (None, seen.status)
            and self.op in ("", seen.op)
        )

    def __str__(self) -> str:
        text = f"gfn {self.gfn:#x} pages {self.pages}"
        text += f" spa {self.spa:#x}" if self.spa is not None else ""
        text += f" flags {self.flags:#x}" if self.flags is not None else ""
        return text + (f" status {self.status:#x}" if self.status else "")


def calls_seen(records: Iterable[LedgerRecord]) -> list[Call]:
    """Map and unmap records as calls; a failed one counts the pages it was asked for."""
    seen = []
    for record in records:
        words = record.words + (0,) * 4
        pages = (
            pages_of(record) if record.status == HV_STATUS_SUCCESS else record.rep_count - record.rep_start
        )
        spa = words[3] if record.code == HVCALL_MAP_GPA_PAGES else None
        op = "map" if record.code == HVCALL_MAP_GPA_PAGES else "unmap"
        seen.append(Call(words[1], pages, spa, words[2], record.status, op))
    return seen


def coalesce(calls: Iterable[Call]) -> list[Call]:
    """Join neighbouring successful calls that continue each other: batches of one request are one."""
    joined: list[Call] = []
    for call in calls:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.status == call.status == HV_STATUS_SUCCESS
            and (last.flags, last.op) == (call.flags, call.op)
            and last.gfn + last.pages == call.gfn
            and (last.spa + last.pages if last.spa is not None else None) == call.spa
        ):
            joined[-1] = Call(last.gfn, last.pages + call.pages, last.spa, last.flags, last.status, last.op)
        else:
            joined.append(call)
    return joined


def diff(expected: Sequence[Call], seen: Sequence[Call], show: Callable[[Call], str] = str) -> list[str]:
    """The difference as lines; empty when every expectation is met, in order, and nothing else was seen.

    ``-`` lines were expected and are missing, ``+`` lines were seen and not expected.
    ``show`` words a call.
    """
    lines = _align(expected, seen, show)
    return lines if any(line[0] != " " for line in lines) else []


_FLAG_NAMES = {
    "map": (
        (HV_MAP_GPA_READABLE, "READABLE"),
        (HV_MAP_GPA_WRITABLE, "WRITABLE"),
        (HV_MAP_GPA_EXECUTABLE, "EXECUTABLE"),
        (HV_MAP_GPA_ADJUSTABLE, "ADJUSTABLE"),
        (HV_MAP_GPA_NO_ACCESS, "NO_ACCESS"),
        (HV_MAP_GPA_NOT_CACHED, "NOT_CACHED"),
        (HV_MAP_GPA_LARGE_PAGE, "LARGE_PAGE"),
    ),
    "unmap": ((HV_UNMAP_GPA_LARGE_PAGE, "LARGE_PAGE"),),
}


def flag_names(op: str, flags: int) -> str:
    """Flags of a map or unmap call by name, ``READABLE|WRITABLE``; what has no name in hex."""
    names = []
    for bits, name in _FLAG_NAMES.get(op, ()):
        if flags & bits == bits:
            names.append(name)
            flags &= ~bits
    return "|".join([*names, *([f"{flags:#x}"] if flags else [])]) or "0"


def readable(
    call: Call,
    region: tuple[int, int] | None = None,
    bar: tuple[int, int] | None = None,
    status: Callable[[int], str] = hex,
) -> str:
    """A call in names: frames by their page in ``region``, SPAs by their page in ``bar`` (each first
    page number and length), flags and status by name."""
    parts = [call.op or "call", _named("GFN", call.gfn, region, "region page"), f"{call.pages} page(s)"]
    if call.spa is not None:
        parts += ["->", _named("SPA", call.spa, bar, "BAR page")]
    if call.flags is not None:
        parts.append(flag_names(call.op, call.flags))
    parts.append("any status" if call.status is None else status(call.status))
    return " ".join(parts)


def _named(kind: str, number: int, window: tuple[int, int] | None, name: str) -> str:
    if window is not None and window[0] <= number < window[0] + window[1]:
        return f"{name} {number - window[0]} ({kind} {number:#x})"
    return f"{kind} {number:#x}"


def _align(expected: Sequence[Call], seen: Sequence[Call], show: Callable[[Call], str]) -> list[str]:
    head = 0
    while head < min(len(expected), len(seen)) and expected[head].matches(seen[head]):
        head += 1
    tail = 0
    while tail < min(len(expected), len(seen)) - head and expected[-1 - tail].matches(seen[-1 - tail]):
        tail += 1
    want, have = expected[head : len(expected) - tail], seen[head : len(seen) - tail]
    lines = [f"  {show(call)}" for call in seen[:head]]
    if max(len(want), len(have)) > ALIGN_LIMIT:
        lines += [f"- {show(call)}" for call in want] + [f"+ {show(call)}" for call in have]
    else:
        lines += _longest_match(want, have, show)
    return lines + [f"  {show(call)}" for call in seen[len(seen) - tail :]]


def _longest_match(want: Sequence[Call], have: Sequence[Call], show: Callable[[Call], str]) -> list[str]:
    """Longest common subsequence under ``matches``."""
    best = [[0] * (len(have) + 1) for _ in range(len(want) + 1)]
    for i in range(len(want) - 1, -1, -1):
        for j in range(len(have) - 1, -1, -1):
            if want[i].matches(have[j]):
                best[i][j] = best[i + 1][j + 1] + 1
            else:
                best[i][j] = max(best[i + 1][j], best[i][j + 1])
    lines, i, j = [], 0, 0
    while i < len(want) or j < len(have):
        if i < len(want) and j < len(have) and want[i].matches(have[j]):
            lines.append(f"  {show(have[j])}")
            i, j = i + 1, j + 1
        elif j == len(have) or (i < len(want) and best[i + 1][j] >= best[i][j + 1]):
            lines.append(f"- {show(want[i])}")
            i += 1
        else:
            lines.append(f"+ {show(have[j])}")
            j += 1
    return lines


def leaked_maps(records: LedgerSlice, partition: int) -> list[str]:
    """Frames of ``partition`` that the slice maps and never unmaps, unless the partition was deleted.

    One line per run of frames. What failed half-way counts as far as it got.
    """
    mapped = _Frames()
    for record in records.records:
        if record.kind is not RecordKind.HYPERCALL or record.words[:1] != (partition,):
            continue
        if record.code == HVCALL_DELETE_PARTITION and record.status == HV_STATUS_SUCCESS:
            mapped = _Frames()
        elif record.code in (HVCALL_MAP_GPA_PAGES, HVCALL_UNMAP_GPA_PAGES):
            first, flags = record.words[1], record.words[2]
            end = first + pages_of(record)
            if record.code == HVCALL_UNMAP_GPA_PAGES or flags & HV_MAP_GPA_NO_ACCESS:
                mapped.remove(first, end)
            else:
                mapped.add(first, end)
    return [
        f"partition {partition}: {end - first} page(s) from gfn {first:#x} mapped and never unmapped"
        for first, end in mapped.runs
    ]


def deposits(records: LedgerSlice) -> dict[int, tuple[int, int]]:
    """Pages deposited into and withdrawn from each partition, by the repetitions that were done."""
    pages: dict[int, tuple[int, int]] = {}
    for record in records.records:
        if record.kind is RecordKind.HYPERCALL and record.code in (HVCALL_DEPOSIT, HVCALL_WITHDRAW):
            given, taken = pages.get(record.words[0], (0, 0))
            done = max(0, record.rep_done - record.rep_start)
            back = record.code == HVCALL_WITHDRAW
            pages[record.words[0]] = (given + done * (not back), taken + done * back)
    return pages


class _Frames:
    """A set of frames as sorted, disjoint, non-touching runs [first, end)."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, int]] = []

    def add(self, first: int, end: int) -> None:
        """Put in [first, end)."""
        if first >= end:
            return
        low = bisect_left(self.runs, first, key=lambda run: run[1])
        high = bisect_right(self.runs, end, key=lambda run: run[0])
        touched = self.runs[low:high]
        if touched:
            first, end = min(first, touched[0][0]), max(end, touched[-1][1])
        self.runs[low:high] = [(first, end)]

    def remove(self, first: int, end: int) -> None:
        """Take out [first, end)."""
        low = bisect_right(self.runs, first, key=lambda run: run[1])
        high = bisect_left(self.runs, end, key=lambda run: run[0])
        kept = [(a, min(b, first)) for a, b in self.runs[low:high] if a < first]
        kept += [(max(a, end), b) for a, b in self.runs[low:high] if end < b]
        self.runs[low:high] = kept


Describe = Callable[[LedgerRecord], str]


def unmodelled(records: LedgerSlice, what: Describe, caller: Describe) -> list[str]:
    """What the kernel asked for and the stand-in does not model, one line per thing and caller.

    ``what`` names the call (or MSR, register, property) of a record, ``caller`` the kernel's function
    that made it. While there is a line, the scenario is inconclusive.
    """
    marks = RecordFlag.UNIMPLEMENTED | RecordFlag.IGNORED
    seen = Counter(
        (what(r), r.code if r.kind is RecordKind.HYPERCALL else None, r.status, r.flags & marks, caller(r))
        for r in records.records
        if r.kind in (RecordKind.HYPERCALL, RecordKind.EVENT) and r.flags & marks
    )
    lines = []
    for (name, code, status, flags, by), count in seen.items():
        how = "not implemented" if flags & RecordFlag.UNIMPLEMENTED else "accepted without effect"
        number = f" ({code:#06x})" if code is not None else ""
        result = f", status {status:#x}" if code is not None else ""
        origin = f", called from {by}" if by else ""
        times = f", {count} times" if count > 1 else ""
        lines.append(f"{name}{number} {how}{result}{origin}{times}")
    return lines


def doubts(records: LedgerSlice, what: Describe, caller: Describe) -> list[str]:
    """Everything in the slice that makes a scenario inconclusive: lost records, unmodelled calls."""
    lost = [f"the ledger lost {records.lost} records of this scenario"] if records.lost else []
    return lost + [
        f"the stand-in does not model what the kernel asked for: {line}"
        for line in unmodelled(records, what, caller)
    ]
