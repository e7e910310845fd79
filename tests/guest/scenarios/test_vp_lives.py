# SPDX-License-Identifier: GPL-2.0-or-later
"""What a VP takes of the hypervisor while it is made, and what it gives back: when it goes, when it fails."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from lab.child import requests as rq

scenario = pytest.mark.scenario
INVALID_PARAMETER = 0x0005
STATISTICS_OF_A_VP = 0x00010002
PAIRS = (("MAP_VP_STATE_PAGE", "UNMAP_VP_STATE_PAGE"), ("MAP_STATS_PAGE", "UNMAP_STATS_PAGE"))


def balance(ledger, position):
    """Mappings of the driver's own that succeeded, and are not undone, by what they are of."""
    left = Counter()
    for make, undo in PAIRS:
        for sign, name in ((1, make), (-1, undo)):
            for call in ledger.hypercalls(name, position):
                if not call.status:
                    left[make, *call.words[:3]] += sign
    return {what: count for what, count in left.items() if count}


@scenario()
@pytest.mark.parametrize("order", ["tidy", "vps", "partition"])
def test_what_was_mapped_for_a_vp_is_unmapped_when_it_goes(lab, child, ledger, evidence, order):
    position = ledger.mark()
    child.create_partition(vps=3)
    partition = lab.child_partition()
    child.read(0, 0, 8)
    made = balance(ledger, position)
    child.destroy(order)
    lab.wait_gone(partition)
    left = balance(ledger, position)
    evidence.observe("mappings made", sum(made.values()))
    evidence.observe("mappings left", sum(left.values()))
    assert made, "nothing was mapped for the VPs"
    assert not left, f"{sum(left.values())} mappings stay, the first {next(iter(left))}"


@scenario()
@pytest.mark.parametrize(
    ("call", "skip"),
    [
        ("CREATE_VP", 0),
        ("MAP_VP_STATE_PAGE", 0),
        ("MAP_VP_STATE_PAGE", 1),
        ("MAP_STATS_PAGE", 0),
    ],
)
def test_vp_that_could_not_be_made_leaves_its_number_free(lab, child, ledger, evidence, call, skip):
    child.create_partition(vps=1)
    partition = lab.child_partition()
    position = ledger.mark()
    fault = ledger.inject(call, status=INVALID_PARAMETER, skip=skip)
    said = child.ask("partition", rq.CREATE_VP, 1)
    assert fault.hits == 1, "the failure was never reached"
    evidence.observe("refused with", said.error)
    assert said.error, "the VP was made although the hypervisor refused a part of it"
    left = balance(ledger, position)
    assert not left, f"{sum(left.values())} mappings of the refused VP stay, the first {next(iter(left))}"
    again = child.ask("partition", rq.CREATE_VP, 1)
    assert not again.error, f"the VP cannot be made afterwards: {again.error}"
    assert child.read(0, 0, 8) is not None
    child.kill()
    lab.wait_gone(partition)


@scenario()
def test_vps_of_scattered_numbers_go_with_their_partition(lab, child, ledger, evidence):
    position = ledger.mark()
    child.create_partition(vps=2)
    partition = lab.child_partition()
    for number in (5, 15):
        assert not child.ask("partition", rq.CREATE_VP, number).error
    made = balance(ledger, position)
    child.kill()
    lab.wait_gone(partition)
    left = balance(ledger, position)
    evidence.observe("VPs", sorted({what[2] for what in made if what[0] == "MAP_VP_STATE_PAGE"}))
    assert not left, f"{sum(left.values())} mappings stay, the first {next(iter(left))}"


STATISTICS = "/sys/kernel/debug/mshv/partition"


@scenario()
def test_statistics_of_a_child_are_its_own_and_go_with_it(lab, child, root, evidence):
    if root.run(f"[ -d {STATISTICS} ]", check=False).rc:
        evidence.unseen("the driver's statistics")
        return
    child.create_partition(vps=3)
    partition = lab.child_partition()
    for number, runs in enumerate((2, 0, 5)):
        for _ in range(runs):
            child.read(number, 0, 8)
    counts = []
    for number in range(3):
        text = root.run(f"cat {STATISTICS}/{partition}/vp/{number}/stats").out
        counts.append(int(re.search(r"VpIoInterceptMessages *: (\d+)", text)[1]))
    evidence.observe("intercepted port writes of each VP", counts)
    assert counts == [2, 0, 5], "every run ends with one write to a port"
    child.destroy()
    lab.wait_gone(partition)
    left = root.run(f"ls {STATISTICS}").out.split()
    assert str(partition) not in left, "the statistics of a partition are there that is gone"
