# SPDX-License-Identifier: GPL-2.0-or-later
"""Events between VMM and child: a write that rings a doorbell, and an event that interrupts the child."""

from __future__ import annotations

import pytest

from lab.child.msi import APIC_LDR, LEVEL, LOGICAL_MSI, MEMBER, MSI
from lab.child.protocol import COUNTERS, PDPT, Access
from lab.hypervisor.names import Event
from lab.model.ledger import RecordKind

scenario = pytest.mark.scenario
BELL = 0x2_0000_0100
"""A GPA at 8 GiB that no region covers."""
VALUE = 0x1122334455667788
ANSWER = 2.0
"""Seconds in which an event has to come."""
VECTOR, OTHER_VECTOR = 0x41, 0x52
PAGE_VECTORS = 7
"""So many vectors a VP's register page has room for."""


def write(child, gpa, width, value):
    """One write; the intercept that reached the VMM, or None."""
    (result,) = child.access([Access(gpa, width, "write", value & ((1 << 8 * width) - 1))])
    return result.message


def doorbells(ledger, position):
    """What the stand-in says has rung since ``position``."""
    return [
        r for r in ledger.since(position).records if r.kind is RecordKind.EVENT and r.code == Event.DOORBELL
    ]


@scenario(quick=True)
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_write_to_a_doorbell_signals_and_does_not_reach_the_vmm(child, evidence, width):
    value = VALUE & ((1 << 8 * width) - 1)
    child.create_partition(vps=1)
    event = child.new_event()
    child.ioeventfd(event, BELL, width, value)
    message = write(child, BELL, width, value)
    signals = child.read_event(event, ANSWER)
    evidence.observe("signals", signals)
    assert message is None, f"the write reached the VMM as {message}"
    assert signals == 1


@scenario(quick=True)
def test_write_of_another_value_or_width_reaches_the_vmm(child, evidence):
    child.create_partition(vps=1)
    event = child.new_event()
    child.ioeventfd(event, BELL, 4, 0x77)
    missed = {
        "value": write(child, BELL, 4, 0x78),
        "narrower": write(child, BELL, 2, 0x77),
        "wider": write(child, BELL, 8, 0x77),
        "beside": write(child, BELL + 4, 4, 0x77),
    }
    (read,) = child.access([Access(BELL, 4)])
    missed["read"] = read.message
    for what, message in missed.items():
        assert message is not None, f"{what}: the access did not reach the VMM"
        assert message.name == "UNMAPPED_GPA"
    assert child.read_event(event) == 0
    assert write(child, BELL, 4, 0x77) is None
    assert child.read_event(event, ANSWER) == 1
    evidence.observe("intercepted", ",".join(missed))


@scenario()
def test_doorbells_for_any_value_and_any_width_take_every_write(child):
    child.create_partition(vps=1)
    event = child.new_event()
    child.ioeventfd(event, BELL, 0)
    for width in (1, 2, 4, 8):
        assert write(child, BELL, width, VALUE + width) is None
        assert child.read_event(event, ANSWER) == 1, f"{width} bytes"


@scenario()
def test_two_doorbells_at_one_address_are_told_apart_by_value(child):
    child.create_partition(vps=1)
    events = [child.new_event() for _ in range(3)]
    for number, event in enumerate(events):
        child.ioeventfd(event, BELL, 4, number)
    for number in (2, 0, 1):
        assert write(child, BELL, 4, number) is None
        assert child.read_event(events[number], ANSWER) == 1
        assert [child.read_event(e) for e in events] == [0, 0, 0]


@scenario()
def test_many_rings_from_two_vps_signal_and_none_reaches_the_vmm(child, ledger, evidence):
    """More than the event ring holds, so that the root has to say when it has emptied it."""
    rings = 200
    child.create_partition(vps=2)
    events = [child.new_event() for _ in range(2)]
    position = ledger.mark()
    for vp, event in enumerate(events):
        child.ioeventfd(event, BELL + 8 * vp, 8)
    jobs = [[Access(BELL + 8 * vp, 8, "write", n, vp=vp) for n in range(rings)] for vp in range(2)]
    results = child.parallel(jobs)
    assert all(r.ok for job in results for r in job)
    counts = [child.read_event(event, ANSWER) for event in events]
    if ledger.complete:
        rung = len(doorbells(ledger, position))
        evidence.add(f"{rung} rings, {counts} signals")
        assert rung == 2 * rings
    else:
        evidence.unseen("rings of a doorbell")
    assert all(counts), "a doorbell rang and its event was never signalled"


@scenario()
def test_page_table_at_a_doorbell_does_not_ring_it(child):
    """A write whose walk through the child's tables comes to the doorbell writes nothing there."""
    walked = 300
    child.create_partition(vps=1)
    event = child.new_event()
    child.ioeventfd(event, BELL & ~0xFFF, 0)
    child.poke(PDPT + 8 * walked, (BELL & ~0xFFF | 3).to_bytes(8, "little"))  # present, writable
    message = write(child, walked << 30, 4, 1)
    assert message is not None, "the write went to a table that is not there"
    assert message.gpa == BELL & ~0xFFF
    assert child.read_event(event) == 0


@scenario(quick=True)
def test_removed_doorbell_reaches_the_vmm_again(child):
    child.create_partition(vps=1)
    event = child.new_event()
    child.ioeventfd(event, BELL, 4)
    assert write(child, BELL, 4, 1) is None
    assert child.read_event(event, ANSWER) == 1
    child.ioeventfd(event, BELL, 4, remove=True)
    message = write(child, BELL, 4, 1)
    assert message is not None, "the write did not reach the VMM although the doorbell is gone"
    assert message.gpa == BELL
    assert child.read_event(event) == 0


def listening(child, routes, vps=1):
    """A child that takes interrupts, and those routes."""
    child.create_partition(vps=vps, lapic=True)
    child.routes(routes)
    results = child.access([Access(0, 8, "listen", vp=vp) for vp in range(vps)])
    assert all(r.ok for r in results), f"the payload cannot take interrupts: {results}"


def wait(child, how, vector, count, vp=0):
    """An access that ends when the child has taken ``count`` interrupts."""
    return [Access(COUNTERS + 8 * vector, 8, how, count, vp=vp)]


def irqfds(child, vectors):
    """An event for each vector, by the route of the same number."""
    events = [child.new_event() for _ in vectors]
    for event, vector in zip(events, vectors, strict=True):
        child.irqfd(event, vector)
    return events


def how_raised(ledger, position):
    """Vectors that the hypervisor took from register pages, and those it was asked for by hypercall."""
    records = ledger.since(position).records
    taken = [r.words[2] for r in records if r.kind is RecordKind.EVENT and r.code == Event.PAGE_VECTORS]
    vectors = [v for words in taken for v in words.to_bytes(8, "little")[1 : 1 + (words & 0xFF)]]
    return vectors, len(ledger.hypercalls("ASSERT_VIRTUAL_INTERRUPT", position))


@scenario(quick=True)
@pytest.mark.parametrize("how", ["poll", "halt"])
def test_event_interrupts_the_child(child, evidence, how):
    listening(child, {1: (MSI, VECTOR)})
    event = child.new_event()
    child.irqfd(event, 1)
    for count in range(1, 6):
        child.submit(0, wait(child, how, VECTOR, count))
        child.write_event(event)
        (result,) = child.collect(0, wait(child, how, VECTOR, count))
        assert result.ok, f"interrupt {count}: {result}"
        assert child.interrupts(VECTOR) == count
    evidence.observe("vectors", [child.interrupts(VECTOR), child.interrupts(OTHER_VECTOR)])


@scenario(quick=True)
@pytest.mark.parametrize("how", ["poll", "halt"])
def test_events_of_several_vectors_each_interrupt_the_child(child, ledger, evidence, how):
    """All of them at once, again and again; the driver may ask for one twice, but none may be lost."""
    vectors = [0x41, 0x52, 0x53, 0xE0]
    listening(child, {vector: (MSI, vector) for vector in vectors})
    events = irqfds(child, vectors)
    position = ledger.mark()
    for number in range(1, 11):
        waits = [a for v in vectors for a in wait(child, how, v, child.interrupts(v) + 1)]
        child.submit(0, waits)
        for event in events:
            child.write_event(event)
        assert all(r.ok for r in child.collect(0, waits)), f"an interrupt of round {number} is lost"
    assert child.interrupts(0x54) == 0
    if ledger.complete:
        evidence.add("from the page {}, by hypercall {}".format(*map(str, how_raised(ledger, position))))


@scenario(quick=True)
def test_more_vectors_than_the_page_holds_all_arrive(child, ledger, evidence):
    """The VP does not run while they are raised: the page fills up."""
    vectors = list(range(0x50, 0x50 + PAGE_VECTORS + 3))
    listening(child, {vector: (MSI, vector) for vector in vectors})
    position = ledger.mark()
    for event in irqfds(child, vectors):
        child.write_event(event)
        child.write_event(event)
    waits = [a for v in vectors for a in wait(child, "halt", v, 1)]
    assert all(r.ok for r in child.access(waits)), "an interrupt is lost"
    assert [child.interrupts(v) for v in vectors] == [1] * len(vectors)
    if ledger.complete:
        taken, asked = how_raised(ledger, position)
        evidence.add(f"from the page {[hex(v) for v in taken]}, {asked} by hypercall")
        assert len(set(taken)) + asked >= len(vectors)


@scenario(quick=True)
def test_event_interrupts_the_vp_that_its_message_names(child):
    """The other VP is not run: what went there would not be counted."""
    listening(child, {1: (MSI | 1 << 12, VECTOR)}, vps=2)
    event = child.new_event()
    child.irqfd(event, 1)
    for count in range(1, 4):
        child.submit(1, wait(child, "halt", VECTOR, count, vp=1))
        child.write_event(event)
        (result,) = child.collect(1, wait(child, "halt", VECTOR, count, vp=1))
        assert result.ok, f"interrupt {count}: {result}"


def logical(child, vector):
    """A listening child, and an interrupt of the vector's number whose message names a logical destination:
    no driver puts that into a register page."""
    listening(child, {VECTOR: (LOGICAL_MSI, vector)})
    assert write(child, APIC_LDR, 4, MEMBER << 24) is None
    return child.new_event()


@scenario(quick=True)
@pytest.mark.parametrize("how", ["poll", "halt"])
def test_event_with_a_logical_destination_interrupts_the_child(child, ledger, how):
    event = logical(child, VECTOR)
    child.irqfd(event, VECTOR)
    position = ledger.mark()
    for count in range(1, 6):
        child.submit(0, wait(child, how, VECTOR, count))
        child.write_event(event)
        (result,) = child.collect(0, wait(child, how, VECTOR, count))
        assert result.ok, f"interrupt {count}: {result}"
        assert child.interrupts(VECTOR) == count
    if ledger.complete:
        assert how_raised(ledger, position) == ([], 5)


@scenario()
def test_event_without_its_interrupt_does_nothing(child):
    """The second event comes after the first: when it has interrupted, the first would have."""
    listening(child, {1: (MSI, VECTOR), 2: (MSI, OTHER_VECTOR)})
    removed, kept = child.new_event(), child.new_event()
    child.irqfd(removed, 1)
    child.irqfd(kept, 2)
    child.irqfd(removed, 1, remove=True)
    child.write_event(removed)
    child.submit(0, wait(child, "halt", OTHER_VECTOR, 1))
    child.write_event(kept)
    (result,) = child.collect(0, wait(child, "halt", OTHER_VECTOR, 1))
    assert result.ok
    assert [child.interrupts(v) for v in (VECTOR, OTHER_VECTOR)] == [0, 1]


NOBODY = 5
"""An APIC id that no VP of these children has."""


@scenario()
def test_event_for_a_vp_that_is_not_there_does_nothing(child, evidence):
    """The driver takes such a route; a message to nobody is dropped, and the next event interrupts."""
    listening(child, {1: (MSI | NOBODY << 12, VECTOR), 2: (MSI, OTHER_VECTOR)})
    lost, kept = child.new_event(), child.new_event()
    child.irqfd(lost, 1)
    child.irqfd(kept, 2)
    child.write_event(lost)
    child.submit(0, wait(child, "halt", OTHER_VECTOR, 1))
    child.write_event(kept)
    (result,) = child.collect(0, wait(child, "halt", OTHER_VECTOR, 1))
    vectors = [child.interrupts(v) for v in (VECTOR, OTHER_VECTOR)]
    evidence.observe("vectors", vectors)
    assert result.ok
    assert vectors == [0, 1]


@scenario()
def test_event_whose_route_was_removed_does_nothing(child, ledger, evidence):
    """What replaces it has no vector; a vector of zero would be none that an interrupt may have."""
    listening(child, {1: (MSI, VECTOR), 2: (MSI, OTHER_VECTOR)})
    lost, kept = child.new_event(), child.new_event()
    child.irqfd(lost, 1)
    child.irqfd(kept, 2)
    child.routes({2: (MSI, OTHER_VECTOR)})
    position = ledger.mark()
    child.write_event(lost)
    child.write_event(kept)
    (result,) = child.access(wait(child, "halt", OTHER_VECTOR, 1))
    vectors = [child.interrupts(v) for v in (VECTOR, OTHER_VECTOR)]
    evidence.observe("vectors", vectors)
    assert result.ok
    assert vectors == [0, 1]
    if ledger.complete:
        taken, asked = how_raised(ledger, position)
        evidence.add(f"from the page {[hex(v) for v in taken]}, {asked} by hypercall")
        assert set(taken) <= {OTHER_VECTOR}, "an event without a route raised a vector"


@scenario()
def test_end_of_a_level_interrupt_signals_the_resample_event(child, evidence):
    """The driver finds the resampler by the vector, so the interrupt's number is the vector. The destination
    is a logical one: a register page says nothing of levels."""
    event, resample = logical(child, VECTOR | LEVEL), child.new_event()
    child.irqfd(event, VECTOR, resample)
    assert child.read_event(resample) == 0
    child.submit(0, wait(child, "halt", VECTOR, 1))
    child.write_event(event)
    (result,) = child.collect(0, wait(child, "halt", VECTOR, 1))
    assert result.ok
    signals = child.read_event(resample, ANSWER)
    evidence.observe("resampled", signals)
    assert signals == 1


@scenario()
def test_end_of_a_level_interrupt_to_one_vp_signals_the_resample_event(child, ledger, evidence):
    """The same with a physical destination, which the driver puts into the register page of a resting VP."""
    listening(child, {VECTOR: (MSI, VECTOR | LEVEL)})
    event, resample = child.new_event(), child.new_event()
    child.irqfd(event, VECTOR, resample)
    position = ledger.mark()
    child.write_event(event)
    (result,) = child.access(wait(child, "halt", VECTOR, 1))
    assert result.ok
    signals = child.read_event(resample, ANSWER / 2)
    evidence.observe("resampled", signals)
    if ledger.complete:
        taken, asked = how_raised(ledger, position)
        evidence.add(f"from the page {[hex(v) for v in taken]}, {asked} by hypercall")
    assert signals == 1, "the child has ended the interrupt, and the resample event was not signalled"


APIC_LVT_TIMER, APIC_COUNT, APIC_DIVIDE = 0xFEE00320, 0xFEE00380, 0xFEE003E0
DIVIDE_BY_128 = 0b1010


@scenario()
@pytest.mark.parametrize("how", ["poll", "halt"])
def test_timer_of_the_child_interrupts_it(lab, child, ledger, evidence, how):
    """Halted, it is woken by the hypervisor: the root does not look again and again."""
    listening(child, {})
    for address, value in ((APIC_DIVIDE, DIVIDE_BY_128), (APIC_LVT_TIMER, VECTOR)):
        assert write(child, address, 4, value) is None
    lab.hypervisor.ledger_enable(True, dispatches=True)
    position = ledger.mark()
    try:
        assert write(child, APIC_COUNT, 4, 1_000_000) is None
        (result,) = child.access(wait(child, how, VECTOR, 1))
    finally:
        lab.hypervisor.ledger_enable(True)
    dispatches = sum(r.kind is RecordKind.DISPATCH for r in ledger.since(position).records)
    evidence.add(f"{dispatches} times dispatched")
    assert result.ok
    assert child.interrupts(VECTOR) == 1
    assert how == "poll" or dispatches < 50, f"dispatched {dispatches} times while it was halted"
