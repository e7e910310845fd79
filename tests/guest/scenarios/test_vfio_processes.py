# SPDX-License-Identifier: GPL-2.0-or-later
"""A VMM that forks, or is killed while its child touches a BAR: what it had is gone when it is gone."""

from __future__ import annotations

import pytest

from lab.child.vmm import Vmm

scenario = pytest.mark.scenario
both_ways = pytest.mark.parametrize("through", ["vfio", "devmem"])
ROUNDS = 3


@scenario(slow=True, claims=("C3",))
@both_ways
def test_copy_of_the_vmm_comes_and_goes_beside_its_mappings(mapped, storm, device, evidence, through):
    m = mapped(device, vps=2, through=through)
    with storm(m) as reads:
        copies = [m.child.fork() for _ in range(ROUNDS)]
        for copy in copies:
            m.child.unfork(copy)
    reads.check()
    assert not m.wrong_pages(), "the copies took pages with them"
    copy = m.child.fork()
    m.child.munmap(m.region)
    left = m.pages_left()
    evidence.observe("pages left after munmap beside a copy", left)
    m.child.unfork(copy)
    assert not left, "the child keeps pages because a copy of the VMM still maps them"


@scenario(slow=True, claims=("C17",))
@both_ways
def test_vmm_killed_beside_a_copy_takes_its_mappings_with_it(lab, mapped, device, root, evidence, through):
    m = mapped(device, vps=2, through=through)
    m.touch(0)
    copy = m.child.fork(orphan=True)
    try:
        m.child.kill()
        # The copy has the partition's files, so the partition stays. Nobody maps the BAR for it any more.
        left = _poll(lab, m.pages_left)
        evidence.observe("pages left with the copy alone", left)
        assert lab.witness.children(), "the copy has the partition's file, but the partition is gone"
    finally:
        root.run(f"kill -9 {copy}")
    lab.wait_gone(m.partition)
    assert not m.owners(), "pages of the BAR are still mapped by a child"
    assert not left, f"{left} pages stay mapped although the VMM that mapped them is dead"


@scenario(slow=True, claims=("C17",))
@both_ways
def test_vmm_killed_in_the_middle_of_a_touch_leaves_nothing(lab, mapped, device, evidence, through):
    for _ in range(ROUNDS):
        m = mapped(device, vps=2, through=through)
        # Regions that come and go keep the VPs touching, so that some are in the driver when the end comes.
        words = [m.access(page, vp=vp) for vp in (0, 1) for page in range(512)]
        for vp in (0, 1):
            m.child.submit(vp, words[vp * 512 : (vp + 1) * 512])
        m.child.kill()
        lab.wait_gone(m.partition)
        assert not m.owners(), "pages of the BAR are still mapped by a child"
        m.child.start()
    evidence.observe("VMMs killed", ROUNDS)


@scenario(slow=True, claims=("C16",))
def test_vmm_killed_beside_another_leaves_that_one_alone(lab, mapped, storm, device, edu, evidence):
    m = mapped(device, vps=2)
    lab.passthrough(edu)
    with storm(m) as reads:
        for _ in range(ROUNDS):
            other = Vmm(lab.root)
            other.start()
            before = set(lab.witness.children())
            other.create_partition(vps=1)
            (partition,) = set(lab.witness.children()) - before
            region = other.map_bar(edu.bdf, edu.bar, m.region.gfn, 16)
            assert other.read(0, region.gpa) == 0x010000ED, "the second child does not reach edu"
            other.kill()
            lab.wait_gone(partition)
    reads.check()
    assert not m.wrong_pages(), "the child that stayed reads wrong pages"
    assert not m.audit(), m.audit()[0]
    evidence.observe("VMMs killed beside it", ROUNDS)


def _poll(lab, look, budget=2.0):
    """What is left after the driver had its time."""
    return len(lab.settle(lambda: [0] * look(), budget))
