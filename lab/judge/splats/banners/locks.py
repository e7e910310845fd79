# SPDX-License-Identifier: GPL-2.0-or-later
"""Banners of lockdep: kernel/locking/lockdep.c."""

from __future__ import annotations

from lab.judge.splats.identity import Identity
from lab.judge.splats.rule import TASK, End, Role, Rule, lockdep, rule
from lab.model.splat import SplatClass

BANNERS: tuple[Rule, ...] = (
    lockdep(
        r"possible circular locking dependency detected",
        "possible circular locking dependency: {locks}",
        2,
        # Which half of the circle is seen last changes from boot to boot.
        Identity.TITLE,
        also=("possible deadlock in {caller}",),
    ),
    lockdep(
        r"possible recursive locking detected",
        "possible recursive locking: {locks}",
        2,
        also=("possible deadlock in {caller}",),
    ),
    lockdep(
        r"possible irq lock inversion dependency detected",
        "possible irq lock inversion: {locks}",
        2,
        also=("possible deadlock in {caller}",),
    ),
    lockdep(
        r"(?P<kind>\w{1,12})-(?:READ-)?safe -> \w{1,12}-(?:READ-)?unsafe lock order detected",
        "{kind}-safe to unsafe lock order: {locks}",
        2,
        Identity.TITLE,
        also=("possible deadlock in {caller}",),
    ),
    lockdep(
        r"inconsistent lock state",
        "inconsistent lock state: {locks}",
        1,
        also=("inconsistent lock state in {caller}",),
    ),
    lockdep(
        r"Invalid wait context",
        "invalid wait context: {locks}",
        1,
        also=(
            "BUG: Invalid wait context in {caller}",
            "invalid wait context in {caller}",
        ),
    ),
    lockdep(
        r"bad unlock balance detected",
        "bad unlock balance: {locks}",
        1,
        also=("bad unlock balance in {caller}",),
    ),
    lockdep(r"bad contention detected", "bad contention: {locks}", 1),
    lockdep(
        r"held lock freed", "held lock freed: {locks}", 1, also=("WARNING: held lock freed in {caller}",)
    ),
    lockdep(
        r"Nested lock was not taken",
        "nested lock was not taken: {locks}",
        1,
        also=("WARNING: Nested lock was not taken in {caller}",),
    ),
    lockdep(r"chain_key collision", "chain key collision", 0),
    lockdep(
        r"suspicious RCU usage", "suspicious RCU usage{place}", 0, also=("suspicious RCU usage in {caller}",)
    ),
    lockdep(
        r"lock held when returning to user space",
        "lock held in user space: {locks}",
        1,
        Identity.TITLE,
        End.LOCKS,
    ),
    lockdep(
        rf"{TASK} still has locks held",
        "locks still held: {locks}",
        1,
        also=("WARNING: locks still held in {caller}",),
    ),
    lockdep(
        r"trying to register non-static key",
        "non-static key",
        0,
        also=("INFO: trying to register non-static key in {caller}",),
    ),
    lockdep(r"(?:key \S{1,20} has not been registered|looking up invalid subclass)", "unregistered lock", 0),
    lockdep(r"(?P<what>MAX_\w{1,40}) too low", "lockdep turned off: {what} too low", 0, Identity.TITLE),
    rule(
        SplatClass.LOCKDEP,
        r"DEBUG_LOCKS_WARN_ON\((?P<what>.{1,100})\)",
        "lockdep: {what}",
        End.TRACE,
        role=Role.CAUSE,
        also=("WARNING in {caller}",),
    ),
)
