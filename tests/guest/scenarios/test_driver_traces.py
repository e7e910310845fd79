# SPDX-License-Identifier: GPL-2.0-or-later
"""What the driver says of itself in its traces is what the hypervisor saw."""

from __future__ import annotations

import pytest

from lab.judge.crosscheck import disagreements
from lab.judge.ledger import HVCALL_MAP_GPA_PAGES, HVCALL_WITHDRAW
from lab.model.errors import NotObservable
from lab.validate.trace_witness import TraceWitness

scenario = pytest.mark.scenario
GFN = 0x100000
NEEDED = ("MAP_GPA_PAGES", "UNMAP_GPA_PAGES", "DELETE_PARTITION", "WITHDRAW_MEMORY")


@pytest.fixture
def traces(lab):
    """The driver's traces beside the stand-in's ledger. A kernel without tracing shows none of this."""
    witness = TraceWitness(lab.spec.name, lab.root, "/sys/kernel/tracing")
    witness.start()
    try:
        if missing := [
            c for c in ("MAP_GPA_PAGES", "UNMAP_GPA_PAGES", "DELETE_PARTITION") if not witness.observes(c)
        ]:
            raise NotObservable(f"this kernel cannot trace {', '.join(missing)}")
        yield witness
    finally:
        witness.stop()


def life(child, lab, during):
    """A child that lives through ``during``: its partition, and traces and ledger of its whole life."""
    start = lab.hypervisor.position()
    child.create_partition(vps=1)
    partition = lab.child_partition()
    during()
    child.destroy()
    lab.wait_gone(partition)
    return partition, lab.hypervisor.since(start)


def told(traces, partition, ledger, about, evidence):
    """What only one of both says of withdrawn memory, or of everything else; the first line, or None."""
    traced = traces.since(0)
    assert not traced.lost and not ledger.lost, "records were lost"
    assert any(r.words[:1] == (partition,) for r in traced.records), "nothing was traced"
    lines = disagreements(traced.records, ledger.records, partition)
    lines = [line for line in lines if ("withdrawn" in line) == (about == "withdrawn")]
    for line in lines:
        evidence.add(line)
    return lines[0] if lines else None


@scenario()
def test_traced_requests_for_memory_are_those_of_the_ledger(traces, lab, child, evidence):
    def during():
        region = child.map_anonymous(GFN, 64)
        child.read(0, region.gpa + 5 * 4096, 4)
        child.unmap(region)

    partition, ledger = life(child, lab, during)
    wrong = told(traces, partition, ledger, "requests", evidence)
    assert wrong is None, wrong


@scenario(needs=("map_on_first_touch",))
def test_traced_requests_for_device_memory_are_those_of_the_ledger(traces, lab, mapped, device, evidence):
    start = lab.hypervisor.position()
    m = mapped(device, first_page=2, pages=16)
    m.touch(3)
    m.touch(9)
    m.child.unmap(m.region)
    m.child.destroy()
    lab.wait_gone(m.partition)
    ledger = lab.hypervisor.since(start)
    frames = range(m.region.gfn, m.region.gfn + m.pages)
    maps = [r for r in traces.since(0).records if r.code == HVCALL_MAP_GPA_PAGES]
    own = [r for r in maps if r.words[0] == m.partition and r.words[1] in frames]
    assert own, "no map of the device's memory was traced"
    wrong = told(traces, m.partition, ledger, "requests", evidence)
    assert wrong is None, wrong


@scenario()
def test_traced_withdrawal_is_what_the_hypervisor_gave_back(traces, lab, child, evidence):
    partition, ledger = life(child, lab, lambda: None)
    given = [r for r in ledger.records if r.code == HVCALL_WITHDRAW and r.words[:1] == (partition,)]
    assert given, "nothing was withdrawn"
    wrong = told(traces, partition, ledger, "withdrawn", evidence)
    evidence.observe("the trace tells of", "less or more" if wrong else "what was given back")
    assert wrong is None, wrong
