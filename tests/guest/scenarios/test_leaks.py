# SPDX-License-Identifier: GPL-2.0-or-later
"""Partitions come and go: after hundreds of them the root holds no more than before."""

from __future__ import annotations

import pytest

from lab.child import requests as rq
from lab.judge import ledger as judge_ledger
from lab.root import leaks

scenario = pytest.mark.scenario
GFN = 0x100000
BELL = 0x2_0000_0400
"""A GPA that no region covers."""
UNREADABLE = rq.HYPERCALL.pack(0x44, 0, 16, 0, 0, bytes(6), 1, 0).hex()
"""A hypercall to be passed on whose input cannot be read."""
LOOKS = 6
"""Looks at the root: one after the warm-up, and one after each part of the rounds."""
ROUNDS = 80
"""Rounds between two looks. A slab grows by whole pages of some 60 objects: with half as many rounds a leak
of one object a round was overlooked in one of two runs."""
SLOW = 4
"""A debug kernel does so many times fewer rounds."""


def a_round(device):
    """Partition with a VP, RAM and a BAR region, a touch of the device, events that interrupt and that ring,
    and all of it taken away: half of the events are removed, the others go with the partition. What is
    refused leaves nothing either."""
    return [
        "create 1 64 lapic",
        f"map vfio {device.bdf} {device.bar} 0 0 rw",
        f"region add {GFN:#x} 4 0 0 rw",
        f"access 0 r8:{GFN << 12:x} w8:{(GFN << 12) + 8:x}=1",
        f"refused EEXIST region add {GFN + 1:#x} 1 0 0 rw",
        f"request 0 {rq.HYPERCALL.number:#x} {UNREADABLE}",
        "routes 1 0xfee00000 0x41 2 0xfee00000 0x42",
        "routes 1 0xfee00000 0x41 2 0xfee00000 0x42 3 0xfee00000 0x8043",
        *("event new" for _ in range(6)),
        *("irqfd add 0 1", "irqfd add 1 2", "irqfd add 2 3 4", "irqfd add 3 3 5"),
        *("refused EBUSY irqfd add 0 2", "refused EINVAL irqfd add 4 2 5"),
        *(f"ioeventfd add {event} {BELL:#x} 4 {event}" for event in range(2)),
        f"refused EEXIST ioeventfd add 0 {BELL:#x} 4 1",
        *("irqfd del 0 1", "irqfd del 2 3", f"ioeventfd del 0 {BELL:#x} 4 0"),
        "event close 0",
        "region del 0",
        "munmap 0",
        "destroy tidy",
        *(f"event close {event}" for event in range(1, 6)),
    ]


def rounds_of(lab):
    flavour = lab.kernel.flavour if lab.kernel else "plain"
    return ROUNDS if flavour == "plain" else ROUNDS // SLOW


def churn(lab, child, device, rounds):
    """Counts after each part of the rounds."""
    lab.passthrough(device)
    work = a_round(device)
    child.repeat(rounds // 2, work)
    counts = [leaks.take(lab.root, child.pid)]
    for _ in range(LOOKS - 1):
        child.repeat(rounds, work)
        counts.append(leaks.take(lab.root, child.pid))
    return counts


@scenario(slow=True, needs=("map_on_first_touch",), extra_args=("page_owner=on",))
def test_rounds_of_create_and_destroy_leave_nothing_in_the_root(lab, child, device, ledger, evidence):
    rounds = rounds_of(lab)
    pools = [p.pool_total for p in lab.hypervisor.partitions()] if lab.witness.sees_slat else []
    before = ledger.mark() if ledger.seen else 0
    counts = churn(lab, child, device, rounds)
    moved = [n for n in counts[-1] if counts[-1][n] - counts[0].get(n, 0) > rounds]
    for name in ("used pages", "open files", "fds of the VMM", *moved):
        evidence.add(f"{name}: {[count.get(name) for count in counts]}")
    check_owners(lab, counts, evidence)
    grown = leaks.growing(counts, rounds)
    evidence.observe("numbers that only grow", [line.partition(":")[0] for line in grown])
    assert not grown, f"{grown[0]}, over {rounds * (LOOKS - 1)} rounds of create and destroy"
    last, first = counts[-1], counts[0]
    for name in ("fds of the VMM", "fds of init", "references to the module"):
        assert last.get(name, 0) <= first.get(name, 0), f"{name} grew from {first[name]} to {last[name]}"
    lost = leaks.kmemleak(lab.root)
    evidence.observe("the kernel looks for unreferenced memory", lost is not None)
    for line in (lost or [])[:8]:
        evidence.add(f"kmemleak: {line}")
    assert not lost, f"kmemleak: {lost[0]}"
    if pools:
        check_deposits(lab, ledger, evidence, before, pools, rounds)


def check_owners(lab, counts, evidence):
    """Pages by the stacks that asked for them are among the numbers, where the kernel was booted for it."""
    stacks = sorted({name for count in counts for name in count if name.startswith("pages of ")})
    evidence.add(f"{len(stacks)} stacks of the driver own pages: {', '.join(stacks[:8])}")
    if not stacks:
        evidence.unseen("pages by their owners")


def check_deposits(lab, ledger, evidence, before, pools, rounds):
    seen = ledger.since(before)
    if seen.lost:
        evidence.unseen(f"{seen.lost} ledger records of the rounds")
    else:
        calls = judge_ledger.deposits(seen)
        wrong = {pt: have for pt, have in calls.items() if pt != lab.root_id and have[0] != have[1]}
        evidence.add(f"deposited pages of {len(calls)} partitions were withdrawn again")
        assert not wrong, f"(deposited, withdrawn) pages differ: {wrong}"
    after = [p.pool_total for p in lab.hypervisor.partitions()]
    assert len(after) == len(pools), "there are more partitions than before"
    assert after[0] - pools[0] < rounds, f"the root's own deposits grew from {pools[0]} to {after[0]} pages"
