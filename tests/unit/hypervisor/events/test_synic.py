# SPDX-License-Identifier: GPL-2.0-or-later
"""SynIC registers, messages, event flags and ports of the root."""

from __future__ import annotations

import pytest

from .conftest import (
    ANY_VP,
    AUTO_EOI,
    BAD_CONNECTION,
    BAD_PARAMETER,
    BAD_PORT,
    BAD_VP,
    BASE,
    CHILD,
    DENIED,
    DOORBELL,
    EOM,
    EVENT,
    MASKED,
    MESSAGE,
    NO_BUFFERS,
    NO_SYNIC,
    OK,
    POLLING,
    SCONTROL,
    SIEFP,
    SIMP,
    SINT0,
    SIRBP,
    SVERSION,
    Machine,
)

# ---- registers


def test_reset_values(machine: Machine) -> None:
    assert [machine.read(SINT0 + n) for n in range(16)] == [MASKED] * 16
    assert machine.read(SCONTROL) == 0
    assert machine.read(SVERSION) == 1
    assert machine.read(EOM) == 0
    assert [machine.read(page) & 0xFFF for page in (SIMP, SIEFP, SIRBP)] == [0, 0, 0]


@pytest.mark.parametrize("vector", [0, 15])
def test_an_unmasked_sint_needs_a_vector_that_a_processor_takes(machine: Machine, vector: int) -> None:
    assert machine.write(SINT0 + 3, vector) == "fault"
    assert machine.read(SINT0 + 3) == MASKED
    assert machine.write(SINT0 + 3, MASKED | vector) == "ok"
    assert machine.write(SINT0 + 3, 16) == "ok"


def test_version_is_read_only_and_pages_do_not_move(machine: Machine) -> None:
    page = machine.read(SIMP)
    assert machine.write(SVERSION, 1) == "fault"
    assert machine.write(SIMP, 0xDEAD000 | 1) == "ok"
    assert machine.read(SIMP) == page | 1
    assert machine.do("rdmsr", BASE + 0x86) == "fault"
    assert machine.write(0x8F, 0) == "fault"


# ---- messages


def test_messages_of_a_sint_come_in_order_one_for_each_end_of_message(machine: Machine) -> None:
    machine.on(s2=0x52)
    for n in range(3):
        assert machine.number("post", 2, 1, n) == OK
    assert machine.slot(2) == (1, 1, 0)
    assert machine.sent() == ["0:52"]
    for n in (1, 2):
        machine.do("free", 2)
        machine.write(EOM, 0)
        assert machine.slot(2) == (1, int(n == 1), n)
        assert machine.sent() == ["0:52"]
    machine.do("free", 2)
    machine.write(EOM, 0)
    assert machine.slot(2)[0] == 0
    assert machine.sent() == []


def test_every_sint_and_lp_has_its_own_slot(machine: Machine) -> None:
    for lp in (0, 1):
        machine.do("lp", lp)
        machine.on(**{f"s{n}": 0x40 + n for n in range(16)})
        for n in range(16):
            assert machine.number("post", n, 1, 16 * lp + n) == OK
    for lp in (0, 1):
        machine.do("lp", lp)
        assert [machine.slot(n) for n in range(16)] == [(1, 0, 16 * lp + n) for n in range(16)]
    assert machine.sent() == [f"{lp}:{0x40 + n:x}" for lp in (0, 1) for n in range(16)]


@pytest.mark.parametrize(
    ("off", "on"),
    [
        ((SCONTROL, 0), (SCONTROL, 1)),
        ((SIMP, 0), (SIMP, 1)),
        ((SINT0 + 2, MASKED | 0x52), (SINT0 + 2, 0x52)),
    ],
)
def test_what_cannot_be_delivered_waits(machine: Machine, off: tuple[int, int], on: tuple[int, int]) -> None:
    machine.on(s2=0x52)
    machine.write(*off)
    assert machine.number("post", 2, 1, 0xAB) == OK
    machine.write(EOM, 0)
    assert machine.slot(2)[0] == 0
    assert machine.sent() == []
    machine.write(*on)
    assert machine.slot(2) == (1, 0, 0xAB)
    assert machine.sent() == ["0:52"]


def test_a_polled_sint_takes_messages_without_an_interrupt(machine: Machine) -> None:
    machine.on(s4=POLLING | 0x54)
    machine.do("post", 4, 1, 5)
    assert machine.slot(4) == (1, 0, 5)
    assert machine.sent() == []


def test_a_vector_with_auto_eoi_does_not_go_through_the_apic(machine: Machine) -> None:
    machine.on(s4=AUTO_EOI | 0x54, s6=AUTO_EOI | 0x86)
    machine.do("post", 4, 1, 5)
    machine.do("post", 6, 1, 5)
    assert machine.sent() == []
    assert [machine.number("auto") for _ in range(3)] == [0x86, 0x54, 0]


def test_queued_messages_are_not_lost_and_not_without_end(machine: Machine) -> None:
    machine.on(s2=0x52, s3=0x53)
    taken, n = 0, 0
    while machine.number("post", 2, 1, n) == OK:
        n += 1
        assert n < 1000
    assert machine.number("post", 3, 1, 0) == NO_BUFFERS
    while (slot := machine.slot(2))[0]:
        assert slot[2] == taken
        taken += 1
        machine.do("free", 2)
        machine.write(EOM, 0)
    assert taken == n > 16
    assert machine.number("post", 3, 1, 0x77) == OK
    assert machine.slot(3) == (1, 0, 0x77)


# ---- event flags, ports


def test_an_event_sets_its_flag_and_interrupts_once(machine: Machine) -> None:
    machine.on(s7=0x57)
    assert machine.number("port", EVENT, 9, CHILD, 7, 0, 0x100, 8) == OK
    assert machine.number("connect", EVENT, 4, CHILD, 9) == OK
    assert [machine.number("signal", CHILD, 4, flag) for flag in (3, 3, 8)] == [OK, OK, BAD_PARAMETER]
    assert [machine.do("flag", 7, f) for f in (0x102, 0x103, 0x104)] == ["0", "1", "0"]
    assert machine.sent() == ["0:57"]
    machine.write(SIEFP, 0)
    assert machine.number("signal", CHILD, 4, 1) == NO_SYNIC


def test_a_message_goes_to_the_vp_of_its_port(machine: Machine) -> None:
    machine.do("lp", 1)
    machine.on(s3=0x53)
    machine.do("lp", 0)
    assert machine.number("port", MESSAGE, 9, CHILD, 3, 1) == OK
    assert machine.number("connect", MESSAGE, 4, CHILD, 9) == OK
    assert machine.number("send", CHILD, 4, 0x123, 0x456) == OK
    machine.do("lp", 1)
    assert machine.slot(3) == (0x123, 0, 0x456)
    assert machine.sent() == ["1:53"]


def test_ports_and_connections_are_checked(machine: Machine) -> None:
    port, connect = machine.number, machine.number
    assert port("port", DOORBELL, 0, CHILD, 5, ANY_VP) == BAD_PORT
    assert port("port", DOORBELL, 1 << 24, CHILD, 5, ANY_VP) == BAD_PORT
    assert port("port", 3, 9, CHILD, 5, ANY_VP) == BAD_PARAMETER
    assert port("port", DOORBELL, 9, CHILD, 16, ANY_VP) == BAD_PARAMETER
    assert port("port", DOORBELL, 9, CHILD, 0, ANY_VP) == BAD_PARAMETER
    assert port("port", DOORBELL, 9, CHILD, 5, 2) == BAD_VP
    assert port("port", EVENT, 9, CHILD, 5, 0, 0x7FF, 2) == BAD_PARAMETER
    assert port("port", DOORBELL, 9, CHILD, 5, ANY_VP) == OK
    assert port("port", DOORBELL, 9, CHILD, 5, ANY_VP) == BAD_PORT
    assert connect("connect", DOORBELL, 4, CHILD, 8) == BAD_PORT
    assert connect("connect", DOORBELL, 4, CHILD + 1, 9) == DENIED
    assert connect("connect", EVENT, 4, CHILD, 9) == BAD_PARAMETER
    assert connect("connect", DOORBELL, 4, CHILD, 9, 0x1000, 0, 5) == BAD_PARAMETER
    assert connect("connect", DOORBELL, 4, CHILD, 9, 0x1000, 0, 0x100) == BAD_PARAMETER
    assert connect("connect", DOORBELL, 4, CHILD, 9, 0x1000) == OK
    assert connect("connect", DOORBELL, 4, CHILD, 9, 0x1000) == BAD_CONNECTION
    assert machine.number("send", CHILD, 4, 1) == BAD_CONNECTION
    assert machine.number("disconnect", CHILD, 4) == OK
    assert machine.number("disconnect", CHILD, 4) == BAD_CONNECTION
    assert machine.number("unport", 9) == OK
    assert machine.number("unport", 9) == BAD_PORT


def test_a_connection_to_a_deleted_port_leads_nowhere(machine: Machine) -> None:
    machine.on(s5=0xF3)
    machine.do("port", MESSAGE, 9, CHILD, 5, 0)
    machine.do("connect", MESSAGE, 4, CHILD, 9)
    machine.do("unport", 9)
    assert machine.number("send", CHILD, 4, 1) == BAD_CONNECTION
