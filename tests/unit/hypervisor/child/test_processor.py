# SPDX-License-Identifier: GPL-2.0-or-later
"""A child's MSRs, CPUID, page tables and instructions, and what its VMM sets and reads of a VP."""

from __future__ import annotations

import pytest

from .conftest import (
    ALL,
    BASE,
    DONE,
    ENABLE,
    ESR,
    FAULT,
    GFN,
    OS_ID,
    SCONTROL,
    SIMP,
    STIMER_CONFIG,
    TPR,
    UNKNOWN,
    X2,
    Machine,
    Make,
)

# ---- MSRs


@pytest.mark.parametrize(
    ("msr", "value", "result"),
    [
        (0xC0000080, 0xD01, DONE),
        (0xC0000080, 1 << 12, FAULT),
        (0xC0000080, 1 << 40, FAULT),
        (0x277, 0x0007040600070406, DONE),
        (0x277, 0x0007040600070402, FAULT),
        (0x176, 0xFFFF800000000000, DONE),
        (0x176, 0x0000800000000000, FAULT),
        (0xFE, 0, FAULT),
        (0x2FF, 0xC06, DONE),
        (0x2FF, 1 << 12, FAULT),
        (0x200, 0x12345006, DONE),
        (0x200, 0x12345306, FAULT),
        (0x201, 0xFFFF000800, DONE),
        (0xC0000103, 5, DONE),
        (0xC0000103, 1 << 32, FAULT),
        (0xC0010114, 0, FAULT),
        (0xC0010117, 0x1000, FAULT),
        (0x12345, 1, UNKNOWN),
        (0x40000000, 1, UNKNOWN),
    ],
)
def test_msr_writes(machine: Make, msr: int, value: int, result: str) -> None:
    assert machine().last("wrmsr", 0, msr, value) == result


def test_unknown_msr_is_no_storage(machine: Make) -> None:
    m = machine()
    m.do("wrmsr", 0, 0x12345, 0x55)
    assert m.last("rdmsr", 0, 0x12345).split()[0] == UNKNOWN


# ---- CPUID


def test_what_the_vmm_registers_replaces_what_the_mask_says(machine: Make) -> None:
    m = machine()
    plain = m.last("cpuid", 0, 0x80000002, 0)
    m.do("result", 0, 0x80000002, 0, 0, 1, 0x00FF00FF << 32 | 0x12345678)
    got = m.last("cpuid", 0, 0x80000002, 0).split()
    expected = [int(w, 16) for w in plain.split()]
    expected[1] = (expected[1] & ~0x00FF00FF) | (0x12345678 & 0x00FF00FF)
    assert [int(w, 16) for w in got] == expected
    assert m.last("cpuid", 1, 0x80000002, 0) == plain, "results belong to one VP"


def test_a_subleaf_result_goes_before_the_general_one(machine: Make) -> None:
    m = machine()
    full = 0xFFFFFFFF << 32
    m.do("result", 0, 4, 0, 0, 0, full | 0x11)
    m.do("result", 0, 4, 1, 1, 0, full | 0x22)
    assert m.last("cpuid", 0, 4, 1).split()[0] == "22"
    assert m.last("cpuid", 0, 4, 2).split()[0] == "11"
    m.do("result", 0, 4, 1, 1, 0, full | 0x33)
    assert m.last("cpuid", 0, 4, 1).split()[0] == "33", "registering again replaces"


def test_osxsave_follows_cr4_whatever_was_registered(machine: Make) -> None:
    m = machine()
    m.do("result", 0, 1, 0, 0, 2, 0xFFFFFFFF << 32 | 3 << 26)
    assert int(m.last("cpuid", 0, 1, 0).split()[2], 16) >> 27 & 1 == 0
    m.do("control", 0, 0, 0, 1 << 18, 0, 0)
    assert int(m.last("cpuid", 0, 1, 0).split()[2], 16) >> 27 & 1 == 1


def test_many_results_take_pages_of_the_pool(machine: Make) -> None:
    m = machine()
    for leaf in range(250):
        m.do("result", 0, 0x10000 + leaf, 0, 0, 0, 0xFFFFFFFF << 32 | leaf)
    assert m.last("cpuid", 0, 0x10000 + 3, 0).split()[0] == "3"
    assert m.last("cpuid", 0, 0x10000 + 249, 0).split()[0] == "f9"


# ---- page tables: PML4 in page 1, then 2, 3, 4; the page in 5

READ, WRITE, EXECUTE, EXEMPT, SUPERVISOR, USER = 1, 2, 4, 8, 0x40, 0x80
P, W, U, NX = 1, 2, 4, 1 << 63
CR0, CR4, EFER = 0x80010001, 0x20, 0xD00
OK, NOT_PRESENT, PRIVILEGE, BAD_TABLE, UNMAPPED, NO_READ, NO_WRITE = range(7)


def tables(m: Machine, leaf: int, *, middle: int = P | W | U, cr4: int = CR4, cpl: int = 0) -> None:
    for page in range(1, 6):
        m.do("map", page, page, 7)
    for page, entry in (
        (1, 0x2000 | P | W | U),
        (2, 0x3000 | middle),
        (3, 0x4000 | P | W | U),
        (4, 0x5000 | leaf),
    ):
        m.do("poke", page * 4096, entry)
    m.do("control", 0, CR0, 0x1000, cr4, EFER, cpl)


@pytest.mark.parametrize(
    ("leaf", "middle", "cr4", "cpl", "flags", "result"),
    [
        (P | W | U, P | W | U, CR4, 0, READ | WRITE, OK),
        (P | U, P | W | U, CR4, 0, READ, OK),
        (P | U, P | W | U, CR4, 0, WRITE, PRIVILEGE),
        (P | W | U, P | U, CR4, 0, WRITE, PRIVILEGE),
        (P | W, P | W | U, CR4, 3, READ, PRIVILEGE),
        (P | W, P | W | U, CR4, 3, READ | EXEMPT, OK),
        (P | W, P | W | U, CR4, 0, READ | USER, PRIVILEGE),
        (P | W, P | W | U, CR4, 3, READ | SUPERVISOR, OK),
        (P | W | NX, P | W | U, CR4, 0, EXECUTE, PRIVILEGE),
        (P | W | U, P | W | U, CR4 | 1 << 20, 0, EXECUTE, PRIVILEGE),
        (P | W | U, P | W | U, CR4 | 1 << 21, 0, READ, PRIVILEGE),
        (0, P | W | U, CR4, 0, READ, NOT_PRESENT),
        (P, 0, CR4, 0, 0, NOT_PRESENT),
    ],
)
def test_translation_looks_at_the_rights_of_every_level(
    machine: Make, leaf: int, middle: int, cr4: int, cpl: int, flags: int, result: int
) -> None:
    m = machine()
    tables(m, leaf, middle=middle, cr4=cr4, cpl=cpl)
    code, gpa = m.last("translate", 0, 0x123, flags).split()
    assert int(code) == result
    assert gpa == ("5123" if result == OK else "0")


def test_translation_looks_at_the_second_level_too(machine: Make) -> None:
    m = machine()
    tables(m, P | W | U)
    m.do("map", 5, 5, 1)
    assert m.last("translate", 0, 0, READ).split()[0] == str(OK)
    assert m.last("translate", 0, 0, WRITE).split()[0] == str(NO_WRITE)
    m.do("map", 5, 5, 0)
    assert m.last("translate", 0, 0, READ).split()[0] == str(NO_READ)
    assert m.last("translate", 0, 0, 0) == f"{OK} 5000", "nothing to validate"
    m.do("poke", 4 * 4096, 0x77000 | P | W | U)
    assert m.last("translate", 0, 0, READ).split()[0] == str(UNMAPPED)
    m.do("poke", 4096, 0x88000 | P | W | U)
    assert m.last("translate", 0, 0, 0).split()[0] == str(UNMAPPED), "a table that is not there"


def test_translation_refuses_reserved_bits(machine: Make) -> None:
    m = machine()
    tables(m, P | W | U)
    m.do("poke", 2 * 4096 - 4096, 0x2000 | P | W | U | 1 << 7)
    assert m.last("translate", 0, 0, READ).split()[0] == str(BAD_TABLE)


# ---- the address behind a nested page fault: the code is in frame 6 at virtual page 1, rdi leads elsewhere

FINAL, ON_THE_WAY, FETCH, VALID = 1 << 32, 1 << 33, 1 << 4, 1 << 31
CODE, MOV_FROM_RDI, HLT = 0x1000, 0x078B48, 0xF4
BIG = 1 << 30
"""Bytes behind an entry of the PDPT, whose second one names a table that is not mapped."""


@pytest.mark.parametrize(
    ("code", "info", "gpa", "rip", "rdi", "event", "gva"),
    [
        (MOV_FROM_RDI, FINAL, 0x9123, CODE, 0x2123, 0, "2123"),
        (MOV_FROM_RDI, FINAL, 0x9000, CODE, 0x1FFC, 0, "2000"),  # the next page
        (MOV_FROM_RDI, FINAL, 0x9123, CODE, 0x3123, 0, "none"),
        (HLT, FINAL, 0x9123, CODE, 0x2123, 0, "none"),
        (MOV_FROM_RDI, FINAL | FETCH, 0x9123, 0x2123, 0, 0, "2123"),
        (MOV_FROM_RDI, FINAL | FETCH, 0x9000, 0x1FFE, 0, 0, "2000"),
        (MOV_FROM_RDI, FINAL, 0x9123, CODE, 0x2123, VALID, "none"),
        (MOV_FROM_RDI, ON_THE_WAY, 0x77000, CODE, BIG + 0x123, 0, f"{BIG + 0x123:x}"),
        (MOV_FROM_RDI, ON_THE_WAY, 0x77008, CODE, BIG + 0x123, 0, "none"),
        (MOV_FROM_RDI, ON_THE_WAY, 0x77000, BIG + 0x45, 0, 0, f"{BIG + 0x45:x}"),
        (MOV_FROM_RDI, ON_THE_WAY, 0x4010, CODE, 0x2123, 0, "2123"),  # readable, but not to be written
        (HLT, ON_THE_WAY, 0x77000, CODE, BIG + 0x123, 0, "none"),
    ],
)
def test_the_virtual_address_of_a_fault(
    machine: Make, code: int, info: int, gpa: int, rip: int, rdi: int, event: int, gva: str
) -> None:
    m = machine()
    tables(m, P | W | U)
    m.do("map", 6, 6, 7)
    for at, entry in (
        (0x2008, 0x77000 | P | W | U),
        (0x4008, 0x6000 | P | W | U),
        (0x4010, 0x9000 | P | W | U),
        (0x6000, code),
    ):
        m.do("poke", at, entry)
    assert m.last("fault", 0, info, gpa, rip, rdi, event) == gva


# ---- events and registers of the VMM

INTERRUPTION, EVENT0, EVENT1, ACTIVITY, STATE = 0x10002, 0x10004, 0x10005, 4, 0x10003
PAGE_FAULT = 14 << 16 | 1 | 1 << 8 | 2 << 32


def test_a_pending_page_fault_sets_cr2_and_is_delivered(machine: Make) -> None:
    m = machine()
    assert m.last("setreg", 0, EVENT0, PAGE_FAULT, 0xDEAD000) == "0"
    assert m.last("getreg", 0, EVENT0) == f"0 {PAGE_FAULT:x} dead000"
    interruption = 1 | 3 << 1 | 1 << 4 | 14 << 16 | 2 << 32
    assert m.last("event", 0) == f"{interruption:x} dead000 0"
    assert m.last("getreg", 0, EVENT0) == "0 0 0"


def test_a_pending_external_interrupt_and_types_that_are_refused(machine: Make) -> None:
    m = machine()
    m.do("setreg", 0, EVENT0, 1 | 5 << 1 | 0x30 << 8, 0)
    assert m.last("event", 0).split()[2] == "130"
    assert m.last("setreg", 0, EVENT0, 1 | 2 << 1, 0) == "50"
    assert m.last("setreg", 0, EVENT1, 1, 0) == "50"


@pytest.mark.parametrize(
    ("value", "status", "reads"), [(0, "0", "0"), (1, "0", "1"), (2, "0", "2"), (4, "0", "4"), (8, "50", "0")]
)
def test_activity_of_a_vp(machine: Make, value: int, status: str, reads: str) -> None:
    m = machine()
    assert m.last("setreg", 1, ACTIVITY, value) == status
    assert m.last("getreg", 1, ACTIVITY).split()[1] == reads


def test_interrupt_state_round_trip(machine: Make) -> None:
    m = machine()
    m.do("setreg", 0, STATE, 3)
    assert m.last("getreg", 0, STATE) == "0 3 0"


@pytest.mark.parametrize("name", [0x123, 0x90099, 0xC0000, 0xFFFFFFFF])
def test_register_that_is_none_is_refused(machine: Make, name: int) -> None:
    m = machine(features=ALL)
    assert m.last("getreg", 0, name).split()[0] == "5"
    assert m.last("setreg", 0, name, 0) == "5"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (0x90002, 0x1234),
        (0xA0002, 0x67),
        (0xA0010, 1),
        (0xA0013, GFN << 12 | 1),
        (0xB0000, 0x1001 | 0x55 << 4),
    ],
)
def test_synthetic_registers_are_the_msrs(machine: Make, name: int, value: int) -> None:
    m = machine(features=ALL)
    assert m.last("setreg", 0, name, value) == "0"
    assert m.last("getreg", 0, name).split()[1] == f"{value:x}"
    msr = {9: OS_ID - 2, 10: 0x40000090, 11: STIMER_CONFIG}[name >> 16] + (name & 0xFFFF)
    msr = {0x400000A0: SCONTROL, 0x400000A3: SIMP}.get(msr, msr)
    assert m.last("rdmsr", 0, msr) == f"0 {value:x}"


@pytest.mark.parametrize(
    ("value", "status"), [(BASE | ENABLE | X2, "0"), (BASE | X2, "50"), (BASE | 1, "50")]
)
def test_apic_base_register_is_checked_but_knows_no_transitions(
    machine: Make, value: int, status: str
) -> None:
    m = machine()
    m.do("setreg", 0, 0x80003, BASE)
    assert m.last("setreg", 0, 0x80003, value) == status


# ---- instructions on the APIC page


@pytest.mark.parametrize(
    ("code", "length", "read"),
    [
        ("8b0425b000e0fe", 7, True),
        ("8b08", 2, True),
        ("890425b000e0fe", 7, False),
        ("8988b0000000", 6, False),
        ("c780b000000041000000", 10, False),
        ("67890c25b000e0fe", 8, False),
        ("8708", 2, True),
        ("f08708", 3, True),
        ("a1b000e0fe00000000", 9, True),
    ],
)
def test_instructions_of_operating_systems_are_decoded(
    machine: Make, code: str, length: int, read: bool
) -> None:
    padded = bytes.fromhex(code).ljust(16, b"\x90")
    words = [int.from_bytes(padded[i : i + 8], "big") for i in (0, 8)]
    handled, _rax, _rcx, rip = machine().last("mmio", 0, TPR, 0x20, *words).split()
    assert (handled, int(rip, 16)) == ("1", length)


@pytest.mark.parametrize("code", ["00", "0fb600", "8a00", "8bc0", "ff00"])
def test_other_instructions_go_to_the_vmm(machine: Make, code: str) -> None:
    padded = bytes.fromhex(code).ljust(16, b"\x90")
    words = [int.from_bytes(padded[i : i + 8], "big") for i in (0, 8)]
    assert machine().last("mmio", 0, TPR, 0x20, *words).split()[0] == "0"


def test_access_beside_the_registers_is_an_error_of_the_xapic(machine: Make) -> None:
    m = machine()
    m.do("mmio", 0, 0x3F0, 0, 0x8B08 << 48, 0)
    m.do("write", 0, ESR, 0)
    assert m.last("read", 0, ESR) == "1 80"
