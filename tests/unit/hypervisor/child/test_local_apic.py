# SPDX-License-Identifier: GPL-2.0-or-later
"""A child's local APIC: priorities, NMI, destinations, x2APIC, timer."""

from __future__ import annotations

import pytest

from .conftest import (
    APIC_BASE,
    BASE,
    BOTH,
    CURRENT,
    DFR,
    DIVIDE,
    DONE,
    ENABLE,
    EOI,
    ESR,
    FAULT,
    FIXED,
    ICR,
    ICR_HIGH,
    INIT,
    INITIAL,
    LAPIC,
    LDR,
    LOWEST,
    LVT_ERROR,
    LVT_LINT0,
    LVT_TIMER,
    NEVER,
    NMI,
    SIPI,
    SMI,
    SVR,
    UNKNOWN,
    V_IRQ,
    X2,
    Make,
)

# ---- priorities


@pytest.mark.parametrize(
    ("requested", "in_service", "cr8", "pending", "ppr"),
    [
        ([0x30], [], 0, 0x30, 0),
        ([0x30, 0x45], [], 0, 0x45, 0),
        ([0x30], [], 2, 0x30, 0x20),
        ([0x30], [], 3, -1, 0x30),
        ([0x3F], [], 3, -1, 0x30),
        ([0x30], [0x30], 0, -1, 0x30),
        ([0x3F], [0x31], 0, -1, 0x30),
        ([0x41], [0x31], 0, 0x41, 0x30),
        ([0x41], [0x31], 5, -1, 0x50),
        ([0xFF], [0xEF], 14, 0xFF, 0xE0),
        ([0xFF], [], 15, -1, 0xF0),
        ([], [0x55], 5, -1, 0x50),
    ],
)
def test_the_next_interrupt_is_above_tpr_and_above_what_is_in_service(
    machine: Make, requested: list[int], in_service: list[int], cr8: int, pending: int, ppr: int
) -> None:
    m = machine()
    for vector in in_service:
        m.do("send", 0, 0, 0, FIXED, vector, 0)
        m.do("offer", 0)
        m.do("taken", 0)
    for vector in requested:
        m.do("send", 0, 0, 0, FIXED, vector, 0)
    m.do("cr8", 0, cr8)
    at = m.do("pending", 0)
    answers = [m.do("ppr", 0)] and m.answers()
    assert (int(answers[at]), int(answers[at + 1], 16)) == (pending, ppr)


def test_an_interrupt_that_tpr_holds_back_is_offered_for_the_moment_cr8_falls(machine: Make) -> None:
    m = machine()
    m.do("cr8", 0, 8)
    m.do("send", 0, 0, 0, FIXED, 0x51, 0)
    offered = int(m.last("offer", 0).split()[0], 16)
    assert offered & V_IRQ, "nothing offered"
    assert offered >> 8 & 0xF == 4, "TCG takes it at priority >= TPR: one class below is right"
    assert offered >> 12 & 1 == 0, "TPR must count"
    assert offered >> 24 & 0xFF == 0x51


def test_taking_an_interrupt_moves_it_into_service_and_eoi_ends_it(machine: Make) -> None:
    m = machine()
    m.do("send", 0, 0, 0, FIXED, 0x41, 0)
    m.do("offer", 0)
    m.do("taken", 0)
    places = [m.do("irr", 0), m.do("isr", 0), m.do("write", 0, EOI, 0), m.do("isr", 0), m.do("eoimessage")]
    answers = m.answers()
    assert [answers[i] for i in places] == ["", "41", "1", "", "0"]


def test_an_interrupt_that_arrives_again_after_the_child_took_it_is_requested_again(machine: Make) -> None:
    m = machine()
    m.do("send", 0, 0, 0, FIXED, 0x41, 0)
    m.do("offer", 0)
    m.do("send", 0, 0, 0, FIXED, 0x41, 0)  # by another VP, before the exit that shows what was taken
    m.do("taken", 0)
    places = [m.do("irr", 0), m.do("isr", 0), m.do("write", 0, EOI, 0), m.do("pending", 0)]
    answers = m.answers()
    assert [answers[i] for i in places] == ["41", "41", "1", str(0x41)]


def test_an_offered_interrupt_that_was_not_taken_stays_requested_once(machine: Make) -> None:
    m = machine()
    m.do("send", 0, 0, 0, FIXED, 0x41, 0)
    m.do("offer", 0)
    m.do("send", 0, 0, 0, FIXED, 0x41, 0)
    m.do("left", 0, 0x1000, 0)
    places = [m.do("irr", 0), m.do("isr", 0), m.do("offer", 0), m.do("taken", 0), m.do("irr", 0)]
    answers = m.answers()
    assert [answers[i] for i in (places[0], places[1], places[4])] == ["41", "", ""]


def test_eoi_of_a_level_triggered_interrupt_tells_the_vmm(machine: Make) -> None:
    m = machine()
    m.do("send", 0, 0, 0, FIXED, 0x41, 1)
    m.do("offer", 0)
    m.do("taken", 0)
    assert m.last("read", 0, 0x1A0) == "1 2", "trigger mode bit of 0x41"
    m.do("write", 0, EOI, 0)
    assert m.last("eoimessage") == "1"


def test_a_disabled_apic_takes_no_interrupt_but_nmi_and_init(machine: Make) -> None:
    m = machine(on=False)
    m.do("send", 1, 0, 0, FIXED, 0x41, 0)
    m.do("send", 1, 0, 0, NMI, 0, 0)
    assert m.last("irr", 1) == ""
    assert m.last("state", 1).split()[1] == "1"


# ---- NMI


def test_an_nmi_blocks_the_next_until_behind_its_iret(machine: Make) -> None:
    m = machine()
    nmi = 0x80000202
    m.do("send", 0, 0, 0, NMI, 0, 0)
    first = m.do("offer", 0)
    m.do("left", 0, 0x1000, 0)
    m.do("send", 0, 0, 0, NMI, 0, 0)
    blocked = m.do("offer", 0)
    m.do("iret", 0)
    m.do("left", 0, 0x1000, 0)
    at_iret = m.do("offer", 0)
    m.do("left", 0, 0x2000, 0)
    behind = m.do("offer", 0)
    answers = m.answers()
    events = [int(answers[i].split()[1], 16) for i in (first, blocked, at_iret, behind)]
    assert events == [nmi, 0, 0, nmi]


def test_a_delivery_that_a_page_fault_interrupts_is_not_given_back_as_an_exception(machine: Make) -> None:
    m = machine()
    assert m.last("left", 0, 0, 0x80000302) == "80000202", "an NMI stays an NMI"
    assert m.last("left", 0, 0, 0x80000341) == "0", "an interrupt is still requested"
    assert m.last("left", 0, 0, 0x80000B0E) == "80000b0e", "a real exception is given back"


# ---- destinations


@pytest.mark.parametrize(
    ("setup", "dest", "logical", "reached"),
    [
        ([], 1, 0, {1}),
        ([], 0xFF, 0, {0, 1, 2}),
        ([], 9, 0, set()),
        ([(0, LDR, 1 << 24), (1, LDR, 2 << 24), (2, LDR, 4 << 24)], 6, 1, {1, 2}),
        ([(0, DFR, 0), (1, DFR, 0), (2, DFR, 0),
          (0, LDR, 0x11 << 24), (1, LDR, 0x12 << 24), (2, LDR, 0x21 << 24)], 0x13, 1, {0, 1}),
        ([(0, LDR, 1 << 24), (1, LDR, 2 << 24), (2, LDR, 4 << 24)], 0xFF, 1, {0, 1, 2}),
    ],
)  # fmt: skip
def test_xapic_destinations(
    machine: Make, setup: list[tuple[int, int, int]], dest: int, logical: int, reached: set[int]
) -> None:
    m = machine()
    for vp, register, value in setup:
        m.do("write", vp, register, value)
    any_one, kicked = m.last("send", dest, logical, 0, FIXED, 0x41, 0).split()
    assert {i for i in range(3) if int(kicked, 16) >> i & 1} == reached
    assert any_one == str(int(bool(reached)))


@pytest.mark.parametrize(
    ("dest", "logical", "reached"),
    [(1, 0, {1}), (0xFFFFFFFF, 0, {0, 1, 2}), (0xFF, 0, set()), (0x6, 1, {1, 2}), (0x10001, 1, set())],
)
def test_x2apic_destinations(machine: Make, dest: int, logical: int, reached: set[int]) -> None:
    kicked = machine(x2=True).last("send", dest, logical, 1, FIXED, 0x41, 0).split()[1]
    assert {i for i in range(3) if int(kicked, 16) >> i & 1} == reached


def test_lowest_priority_chooses_the_least_busy_and_takes_turns(machine: Make) -> None:
    m = machine()
    m.do("cr8", 0, 5)
    turns = [m.do("send", 0xFF, 0, 0, LOWEST, 0x41, 0) for _ in range(4)]
    answers = m.answers()
    assert [answers[i] for i in turns] == ["1 2", "1 4", "1 2", "1 4"], "VP 0 is busy"


@pytest.mark.parametrize(
    ("icr", "reached"), [(0x40041, {0}), (0x80041, {0, 1, 2}), (0xC0041, {1, 2}), (0x41, {2})]
)
@pytest.mark.parametrize("x2", [False, True])
def test_command_register_shorthands(machine: Make, icr: int, reached: set[int], x2: bool) -> None:
    m = machine(x2=x2)
    if x2:
        assert m.last("wrmsr", 0, 0x830, 2 << 32 | icr) == DONE
    else:
        m.do("write", 0, ICR_HIGH, 2 << 24)
        m.do("write", 0, ICR, icr)
    places = [m.do("irr", vp) for vp in range(3)]
    answers = m.answers()
    assert {vp for vp, i in enumerate(places) if answers[i] == "41"} == reached


def test_init_and_sipi_bring_an_ap_to_its_vector_and_a_second_sipi_is_ignored(machine: Make) -> None:
    m = machine()
    m.do("send", 1, 0, 0, INIT, 0, 1)
    assert m.last("state", 1) == "1 0 0 0"
    m.do("send", 1, 0, 0, SIPI, 0x12, 0)
    assert m.last("state", 1) == "0 0 0 12000"
    m.do("send", 1, 0, 0, SIPI, 0x34, 0)
    assert m.last("state", 1) == "0 0 0 12000"
    m.do("send", 1, 0, 0, INIT, 0, 0)
    assert m.last("state", 1) == "0 0 0 12000", "the deassert is no INIT"


def test_smi_reaches_nobody(machine: Make) -> None:
    assert machine().last("send", 1, 0, 0, SMI, 0, 0) == "0 0"


def test_vectors_below_16_are_errors_of_sender_and_receiver(machine: Make) -> None:
    m = machine()
    m.do("write", 0, LVT_ERROR, 0xE0)
    m.do("write", 0, ICR, 0x40005)
    m.do("send", 1, 0, 0, FIXED, 7, 0)
    m.do("write", 0, ESR, 0)
    m.do("write", 1, ESR, 0)
    sender, receiver, error = m.do("read", 0, ESR), m.do("read", 1, ESR), m.do("irr", 0)
    answers = m.answers()
    assert [answers[i] for i in (sender, receiver, error)] == ["1 20", "1 40", "e0"]


# ---- x2APIC


@pytest.mark.parametrize(
    ("path", "last"),
    [
        ([ENABLE | X2], DONE),
        ([0], DONE),
        ([0, ENABLE], DONE),
        ([0, ENABLE | X2], FAULT),
        ([ENABLE | X2, ENABLE], FAULT),
        ([ENABLE | X2, 0], DONE),
        ([X2], FAULT),
        ([ENABLE | 1], FAULT),
        ([ENABLE | 1 << 50], FAULT),
    ],
)
def test_apic_base_transitions(machine: Make, path: list[int], last: str) -> None:
    m = machine()
    for mode in path[:-1]:
        assert m.last("wrmsr", 0, APIC_BASE, BASE | mode) == DONE
    assert m.last("wrmsr", 0, APIC_BASE, BASE | path[-1]) == last


def test_a_partition_without_x2apic_refuses_the_mode_and_hides_it(machine: Make) -> None:
    m = machine(LAPIC)
    assert m.last("wrmsr", 0, APIC_BASE, BASE | ENABLE | X2) == FAULT
    assert not int(m.last("cpuid", 0, 1, 0).split()[2], 16) >> 21 & 1
    assert int(machine(BOTH).last("cpuid", 0, 1, 0).split()[2], 16) >> 21 & 1


def test_x2apic_registers_read(machine: Make) -> None:
    m = machine(x2=True)
    assert m.last("rdmsr", 2, 0x802) == "0 2"
    assert m.last("rdmsr", 2, 0x80D) == "0 4", "LDR follows from the id"
    assert m.last("wrmsr", 0, 0x830, 1 << 32 | 0x41) == DONE
    assert m.last("rdmsr", 0, 0x830) == "0 100000041"
    assert m.last("rdmsr", 1, 0x822) == "0 2", "IRR of the target"


@pytest.mark.parametrize("msr", [0x80E, 0x80B, 0x831, 0x83F, 0x800, 0x8FF, 0x840, 0x80C])
def test_x2apic_msrs_that_cannot_be_read_fault(machine: Make, msr: int) -> None:
    assert machine(x2=True).last("rdmsr", 0, msr).split()[0] == FAULT


@pytest.mark.parametrize(
    ("msr", "value"),
    [(0x802, 1), (0x803, 0), (0x80D, 1), (0x80A, 0), (0x839, 0), (0x80B, 1), (0x828, 1), (0x808, 0x100),
     (0x80F, 1 << 32), (0x832, 1 << 20), (0x83E, 4), (0x83F, 0x141), (0x830, 1 << 13)],
)  # fmt: skip
def test_x2apic_writes_to_what_is_read_only_or_reserved_fault(machine: Make, msr: int, value: int) -> None:
    assert machine(x2=True).last("wrmsr", 0, msr, value) == FAULT


def test_x2apic_msrs_fault_in_xapic_mode_and_are_unknown_without_an_apic(machine: Make) -> None:
    assert machine().last("rdmsr", 0, 0x802).split()[0] == FAULT
    assert machine(0, on=False).last("rdmsr", 0, 0x802).split()[0] == UNKNOWN


def test_self_ipi_msr(machine: Make) -> None:
    m = machine(x2=True)
    assert m.last("wrmsr", 1, 0x83F, 0x66) == DONE
    assert m.last("irr", 1) == "66"


# ---- timer: the clock counts 8 TSC ticks as one, times the divider


def test_one_shot_timer_fires_once(machine: Make) -> None:
    m = machine()
    m.do("write", 0, DIVIDE, 0xB)
    m.do("write", 0, LVT_TIMER, 0x50)
    m.do("write", 0, INITIAL, 1000)
    assert m.last("next", 0) == f"{8000:x}"
    m.do("tsc", 4000)
    assert m.last("read", 0, CURRENT) == f"1 {500:x}"
    assert m.last("pending", 0) == "-1"
    m.do("tsc", 4000)
    assert m.last("pending", 0) == str(0x50)
    m.do("offer", 0)
    m.do("taken", 0)
    m.do("write", 0, EOI, 0)
    m.do("tsc", 100000)
    assert m.last("pending", 0) == "-1"
    assert m.last("next", 0) == NEVER


def test_periodic_timer_keeps_its_phase(machine: Make) -> None:
    m = machine()
    m.do("write", 0, DIVIDE, 0xB)
    m.do("write", 0, LVT_TIMER, 0x20050)
    m.do("write", 0, INITIAL, 1000)
    m.do("tsc", 8000 * 3 + 100)
    assert m.last("pending", 0) == str(0x50)
    assert m.last("next", 0) == f"{8000 - 100:x}"


def test_deadline_timer_fires_at_the_tsc_and_zero_disarms_it(machine: Make) -> None:
    m = machine()
    m.do("write", 0, LVT_TIMER, 0x40050)
    m.do("wrmsr", 0, 0x6E0, 1000000 + 5000)
    assert m.last("next", 0) == f"{5000:x}"
    m.do("tsc", 4999)
    assert m.last("pending", 0) == "-1"
    m.do("tsc", 1)
    assert m.last("pending", 0) == str(0x50)
    assert m.last("rdmsr", 0, 0x6E0) == "0 0", "a deadline that was reached reads 0"
    m.do("wrmsr", 0, 0x6E0, 9999999)
    m.do("wrmsr", 0, 0x6E0, 0)
    assert m.last("next", 0) == NEVER


def test_deadline_is_in_the_childs_tsc(machine: Make) -> None:
    m = machine()
    m.do("wrmsr", 0, 0x10, 50)
    m.do("write", 0, LVT_TIMER, 0x40050)
    m.do("wrmsr", 0, 0x6E0, 350)
    assert m.last("next", 0) == f"{300:x}"


def test_deadline_outside_its_mode_and_the_count_inside_it_do_nothing(machine: Make) -> None:
    m = machine()
    m.do("write", 0, LVT_TIMER, 0x50)
    m.do("wrmsr", 0, 0x6E0, 1)
    assert m.last("rdmsr", 0, 0x6E0) == "0 0"
    m.do("write", 0, LVT_TIMER, 0x40050)
    m.do("write", 0, INITIAL, 7)
    assert m.last("next", 0) == NEVER


def test_a_masked_timer_has_no_deadline_and_a_switched_off_apic_masks_it(machine: Make) -> None:
    m = machine()
    m.do("write", 0, INITIAL, 1000)
    m.do("write", 0, LVT_TIMER, 0x10050)
    assert m.last("next", 0) == NEVER
    m.do("write", 0, LVT_TIMER, 0x50)
    m.do("write", 0, SVR, 0xFF)
    assert m.last("next", 0) == NEVER
    assert m.last("read", 0, LVT_TIMER) == "1 10050"


@pytest.mark.parametrize("mode", [0x50, 0x20050])
def test_state_image_round_trip_is_exact(machine: Make, mode: int) -> None:
    m = machine()
    m.do("write", 0, LDR, 4 << 24)
    m.do("write", 0, LVT_LINT0, 0x700)
    m.do("write", 0, LVT_TIMER, mode)
    m.do("write", 0, DIVIDE, 0x3)
    m.do("write", 0, INITIAL, 123456)
    m.do("send", 0, 0, 0, FIXED, 0x41, 1)
    m.do("send", 0, 0, 0, FIXED, 3, 0)
    m.do("tsc", 77777)
    assert m.last("roundtrip", 0) == "0"
