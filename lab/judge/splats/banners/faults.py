# SPDX-License-Identifier: GPL-2.0-or-later
"""Banners of faults and of the kernel's end: lib/bug.c, arch/x86, kernel/panic.c."""

from __future__ import annotations

from lab.judge.splats.identity import Identity
from lab.judge.splats.rule import AT, DIE, End, Role, Rule, rule
from lab.model.splat import SplatClass

BANNERS: tuple[Rule, ...] = (
    # lib/bug.c, arch/x86/mm/fault.c, arch/x86/kernel/{traps,dumpstack}.c
    rule(
        SplatClass.BUG,
        r"kernel BUG at (?P<file>[^\s:]{1,200})(?::\d+)?!?",
        "kernel BUG at {file} in {where}",
        End.TRACE,
        role=Role.CARRIER,
        also=("kernel BUG in {where}",),
    ),
    rule(
        SplatClass.OOPS,
        r"BUG: (?:kernel NULL pointer dereference|unable to handle kernel NULL pointer)",
        "NULL pointer dereference in {where}",
        End.TRACE,
        role=Role.FAULT,
        also=(
            "BUG: kernel NULL pointer dereference in {where}",
            "BUG: unable to handle kernel NULL pointer dereference in {where}",
        ),
    ),
    rule(
        SplatClass.OOPS,
        r"BUG: unable to handle (?:page fault|kernel paging request)",
        "page fault in {where}",
        End.TRACE,
        role=Role.FAULT,
        also=(
            "BUG: unable to handle kernel paging request in {where}",
            "BUG: unable to handle page fault in {where}",
        ),
    ),
    rule(
        SplatClass.OOPS,
        r"Unable to handle kernel (?P<what>[\w ]{1,60}?) at",
        "{what} in {where}",
        End.TRACE,
        role=Role.FAULT,
    ),
    rule(
        SplatClass.OOPS,
        r"BUG: (?P<what>[\w ]{1,30}?) stack guard page was hit",
        "{what} stack overflow in {where}",
        End.TRACE,
        role=Role.FAULT,
        also=("BUG: stack guard page was hit in {where}",),
    ),
    rule(
        SplatClass.GPF,
        r"(?:Oops: )?general protection fault[^\[]{0,160}\[#\d",
        "general protection fault in {where}",
        End.TRACE,
        role=Role.OOPS,
    ),
    rule(
        SplatClass.OOPS,
        rf"(?:Oops|Internal error): (?P<what>[^\[]{{0,80}}?){DIE}",
        "Oops: {what} in {where}",
        End.TRACE,
        role=Role.OOPS,
    ),
    rule(
        SplatClass.OOPS,
        rf"(?P<what>invalid opcode|divide error|stack segment|int3|alignment check|double fault){DIE}",
        "Oops: {what} in {where}",
        End.TRACE,
        role=Role.OOPS,
    ),
    rule(
        SplatClass.PANIC,
        r"(?:traps: )?PANIC: (?P<what>double fault|early exception|invalid or fatal FRED event)",
        "{what}",
        End.TRACE,
        Identity.TITLE,
        Role.FAULT,
    ),
    # kernel/panic.c
    rule(
        SplatClass.PANIC,
        r"Kernel panic - not syncing: (?P<what>.{1,160})",
        "panic: {what}",
        End.PANIC,
        Identity.TITLE,
        also=("kernel panic: {what}",),
    ),
    rule(
        SplatClass.WARNING,
        r"WARNING: (?:CPU: (?P<cpu>\d{1,5}) PID: (?P<pid>\d{1,9}) )?(?:at )?(?P<file>[^\s:]{1,200}):\d+ "
        rf"(?:at )?{AT}",
        "WARNING in {func} ({file})",
        End.TRACE,
        role=Role.CARRIER,
        also=("WARNING in {func}",),
    ),
    rule(SplatClass.WARNING, rf"WARNING: at {AT}", "WARNING in {func}", End.TRACE, role=Role.CARRIER),
    rule(
        SplatClass.WARNING,
        r"irq (?P<irq>\d{1,6}): nobody cared",
        "irq: nobody cared",
        End.STACK,
        Identity.TITLE,
    ),
)
