# SPDX-License-Identifier: GPL-2.0-or-later
"""One line for people per ledger record."""

from __future__ import annotations

from collections.abc import Callable

from lab.hypervisor import names
from lab.hypervisor.ledger import callers
from lab.model.ledger import LedgerRecord, RecordFlag, RecordKind

Resolve = Callable[[int], str | None]
"""Address to ``function+0x12``, or None."""

_MAP_GPA_PAGES = 0x4B
_DECIMAL = {"partition", "vp", "contiguous", "held", "lp", "new", "state", "event"}
_DECIMAL |= {"slot", "generation", "interrupts_on", "reentries", "ticks", "expired"}
"""Labels of words that are counted."""


def format_record(
    record: LedgerRecord, *, tsc_hz: int = 0, start: int = 0, resolve: Resolve | None = None
) -> str:
    """One line: when, who, what, with which words, result, marks, caller.

    ``tsc_hz`` and ``start`` (a TSC value) give times in milliseconds; ``resolve`` names the caller.
    """
    when = f" {(record.tsc - start) * 1000 / tsc_hz:10.3f}ms" if tsc_hz else ""
    parts = [f"{record.seq:6}{when} LP{record.lp}", _who(record), _what(record), _words(record)]
    if record.kind in (RecordKind.HYPERCALL, RecordKind.DISPATCH):
        parts.append(_result(record))
    marks = record.flags & ~RecordFlag.FAST
    if marks:
        parts.append("!" + ",".join(f.name.lower() for f in marks if f.name))
    parts.append(_caller(record, resolve))
    return " ".join(part for part in parts if part)


def _who(record: LedgerRecord) -> str:
    return f"partition {record.partition} VP{record.vp}" if record.partition else ""


def _what(record: LedgerRecord) -> str:
    if record.kind is RecordKind.INTERCEPT:
        return "intercept " + names.message(record.code)
    if record.kind is RecordKind.EVENT:
        return "event " + names.event(record.code)
    return names.hypercall(record.code)


def _labels(record: LedgerRecord) -> tuple[str, ...]:
    if record.kind is RecordKind.INTERCEPT:
        return names.INTERCEPT_WORDS
    if record.kind is RecordKind.EVENT:
        return names.EVENT_WORDS.get(record.code, ())
    return names.HYPERCALL_WORDS.get(record.code, ())


def _words(record: LedgerRecord) -> str:
    labels = _labels(record)
    texts = []
    for i, word in enumerate(record.words):
        if i >= len(labels):
            texts.append(f"{word:#x}")
        else:
            texts.append(f"{labels[i]}={_value(record, labels[i], word)}")
    return " ".join(texts)


def _value(record: LedgerRecord, label: str, word: int) -> str:
    if label == "call":
        return names.hypercall(word)
    if label in _DECIMAL:
        return str(word)
    if label == "flags" and record.kind is RecordKind.HYPERCALL and record.code == _MAP_GPA_PAGES:
        return names.map_flags(word)
    if label == "access" and record.kind is RecordKind.INTERCEPT:
        return names.ACCESSES.get(word, f"{word:#x}")
    return f"{word:#x}"


def _result(record: LedgerRecord) -> str:
    reps = ""
    if record.rep_count:
        reps = f" ({record.rep_done} of {record.rep_count} reps"
        reps += f" from {record.rep_start})" if record.rep_start else ")"
    return f"-> {names.status(record.status)}{reps}"


def record_name(record: LedgerRecord) -> str:
    """``MAP_GPA_PAGES``; an intercept's message type; an event with its object, ``MSR_READ 0x40000118``."""
    if record.kind is RecordKind.EVENT:
        thing = f" {record.words[0]:#x}" if record.words else ""
        return names.event(record.code) + thing
    if record.kind is RecordKind.INTERCEPT:
        return names.message(record.code)
    return names.hypercall(record.code)


def record_caller(record: LedgerRecord, resolve: Resolve) -> str:
    """The kernel's function that made the call, wrappers left out; empty when it cannot be told."""
    for address in callers(record):
        name = resolve(address)
        if name and name.split("+")[0] not in names.HYPERCALL_WRAPPERS:
            return name
    return ""


def _caller(record: LedgerRecord, resolve: Resolve | None) -> str:
    name = record_caller(record, resolve) if resolve is not None else ""
    return f"by {name}" if name else ""
