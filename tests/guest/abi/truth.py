# SPDX-License-Identifier: GPL-2.0-or-later
"""What each entry of the list means on the running stand-in: the question, and a true answer."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ask import PAGE, SCRATCH, Op, Script, Step

from lab.hypervisor.names import STATUSES, Event
from lab.model.ledger import LedgerRecord, RecordFlag
from lab.model.surface import Entry, State
from lab.surface.listing import Surface

SELF = 2**64 - 1
CHILD = 2
"""The first partition that a root creates."""
VP = 0
CREATE_LAPIC = 1 << 13
GP = 13
MARK = 0x4F000000
MARKS = 0x100
GUEST_OS_ID, HYPERCALL_PAGE = 0x40000000, 0x40000001
LINUX_ID = 0x8100 << 48
CODES = {name: code for code, name in STATUSES.items()}
WRITE_ONLY = frozenset({0x40000070, 0x40000084})
"""EOI and EOM (TLFS 10.2.3, 11.10)."""
ACCESSES = {0: 3, 1: 3, 5: 7, 9: 7, 0xA: 1, 0xB: 2, 0xC: 3}
"""What an intercept type can be asked for: 1 read, 2 write, 4 execute; the others are executed."""
NOBODYS_PROPERTY = 0x000F0000
SET_BY_VMMS = frozenset({0x10001, 0x30003, 0x50005, 0x50017})
"""Partition properties that a VMM sets; the others are only read."""
STRANGERS = (
    ("hypercall", 0x0ABC, "INVALID_HYPERCALL_CODE"),
    ("hypercall", 0x0001, "INVALID_HYPERCALL_CODE"),
    ("hypercall", 0xFFFF, "INVALID_HYPERCALL_CODE"),
    ("msr", 0x400000FF, "#GP"),
    ("msr", 0x4FFFFFFF, "#GP"),
    ("cpuid", 0x4000000B, "zeros"),
    ("cpuid", 0x40000100, "zeros"),
    ("register", 0x00080FFF, "INVALID_PARAMETER"),
    ("register", 0x7FFFFFFF, "INVALID_PARAMETER"),
    ("partition_property", 0x000F7777, "UNKNOWN_PROPERTY"),
    ("system_property", 0x7777, "UNKNOWN_PROPERTY"),
    ("vp_state", 0x80000077, "INVALID_PARAMETER"),
    ("vp_state_page", 7, "INVALID_PARAMETER"),
    ("stats_object", 0x7777, "INVALID_PARAMETER"),
    ("partition_event", 0x7777, "INVALID_PARAMETER"),
    ("intercept", 0x77, "INVALID_PARAMETER"),
    ("port_type", 0x77, "INVALID_PARAMETER"),
)
"""What is in no list, and how the interface (TLFS) refuses it."""
STATIC = frozenset({"message", "scheduler"})
"""Kinds that nobody can ask for: the stand-in sends them or announces one. A test reads its source."""


@dataclass
class Asked:
    """An entry, the steps that ask for it, and what the ledger says of them."""

    entry: Entry
    steps: list[Step]
    notes: list[LedgerRecord] = field(default_factory=list)

    def flags(self) -> RecordFlag:
        flags = RecordFlag(0)
        for record in self.notes:
            flags |= record.flags
        return flags

    def text(self) -> str:
        answers = "; ".join(
            f"{s.what}: " + (f"exception {s.fault}" if s.fault is not None else f"{s.out[0]:#x} {s.out[1:]}")
            for s in self.steps
        )
        return (
            f"{self.entry.kind} {self.entry.name} ({self.entry.state}) gave {answers}, flags {self.flags()!r}"
        )


def questions(surface: Surface, script: Script) -> list[Asked]:
    """Put the whole list into a script; the asked entries in order."""
    script.wrmsr(GUEST_OS_ID, LINUX_ID, "guest OS id")
    # Where an L1VH parent wants it; a root finds it where the stand-in put it.
    script.wrmsr(HYPERCALL_PAGE, (SCRATCH - PAGE) | 1, "hypercall page")
    asked: list[Asked] = []

    def ask(kind: str, make: Callable[[Entry, int], list[Step]]) -> None:
        for entry in surface:
            if entry.kind == kind:
                script.rdmsr(MARK + len(asked) % MARKS, "mark")
                asked.append(Asked(entry, [s for n in entry.numbers for s in make(entry, n)]))

    ask("cpuid", lambda e, n: [script.cpuid(n, f"CPUID {n:#x}")])
    ask("msr", lambda e, n: _msr(script, e, n))
    ask("system_property", lambda e, n: [_system_property(script, n)])
    ask("partition_event", lambda e, n: [script.call(0x87, struct.pack("<II", n, 0), what=e.name)])
    script.rdmsr(MARK + MARKS - 1, "mark")
    _child(script)
    ask("register", lambda e, n: [_get_register(script, n)])
    ask("partition_property", lambda e, n: _property(script, n))
    ask("vp_state", lambda e, n: [_vp_state(script, n)])
    ask(
        "vp_state_page",
        lambda e, n: [script.call(0xE1, struct.pack("<QIHBBQ", CHILD, VP, n, 0, 0, 0), what=e.name)],
    )
    ask("stats_object", lambda e, n: [_stats(script, n)])
    ask("intercept", lambda e, n: [_intercept(script, n)])
    ask("port_type", lambda e, n: [_port(script, n)])
    # Last: with zeros for input, but known calls may change state that others lean on.
    ask("hypercall", lambda e, n: _hypercall(script, n))
    ask("sleep_state", lambda e, n: [script.call(0x84, struct.pack("<I", n), what=e.name)])
    script.steps[-1].ends = asked[-1].entry.state is State.IMPLEMENTED
    return asked


def _msr(script: Script, entry: Entry, number: int) -> list[Step]:
    if number in WRITE_ONLY:
        return [script.wrmsr(number, 0, f"write of {number:#x}")]
    steps = [script.rdmsr(number, f"read of {number:#x}")]
    if entry.state is State.REFUSED:
        steps.append(script.wrmsr(number, 0, f"write of {number:#x}"))
    return steps


def _system_property(script: Script, number: int) -> Step:
    if number == 3:  # the only one that is set
        return script.call(0x6F, struct.pack("<IIIBB", number, 0, 5, 0, 0), what="set of S5")
    return script.call(0x7B, struct.pack("<IIQ", number, 0, 0), what=f"get of {number}")


def _child(script: Script) -> None:
    pages = [SCRATCH // 4096 + i for i in range(400)]
    for partition in (SELF, CHILD):
        if partition == CHILD:
            script.call(0x40, struct.pack("<QIIIIQQQQ", CREATE_LAPIC, 0, 0, 0, 0, 0, 0, 0, 0), what="create")
        mine, pages = pages[:200], pages[200:]
        script.call(0x48, struct.pack("<Q200Q", partition, *mine), reps=200, what="deposit")
    script.call(0x41, struct.pack("<Q", CHILD), what="initialize")
    script.call(0x4E, struct.pack("<QIIQQQ", CHILD, VP, 0, 0, 0, 0), what="create VP")


def _get_register(script: Script, name: int) -> Step:
    return script.call(0x50, struct.pack("<QIII", CHILD, VP, 0, name), reps=1, what=f"register {name:#x}")


def _property(script: Script, number: int) -> list[Step]:
    if number >> 16 == 9:  # large properties have a call of their own
        return [script.call(0x101, struct.pack("<QIIQ", SELF, number, 0, 0), what=f"get of {number:#x}")]
    steps = []
    if number in SET_BY_VMMS or number >= NOBODYS_PROPERTY:
        steps.append(script.call(0x45, struct.pack("<QIIQ", CHILD, number, 0, 1), what=f"set of {number:#x}"))
    steps.append(script.call(0x44, struct.pack("<QII", CHILD, number, 0), what=f"get of {number:#x}"))
    return steps


def _vp_state(script: Script, number: int) -> Step:
    frame = SCRATCH // 4096 + 0x1000
    given = struct.pack("<QIIIIQQQ", CHILD, VP, 0, number, 0, 0, 0, frame)
    return script.call(0xE3, given, varhead=1 if number >> 31 else 0, what=f"state {number:#x}")


def _stats(script: Script, number: int) -> Step:
    identity = {0x10001: (CHILD, 0), 0x10002: (CHILD, VP)}.get(number, (0, 0))
    return script.call(0x6C, struct.pack("<IIQQ", number, 0, *identity), what=f"statistics {number:#x}")


def _intercept(script: Script, number: int) -> Step:
    given = struct.pack("<QIIQ", CHILD, ACCESSES.get(number, 4), number, 1)
    return script.call(0x4D, given, what=f"intercept type {number}")


def _port(script: Script, number: int) -> Step:
    """A port of the root for the child's connection: SINT 5 on VP 0."""
    given = struct.pack("<QIIQIIIIQQ", SELF, 0x777, 0, CHILD, number, 0, 5, 0, 0, 0)
    return script.call(0x95, given, what=f"port type {number}")


def _hypercall(script: Script, code: int) -> list[Step]:
    """All forms: the shape of a call that nobody describes is not known, a code is refused in each."""
    return [script.call(code, reps=reps, what=f"{code:#x} with {reps} repetitions") for reps in (0, 1)]


def attach(asked: list[Asked], records: list[LedgerRecord], mark: int) -> None:
    """Give each entry the ledger's records between its mark and the next. ``mark``: a mark's event."""
    at = -1
    for record in records:
        if record.kind.name == "EVENT" and record.code == mark:
            number = record.words[0]
            at = (
                -1
                if number == MARKS - 1
                else next((i for i in range(at + 1, len(asked)) if i % MARKS == number), len(asked))
            )
        elif 0 <= at < len(asked):
            asked[at].notes.append(record)


def lies(asked: list[Asked]) -> Iterator[str]:
    """Entries whose state is not what the stand-in does."""
    for a in asked:
        problem = _lie(a)
        if problem:
            yield f"{a.text()}: {problem}"


def _lie(a: Asked) -> str:
    state = a.entry.state
    if a.entry.kind == "cpuid":
        zeros = all(not any(s.out) for s in a.steps)
        return "" if zeros == (state is State.REFUSED) else "is all zeros" if zeros else "is not all zeros"
    if a.entry.kind == "msr":
        faults = [s.fault == GP for s in a.steps]
        if state is State.REFUSED:
            return "" if all(faults) else "no #GP"
        return "faults" if any(faults) else ""
    return _lie_of_call(a)


def _lie_of_call(a: Asked) -> str:
    state, answer = a.entry.state, a.entry.answer
    if any(s.fault is not None for s in a.steps):
        return "an exception"
    if a.steps[-1].ends:
        return "" if any(r.code == Event.POWER_OFF for r in a.notes) else "does not power off"
    statuses = {s.status for s in a.steps if s.op is Op.CALL}
    if state is State.REFUSED:
        if a.entry.kind == "hypercall" and answer != "INVALID_HYPERCALL_CODE":
            statuses.discard(CODES["INVALID_HYPERCALL_INPUT"])  # the other shape of the two
        return "" if statuses == {CODES[answer]} else f"not {answer}"
    marked = a.flags()
    if state is State.IGNORED:
        return "" if RecordFlag.IGNORED in marked else "is not marked ignored"
    if marked & (RecordFlag.IGNORED | RecordFlag.UNIMPLEMENTED) and a.entry.kind != "hypercall":
        return "is marked in the ledger"
    if a.entry.kind == "hypercall":
        # With zeros for input most refuse; but the code must be one that the stand-in knows.
        calls = [r for r in a.notes if r.kind.name in ("HYPERCALL", "DISPATCH")]
        own = RecordFlag(0)
        for record in calls:
            own |= record.flags
        if CODES["INVALID_HYPERCALL_CODE"] in statuses or RecordFlag.UNIMPLEMENTED in own:
            return "is an unknown code"
        return "is marked ignored" if RecordFlag.IGNORED in own else ""
    return "" if statuses == {0} else "fails"
