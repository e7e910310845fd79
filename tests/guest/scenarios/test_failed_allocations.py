# SPDX-License-Identifier: GPL-2.0-or-later
"""Every allocation of a request fails once, in turn: an error for the VMM, and nothing left behind.

/proc/PID/fail-nth fails the n-th allocation of a task (Documentation/fault-injection/fault-injection.rst).
"""

from __future__ import annotations

import pytest

from lab.child.protocol import VmmError

scenario = pytest.mark.scenario
MOST = 200
"""Allocations after which a request is taken for endless; setting a region makes a dozen or two."""
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
    mapped, device, child, failing, slat, evidence
):
    m = mapped(device)  # everything that is made once is there now
    child.unmap(m.region)
    refused = 0
    for nth in range(1, MOST):
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
    else:
        pytest.fail(f"a region makes more than {MOST} allocations")
    evidence.add(f"{nth - 1} allocations failed, {refused} of them refuse the region")
    evidence.observe("a failed allocation refuses the region", refused > 0)
    again = child.map_bar(device.bdf, device.bar, m.region.gfn, m.pages)
    (result,) = child.access([m.access(0)])
    assert result.value == m.expected(0), "the region does not recover"
    child.unmap(again)
