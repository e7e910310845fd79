# SPDX-License-Identifier: GPL-2.0-or-later
"""The stand-in's SynIC, ports, doorbells and timers, compiled for the host and driven line by line."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.paths import images_dir

SOURCE = images_dir() / "hypervisor"
HARNESS = Path(__file__).parent / "harness"
GCC = shutil.which("gcc")
pytestmark = pytest.mark.skipif(GCC is None, reason="no gcc")

SCONTROL, SVERSION, SIEFP, SIMP, EOM, SIRBP, SINT0 = 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x90
CONFIG, COUNT = 0xB0, 0xB1
BASE = 0x40000000
MASKED, AUTO_EOI, POLLING, AS_INTERCEPT = 1 << 16, 1 << 17, 1 << 18, 1 << 19
ENABLE, PERIODIC, LAZY, AUTO_ENABLE, DIRECT = 1, 2, 4, 8, 1 << 12
TIMER_EXPIRED, SINT_NOTICE, SIGNAL = 0x80000010, 0x80000061, 0x80000100
MESSAGE, EVENT, DOORBELL = 1, 2, 4
ANY_VP, ANY_VALUE = 0xFFFFFFFF, 0x80000000
OK, BAD_PARAMETER, DENIED, BAD_VP = 0, 5, 6, 0x0E
BAD_PORT, BAD_CONNECTION, NO_BUFFERS, NO_SYNIC = 0x11, 0x12, 0x13, 0x18
MILLISECOND = 10_000
CHILD = 7


class Machine:
    """Two LPs. Each call is a line to the process and one back; it ends itself after a minute."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def do(self, verb: str, *numbers: int) -> str:
        return self.line(" ".join([verb, *(f"{n:x}" for n in numbers)]))

    def line(self, text: str) -> str:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def number(self, verb: str, *numbers: int) -> int:
        return int(self.do(verb, *numbers), 16)

    def write(self, msr: int, value: int) -> str:
        return self.do("wrmsr", BASE + msr, value)

    def read(self, msr: int) -> int:
        return self.number("rdmsr", BASE + msr)

    def on(self, **sints: int) -> None:
        """Everything enabled; ``s5=0xF3`` sets SINT 5."""
        for page in (SIMP, SIEFP, SIRBP):
            assert self.write(page, self.read(page) | 1) == "ok"
        assert self.write(SCONTROL, 1) == "ok"
        for name, value in sints.items():
            assert self.write(SINT0 + int(name[1:]), value) == "ok"

    def slot(self, sint: int) -> tuple[int, int, int]:
        """Type, flags and first word of a message slot."""
        kind, flags, word = (int(n, 16) for n in self.do("slot", sint).split())
        return kind, flags, word

    def sent(self) -> list[str]:
        """``LP:vector`` of the interrupts since the last time."""
        text = self.do("sent")
        return [] if text == "-" else text.split()

    def end(self) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()
        self._process.wait(timeout=10)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("harness") / "event_calls"
    assert GCC
    done = subprocess.run(
        [GCC, "-O1", "-g", "-std=gnu11", "-fno-builtin", "-no-pie", "-Wno-address-of-packed-member",
         "-include", str(HARNESS / "event_harness.h"), "-I", str(SOURCE), "-o", str(out),
         str(HARNESS / "event_calls.c"),
         *(str(SOURCE / f"{name}.c") for name in ("synic", "port", "store", "stimer", "timer", "time"))],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def machine(program: Path) -> Iterator[Machine]:
    m = Machine(program)
    yield m
    m.end()


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


# ---- timers


def test_a_direct_timer_is_left_to_the_hardware(machine: Machine) -> None:
    machine.on(s0=0xF3)
    assert machine.do("live") == "0"
    machine.write(CONFIG, ENABLE | AUTO_ENABLE | DIRECT | 0xED << 4)
    machine.write(COUNT, machine.number("now") + MILLISECOND)
    vector, ticks = (int(n, 16) for n in machine.do("apic").split())
    assert vector == 0xED
    assert 1_000_000 <= ticks <= 1_001_000
    assert machine.do("live") == "1"
    machine.do("pass", MILLISECOND + 1)
    machine.do("run")
    assert machine.sent() == [], "the hardware has interrupted already"
    assert machine.read(CONFIG) & ENABLE == 0, "a one-shot timer ends"


def test_the_next_count_starts_a_timer_that_enables_itself(machine: Machine) -> None:
    machine.write(CONFIG, ENABLE | AUTO_ENABLE | DIRECT | 0xED << 4)
    for _ in range(3):
        machine.write(COUNT, machine.number("now") + MILLISECOND)
        assert machine.read(CONFIG) & ENABLE
        machine.do("pass", MILLISECOND + 1)
        machine.do("run")
        machine.do("eoi")
    assert machine.sent() == []
    machine.write(COUNT, 0)
    assert machine.read(CONFIG) & ENABLE == 0


def test_a_direct_timer_that_the_hardware_missed_is_sent(machine: Machine) -> None:
    machine.write(CONFIG, ENABLE | DIRECT | 0xED << 4)
    machine.write(COUNT, machine.number("now") + MILLISECOND)
    machine.do("lvt", MASKED | 0xED)
    machine.do("pass", 2 * MILLISECOND)
    machine.do("run")
    assert machine.sent() == ["0:ed"]


def test_of_two_timers_the_first_has_the_hardware(machine: Machine) -> None:
    now = machine.number("now")
    machine.write(CONFIG + 2, ENABLE | DIRECT | 0xE2 << 4)
    machine.write(COUNT + 2, now + 3 * MILLISECOND)
    machine.write(CONFIG, ENABLE | DIRECT | 0xE1 << 4)
    machine.write(COUNT, now + MILLISECOND)
    assert machine.do("apic").split()[0] == "e1"
    machine.do("pass", MILLISECOND + 100)
    machine.do("run")
    assert machine.do("apic").split()[0] == "e2"
    machine.do("eoi")
    machine.write(COUNT + 2, 0)
    machine.do("pass", 5 * MILLISECOND)
    machine.do("run")
    assert machine.sent() == []


def test_a_root_that_takes_its_apic_timer_back_keeps_it(machine: Machine) -> None:
    machine.on(s0=0xF3)
    machine.write(CONFIG, ENABLE | AUTO_ENABLE | DIRECT | 0xED << 4)
    machine.write(COUNT, machine.number("now") + MILLISECOND)
    machine.write(COUNT, 0)
    machine.do("lvt", 0xEC)
    machine.write(CONFIG + 2, ENABLE | 2 << 16)
    machine.write(COUNT + 2, machine.number("now") + MILLISECOND)
    assert machine.do("apic").split()[0] == "ec"
    assert machine.do("live") == "0"


def test_a_timer_by_message(machine: Machine) -> None:
    machine.on(s0=0xF3, s2=0x52)
    machine.write(CONFIG, ENABLE | 2 << 16)
    machine.write(COUNT, machine.number("now") + MILLISECOND)
    assert machine.do("apic").split()[0] == "f3", "our own deadline: the root's SynIC vector"
    machine.do("pass", MILLISECOND - 10)
    machine.do("run")
    assert machine.slot(2)[0] == 0
    machine.do("pass", 20)
    machine.do("run")
    assert machine.slot(2)[0] == TIMER_EXPIRED
    assert machine.sent() == ["0:52"]


def test_a_message_timer_beside_a_used_apic_timer_is_looked_at_on_exits(machine: Machine) -> None:
    machine.on(s0=0xF3, s2=0x52)
    machine.do("lvt", 0xEC)
    machine.write(CONFIG, ENABLE | 2 << 16)
    machine.write(COUNT, machine.number("now") + MILLISECOND)
    assert machine.do("apic") == "ec 0"
    machine.do("pass", MILLISECOND + 1)
    machine.do("run")
    assert machine.slot(2)[0] == TIMER_EXPIRED


def test_a_periodic_timer_has_one_message_under_way(machine: Machine) -> None:
    machine.on(s0=0xF3, s2=0x52)
    machine.write(CONFIG, ENABLE | PERIODIC | LAZY | 2 << 16)
    machine.write(COUNT, MILLISECOND)
    for _ in range(5):
        machine.do("pass", MILLISECOND + 10)
        machine.do("run")
    assert machine.slot(2)[:2] == (TIMER_EXPIRED, 1)
    machine.do("free", 2)
    machine.write(EOM, 0)
    assert machine.slot(2)[:2] == (TIMER_EXPIRED, 0)
    machine.do("free", 2)
    machine.write(EOM, 0)
    assert machine.slot(2)[0] == 0
    assert machine.read(CONFIG) & ENABLE, "it goes on"


def test_timer_configurations_that_are_not_allowed(machine: Machine) -> None:
    for config in (1 << 13, 1 << 20, 1 << 63, ENABLE | DIRECT | 0xF << 4):
        assert machine.write(CONFIG, config) == "fault"
    assert machine.read(CONFIG) == 0
    machine.write(CONFIG, ENABLE)
    assert machine.read(CONFIG) == 0, "messages of SINT 0 are no timer's"


@pytest.mark.parametrize(
    ("expired", "period", "now", "lazy", "expected"),
    [
        (100, 10, 100, 1, 110),
        (100, 10, 109, 0, 110),
        (100, 10, 110, 1, 120),
        (100, 10, 155, 1, 160),
        (100, 10, 155, 0, 110),
    ],
)
def test_when_a_periodic_timer_expires_next(
    machine: Machine, expired: int, period: int, now: int, lazy: int, expected: int
) -> None:
    assert machine.number("next", expired, period, now, lazy) == expected


@pytest.mark.parametrize("ref", [1, 12_345_678, 10**7 * 86_400 * 365])
def test_reference_time_reaches_a_value_at_the_tsc_that_is_computed_for_it(
    machine: Machine, ref: int
) -> None:
    """Not before, and at most a part in a million later."""
    assert -2 <= int(machine.do("tsc", ref)) <= 2 + ref // 1_000_000
