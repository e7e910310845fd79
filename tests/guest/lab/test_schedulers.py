# SPDX-License-Identifier: GPL-2.0-or-later
"""The same scenarios under every scheduler and for both kinds of parent; the ledger tells the way taken."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab import paths

SERIES = paths.tests_dir() / "series" / "mmio-on-demand"
CHOSEN = (
    "bar_of_several_pages or second_touch or without_a_region or removed_region_leaves or killed_vmm "
    "or killed_again or busy_root or spinning_vps or interrupted_goes_on"
)
AT_LEAST = 10
"""Scenarios that the expression must find: it names at least so many."""
RESUME = re.compile(r" SET_VP_REGISTERS partition=\d+ vp=\d+ first=0x1 last=0x0 .*-> SUCCESS \(2 of 2 reps\)")
"""Intercept suspend, then explicit suspend: how the driver lets a VP run that it does not dispatch."""
CALL = re.compile(r" LP\d+ partition 1 VP\d+ ([A-Z][A-Z0-9_]+) .*-> ([A-Z_]+)")
ROOT_ONLY = {
    "ADD_LOGICAL_PROCESSOR", "ENTER_SLEEP_STATE", "GET_LOGICAL_PROCESSOR_RUN_TIME", "GET_PARTITION_ID",
    "GET_SYSTEM_PROPERTY", "MAP_DEVICE_INTERRUPT", "NOTIFY_PARTITION_EVENT", "SET_SYSTEM_PROPERTY",
    "UNMAP_DEVICE_INTERRUPT",
}  # fmt: skip
SAYS = {
    "root": "Hypervisor using root scheduler",
    "core": "Hypervisor using core scheduler",
    "classic": "Hypervisor using classic scheduler without SMT",
    "l1vh": "Hyper-V: running as L1VH partition",
}
RUNNING = {
    "root": ("scheduler=root",),
    "core": ("scheduler=core",),
    "classic": ("scheduler=classic",),
    "l1vh": ("parent=l1vh",),
}


def ledgers(out: Path) -> str:
    texts = [path.read_text() for path in sorted(out.glob("patched/evidence/*/ledger.txt"))]
    assert len(texts) >= AT_LEAST, f"{len(texts)} scenarios left a ledger"
    return "\n".join(texts)


@pytest.mark.parametrize("mode", RUNNING)
def test_scenarios_pass_in_every_mode(validate: Callable[..., Any], mode: str) -> None:
    params = [word for value in RUNNING[mode] for word in ("--param", value)]
    run = validate(SERIES, "-k", CHOSEN, *params, expect=0)
    judged = {s["id"]: s["patched"]["verdict"] for s in run.result["scenarios"]}
    assert len(judged) >= AT_LEAST and set(judged.values()) == {"pass"}, judged
    text = ledgers(run.out)
    calls = {name for name, _ in CALL.findall(text)}
    if mode == "root":
        assert not RESUME.search(text), "the driver resumes VPs although it schedules them"
        return
    assert RESUME.search(text), "no VP was resumed by its suspend registers"
    assert "DISPATCH_VP" not in calls, "a VP was dispatched although the hypervisor schedules"


@pytest.mark.parametrize("mode", RUNNING)
def test_parent_boots_into_its_mode(hvlab: Any, mode: str) -> None:
    params = [word for value in RUNNING[mode] for word in ("--param", value)]
    hvlab("up", "--series", SERIES, "--name", "mode", *params, timeout=1800.0)
    try:
        log = hvlab("ssh", "--name", "mode", "--", "dmesg; cat /proc/interrupts").out
        assert SAYS[mode] in log
        assert "mshv" in log and "CPU1" in log, "both CPUs are up"
        assert hvlab("mmio", "read", "--name", "mode", "0x0", "--json").json[0]["value"] is not None
        text = hvlab("ledger", "--name", "mode", "-n", "0").out
        called = dict(CALL.findall(text))
        assert called.get("CREATE_PARTITION") == "SUCCESS", "children are made"
        if mode == "l1vh":
            assert not ROOT_ONLY & set(called), "an L1VH parent makes calls of the root"
            assert called["MAP_STATS_PAGE2"] == "SUCCESS", "it says where its statistics go"
        else:
            assert {"ADD_LOGICAL_PROCESSOR", "GET_SYSTEM_PROPERTY"} <= set(called)
        stats = "cat /sys/kernel/debug/mshv/partition/*/vp/0/stats | grep VpTotalRunTime"
        times = [int(n) for n in re.findall(r": (\d+)", hvlab("ssh", "--name", "mode", "--", stats).out)]
        assert len(times) >= 2 and all(times), f"VPs that ran without run time: {times}"
    finally:
        hvlab("down", "--name", "mode")
