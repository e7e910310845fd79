# SPDX-License-Identifier: GPL-2.0-or-later
"""Every allocation of a request fails once, in turn: an error for the VMM, and nothing left behind.

/proc/PID/fail-nth fails the n-th allocation of a task (Documentation/fault-injection/fault-injection.rst).
"""

from __future__ import annotations

import pytest

from lab.child.protocol import VmmError
from lab.root import leaks

scenario = pytest.mark.scenario
MOST = 200
"""Allocations after which a request is taken for endless; setting a region makes a dozen or two."""
SLOW = 7
"""A debug kernel lets so many times fewer allocations of a request fail that makes many."""
SETTINGS = (
    ("failslab", "ignore-gfp-wait", "N"),
    ("failslab", "verbose", "0"),
    ("fail_page_alloc", "ignore-gfp-wait", "N"),
    ("fail_page_alloc", "min-order", "0"),
    ("fail_page_alloc", "verbose", "0"),
)


@pytest.fixture
def failing(root, child):
    """Callable: let the n-th allocation of the VMM fail from here on; None tells whether it happened."""
    before = {}
    for where, name, value in SETTINGS:
        path = f"/sys/kernel/debug/{where}/{name}"
        before[path] = root.run(f"cat {path}").out.strip()
        root.run(f"echo {value} > {path}")

    def fail(nth):
        path = f"/proc/{child.pid}/fail-nth"
        if nth is not None:
            root.run(f"echo {nth} > {path}")
            return False
        left = int(root.run(f"cat {path}").out)
        root.run(f"echo 0 > {path}")
        return left == 0

    yield fail
    for path, value in before.items():
        root.run(f"echo {value} > {path}")


@scenario(claims=("C17",))
def test_a_region_that_finds_no_memory_is_refused_and_leaves_nothing(
    lab, mapped, device, child, failing, slat, evidence
):
    m = mapped(device)  # everything that is made once is there now
    child.unmap(m.region)
    refused = failed = 0
    for nth in steps(lab, slow=3):
        failing(nth)
        try:
            region = child.map_bar(device.bdf, device.bar, m.region.gfn, m.pages)
        except VmmError as e:
            region = None
            error = e.errno_name
        happened = failing(None)
        if region is not None:
            (result,) = child.access([m.access(1)])
            assert result.value == m.expected(1), f"after allocation {nth} failed, page 1 is {m.place(1)}"
            child.unmap(region)
        else:
            assert happened, f"the region is refused with {error} although nothing failed"
            assert error in ("ENOMEM", "EAGAIN"), f"allocation {nth} failed and the VMM is told {error}"
            refused += 1
        left = slat.runs(m.partition, range(m.region.gfn, m.region.gfn + m.pages))
        assert not left, f"after allocation {nth} failed, pages of no region are mapped"
        if not happened:
            break
        failed += 1
    else:
        pytest.fail(f"a region makes more than {MOST} allocations")
    evidence.add(f"{failed} allocations failed, {refused} of them refuse the region")
    evidence.observe("a failed allocation refuses the region", refused > 0)
    again = child.map_bar(device.bdf, device.bar, m.region.gfn, m.pages)
    (result,) = child.access([m.access(0)])
    assert result.value == m.expected(0), "the region does not recover"
    child.unmap(again)


def steps(lab, slow=SLOW):
    """Which allocations fail, counted from 1: all of them, on a slow kernel one in ``slow``."""
    flavour = lab.kernel.flavour if lab.kernel else "plain"
    return range(1, MOST, 1 if flavour == "plain" else slow)


def state_of(lab, root, child):
    """What a request that failed may not leave behind: partitions, files of the VMM or numbers of files
    that are not there, pinned pages."""
    files = set(root.run(f"ls /proc/{child.pid}/fd").out.split())
    event = child.new_event()
    (free,) = set(root.run(f"ls /proc/{child.pid}/fd").out.split()) - files
    child.close_event(event)
    return {
        "partitions": len(lab.hypervisor.partitions()),
        "files of the VMM": len(files),
        "its first free file": int(free),
        "pinned pages": leaks.pinned(root),
    }


def each_fails(lab, failing, request, undo):
    """Let one allocation after the other of a request fail until none is left (on a slow kernel, which makes
    many more of them, not every one); how many refused it."""
    refused = 0
    for nth in steps(lab):
        failing(nth)
        try:
            request()
            error = ""
        except VmmError as e:
            error = e.errno_name
        happened = failing(None)
        assert error in ("", "ENOMEM", "EAGAIN"), f"allocation {nth} failed and the VMM is told {error}"
        assert happened or not error, f"the request is refused with {error} although nothing failed"
        refused += bool(error)
        undo(not error)
        if not happened:
            return refused
    pytest.fail(f"a request makes more than {MOST} allocations")


@scenario(slow=True)
def test_a_partition_that_finds_no_memory_is_refused_and_leaves_nothing(
    lab, root, child, failing, slat, evidence
):
    """What fails need not refuse it: the child works as ever then."""
    if not slat.seen:
        evidence.unseen("the hypervisor's partitions")
    before = state_of(lab, root, child)

    def undo(made):
        if made:
            child.write(0, 0x60000, 8, 0x600D)
            assert child.peek(0x60000, 8) == (0x600D).to_bytes(8, "little")
            child.destroy()
        left = len(lab.hypervisor.partitions()) - before["partitions"]
        assert not left, f"{left} partitions stay that the VMM does not have"

    refused = each_fails(lab, failing, lambda: child.create_partition(vps=1, lapic=True), undo)
    evidence.add(f"{refused} failed allocations refuse the partition")
    evidence.observe("a failed allocation refuses the partition", refused > 0)
    assert state_of(lab, root, child) == before


@scenario()
@pytest.mark.parametrize("what", ["interrupt", "doorbell", "routes"])
def test_an_event_that_finds_no_memory_is_refused_and_leaves_nothing(
    lab, root, child, failing, evidence, what
):
    level = (0xFEE00000, 0x8041)
    child.create_partition(vps=1, lapic=True)
    child.routes({1: level, 2: level})
    events = [child.new_event() for _ in range(2)]
    bell = (0x2_0000_0500, 4, 7)
    requests = {
        "interrupt": (
            lambda: child.irqfd(events[0], 1, events[1]),
            lambda: child.irqfd(events[0], 1, remove=True),
        ),
        "doorbell": (
            lambda: child.ioeventfd(events[0], *bell),
            lambda: child.ioeventfd(events[0], *bell, remove=True),
        ),
        "routes": (
            lambda: child.routes(dict.fromkeys(range(1, 30), level)),
            lambda: child.routes({1: level}),
        ),
    }
    request, remove = requests[what]
    before = state_of(lab, root, child)
    refused = each_fails(lab, failing, request, lambda made: remove() if made else None)
    evidence.observe("a failed allocation refuses it", refused > 0)
    assert state_of(lab, root, child) == before
    request()
    child.destroy()
    after = state_of(lab, root, child)
    assert after["partitions"] == before["partitions"] - 1, "the partition does not go"
