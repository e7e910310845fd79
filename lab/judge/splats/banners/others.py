# SPDX-License-Identifier: GPL-2.0-or-later
"""Banners of leaks, of everything else that calls itself a BUG, and of the stand-in."""

from __future__ import annotations

from lab.judge.splats.identity import Identity
from lab.judge.splats.rule import TASK, End, Rule, rule
from lab.model.splat import SplatClass

BANNERS: tuple[Rule, ...] = (
    # mm/kmemleak.c: the summary in the log, and objects from debugfs or kmemleak=verbose
    rule(
        SplatClass.KMEMLEAK,
        r"kmemleak: \d{1,9} new suspected memory leaks?",
        "new suspected memory leaks",
        End.LINE,
        Identity.TITLE,
    ),
    rule(
        SplatClass.KMEMLEAK,
        r"(?:kmemleak: )?unreferenced object\b.{0,40} 0x",
        "memory leak in {where}",
        End.STACK,
    ),
    # Everything else that calls itself a BUG. mm/slub.c names the cache between BUG and the colon.
    rule(
        SplatClass.BUG,
        r"BUG (?P<cache>[\w.:-]{1,60}) \([^)]{1,60}\): (?P<what>.{1,80})",
        "slab {cache}: {what}",
        End.STACK,
        also=("BUG: {what} in {where}",),
    ),
    rule(
        SplatClass.BUG,
        rf"BUG: using (?P<what>\w{{1,60}})\(\) in preemptible \[\w+\] code: {TASK}",
        "{what}() in preemptible code",
        End.STACK,
        also=("BUG: using {what}() in preemptible code in {where}",),
    ),
    rule(
        SplatClass.BUG,
        rf"BUG: (?P<what>(?:spinlock|rwlock) [\w ]{{1,40}}?) on CPU#(?P<cpu>\d{{1,5}}), {TASK}",
        "{what}",
        End.STACK,
    ),
    rule(
        SplatClass.BUG,
        r"BUG: Bad page (?P<what>\w{1,12}) in process",
        "bad page {what}",
        End.STACK,
        also=("BUG: Bad page {what} in {where}",),
    ),
    rule(SplatClass.BUG, r"BUG: (?P<what>\w.{0,80})", "{what}", End.STACK),
    # The stand-in hypervisor's own last words.
    rule(
        SplatClass.HYPERVISOR,
        r"HV PANIC: (?:lp \d+: )?(?P<what>.{1,120})",
        "hypervisor panic: {what}",
        End.LINE,
        Identity.TITLE,
    ),
)
