# SPDX-License-Identifier: GPL-2.0-or-later
"""VPs that run without ever leaving: root and children both get on, and what ends them ends them."""

from __future__ import annotations

import pytest

from lab.child.protocol import Access

scenario = pytest.mark.scenario
WORD = 0x3000
"""Of the child's RAM, where the payload keeps nothing: what spinning VPs look at."""
GO = 0x600D
BUSY = "/run/busy"
BUSY_SECONDS = 90
"""The root is busy until it is told to stop, and never for longer than this."""


def spin(child, vps):
    """Every VP reads one word until it changes; no access leaves the guest meanwhile."""
    child.create_partition(vps=vps)
    child.poke(WORD, bytes(8))
    polls = {vp: [Access(WORD, 8, "poll", GO, vp=vp)] for vp in range(vps)}
    for vp, accesses in polls.items():
        child.submit(vp, accesses)
    return polls


def release(child, polls):
    child.poke(WORD, GO.to_bytes(8, "little"))
    for vp, accesses in polls.items():
        (result,) = child.collect(vp, accesses, budget=20.0)
        assert result.ok, f"VP {vp} did not end: {result.message}"


@scenario()
@pytest.mark.parametrize("vps", [1, 2, 3])
def test_spinning_vps_leave_the_root_its_time(child, root, evidence, vps):
    polls = spin(child, vps)
    for _ in range(3):
        assert root.run("echo $((6 * 7))").out.strip() == "42"
    release(child, polls)
    evidence.observe("VPs that ended", len(polls))


@scenario()
def test_busy_root_leaves_the_child_its_time(lab, child, root, evidence):
    child.create_partition(vps=2)
    child.poke(WORD, bytes(8))
    # One endless loop for each CPU, and nothing else that would make the root halt.
    hog = f"timeout {BUSY_SECONDS} sh -c 'while [ -e {BUSY} ]; do :; done' &"
    root.run(f"touch {BUSY}; (for i in $(seq $(nproc)); do {hog} done) >/dev/null 2>&1 </dev/null")
    try:
        results = child.access([Access(WORD, 8, vp=vp) for vp in (0, 1) for _ in range(200)])
        left = root.run("pidof timeout | wc -w").out.strip()
    finally:
        root.run(f"rm -f {BUSY}")
    assert left != "0", "the accesses took longer than the root was busy"
    assert all(r.ok for r in results)
    evidence.observe("accesses of the child beside a busy root", len(results))


@scenario()
def test_vmm_killed_while_its_vps_spin_leaves_no_partition(lab, child, root, evidence):
    spin(child, 2)
    partition = lab.child_partition()
    child.kill()
    lab.wait_gone(partition)
    assert root.run("echo alive").out.strip() == "alive"
    evidence.observe("partition after the VMM was killed", "gone")


@scenario()
def test_killed_again_and_again_gives_all_memory_back(lab, child, root, ledger, evidence):
    for _ in range(3):
        spin(child, 2)
        partition = lab.child_partition()
        child.kill()
        lab.wait_gone(partition)
        child.start()
    if not ledger.seen:
        evidence.unseen("pages lost with a deleted partition")
        return
    lost = [r.words[-1] for r in ledger.hypercalls("DELETE_PARTITION")]
    evidence.observe("partitions deleted", len(lost))
    assert lost and not any(lost), f"partitions were deleted with deposited pages: {lost}"


@scenario()
def test_vp_that_was_interrupted_goes_on_where_it_was(child, root, evidence):
    polls = spin(child, 2)
    # A signal takes the VP's thread out of the driver, which has to stop a VP that is running.
    root.run(f"for i in 1 2 3 4 5; do kill -STOP {child.pid}; kill -CONT {child.pid}; done")
    release(child, polls)
    evidence.observe("VPs that ended", len(polls))
