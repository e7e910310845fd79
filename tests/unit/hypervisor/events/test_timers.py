# SPDX-License-Identifier: GPL-2.0-or-later
"""Synthetic timers of the root."""

from __future__ import annotations

import pytest

from .conftest import (
    AUTO_ENABLE,
    CONFIG,
    COUNT,
    DIRECT,
    ENABLE,
    EOM,
    LAZY,
    MASKED,
    MILLISECOND,
    PERIODIC,
    TIMER_EXPIRED,
    Machine,
)

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
