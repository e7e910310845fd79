# SPDX-License-Identifier: GPL-2.0-or-later
"""What a child sees of Hyper-V: leaves, SynIC, timers, overlays, hypercalls."""

from __future__ import annotations

import pytest

from .conftest import (
    ALL,
    CLUSTER,
    DIRECT,
    DONE,
    EOM,
    FAULT,
    FEATURES,
    GFN,
    HINTS,
    HV1,
    HYPERCALL,
    HYPERCALL_PAGE,
    MESSAGE,
    OS_ID,
    PRESENT,
    REF_COUNT,
    REF_TSC,
    RESUME,
    SCONTROL,
    SIEFP,
    SIMP,
    SINT2,
    ST_ALIGN,
    ST_BUFFERS,
    ST_CODE,
    ST_CONNECTION,
    ST_DENIED,
    ST_INPUT,
    ST_PARAMETER,
    STIMER,
    STIMER_CONFIG,
    STIMER_COUNT,
    SYNIC,
    TSC,
    UNKNOWN,
    VENDOR,
    Machine,
    Make,
)

# ---- Hyper-V


def synic(m: Machine, *, sint: int = 0x67) -> None:
    """SynIC on, SINT 2 on that vector, message and event pages on."""
    for msr, value in (
        (SIMP, GFN << 12 | 1),
        (SIEFP, (GFN + 1) << 12 | 1),
        (SINT2, sint),
        (SCONTROL, 1),
    ):
        m.do("wrmsr", 0, msr, value)


def test_leaves_follow_the_features(machine: Make) -> None:
    m = machine(features=ALL)
    vendor = m.last("cpuid", 0, VENDOR, 0).split()
    text = b"".join(int(w, 16).to_bytes(4, "little") for w in vendor[1:])
    assert (vendor[0], text) == ("40000006", b"Microsoft Hv")
    assert int(m.last("cpuid", 0, 1, 0).split()[2], 16) >> 31 == 1
    few = machine(features=PRESENT | HV1 | SYNIC)
    assert few.last("cpuid", 0, FEATURES, 0).split()[0] == f"{1 << 2:x}"
    assert int(few.last("cpuid", 0, HINTS, 0).split()[0], 16) & (1 << 2 | 1 << 10) == 0, (
        "no flush, no IPI call"
    )


def test_without_the_features_there_is_no_hypervisor(machine: Make) -> None:
    m = machine()
    assert m.last("cpuid", 0, VENDOR, 0) == "0 0 0 0"
    assert int(m.last("cpuid", 0, 1, 0).split()[2], 16) >> 31 == 0
    assert m.last("rdmsr", 0, OS_ID).split()[0] == UNKNOWN
    hidden = machine(features=PRESENT)
    assert hidden.last("cpuid", 0, VENDOR, 0) == "0 0 0 0"
    assert int(hidden.last("cpuid", 0, 1, 0).split()[2], 16) >> 31 == 1


@pytest.mark.parametrize(
    ("feature", "msr"), [(SYNIC, SCONTROL), (STIMER, STIMER_CONFIG), (HYPERCALL, OS_ID), (TSC, REF_TSC)]
)
def test_each_synthetic_msr_needs_its_feature(machine: Make, feature: int, msr: int) -> None:
    assert machine(features=ALL).last("rdmsr", 0, msr).split()[0] == DONE
    assert machine(features=ALL & ~feature).last("rdmsr", 0, msr).split()[0] == FAULT


@pytest.mark.parametrize("msr", [0x40000002, REF_COUNT, 0x40000022, 0x40000081])
def test_read_only_synthetic_msrs_cannot_be_written(machine: Make, msr: int) -> None:
    assert machine(features=ALL).last("wrmsr", 0, msr, 1) == FAULT


def test_hypercall_page_appears_once_the_guest_said_who_it_is(machine: Make) -> None:
    m = machine(features=ALL)
    m.do("map", GFN, 5, 3)
    m.do("wrmsr", 0, HYPERCALL_PAGE, GFN << 12 | 1)
    assert m.last("slat", GFN) == "5 3"
    m.do("wrmsr", 0, OS_ID, 0x1234)
    m.do("wrmsr", 0, HYPERCALL_PAGE, GFN << 12 | 1)
    assert m.last("slat", GFN) == "hypercall 5", "read and execute"
    m.do("wrmsr", 0, OS_ID, 0)
    assert m.last("slat", GFN) == "5 3", "what was there comes back"


def test_an_overlay_hides_what_the_vmm_maps_meanwhile(machine: Make) -> None:
    m = machine(features=ALL)
    m.do("wrmsr", 0, REF_TSC, GFN << 12 | 1)
    assert m.last("slat", GFN) == "tsc 5"
    m.do("remap", GFN, 9, 7)
    assert m.last("slat", GFN) == "tsc 5"
    m.do("wrmsr", 0, SIMP, GFN << 12 | 1)
    assert m.last("slat", GFN) == "tsc 5", "of two overlays the partition's is seen"
    m.do("wrmsr", 0, REF_TSC, 0)
    assert m.last("slat", GFN) == "simp 7"
    m.do("wrmsr", 0, SIMP, 0)
    assert m.last("slat", GFN) == "9 7"


def test_an_overlay_moves_and_leaves_nothing(machine: Make) -> None:
    m = machine(features=ALL)
    m.do("wrmsr", 0, SIMP, GFN << 12 | 1)
    m.do("wrmsr", 0, SIMP, (GFN + 5) << 12 | 1)
    assert m.last("slat", GFN) == "none"
    assert m.last("slat", GFN + 5) == "simp 7"
    assert m.last("wrmsr", 0, SIMP, 1 << 50 | 1) == FAULT


def test_a_message_goes_into_its_slot_and_raises_its_vector(machine: Make) -> None:
    m = machine(features=ALL)
    synic(m)
    assert m.last("post", 0, 2, 7) == "0"
    assert m.last("page", 0, 0, 512) == f"{8 << 32 | 7:x}"
    assert m.last("irr", 0) == "67"


def test_a_second_message_waits_for_eom_and_says_so(machine: Make) -> None:
    m = machine(features=ALL)
    synic(m)
    m.do("post", 0, 2, 7)
    m.do("post", 0, 2, 8)
    assert int(m.last("page", 0, 0, 512), 16) >> 40 & 1 == 1, "message pending flag"
    m.do("free", 0, 2)
    m.do("wrmsr", 0, EOM, 0)
    assert int(m.last("page", 0, 0, 512), 16) & 0xFFFFFFFF == 8


def test_messages_wait_for_the_synic_and_are_not_lost(machine: Make) -> None:
    m = machine(features=ALL)
    m.do("wrmsr", 0, SIMP, GFN << 12 | 1)
    m.do("wrmsr", 0, SINT2, 0x67)
    m.do("post", 0, 2, 7)
    assert m.last("page", 0, 0, 512) == "0"
    m.do("wrmsr", 0, SCONTROL, 1)
    assert int(m.last("page", 0, 0, 512), 16) & 0xFF == 7


def test_sixteenth_waiting_message_is_refused(machine: Make) -> None:
    m = machine(features=ALL)
    places = [m.do("post", 0, 2, 7) for _ in range(16)]
    answers = m.answers()
    assert [answers[i] for i in places] == ["0"] * 15 + [f"{ST_BUFFERS:x}"]


def test_event_flags_are_signalled_once(machine: Make) -> None:
    m = machine(features=ALL)
    synic(m)
    assert m.last("signal", 0, 2, 65) == "0 1"
    assert m.last("page", 0, 1, 2 * 256 + 8) == "2"
    assert m.last("signal", 0, 2, 65) == "0 0"
    assert m.last("signal", 0, 2, 2048).split()[0] == f"{ST_PARAMETER:x}"


def test_auto_eoi_vector_never_gets_into_service(machine: Make) -> None:
    m = machine(features=ALL)
    synic(m, sint=0x67 | 1 << 17)
    m.do("post", 0, 2, 7)
    m.do("offer", 0)
    m.do("taken", 0)
    assert m.last("isr", 0) == "" and m.last("irr", 0) == ""


def test_unmasked_sint_needs_a_vector_that_can_interrupt(machine: Make) -> None:
    m = machine(features=ALL)
    assert m.last("wrmsr", 0, SINT2, 0x0F) == FAULT
    assert m.last("wrmsr", 0, SINT2, 0x1000F) == DONE, "masked"
    assert m.last("wrmsr", 0, SINT2, 1 << 40 | 0x67) == FAULT


def test_direct_timer_one_shot(machine: Make) -> None:
    m = machine(features=ALL)
    m.do("wrmsr", 0, STIMER_CONFIG, 0x1008 | 0x55 << 4)
    m.do("wrmsr", 0, STIMER_COUNT, 1000)
    assert m.last("pending", 0) == "-1"
    m.do("tsc", 1000 * 100)
    assert m.last("pending", 0) == str(0x55)
    assert int(m.last("rdmsr", 0, STIMER_CONFIG).split()[1], 16) & 1 == 0, "a one-shot timer disables itself"


def test_direct_timer_needs_its_feature_and_a_vector(machine: Make) -> None:
    assert machine(features=ALL & ~DIRECT).last("wrmsr", 0, STIMER_CONFIG, 0x1001 | 0x55 << 4) == FAULT
    m = machine(features=ALL)
    assert m.last("wrmsr", 0, STIMER_CONFIG, 0x1001 | 0x0F << 4) == FAULT
    assert m.last("wrmsr", 0, STIMER_CONFIG, 1 << 13) == FAULT, "reserved bit"


def test_periodic_timer_message_waits_for_its_slot(machine: Make) -> None:
    m = machine(features=ALL)
    synic(m)
    m.do("wrmsr", 0, STIMER_CONFIG, 0x3 | 2 << 16)
    m.do("wrmsr", 0, STIMER_COUNT, 1000)
    m.do("wrmsr", 0, STIMER_CONFIG, 0x3 | 2 << 16)
    m.do("post", 0, 2, 7)
    m.do("tsc", 1500 * 100)
    m.do("pending", 0)
    assert int(m.last("page", 0, 0, 512), 16) & 0xFFFFFFFF == 7
    m.do("free", 0, 2)
    m.do("wrmsr", 0, EOM, 0)
    assert int(m.last("page", 0, 0, 512), 16) & 0xFFFFFFFF == 0x80000010


def test_frozen_time_stands_still_and_goes_on_where_it_was(machine: Make) -> None:
    m = machine(features=ALL)
    m.do("tsc", 5000)
    before = m.last("rdmsr", 0, REF_COUNT)
    m.do("freeze", 1)
    m.do("tsc", 700000)
    assert m.last("rdmsr", 0, REF_COUNT) == before
    m.do("freeze", 0)
    assert m.last("rdmsr", 0, REF_COUNT) == before
    m.do("tsc", 100)
    assert int(m.last("rdmsr", 0, REF_COUNT).split()[1], 16) == int(before.split()[1], 16) + 1


def enlightened(m: Machine) -> None:
    m.do("wrmsr", 0, OS_ID, 1)
    m.do("wrmsr", 0, HYPERCALL_PAGE, GFN << 12 | 1)


@pytest.mark.parametrize(
    ("control", "rdx", "r8", "status"),
    [
        (0x1000B, 0x41, 0x1, 0),
        (0x1000B, 0x0F, 0x1, ST_PARAMETER),
        (0x10008, 1, 0, 0),
        (0x1005D, 7, 0, 0),
        (0x1005D, 8, 0, ST_CONNECTION),
        (0x10040, 0, 0, ST_DENIED),
        (0x17777, 0, 0, ST_CODE),
        (1 << 32 | 0x1000B, 0x41, 1, ST_INPUT),
        (0x10002, 0, 0, ST_INPUT),
        (0x0002, 0x5004, 0, ST_ALIGN),
        (0x0002, 0x5FF8, 0, ST_INPUT),
        (0x0002, 0x5000, 0, 0),
    ],
)
def test_hypercalls_of_a_child(machine: Make, control: int, rdx: int, r8: int, status: int) -> None:
    m = machine(features=ALL)
    m.do("map", 5, 5, 7)
    enlightened(m)
    what, rax, rip, _ = m.last("vmmcall", 0, control, rdx, r8, 0).split()
    assert (int(what), int(rax, 16) & 0xFFFF, int(rip, 16)) == (RESUME, status, 3)


def test_a_hypercall_needs_its_feature_the_page_and_ring_0(machine: Make) -> None:
    m = machine(features=ALL)
    assert m.last("vmmcall", 0, 0x10008, 0, 0, 0).split()[1:3] == ["77", "0"], "#UD: no hypercall page"
    enlightened(m)
    assert m.last("vmmcall", 0, 0x10008, 0, 0, 3).split()[1:3] == ["77", "0"], "#UD: ring 3"
    less = machine(features=ALL & ~CLUSTER)
    enlightened(less)
    assert int(less.last("vmmcall", 0, 0x1000B, 0x41, 1, 0).split()[1], 16) == ST_DENIED


def test_hypercall_input_that_is_not_mapped_reaches_the_vmm_as_a_fault(machine: Make) -> None:
    m = machine(features=ALL)
    enlightened(m)
    assert m.last("vmmcall", 0, 0x0002, 0x7000, 0, 0) == f"{MESSAGE} 77 0 400"


def test_a_page_that_is_taken_away_while_a_call_waits_is_not_written(machine: Make) -> None:
    """GET_VP_REGISTERS takes a lock; the VMM unmaps the output page just before."""
    m = machine(features=ALL)
    m.do("map", 5, 5, 7)
    m.do("map", 6, 6, 7)
    enlightened(m)
    m.do("ask", 1)
    exit_code, written = m.last("late", 1, 1 << 32 | 0x50, 0x5000, 0x6000, 0, 6).split()
    assert written == "0", "the call wrote to a page that the child no longer has"
    assert exit_code == "400", "the VMM sees the fault"


def test_everything_a_child_had_of_hyperv_goes_back_to_the_pool(machine: Make) -> None:
    plain, rich = machine(on=False), machine(features=ALL, on=False)
    rich.do("map", GFN, 5, 3)
    plain.do("map", GFN, 5, 3)
    rich.do("wrmsr", 0, SIMP, GFN << 12 | 1)
    rich.do("wrmsr", 0, REF_TSC, GFN << 12 | 1)
    assert rich.last("pool") == plain.last("pool")
