# SPDX-License-Identifier: GPL-2.0-or-later
"""Names for the numbers in ledger records, as the TLFS and Linux's include/hyperv headers call them."""

from __future__ import annotations

from enum import IntEnum

HYPERCALLS = {
    0x0002: "FLUSH_VIRTUAL_ADDRESS_SPACE",
    0x0003: "FLUSH_VIRTUAL_ADDRESS_LIST",
    0x0004: "GET_LOGICAL_PROCESSOR_RUN_TIME",
    0x0008: "NOTIFY_LONG_SPIN_WAIT",
    0x000B: "SEND_IPI",
    0x000F: "ENABLE_VP_VTL",
    0x0013: "FLUSH_VIRTUAL_ADDRESS_SPACE_EX",
    0x0014: "FLUSH_VIRTUAL_ADDRESS_LIST_EX",
    0x0015: "SEND_IPI_EX",
    0x0040: "CREATE_PARTITION",
    0x0041: "INITIALIZE_PARTITION",
    0x0042: "FINALIZE_PARTITION",
    0x0043: "DELETE_PARTITION",
    0x0044: "GET_PARTITION_PROPERTY",
    0x0045: "SET_PARTITION_PROPERTY",
    0x0046: "GET_PARTITION_ID",
    0x0048: "DEPOSIT_MEMORY",
    0x0049: "WITHDRAW_MEMORY",
    0x004B: "MAP_GPA_PAGES",
    0x004C: "UNMAP_GPA_PAGES",
    0x004D: "INSTALL_INTERCEPT",
    0x004E: "CREATE_VP",
    0x004F: "DELETE_VP",
    0x0050: "GET_VP_REGISTERS",
    0x0051: "SET_VP_REGISTERS",
    0x0052: "TRANSLATE_VIRTUAL_ADDRESS",
    0x0056: "CLEAR_VIRTUAL_INTERRUPT",
    0x0058: "DELETE_PORT",
    0x005B: "DISCONNECT_PORT",
    0x005C: "POST_MESSAGE",
    0x005D: "SIGNAL_EVENT",
    0x0069: "POST_DEBUG_DATA",
    0x006A: "RETRIEVE_DEBUG_DATA",
    0x006B: "RESET_DEBUG_SESSION",
    0x006C: "MAP_STATS_PAGE",
    0x006D: "UNMAP_STATS_PAGE",
    0x006F: "SET_SYSTEM_PROPERTY",
    0x0076: "ADD_LOGICAL_PROCESSOR",
    0x007B: "GET_SYSTEM_PROPERTY",
    0x007C: "MAP_DEVICE_INTERRUPT",
    0x007D: "UNMAP_DEVICE_INTERRUPT",
    0x007E: "RETARGET_INTERRUPT",
    0x0084: "ENTER_SLEEP_STATE",
    0x0087: "NOTIFY_PARTITION_EVENT",
    0x008B: "NOTIFY_PORT_RING_EMPTY",
    0x0091: "REGISTER_INTERCEPT_RESULT",
    0x0094: "ASSERT_VIRTUAL_INTERRUPT",
    0x0095: "CREATE_PORT",
    0x0096: "CONNECT_PORT",
    0x0099: "START_VP",
    0x009A: "GET_VP_INDEX_FROM_APIC_ID",
    0x00AF: "FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE",
    0x00B0: "FLUSH_GUEST_PHYSICAL_ADDRESS_LIST",
    0x00C0: "SIGNAL_EVENT_DIRECT",
    0x00C1: "POST_MESSAGE_DIRECT",
    0x00C2: "DISPATCH_VP",
    0x00C9: "GET_GPA_PAGES_ACCESS_STATES",
    0x00D7: "ACQUIRE_SPARSE_SPA_PAGE_HOST_ACCESS",
    0x00D8: "RELEASE_SPARSE_SPA_PAGE_HOST_ACCESS",
    0x00DB: "MODIFY_SPARSE_GPA_PAGE_HOST_VISIBILITY",
    0x00E1: "MAP_VP_STATE_PAGE",
    0x00E2: "UNMAP_VP_STATE_PAGE",
    0x00E3: "GET_VP_STATE",
    0x00E4: "SET_VP_STATE",
    0x00F4: "GET_VP_CPUID_VALUES",
    0x0101: "GET_PARTITION_PROPERTY_EX",
    0x0106: "MMIO_READ",
    0x0107: "MMIO_WRITE",
    0x010F: "DISABLE_HYP_EX",
    0x0131: "MAP_STATS_PAGE2",
}
"""Hypercall codes (hvgdk_mini.h, HVCALL_*), also those the stand-in does not model."""

FRAME_CALLS = frozenset({0x4B, 0x4C, 0xC9})
"""Hypercalls that name frames of a partition, so that a fault or a hold can be about some of them."""

STATUSES = {
    0x00: "SUCCESS",
    0x02: "INVALID_HYPERCALL_CODE",
    0x03: "INVALID_HYPERCALL_INPUT",
    0x04: "INVALID_ALIGNMENT",
    0x05: "INVALID_PARAMETER",
    0x06: "ACCESS_DENIED",
    0x07: "INVALID_PARTITION_STATE",
    0x08: "OPERATION_DENIED",
    0x09: "UNKNOWN_PROPERTY",
    0x0A: "PROPERTY_VALUE_OUT_OF_RANGE",
    0x0B: "INSUFFICIENT_MEMORY",
    0x0D: "INVALID_PARTITION_ID",
    0x0E: "INVALID_VP_INDEX",
    0x10: "NOT_FOUND",
    0x11: "INVALID_PORT_ID",
    0x12: "INVALID_CONNECTION_ID",
    0x13: "INSUFFICIENT_BUFFERS",
    0x14: "NOT_ACKNOWLEDGED",
    0x15: "INVALID_VP_STATE",
    0x18: "INVALID_SYNIC_STATE",
    0x1D: "NO_RESOURCES",
    0x20: "PROCESSOR_FEATURE_NOT_SUPPORTED",
    0x41: "INVALID_LP_INDEX",
    0x50: "INVALID_REGISTER_VALUE",
    0x71: "OPERATION_FAILED",
    0x73: "INSUFFICIENT_ROOT_MEMORY",
    0x75: "INSUFFICIENT_CONTIGUOUS_MEMORY",
    0x78: "TIME_OUT",
    0x79: "CALL_PENDING",
    0x83: "INSUFFICIENT_CONTIGUOUS_ROOT_MEMORY",
    0x86: "VTL_ALREADY_ENABLED",
}
"""Status codes (hvgdk_mini.h, HV_STATUS_*)."""

MESSAGES = {
    0x80000000: "UNMAPPED_GPA",
    0x80000001: "GPA_INTERCEPT",
    0x80000010: "TIMER_EXPIRED",
    0x80000020: "INVALID_VP_REGISTER_VALUE",
    0x80000021: "UNRECOVERABLE_EXCEPTION",
    0x8000003F: "OPAQUE_INTERCEPT",
    0x80000061: "SYNIC_SINT_INTERCEPT",
    0x80000050: "HYPERCALL_INTERCEPT",
    0x80000100: "SCHEDULER_VP_SIGNAL_BITSET",
    0x80000101: "SCHEDULER_VP_SIGNAL_PAIR",
    0x80010000: "X64_IO_PORT_INTERCEPT",
    0x80010001: "X64_MSR_INTERCEPT",
    0x80010002: "X64_CPUID_INTERCEPT",
    0x80010003: "X64_EXCEPTION_INTERCEPT",
    0x80010004: "X64_APIC_EOI",
    0x80010007: "X64_HALT",
    0x80010008: "X64_INTERRUPTION_DELIVERABLE",
    0x80010009: "X64_SIPI_INTERCEPT",
}
"""Message types (hvgdk_mini.h, HVMSG_*)."""


class Event(IntEnum):
    """Codes of event records: ``enum event_code`` in images/hypervisor/host.h."""

    MSR_READ = 1
    MSR_WRITE = 2
    REGISTER_GET = 3
    REGISTER_SET = 4
    PROPERTY_GET = 5
    PROPERTY_SET = 6
    SYSTEM_PROPERTY = 7
    ROOT_FAULT = 8
    MESSAGE_DROPPED = 9
    ROOT_CRASH = 10
    MARK = 11
    POWER_OFF = 12
    STATE_TYPE = 13
    INTERCEPT_TYPE = 14
    DOORBELL = 15
    PAGE_VECTORS = 16
    HOLD_BEGIN = 17
    HOLD_END = 18
    CHILD_MSR = 32
    CHILD_CRASH = 33
    CHILD_INTERRUPT = 34


MAP_FLAGS = {
    0x1: "R",
    0x2: "W",
    0x4: "KX",
    0x8: "UX",
    0x8000: "ADJUSTABLE",
    0x10000: "NO_ACCESS",
    0x200000: "NOT_CACHED",
    0x80000000: "LARGE",
}
"""Flags of MAP_GPA_PAGES (hvhdk_mini.h, HV_MAP_GPA_*)."""

ACCESSES = {0: "read", 1: "write", 2: "execute"}
"""Access of an intercept (hvgdk_mini.h, HV_INTERCEPT_ACCESS_*)."""

HYPERCALL_WORDS: dict[int, tuple[str, ...]] = {
    0x0004: ("lp",),
    0x0040: ("flags", "compatibility", "isolation", "new"),
    0x0041: ("partition",),
    0x0042: ("partition",),
    0x0043: ("partition", "held"),
    0x0044: ("partition", "property"),
    0x0045: ("partition", "property", "value"),
    0x0048: ("partition", "spa", "spa_last"),
    0x0049: ("partition", "proximity"),
    0x004B: ("partition", "gfn", "flags", "spa", "spa_last", "contiguous"),
    0x004C: ("partition", "gfn", "flags"),
    0x004D: ("partition", "type", "access", "parameter"),
    0x004E: ("partition", "vp"),
    0x004F: ("partition", "vp"),
    0x0050: ("partition", "vp", "first", "last"),
    0x0051: ("partition", "vp", "first", "last", "value", "value_high"),
    0x0058: ("partition", "port"),
    0x005B: ("partition", "connection"),
    0x006C: ("type", "object", "index_area"),
    0x006D: ("type", "object", "index_area"),
    0x006F: ("property",),
    0x0076: ("lp_apic",),
    0x007B: ("property",),
    0x007C: ("partition", "device", "vector", "trigger", "flags", "vp"),
    0x007D: ("partition", "device", "source", "entry"),
    0x0084: ("state",),
    0x0087: ("event",),
    0x0095: ("partition", "port", "from", "type", "sint", "vp"),
    0x0096: ("partition", "connection", "to", "port", "type", "gpa", "value", "flags"),
    0x0091: ("partition", "vp", "type", "leaf_msr", "subleaf_access"),
    0x00C0: ("partition", "vp", "sint", "flag"),
    0x00C1: ("partition", "vp", "sint", "type"),
    0x00C2: ("partition", "vp", "flags", "state", "event"),
    0x00C9: ("partition", "gfn", "flags"),
    0x00D7: ("partition", "access", "flags", "spa", "spa_last"),
    0x00D8: ("partition", "access", "flags", "spa", "spa_last"),
    0x00E1: ("partition", "vp", "type"),
    0x00E2: ("partition", "vp", "type"),
    0x0101: ("partition", "property"),
}
"""What the words of a hypercall record are; the rest are the raw words of the call's input."""

EVENT_WORDS: dict[int, tuple[str, ...]] = {
    Event.MSR_READ: ("msr",),
    Event.MSR_WRITE: ("msr", "value"),
    Event.REGISTER_GET: ("register", "partition", "vp"),
    Event.REGISTER_SET: ("register", "partition", "vp", "value"),
    Event.PROPERTY_GET: ("property", "partition"),
    Event.PROPERTY_SET: ("property", "partition", "value"),
    Event.SYSTEM_PROPERTY: ("property",),
    Event.ROOT_FAULT: ("gpa", "error"),
    Event.MESSAGE_DROPPED: ("message", "sint"),
    Event.ROOT_CRASH: ("control", "p0", "p1", "p2", "p3", "p4"),
    Event.MARK: ("mark",),
    Event.POWER_OFF: ("slp_typ",),
    Event.STATE_TYPE: ("type", "partition", "vp"),
    Event.INTERCEPT_TYPE: ("type", "access", "parameter"),
    Event.DOORBELL: ("partition", "vp", "gpa", "size", "value", "port"),
    Event.PAGE_VECTORS: ("partition", "vp", "vectors"),
    Event.HOLD_BEGIN: ("call", "partition", "slot", "generation", "interrupts_on"),
    Event.HOLD_END: ("call", "slot", "generation", "reentries", "ticks", "expired"),
    Event.CHILD_INTERRUPT: ("mode", "partition", "vp", "vector"),
    Event.CHILD_CRASH: ("control", "partition", "p0", "p1", "p2", "p3", "p4"),
    Event.CHILD_MSR: ("msr", "partition", "vp", "write", "value", "ignored"),
}
"""What the words of an event record are."""

INTERCEPT_WORDS = ("gpa", "access", "rip")
"""What the words of an intercept record are; for port, MSR and CPUID messages the first is that number."""

HYPERCALL_WRAPPERS = frozenset(
    {
        "hv_std_hypercall",
        "hv_do_hypercall",
        "hv_do_rep_hypercall",
        "hv_do_rep_hypercall_ex",
        "_hv_do_fast_hypercall8",
        "_hv_do_fast_hypercall16",
        "hv_do_fast_hypercall8",
        "hv_do_fast_hypercall16",
        "__SCT____hv_hypercall",
    }
)
"""Kernel functions that every hypercall goes through: not the caller one wants to know."""


def hypercall(code: int) -> str:
    """``MAP_GPA_PAGES``, or the number of a code without a name."""
    return HYPERCALLS.get(code, f"hypercall {code:#06x}")


def hypercall_code(name: str) -> int | None:
    """The code of ``MAP_GPA_PAGES`` or ``HVCALL_MAP_GPA_PAGES``, None of what is no name."""
    short = name.removeprefix("HVCALL_")
    return next((code for code, known in HYPERCALLS.items() if known == short), None)


def status(code: int) -> str:
    """``INSUFFICIENT_MEMORY``, or the number."""
    return STATUSES.get(code, f"status {code:#x}")


def message(code: int) -> str:
    """``UNMAPPED_GPA``, or the number."""
    return MESSAGES.get(code, f"message {code:#x}")


def event(code: int) -> str:
    """``MSR_READ``, or the number."""
    return Event(code).name if code in Event.__members__.values() else f"event {code}"


def map_flags(flags: int) -> str:
    """``R|W|NOT_CACHED``; unknown bits as a number, ``0`` for none."""
    names = [name for bit, name in MAP_FLAGS.items() if flags & bit]
    rest = flags & ~sum(MAP_FLAGS)
    return "|".join([*names, *([f"{rest:#x}"] if rest else [])]) or "0"
