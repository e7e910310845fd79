# SPDX-License-Identifier: GPL-2.0-or-later
"""Banners of what sleeps where it must not, or gets no further: kernel/sched, kernel/rcu, watchdogs."""

from __future__ import annotations

from lab.judge.splats.identity import Identity
from lab.judge.splats.rule import TASK, End, Rule, rule
from lab.model.splat import SplatClass

BANNERS: tuple[Rule, ...] = (
    # kernel/sched/core.c, kernel/workqueue.c
    rule(
        SplatClass.ATOMIC_SLEEP,
        r"BUG: sleeping function called from invalid context at (?P<file>[^\s:]{1,200}):",
        "sleeping function called from invalid context in {where}",
        End.STACK,
        also=("BUG: sleeping function called from invalid context in {where}",),
    ),
    rule(
        SplatClass.ATOMIC_SLEEP,
        rf"BUG: scheduling while atomic: {TASK}/0x",
        "scheduling while atomic",
        End.STACK,
        also=("BUG: scheduling while atomic in {where}",),
    ),
    rule(
        SplatClass.ATOMIC_SLEEP,
        r"BUG: (?P<what>scheduling in a non-blocking section|assuming (?:atomic|non migratable) context)",
        "{what}",
        End.STACK,
    ),
    rule(
        SplatClass.ATOMIC_SLEEP,
        r"BUG: workqueue leaked (?:atomic|lock)\S* ",
        "workqueue leaked atomic, lock or RCU",
        End.STACK,
    ),
    # kernel/rcu, kernel/hung_task.c, kernel/watchdog.c
    rule(
        SplatClass.RCU_STALL,
        r"(?:rcu: )?INFO: (?P<what>rcu\w{0,40}) (?:self-)?detected (?:expedited )?stalls?",
        "{what} stall",
        End.STACK,
        Identity.OUTER,
        also=("INFO: rcu detected stall in {where}",),
    ),
    rule(
        SplatClass.HUNG_TASK,
        r"INFO: task (?P<task>.{1,32}):(?P<pid>\d{1,9}) (?:<\w+> )?blocked.{0,40} for more than \d+ seconds",
        "task {task} blocked in {where}",
        End.STACK,
        also=("INFO: task hung in {where}",),
    ),
    rule(
        SplatClass.SOFT_LOCKUP,
        r"(?:watchdog: )?BUG: soft lockup - CPU#(?P<cpu>\d{1,5}) stuck for \d+s! "
        r"\[(?P<task>.{1,32}):(?P<pid>\d{1,9})\]",
        "soft lockup in {task}",
        End.STACK,
        Identity.OUTER,
        also=("BUG: soft lockup in {where}",),
    ),
    rule(SplatClass.SOFT_LOCKUP, r"BUG: workqueue lockup", "workqueue lockup", End.STACK, Identity.TITLE),
    rule(
        SplatClass.HARD_LOCKUP,
        r"(?:(?:NMI )?watchdog: )?(?:CPU\d{1,5}: )?Watchdog detected hard LOCKUP on cpu (?P<cpu>\d{1,5})",
        "hard lockup",
        End.STACK,
        Identity.OUTER,
        also=("BUG: hard lockup in {where}",),
    ),
)
