# SPDX-License-Identifier: GPL-2.0-or-later
"""What becomes of events: signalled early, rerouted, removed, closed, refused; one among several."""

from __future__ import annotations

from functools import partial

import pytest

from lab.child.msi import APIC_LDR, LEVEL, LOGICAL_MSI, LOWEST_PRIORITY, MEMBER, MSI
from lab.child.protocol import COUNTERS, Access, VmmError, errno_of
from lab.root import leaks

scenario = pytest.mark.scenario
BELL = 0x2_0000_0300
"""A GPA at 8 GiB that no region covers."""
ANSWER = 2.0
VECTOR, OTHER_VECTOR = 0x41, 0x52
INVALID_PARAMETER = 0x0005
REPEATS = 50
SLOW = 4
"""A debug kernel does so many times fewer rounds."""


def write(child, gpa, width, value):
    """One write; the intercept that reached the VMM, or None."""
    (result,) = child.access([Access(gpa, width, "write", value)])
    return result.message


def listening(child, routes):
    child.create_partition(vps=1, lapic=True)
    child.routes(routes)
    (result,) = child.access([Access(0, 8, "listen")])
    assert result.ok, f"the payload cannot take interrupts: {result}"


def wait(vector, count):
    """An access that ends when the child has taken ``count`` interrupts."""
    return [Access(COUNTERS + 8 * vector, 8, "halt", count)]


def interrupted(child, event, vector, count, why):
    """Signal the event: the child takes its interrupt, and has taken ``count`` then."""
    child.submit(0, wait(vector, count))
    child.write_event(event)
    try:
        (result,) = child.collect(0, wait(vector, count))
    except VmmError as e:
        pytest.fail(f"{why}: {e}")
    assert result.ok, f"{why}: {result}"
    assert child.interrupts(vector) == count


@scenario()
def test_event_signalled_before_it_got_its_interrupt_interrupts(child):
    listening(child, {1: (MSI, VECTOR), 2: (MSI, OTHER_VECTOR)})
    early, other = child.new_event(), child.new_event()
    child.write_event(early)
    child.irqfd(early, 1)
    child.irqfd(other, 2)
    interrupted(child, other, OTHER_VECTOR, 1, "an event does not interrupt")
    assert child.interrupts(VECTOR) == 1, "what was signalled before the event got its interrupt is lost"
    interrupted(child, early, VECTOR, 2, "the event does not interrupt again")
    assert [child.read_event(e) for e in (early, other)] == [0, 0], "an event has interrupted and is not read"


@scenario()
def test_event_follows_its_route_when_that_changes(child):
    listening(child, {1: (MSI, VECTOR)})
    event = child.new_event()
    child.irqfd(event, 1)
    interrupted(child, event, VECTOR, 1, "the event does not interrupt")
    for count, data in ((1, OTHER_VECTOR), (2, VECTOR)):
        child.routes({1: (MSI, data), 7: (MSI, data)})
        interrupted(
            child, event, data, count, f"the route has vector {data:#x} now, the child does not get it"
        )
    assert [child.interrupts(v) for v in (VECTOR, OTHER_VECTOR)] == [2, 1]


@scenario()
def test_event_got_before_its_route_interrupts_once_there_is_one(child):
    listening(child, {})
    event = child.new_event()
    child.irqfd(event, 3)
    child.routes({3: (MSI, VECTOR)})
    interrupted(child, event, VECTOR, 1, "the event has a route now and does not interrupt")


@scenario()
def test_event_for_a_vp_that_rests_is_raised_once(child, ledger, evidence):
    """It waits in the VP's page for the next run; a hypercall beside it would raise it a second time."""
    listening(child, {1: (MSI, VECTOR)})
    event = child.new_event()
    child.irqfd(event, 1)
    for count in range(1, 4):
        position = ledger.mark()
        child.write_event(event)
        (result,) = child.access(wait(VECTOR, count))
        assert result.ok, f"interrupt {count}: {result}"
        assert child.interrupts(VECTOR) == count
        if ledger.complete:
            asked = ledger.hypercalls("ASSERT_VIRTUAL_INTERRUPT", position)
            evidence.add(f"event {count}: {len(asked)} by hypercall")
            assert not asked, "the event was raised by a hypercall as well"


@scenario()
def test_delivery_mode_of_a_route_reaches_the_hypervisor(child, ledger, evidence):
    """No driver puts a logical destination into a register page, which has no delivery mode either."""
    listening(child, {1: (LOGICAL_MSI, VECTOR | LOWEST_PRIORITY)})
    assert write(child, APIC_LDR, 4, MEMBER << 24) is None
    event = child.new_event()
    child.irqfd(event, 1)
    position = ledger.mark()
    interrupted(child, event, VECTOR, 1, "the event does not interrupt")
    asked = ledger.hypercalls("ASSERT_VIRTUAL_INTERRUPT", position)
    evidence.add("; ".join(" ".join(f"{word:#x}" for word in call.words) for call in asked))
    modes = [call.words[1] & 0xFFFFFFFF for call in asked]
    evidence.observe("delivery modes asked for", modes)
    assert modes == [1], "the delivery mode is not the route's"


@scenario()
def test_removed_event_is_nobodys_when_the_request_returns(child, evidence):
    """Whoever takes an interrupt away may use the eventfd for something else at once. The VMM does not make
    way for a worker of the kernel unless it has to wait for it."""
    listening(child, {1: (MSI, VECTOR), 2: (MSI, OTHER_VECTOR)})
    event, other = child.new_event(), child.new_event()
    child.irqfd(other, 2)
    taken = [
        f"irqfd add {event} 1",
        f"irqfd del {event} 1",
        f"event write {event}",
        f"event take {event}",
    ]
    child.urgent(True)
    said = errno_of(partial(child.repeat, REPEATS, taken))
    child.urgent(False)
    interrupted(child, other, OTHER_VECTOR, 1, "an event does not interrupt")
    evidence.observe("interrupts of a removed event", child.interrupts(VECTOR))
    assert not said, "a signal to an event was taken after its interrupt had been taken away"
    assert not child.interrupts(VECTOR)


@scenario()
def test_one_of_two_resampled_events_goes_and_the_other_stays(child, evidence):
    listening(child, {VECTOR: (LOGICAL_MSI, VECTOR | LEVEL)})
    assert write(child, APIC_LDR, 4, MEMBER << 24) is None
    pairs = [(child.new_event(), child.new_event()) for _ in range(2)]
    count = 0
    for _ in range(8):
        for event, resample in pairs:
            child.irqfd(event, VECTOR, resample)
        (gone, _), (event, resample) = pairs
        child.irqfd(gone, VECTOR, remove=True)
        count += 1
        interrupted(child, event, VECTOR, count, "the event that stays does not interrupt")
        assert child.read_event(resample, ANSWER) == 1, "the end of the interrupt is not signalled"
        child.irqfd(event, VECTOR, remove=True)
        pairs.reverse()
    evidence.observe("interrupts", count)


@scenario()
def test_resampled_event_needs_a_level_interrupt(child, evidence):
    listening(child, {1: (MSI, VECTOR), 2: (LOGICAL_MSI, OTHER_VECTOR | LEVEL)})
    event, resample = child.new_event(), child.new_event()
    said = {gsi: errno_of(partial(child.irqfd, event, gsi, resample)) for gsi in (1, 3, 2)}
    evidence.observe("refused with", said)
    assert said == {1: "EINVAL", 3: "EINVAL", 2: ""}


@scenario()
def test_doorbells_of_one_event_are_removed_one_by_one(child):
    child.create_partition(vps=1)
    event = child.new_event()
    for value in (1, 2, 3):
        child.ioeventfd(event, BELL, 4, value)
    for value in (2, 1):
        child.ioeventfd(event, BELL, 4, value, remove=True)
        assert write(child, BELL, 4, value) is not None, f"value {value} still rings"
        assert child.read_event(event) == 0
    assert errno_of(partial(child.ioeventfd, event, BELL, 4, 9, remove=True)) == "ENOENT"
    assert errno_of(partial(child.ioeventfd, event, BELL, 4, remove=True)) == "ENOENT"
    assert write(child, BELL, 4, 3) is None, "the doorbell that is left does not ring"
    assert child.read_event(event, ANSWER) == 1


@scenario()
@pytest.mark.parametrize("call", ["CREATE_PORT", "CONNECT_PORT"])
def test_refused_doorbell_leaves_no_port(child, ledger, evidence, call):
    child.create_partition(vps=1)
    event = child.new_event()
    fault = ledger.inject(call, status=INVALID_PARAMETER, count=3)
    position = ledger.mark()
    said = [errno_of(partial(child.ioeventfd, event, BELL, 4, value)) for value in range(3)]
    assert fault.hits == 3, "the failure was never reached"
    child.ioeventfd(event, BELL, 4, 7)
    assert write(child, BELL, 4, 7) is None
    assert child.read_event(event, ANSWER) == 1
    child.ioeventfd(event, BELL, 4, 7, remove=True)
    ports = [
        sum(not record.status for record in ledger.hypercalls(name, position))
        for name in ("CREATE_PORT", "DELETE_PORT", "CONNECT_PORT", "DISCONNECT_PORT")
    ]
    evidence.observe("refused with", said)
    evidence.observe("ports made, deleted, connected, disconnected", ports)
    assert "" not in said
    assert ports[0] == ports[1], f"{ports[0]} ports were made and {ports[1]} deleted"
    assert ports[2] == ports[3] == 1


@scenario(slow=True)
def test_closed_events_leave_nothing_in_a_living_partition(lab, child, evidence):
    """The last close of an eventfd takes its interrupt away, as nobody can signal it any more."""
    listening(child, {1: (MSI, VECTOR)})
    rounds, looks = 400, 4
    if lab.kernel and lab.kernel.flavour != "plain":
        rounds //= SLOW
    work = ["event new", "irqfd add 0 1", "event close 0"]
    child.repeat(rounds, work)
    counts = [leaks.take(lab.root, child.pid)]
    for _ in range(looks - 1):
        child.repeat(rounds, work)
        counts.append(leaks.take(lab.root, child.pid))
    grown = leaks.growing(counts, rounds)
    evidence.observe("numbers that only grow", [line.partition(":")[0] for line in grown])
    assert not grown, f"{grown[0]}, over {rounds * (looks - 1)} closed events"
