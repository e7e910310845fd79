# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages of a WARN or BUG that say more than it: lists, counters, objects, the interrupt state."""

from __future__ import annotations

from lab.judge.splats.rule import End, Role, Rule, rule
from lab.model.splat import SplatClass

BANNERS: tuple[Rule, ...] = (
    # Messages of WARN and BUG that say more: lib/list_debug.c, lib/refcount.c, lib/debugobjects.c
    rule(
        SplatClass.LIST_CORRUPTION,
        r"(?:slab_\w+ .{0,80}, )?(?P<what>list_(?:add|del) (?:corruption|double add))\b",
        "{what} in {where}",
        End.TRACE,
        role=Role.CAUSE,
        also=(
            "WARNING in {where}",
            "kernel BUG in {where}",
        ),
    ),
    rule(
        SplatClass.REFCOUNT,
        r"refcount_t: (?P<what>[^.!]{1,80})",
        "refcount: {what} in {where}",
        End.TRACE,
        role=Role.CAUSE,
        also=(
            "WARNING: refcount bug in {where}",
            "WARNING in {where}",
        ),
    ),
    rule(
        SplatClass.DEBUG_OBJECTS,
        r"ODEBUG: (?P<what>\w[\w ]{0,30}?)(?: \(active state \d+\))?(?: object: \S+)?"
        r" object type: (?P<type>\w{1,40})",
        "ODEBUG: {what} {type}",
        End.TRACE,
        role=Role.CAUSE,
        also=(
            "WARNING: ODEBUG bug in {where}",
            "WARNING in {where}",
        ),
    ),
    # include/linux/entry-common.h, kernel/locking/irqflag-debug.c, init/main.c
    rule(
        SplatClass.IRQ_STATE,
        r"syscall \d+ left IRQs disabled",
        "syscall left IRQs disabled",
        End.TRACE,
        role=Role.CAUSE,
        also=("WARNING in {where}",),
    ),
    rule(
        SplatClass.IRQ_STATE,
        r"raw_local_irq_restore\(\) called with IRQs enabled",
        "IRQs restored while enabled in {where}",
        End.TRACE,
        role=Role.CAUSE,
        also=("WARNING in {where}",),
    ),
    rule(
        SplatClass.IRQ_STATE,
        r"initcall (?P<what>\w{1,80})\S{0,40} returned with (?:preemption imbalance )?disabled interrupts",
        "initcall {what} left IRQs disabled",
        End.TRACE,
        role=Role.CAUSE,
        also=("WARNING in {where}",),
    ),
)
