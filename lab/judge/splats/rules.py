# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of banners: which first line makes which splat, and how its report ends.

Every row has a log in tests/golden/splats. Rows are tried in order; the first that matches wins, so
the special stands before the general. Patterns are anchored at the start of the message: the word
WARNING inside other text is not a warning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from lab.judge.splats.frames import SYMBOL, base_name
from lab.judge.splats.identity import Identity
from lab.model.splat import SplatClass


class End(Enum):
    """What ends a report."""

    TRACE = "---[ end trace"
    RULER = "a line of equals signs"
    STACK = "the end of the stack"
    LOCKS = "the end of the list of held locks"
    LINE = "the banner itself"
    PANIC = "---[ end Kernel panic"


class Role(Enum):
    """How a banner goes together with another of the same report."""

    ALONE = "begins a report"
    CAUSE = "the message of a WARN or BUG that says more than it: takes over class and title"
    CARRIER = "WARNING or kernel BUG: carries the message of a CAUSE"
    FAULT = "says why; the Oops line that follows belongs to it"
    OOPS = "the Oops line"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. ``title`` may use the pattern's groups, ``{where}`` (function) and ``{locks}``.

    Groups ``task``, ``pid`` and ``cpu`` are taken over. ``locks`` is how many lock lines of the report
    are named in the title.
    """

    cls: SplatClass
    pattern: re.Pattern[str]
    title: str
    end: End
    identity: Identity = Identity.INNER
    role: Role = Role.ALONE
    locks: int = 0


_C = SplatClass
_AT = rf"(?P<func>{SYMBOL})(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?"
_KIND = r"(?:\[ )?(?:WARNING|INFO|BUG): "
"""Lockdep banners changed their first word and lost their brackets over the years."""
_TASK = r"(?P<task>.{1,32})/(?P<pid>\d{1,9})"
_DIE = r"(?:: [0-9a-f]{4} \[#\d+\]| \[#\d+\])"


def _lockdep(
    text: str, title: str, locks: int, identity: Identity = Identity.INNER, end: End = End.STACK
) -> Rule:
    return Rule(_C.LOCKDEP, re.compile(_KIND + text), title, end, identity, locks=locks)


def _rule(
    cls: SplatClass,
    pattern: str,
    title: str,
    end: End,
    identity: Identity = Identity.INNER,
    role: Role = Role.ALONE,
) -> Rule:
    return Rule(cls, re.compile(pattern), title, end, identity, role)


RULES: tuple[Rule, ...] = (
    # mm/kasan/report.c, kernel/kcsan/report.c, mm/kmsan/report.c, mm/kfence/report.c, lib/ubsan.c
    _rule(_C.KASAN, rf"BUG: KASAN: (?P<what>[\w -]{{1,60}}?) in {_AT}", "KASAN: {what} in {func}", End.RULER),
    _rule(_C.KASAN, r"BUG: KASAN: (?P<what>.{1,120})", "KASAN: {what}", End.RULER),
    _rule(
        _C.KCSAN,
        rf"BUG: KCSAN: (?P<what>[\w: -]{{1,60}}?) in {_AT} / (?P<other>{SYMBOL})",
        "KCSAN: {what} in {func} / {other}",
        End.RULER,
        Identity.TITLE,
    ),
    _rule(
        _C.KCSAN, rf"BUG: KCSAN: (?P<what>[\w: -]{{1,60}}?) in {_AT}", "KCSAN: {what} in {func}", End.RULER
    ),
    _rule(_C.KMSAN, rf"BUG: KMSAN: (?P<what>[\w -]{{1,60}}?) in {_AT}", "KMSAN: {what} in {func}", End.RULER),
    _rule(
        _C.KFENCE, rf"BUG: KFENCE: (?P<what>[\w -]{{1,60}}?) in {_AT}", "KFENCE: {what} in {func}", End.RULER
    ),
    _rule(
        _C.UBSAN,
        r"UBSAN: (?P<what>[\w-]{1,60}) in (?P<file>[^\s:]{1,200}):\d",
        "UBSAN: {what} in {file}",
        End.TRACE,
    ),
    # kernel/locking/lockdep.c
    _lockdep(
        r"possible circular locking dependency detected",
        "possible circular locking dependency: {locks}",
        2,
        # Which half of the circle is seen last changes from boot to boot.
        Identity.TITLE,
    ),
    _lockdep(r"possible recursive locking detected", "possible recursive locking: {locks}", 2),
    _lockdep(r"possible irq lock inversion dependency detected", "possible irq lock inversion: {locks}", 2),
    _lockdep(
        r"(?P<kind>\w{1,12})-(?:READ-)?safe -> \w{1,12}-(?:READ-)?unsafe lock order detected",
        "{kind}-safe to unsafe lock order: {locks}",
        2,
        Identity.TITLE,
    ),
    _lockdep(r"inconsistent lock state", "inconsistent lock state: {locks}", 1),
    _lockdep(r"Invalid wait context", "invalid wait context: {locks}", 1),
    _lockdep(r"bad unlock balance detected", "bad unlock balance: {locks}", 1),
    _lockdep(r"bad contention detected", "bad contention: {locks}", 1),
    _lockdep(r"held lock freed", "held lock freed: {locks}", 1),
    _lockdep(r"Nested lock was not taken", "nested lock was not taken: {locks}", 1),
    _lockdep(r"chain_key collision", "chain key collision", 0),
    _lockdep(r"suspicious RCU usage", "suspicious RCU usage{place}", 0),
    _lockdep(
        r"lock held when returning to user space",
        "lock held in user space: {locks}",
        1,
        Identity.TITLE,
        End.LOCKS,
    ),
    _lockdep(rf"{_TASK} still has locks held", "locks still held: {locks}", 1),
    _lockdep(r"trying to register non-static key", "non-static key", 0),
    _lockdep(r"(?:key \S{1,20} has not been registered|looking up invalid subclass)", "unregistered lock", 0),
    _lockdep(r"(?P<what>MAX_\w{1,40}) too low", "lockdep turned off: {what} too low", 0, Identity.TITLE),
    _rule(
        _C.LOCKDEP,
        r"DEBUG_LOCKS_WARN_ON\((?P<what>.{1,100})\)",
        "lockdep: {what}",
        End.TRACE,
        role=Role.CAUSE,
    ),
    # kernel/sched/core.c, kernel/workqueue.c
    _rule(
        _C.ATOMIC_SLEEP,
        r"BUG: sleeping function called from invalid context at (?P<file>[^\s:]{1,200}):",
        "sleeping function called from invalid context in {where}",
        End.STACK,
    ),
    _rule(
        _C.ATOMIC_SLEEP,
        rf"BUG: scheduling while atomic: {_TASK}/0x",
        "scheduling while atomic",
        End.STACK,
    ),
    _rule(
        _C.ATOMIC_SLEEP,
        r"BUG: (?P<what>scheduling in a non-blocking section|assuming (?:atomic|non migratable) context)",
        "{what}",
        End.STACK,
    ),
    _rule(
        _C.ATOMIC_SLEEP,
        r"BUG: workqueue leaked (?:atomic|lock)\S* ",
        "workqueue leaked atomic, lock or RCU",
        End.STACK,
    ),
    # kernel/rcu, kernel/hung_task.c, kernel/watchdog.c
    _rule(
        _C.RCU_STALL,
        r"(?:rcu: )?INFO: (?P<what>rcu\w{0,40}) (?:self-)?detected (?:expedited )?stalls?",
        "{what} stall",
        End.STACK,
        Identity.OUTER,
    ),
    _rule(
        _C.HUNG_TASK,
        r"INFO: task (?P<task>.{1,32}):(?P<pid>\d{1,9}) (?:<\w+> )?blocked.{0,40} for more than \d+ seconds",
        "task {task} blocked in {where}",
        End.STACK,
    ),
    _rule(
        _C.SOFT_LOCKUP,
        r"(?:watchdog: )?BUG: soft lockup - CPU#(?P<cpu>\d{1,5}) stuck for \d+s! "
        r"\[(?P<task>.{1,32}):(?P<pid>\d{1,9})\]",
        "soft lockup in {task}",
        End.STACK,
        Identity.OUTER,
    ),
    _rule(_C.SOFT_LOCKUP, r"BUG: workqueue lockup", "workqueue lockup", End.STACK, Identity.TITLE),
    _rule(
        _C.HARD_LOCKUP,
        r"(?:(?:NMI )?watchdog: )?(?:CPU\d{1,5}: )?Watchdog detected hard LOCKUP on cpu (?P<cpu>\d{1,5})",
        "hard lockup",
        End.STACK,
        Identity.OUTER,
    ),
    # Messages of WARN and BUG that say more: lib/list_debug.c, lib/refcount.c, lib/debugobjects.c
    _rule(
        _C.LIST_CORRUPTION,
        r"(?:slab_\w+ .{0,80}, )?(?P<what>list_(?:add|del) (?:corruption|double add))\b",
        "{what} in {where}",
        End.TRACE,
        role=Role.CAUSE,
    ),
    _rule(
        _C.REFCOUNT,
        r"refcount_t: (?P<what>[^.!]{1,80})",
        "refcount: {what} in {where}",
        End.TRACE,
        role=Role.CAUSE,
    ),
    _rule(
        _C.DEBUG_OBJECTS,
        r"ODEBUG: (?P<what>\w[\w ]{0,30}?)(?: \(active state \d+\))?(?: object: \S+)?"
        r" object type: (?P<type>\w{1,40})",
        "ODEBUG: {what} {type}",
        End.TRACE,
        role=Role.CAUSE,
    ),
    # include/linux/entry-common.h, kernel/locking/irqflag-debug.c, init/main.c
    _rule(
        _C.IRQ_STATE,
        r"syscall \d+ left IRQs disabled",
        "syscall left IRQs disabled",
        End.TRACE,
        role=Role.CAUSE,
    ),
    _rule(
        _C.IRQ_STATE,
        r"raw_local_irq_restore\(\) called with IRQs enabled",
        "IRQs restored while enabled in {where}",
        End.TRACE,
        role=Role.CAUSE,
    ),
    _rule(
        _C.IRQ_STATE,
        r"initcall (?P<what>\w{1,80})\S{0,40} returned with (?:preemption imbalance )?disabled interrupts",
        "initcall {what} left IRQs disabled",
        End.TRACE,
        role=Role.CAUSE,
    ),
    # lib/bug.c, arch/x86/mm/fault.c, arch/x86/kernel/{traps,dumpstack}.c
    _rule(
        _C.BUG,
        r"kernel BUG at (?P<file>[^\s:]{1,200})(?::\d+)?!?",
        "kernel BUG at {file} in {where}",
        End.TRACE,
        role=Role.CARRIER,
    ),
    _rule(
        _C.OOPS,
        r"BUG: (?:kernel NULL pointer dereference|unable to handle kernel NULL pointer)",
        "NULL pointer dereference in {where}",
        End.TRACE,
        role=Role.FAULT,
    ),
    _rule(
        _C.OOPS,
        r"BUG: unable to handle (?:page fault|kernel paging request)",
        "page fault in {where}",
        End.TRACE,
        role=Role.FAULT,
    ),
    _rule(
        _C.OOPS,
        r"Unable to handle kernel (?P<what>[\w ]{1,60}?) at",
        "{what} in {where}",
        End.TRACE,
        role=Role.FAULT,
    ),
    _rule(
        _C.OOPS,
        r"BUG: (?P<what>[\w ]{1,30}?) stack guard page was hit",
        "{what} stack overflow in {where}",
        End.TRACE,
        role=Role.FAULT,
    ),
    _rule(
        _C.GPF,
        r"(?:Oops: )?general protection fault[^\[]{0,160}\[#\d",
        "general protection fault in {where}",
        End.TRACE,
        role=Role.OOPS,
    ),
    _rule(
        _C.OOPS,
        rf"(?:Oops|Internal error): (?P<what>[^\[]{{0,80}}?){_DIE}",
        "Oops: {what} in {where}",
        End.TRACE,
        role=Role.OOPS,
    ),
    _rule(
        _C.OOPS,
        rf"(?P<what>invalid opcode|divide error|stack segment|int3|alignment check|double fault){_DIE}",
        "Oops: {what} in {where}",
        End.TRACE,
        role=Role.OOPS,
    ),
    _rule(
        _C.PANIC,
        r"(?:traps: )?PANIC: (?P<what>double fault|early exception|invalid or fatal FRED event)",
        "{what}",
        End.TRACE,
        Identity.TITLE,
        Role.FAULT,
    ),
    # kernel/panic.c
    _rule(
        _C.PANIC,
        r"Kernel panic - not syncing: (?P<what>.{1,160})",
        "panic: {what}",
        End.PANIC,
        Identity.TITLE,
    ),
    _rule(
        _C.WARNING,
        r"WARNING: (?:CPU: (?P<cpu>\d{1,5}) PID: (?P<pid>\d{1,9}) )?(?:at )?(?P<file>[^\s:]{1,200}):\d+ "
        rf"(?:at )?{_AT}",
        "WARNING in {func} ({file})",
        End.TRACE,
        role=Role.CARRIER,
    ),
    _rule(_C.WARNING, rf"WARNING: at {_AT}", "WARNING in {func}", End.TRACE, role=Role.CARRIER),
    _rule(_C.WARNING, r"irq (?P<irq>\d{1,6}): nobody cared", "irq: nobody cared", End.STACK, Identity.TITLE),
    # mm/kmemleak.c: the summary in the log, and objects from debugfs or kmemleak=verbose
    _rule(
        _C.KMEMLEAK,
        r"kmemleak: \d{1,9} new suspected memory leaks?",
        "new suspected memory leaks",
        End.LINE,
        Identity.TITLE,
    ),
    _rule(
        _C.KMEMLEAK, r"(?:kmemleak: )?unreferenced object\b.{0,40} 0x", "memory leak in {where}", End.STACK
    ),
    # Everything else that calls itself a BUG. mm/slub.c names the cache between BUG and the colon.
    _rule(
        _C.BUG,
        r"BUG (?P<cache>[\w.:-]{1,60}) \([^)]{1,60}\): (?P<what>.{1,80})",
        "slab {cache}: {what}",
        End.STACK,
    ),
    _rule(
        _C.BUG,
        rf"BUG: using (?P<what>\w{{1,60}})\(\) in preemptible \[\w+\] code: {_TASK}",
        "{what}() in preemptible code",
        End.STACK,
    ),
    _rule(
        _C.BUG,
        rf"BUG: (?P<what>(?:spinlock|rwlock) [\w ]{{1,40}}?) on CPU#(?P<cpu>\d{{1,5}}), {_TASK}",
        "{what}",
        End.STACK,
    ),
    _rule(_C.BUG, r"BUG: Bad page (?P<what>\w{1,12}) in process", "bad page {what}", End.STACK),
    _rule(_C.BUG, r"BUG: (?P<what>\w.{0,80})", "{what}", End.STACK),
    # The stand-in hypervisor's own last words.
    _rule(
        _C.HYPERVISOR,
        r"HV PANIC: (?:lp \d+: )?(?P<what>.{1,120})",
        "hypervisor panic: {what}",
        End.LINE,
        Identity.TITLE,
    ),
)

_TRIGGER = re.compile(
    r"BUG|WARNING|INFO: |Oops|PANIC|panic - |KASAN|UBSAN|LOCKUP|general protection|Internal error"
    r"|Unable to handle|list_|refcount_t: |ODEBUG: |IRQs |disabled interrupts|nobody cared|suspected"
    r"|unreferenced|WARN_ON\(|\[#"
)
"""Every banner contains one of these; other lines cost one search."""


def find(text: str) -> tuple[Rule, re.Match[str]] | None:
    """The rule whose banner ``text`` is."""
    if not _TRIGGER.search(text):
        return None
    for rule in RULES:
        m = rule.pattern.match(text)
        if m:
            return rule, m
    return None


def title_of(rule: Rule, groups: dict[str, str], where: str, locks: tuple[str, ...], place: str) -> str:
    """``rule``'s title filled in; parts that the report did not tell are left out."""
    template = rule.title
    if not where:
        template = template.replace(" in {where}", "")
    if not locks:
        template = template.replace(": {locks}", "")
    values = {name: value.strip() for name, value in groups.items() if value}
    if "func" in values:
        values["func"] = base_name(values["func"])
    values.setdefault("file", "?")
    values.update(where=where, locks=" / ".join(locks), place=f": {place}" if place else "")
    return template.format_map(values)
