# SPDX-License-Identifier: GPL-2.0-or-later
"""Locks are taken where they may be; the kernel's own detectors judge: what they report is a failure."""

from __future__ import annotations

import pytest

from lab.child.protocol import COUNTERS, Access

scenario = pytest.mark.scenario
APIC_LVT_TIMER, APIC_COUNT, APIC_DIVIDE = 0xFEE00320, 0xFEE00380, 0xFEE003E0
DIVIDE_BY_128 = 0b1010
VECTOR = 0x41
BELL = 0x2_0000_0500
"""A GPA at 8 GiB that no region covers."""
ANSWER = 2.0


def lockdep_is_on(root, evidence, when):
    """After its first report lockdep is off, and what comes later is not looked at."""
    found = root.run("sed -n 's/^ *debug_locks: *//p' /proc/lockdep_stats").out.strip()
    evidence.add(f"debug_locks {when}: {found or 'not told'}")
    return found == "1"


@scenario(claims=("C21",), detectors=("wait-context",), unfixed=True)
def test_waking_a_halted_vp_takes_no_sleeping_lock_in_hard_interrupt(child, root, evidence):
    """Halted, the VP is woken by the hypervisor's interrupt. Without the lab's fix of just that."""
    if not lockdep_is_on(root, evidence, "beforehand"):
        evidence.doubt("lockdep was off before the VP ran")
    child.create_partition(vps=1, lapic=True)
    armed = [
        Access(APIC_DIVIDE, 4, "write", DIVIDE_BY_128),
        Access(APIC_LVT_TIMER, 4, "write", VECTOR),
        Access(APIC_COUNT, 4, "write", 1_000_000),
    ]
    halted = Access(COUNTERS + 8 * VECTOR, 8, "halt", 1)
    results = child.access([Access(0, 8, "listen"), *armed, halted])
    assert all(r.ok for r in results), f"the VP did not take its timer's interrupt: {results[-1]}"
    evidence.observe("timer interrupts of the halted VP", child.interrupts(VECTOR))
    assert lockdep_is_on(root, evidence, "afterwards"), "lockdep went off when the VP was woken"


@scenario(detectors=("wait-context",), unfixed=True)
def test_ring_of_a_doorbell_takes_no_sleeping_lock_in_hard_interrupt(child, root, evidence):
    """Its event is signalled by the interrupt's handler. Without the lab's fix of just that."""
    if not lockdep_is_on(root, evidence, "beforehand"):
        evidence.doubt("lockdep was off before the doorbell rang")
    child.create_partition(vps=1)
    event = child.new_event()
    child.ioeventfd(event, BELL, 4)
    (result,) = child.access([Access(BELL, 4, "write", 1)])
    assert result.message is None, f"the write reached the VMM as {result.message}"
    evidence.observe("signals of the doorbell", child.read_event(event, ANSWER))
    assert lockdep_is_on(root, evidence, "afterwards"), "lockdep went off when the doorbell rang"


@scenario(claims=("C1",), detectors=("atomic-sleep",), needs=("map_on_first_touch",))
def test_first_touches_of_a_device_take_no_sleeping_lock_under_a_spinlock(mapped, device, evidence):
    """The VMM has not touched the BAR either, so that the driver has to fault it in on the way."""
    m = mapped(device)
    last = m.pages - 1
    assert m.read(last) == m.expected(last), f"page {last} is {m.place(last)}"
    assert not m.wrong_pages(), "pages of the region are not the device's"
    evidence.observe("pages that the child reads", m.pages)


@scenario(claims=("C1",), detectors=("atomic-sleep",))
def test_first_touches_of_ram_take_no_sleeping_lock_under_a_spinlock(child, evidence):
    """The same with memory that is faulted in for the child."""
    child.create_partition(vps=1)
    region = child.map_anonymous(0x10_0000, 4)
    results = child.access([Access((region.gfn + page) << 12, 8) for page in range(region.pages)])
    assert all(r.ok for r in results), f"the child cannot read its RAM: {results}"
    evidence.observe("pages that the child reads", len(results))
