# SPDX-License-Identifier: GPL-2.0-or-later
"""Ledger records and SLAT entries as the host sees them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag


class RecordKind(IntEnum):
    """What a ledger record describes."""

    HYPERCALL = 1
    INTERCEPT = 2
    DISPATCH = 3
    EVENT = 4


class RecordFlag(IntFlag):
    """Marks on a ledger record."""

    FAST = 1
    UNIMPLEMENTED = 2
    """The stand-in does not model the call at all; it was refused with HV_STATUS_INVALID_HYPERCALL_CODE."""
    IGNORED = 4
    """The call was accepted but has no effect in the stand-in."""
    INJECTED = 8
    """The status comes from the fault plan, not from the call's own logic."""


@dataclass(frozen=True, slots=True)
class LedgerRecord:
    """One record. ``partition`` and ``vp`` are the caller's; ``words`` the decoded input.

    For MAP_GPA_PAGES ``words`` is (target partition, first GFN, flags, first SPA page number, last
    SPA page number, contiguous); for UNMAP_GPA_PAGES (target partition, first GFN, flags). For an
    intercept ``code`` is the message type and ``words`` (GPA, access, RIP of the child). ``rip`` is
    the caller's instruction pointer, ``ret`` the return address on its stack (0 if unreadable).
    """

    seq: int
    tsc: int
    lp: int
    kind: RecordKind
    flags: RecordFlag
    partition: int
    vp: int
    code: int
    rep_start: int
    rep_count: int
    rep_done: int
    status: int
    rip: int
    ret: int
    words: tuple[int, ...]
    frames: tuple[int, ...] = ()
    """Text addresses further up the caller's stack, innermost first: a guess, not an unwind."""


@dataclass(frozen=True, slots=True)
class LedgerSlice:
    """Records after a position. ``lost`` counts records overwritten before they were read."""

    records: tuple[LedgerRecord, ...]
    lost: int
    end: int


@dataclass(frozen=True, slots=True)
class SlatRun:
    """A run of ``pages`` 4 KiB frames mapped alike: ``gfn + i`` to SPA page ``spa + i``.

    ``access`` is a subset of ``"rwx"``; ``no_access`` marks frames the hypervisor knows but maps
    without access (``spa`` is then 0). ``level`` 1 is a 4 KiB leaf, 2 a 2 MiB leaf. ``uncached``: mapped
    with HV_MAP_GPA_NOT_CACHED. ``overlay``: a page of the hypervisor's own that the child asked for, over
    whatever the VMM mapped there.
    """

    gfn: int
    spa: int
    pages: int
    access: str
    no_access: bool = False
    level: int = 1
    accessed: bool = False
    dirty: bool = False
    uncached: bool = False
    overlay: bool = False


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """One entry of the stand-in's partition table. ``state``: created, active, finalized."""

    id: int
    state: str
    flags: int
    slat_root: int
    pool_free: int
    pool_total: int
    vps: tuple[int, ...]
