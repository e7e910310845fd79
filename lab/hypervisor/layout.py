# SPDX-License-Identifier: GPL-2.0-or-later
"""Layout of the host interface: mirrors ``images/hypervisor/host.h``.

``tests/unit/hypervisor/test_hypervisor_layout.py`` compiles that header and compares every offset
and constant named here, so the two cannot drift apart. All numbers are little endian; addresses
are system physical.
"""

from __future__ import annotations

import struct
from enum import IntEnum

SYMBOL = "host_block"
MAGIC = int.from_bytes(b"HLHVBLK1", "little")
VERSION = 2


class State(IntEnum):
    """``enum host_state``."""

    BOOTING = 0
    RUNNING = 1
    PANICKED = 2
    TRIPWIRE = 3
    OFF = 4


class PartitionState(IntEnum):
    """``enum pt_state`` in hv.h."""

    FREE = 0
    CREATED = 1
    ACTIVE = 2
    FINALIZED = 3


RECORD = struct.Struct("<QQQIHBBIHHHHHHQQ4Q8Q")
"""``struct host_record``: seq, tsc, partition, vp, lp, kind, flags, code, status, words, rep_start,
rep_count, rep_done, frames, rip, ret, frame[4], word[8]."""
RECORD_FRAMES = 4
RECORD_WORDS = 8

PARTITION = struct.Struct("<QQQIIIIQ")
"""``struct host_partition``: id, flags, slat_root, state, pool_free, pool_total, pad, vps."""
PARTITIONS = 16

CALL_ACTIVE = 0
"""In ``struct host_call``, with which each fault and each hold begins."""
ANY_PARTITION = 0
ANY_GFN = (0, 2**64 - 1)

FAULT = struct.Struct("<IIQQQIIIIII")
"""``struct host_fault``: active, code, partition, gfn_first, gfn_last, skip, count, status, complete,
hits, pad."""
FAULTS = 16
FAULT_SKIP = 32
FAULT_COUNT = 36
FAULT_HITS = 48
FAULT_COMPLETE_NONE = 0xFFFFFFFF


class HoldState(IntEnum):
    """``enum hold_state``."""

    ARMED = 0
    HELD = 1
    RELEASED = 2
    EXPIRED = 3


HOLD = struct.Struct("<IIQQQQIIIIIIIIQQQQQQQ")
"""``struct host_hold``: active, code, partition, gfn_first, gfn_last, budget, skip, count, release, state,
generation, expired, lp, interrupts_on, reentries, begun, rip, rsp, control, input, output."""
HOLDS = 16
HOLD_RELEASE = 48
HOLD_STATE = 52
HOLD_LONGEST = 60

BLOCK = {
    "magic": 0,
    "version": 8,
    "size": 12,
    "state": 16,
    "lps": 20,
    "tsc_hz": 24,
    "first": 32,
    "end": 40,
    "shared_first": 48,
    "shared_end": 56,
    "ledger.address": 64,
    "ledger.head": 72,
    "ledger.record_size": 80,
    "ledger.capacity": 84,
    "partition_seq": 88,
    "partitions": 92,
    "partition": 96,
    "control.ledger_on": 864,
    "control.dispatch_on": 868,
    "control.fault": 872,
    "control.hold": 1768,
    "control.park": 3816,
    "control.parked": 3820,
    "exits": 3824,
    "hypercalls": 3888,
    "text_length": 3896,
    "text": 3904,
}
"""Offsets in ``struct host_block``."""
BLOCK_SIZE = 5952
TEXT_SIZE = 2048
LPS = 8
