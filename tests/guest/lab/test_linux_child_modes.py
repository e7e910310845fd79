# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux child under every scheduler, both kinds of parent and the x2APIC: login, load, no lost wake-up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.child.linux import LinuxChild
from lab.hypervisor.names import HYPERCALLS
from lab.judge.splats.parser import parse
from lab.model.ledger import LedgerRecord, RecordKind
from lab.progress import NullProgress
from lab.templates import load_machine
from lab.validate.bringup import BootRequest, Lab
from lab.validate.child_snapshot import Up, boot_with_child
from lab.validate.heartbeat import run_beats
from lab.validate.kernels import Selectors, open_cache, prepare

MACHINE = "mshv-root-linux-child"
SECONDS = 15
ENOUGH = {"timer": 100, "disk": 20, "net": 20}
"""Rounds below which a heartbeat was not one."""
MODES: dict[str, tuple[dict[str, str], str, bool]] = {
    "core": ({"scheduler": "core"}, "Hypervisor using core scheduler", False),
    "classic": ({"scheduler": "classic"}, "Hypervisor using classic scheduler without SMT", False),
    "l1vh": ({"parent": "l1vh"}, "Hyper-V: running as L1VH partition", False),
    "l1vh-root": (
        {"parent": "l1vh", "scheduler": "root"},
        "Hypervisor using root scheduler",
        True,
    ),
}
"""Parameters, what the driver says, and whether it dispatches VPs itself."""
REG_INTERCEPT_SUSPEND, REG_EXPLICIT_SUSPEND = 1, 0
ROOT_ONLY = {"ADD_LOGICAL_PROCESSOR", "GET_SYSTEM_PROPERTY", "MAP_DEVICE_INTERRUPT", "GET_PARTITION_ID"}


@contextmanager
def running(params: dict[str, str]) -> Iterator[Up]:
    kernel = prepare(Selectors(), NullProgress(), open_cache())
    spec = load_machine(MACHINE, params)
    request = BootRequest(machine=spec, kernel=kernel, template=MACHINE, params=params)
    up = boot_with_child(request, NullProgress(), snapshots=False)
    try:
        yield up
    finally:
        up.child.close()
        up.lab.close()


def splats(lab: Lab, child: LinuxChild) -> list[str]:
    logs = (("root", lab.kernel_log.since(0)), ("child", child.ssh.kmsg_since(0)))
    return [f"{who}: {s.title}" for who, lines in logs for s in parse(lines)]


def resumes(record: LedgerRecord) -> bool:
    """How the driver lets a VP run that the hypervisor schedules: both suspend registers in one call."""
    first, last = (REG_INTERCEPT_SUSPEND, REG_EXPLICIT_SUSPEND)
    return HYPERCALLS.get(record.code) == "SET_VP_REGISTERS" and [*record.words[2:4]] == [first, last]


def assert_beats(up: Up, seconds: int) -> None:
    beats = run_beats(up.child, seconds)
    told = "\n".join(map(str, beats))
    assert {b.name for b in beats} == {"timer0", "timer1", "disk", "net"}, told
    slow = [b for b in beats if b.stalled or b.rounds < ENOUGH[b.name.rstrip("01")]]
    assert not slow, told


@pytest.mark.parametrize("mode", MODES)
def test_linux_child_works_in_every_mode(mode: str) -> None:
    params, says, dispatches = MODES[mode]
    with running(params) as up:
        lab, child = up.lab, up.child
        assert says in lab.root.run("dmesg").out
        assert_beats(up, SECONDS)
        records = [r for r in lab.hypervisor.since(0).records if r.kind is RecordKind.HYPERCALL]
        calls = Counter(HYPERCALLS.get(r.code, hex(r.code)) for r in records)
        assert calls["ASSERT_VIRTUAL_INTERRUPT"] > 20, calls
        assert bool(sum(map(resumes, records))) is not dispatches, calls
        if params.get("parent") == "l1vh":
            assert not ROOT_ONLY & set(calls), "an L1VH parent makes calls of the root"
        else:
            refused = [r for r in records if r.status and "INTERRUPT" in HYPERCALLS.get(r.code, "")]
            assert not refused, f"an interrupt was refused: {refused[0]}"
        assert not (found := splats(lab, child)), "\n".join(found)
        child.kill()
        assert not lab.partitions_left()


def test_child_with_the_x2apic_uses_it() -> None:
    with running({"child_x2apic": "on"}) as up:
        log = up.child.ssh.run("dmesg").out
        assert "Switched APIC routing to: physical x2apic" in log, re.findall(r".*APIC.*", log)
        assert "Using enlightened APIC (x2apic mode)" in log
        assert_beats(up, SECONDS)
        assert not (found := splats(up.lab, up.child)), "\n".join(found)
