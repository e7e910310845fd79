# SPDX-License-Identifier: GPL-2.0-or-later
"""Doorbells, their ring, and the stores that ring them."""

from __future__ import annotations

import pytest

from .conftest import (
    ANY_VALUE,
    ANY_VP,
    AS_INTERCEPT,
    BAD_CONNECTION,
    CHILD,
    DOORBELL,
    EOM,
    MASKED,
    OK,
    SIGNAL,
    SINT0,
    SINT_NOTICE,
    Machine,
)

# ---- doorbells and rings


def doorbell(machine: Machine, port: int = 9, flags: int = 3, value: int = 0x55, gpa: int = 0x1000) -> None:
    """As Linux sets them up: SINT 5 is an intercept, any VP."""
    machine.on(s0=0xF3, s5=AS_INTERCEPT | 0xF3)
    assert machine.number("port", DOORBELL, port, CHILD, 5, ANY_VP) == OK
    assert machine.number("connect", DOORBELL, port, CHILD, port, gpa, value, flags) == OK


@pytest.mark.parametrize(
    ("flags", "size", "value", "rings"),
    [
        (3, 4, 0x55, True),
        (3, 4, 0x56, False),
        (3, 2, 0x55, False),
        (3, 8, 0x55, False),
        (0, 2, 0x55, True),
        (3 | ANY_VALUE, 4, 0x1234, True),
        (3 | ANY_VALUE, 8, 0x1234, False),
        (ANY_VALUE, 1, 0x12, True),
        (1, 1, 0x55, True),
        (4, 8, 0x55, True),
        (4, 8, 0x1_0000_0055, False),
    ],
)
def test_a_doorbell_takes_the_size_and_value_it_wants(
    machine: Machine, flags: int, size: int, value: int, rings: bool
) -> None:
    doorbell(machine, flags=flags)
    assert machine.do("bell", CHILD, 0x1000, size, value) == str(int(rings))
    assert machine.do("bell", CHILD, 0x1004, size, value) == "0"
    assert machine.do("bell", CHILD + 1, 0x1000, size, value) == "0"
    assert machine.sent() == ["0:f3"] * rings
    assert machine.number("take", 5) == (9 if rings else 0)


def test_the_root_is_told_once_until_it_has_emptied_the_ring(machine: Machine) -> None:
    doorbell(machine)
    for _ in range(3):
        machine.do("bell", CHILD, 0x1000, 4, 0x55)
    assert machine.slot(0) == (SINT_NOTICE, 0, 5)
    assert machine.sent() == ["0:f3"]
    assert [machine.number("take", 5) for _ in range(4)] == [9, 9, 9, 0]
    machine.do("free", 0)
    machine.do("bell", CHILD, 0x1000, 4, 0x55)
    assert machine.slot(0) == (SINT_NOTICE, 0, 5)
    assert machine.sent() == ["0:f3"]
    assert machine.number("take", 5) == 9


def test_a_full_ring_remembers_who_rang(machine: Machine) -> None:
    doorbell(machine)
    machine.number("port", DOORBELL, 10, CHILD, 5, ANY_VP)
    machine.number("connect", DOORBELL, 10, CHILD, 10, 0x2000, 0x55, 3)
    for _ in range(63):
        assert machine.do("bell", CHILD, 0x1000, 4, 0x55) == "1"
    assert machine.do("bell", CHILD, 0x2000, 4, 0x55) == "1"
    taken = []
    while (port := machine.number("take", 5)) and len(taken) < 100:
        taken.append(port)
    assert taken == [9] * 63 + [10]
    assert machine.do("bell", CHILD, 0x2000, 4, 0x55) == "1"
    assert machine.number("take", 5) == 10


def test_a_masked_ring_is_announced_when_it_is_unmasked(machine: Machine) -> None:
    doorbell(machine)
    machine.write(SINT0 + 5, MASKED | 0xF3)
    machine.do("bell", CHILD, 0x1000, 4, 0x55)
    assert machine.slot(0)[0] == 0
    machine.write(SINT0 + 5, AS_INTERCEPT | 0xF3)
    assert machine.slot(0) == (SINT_NOTICE, 0, 5)
    assert machine.number("take", 5) == 9


def test_a_notice_waits_behind_other_messages(machine: Machine) -> None:
    doorbell(machine)
    machine.do("post", 0, SIGNAL, 1)
    machine.do("bell", CHILD, 0x1000, 4, 0x55)
    assert machine.slot(0) == (SIGNAL, 1, 1)
    machine.do("free", 0)
    machine.write(EOM, 0)
    assert machine.slot(0) == (SINT_NOTICE, 0, 5)


def test_a_partition_that_goes_takes_its_connections_along(machine: Machine) -> None:
    doorbell(machine)
    machine.do("forget", CHILD)
    assert machine.do("bell", CHILD, 0x1000, 4, 0x55) == "0"
    assert machine.number("disconnect", CHILD, 9) == BAD_CONNECTION


@pytest.mark.parametrize(
    ("bits", "code", "expected"),
    [
        (64, "89 07", "4 2 55667788"),
        (64, "48 89 07", "8 3 1122334455667788"),
        (64, "66 89 07", "2 3 7788"),
        (64, "88 07", "1 2 88"),
        (64, "88 27", "1 2 77"),  # ah
        (64, "40 88 27", "1 3 44"),  # spl
        (64, "44 89 07", "4 3 b2c3d408"),  # r8d
        (64, "89 47 10", "4 3 55667788"),
        (64, "89 87 00 01 00 00", "4 6 55667788"),
        (64, "89 04 25 00 10 00 00", "4 7 55667788"),
        (64, "89 05 00 01 00 00", "4 6 55667788"),
        (64, "89 44 87 10", "4 4 55667788"),
        (64, "c7 07 78 56 34 12", "4 6 12345678"),
        (64, "48 c7 07 ff ff ff ff", "8 7 ffffffffffffffff"),
        (64, "66 c7 07 34 12", "2 5 1234"),
        (64, "c6 07 ab", "1 3 ab"),
        (64, "a3 00 10 00 00 00 00 00 00", "4 9 55667788"),
        (64, "0f c3 07", "4 3 55667788"),  # movnti
        (64, "26 89 07", "4 3 55667788"),
        (32, "89 07", "4 2 55667788"),
        (32, "a2 00 10 00 00", "1 5 88"),
        (32, "67 89 05", "4 3 55667788"),  # [di]
        (16, "89 07", "2 2 7788"),
        (16, "89 06 00 10", "2 4 7788"),
        (16, "66 89 47 01", "4 4 55667788"),
        (64, "8b 07", "no"),
        (64, "89 c7", "no"),
        (64, "87 07", "no"),  # xchg also reads
        (64, "f0 01 07", "no"),
        (64, "c7 0f 01 00 00 00", "no"),
        (64, "48 c7 07 ff ff", "no"),
        (64, "89", "no"),
    ],
)
def test_stores_are_told_from_other_instructions(
    machine: Machine, bits: int, code: str, expected: str
) -> None:
    assert machine.line(f"decode {bits} {code}") == expected


RCX, RDX, RBX, RBP, RSI, RDI, R8 = (0xAABBCC00 + n * 0x1010101 for n in (1, 2, 3, 5, 6, 7, 8))
RSP, RIP = 0x4444, 0x7000
SS, DS, FS = 0x100000, 0x200000, 0x300000


@pytest.mark.parametrize(
    ("bits", "code", "address"),
    [
        (64, "48 8b 07", RDI),
        (64, "41 8b 00", R8),
        (64, "8b 47 f0", RDI - 16),
        (64, "8b 87 00 01 00 00", RDI + 256),
        (64, "8b 04 8f", RDI + 4 * RCX),
        (64, "42 8b 04 07", RDI + R8),
        (64, "8b 44 24 08", RSP + 8),
        (64, "8b 04 25 00 10 00 00", 0x1000),
        (64, "8b 05 00 01 00 00", RIP + 6 + 0x100),
        (64, "80 3d 00 01 00 00 01", RIP + 7 + 0x100),
        (64, "c7 05 00 01 00 00 01 00 00 00", RIP + 10 + 0x100),
        (64, "66 c7 05 00 01 00 00 01 00", RIP + 9 + 0x100),
        (64, "f7 05 00 01 00 00 01 00 00 00", RIP + 10 + 0x100),
        (64, "f7 1d 00 01 00 00", RIP + 6 + 0x100),  # neg has no constant
        (64, "64 8b 07", RDI + FS),
        (64, "3e 8b 07", RDI),
        (64, "67 8b 44 8f 10", (RDI + 4 * RCX + 16) & 0xFFFFFFFF),
        (64, "0f b6 07", RDI),
        (64, "f3 0f 7f 07", RDI),  # movdqu
        (64, "f0 48 0f b1 0f", RDI),  # lock cmpxchg
        (64, "01 07", RDI),
        (64, "a1 00 10 00 00 00 00 00 00", 0x1000),
        (32, "8b 07", (RDI + DS) & 0xFFFFFFFF),
        (32, "8b 45 04", (RBP + 4 + SS) & 0xFFFFFFFF),
        (32, "3e 8b 45 04", (RBP + 4 + DS) & 0xFFFFFFFF),
        (32, "8b 05 00 10 00 00", 0x1000 + DS),
        (16, "8b 00", ((RBX + RSI) & 0xFFFF) + DS),
        (16, "8b 42 01", ((RBP + RSI + 1) & 0xFFFF) + SS),
        (16, "8b 06 00 10", 0x1000 + DS),
        (16, "67 8b 07", (RDI + DS) & 0xFFFFFFFF),
        (64, "8d 07", None),  # lea
        (64, "8b c7", None),
        (64, "50", None),
        (64, "a4", None),
        (64, "f4", None),
        (64, "8b 87 00", None),
        (64, "", None),
    ],
)
def test_the_address_that_an_instruction_accesses(
    machine: Machine, bits: int, code: str, address: int | None
) -> None:
    told = machine.line(f"address {bits} {code}")
    assert told == ("no" if address is None else f"{address:x}")
