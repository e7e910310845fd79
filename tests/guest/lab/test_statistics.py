# SPDX-License-Identifier: GPL-2.0-or-later
"""Statistics pages as the driver prints them, against the ledger, which counts by itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from lab import paths

SERIES = paths.tests_dir() / "series" / "mmio-on-demand"
NAME = "statistics"
STATS = "/sys/kernel/debug/mshv"
ACCESSES = 40
MEMORY_MESSAGES = {"UNMAPPED_GPA", "GPA_INTERCEPT"}
CALL = re.compile(r" LP(?P<lp>\d+) partition 1 VP\d+ (?P<name>[A-Z0-9_]+) (?P<words>.*)-> (?P<status>\w+)")
REPS = re.compile(r"\((\d+) of \d+ reps\)")


@pytest.fixture(scope="module", params=["scheduler=root", "scheduler=core"])
def booted(request: pytest.FixtureRequest, shared_hvlab: Any) -> Iterator[Any]:
    """A lab with a child that has made some accesses."""
    shared_hvlab("up", "--series", SERIES, "--name", NAME, "--param", request.param, timeout=1800.0)
    for vp in ("0", "1"):
        shared_hvlab("mmio", "read", "--name", NAME, "--vp", vp, "--count", ACCESSES, "--width", "8", "0x0")
    yield shared_hvlab
    shared_hvlab("down", "--name", NAME)


def counters(booted: Any, path: str) -> dict[str, int]:
    text = booted("ssh", "--name", NAME, "--", f"cat {STATS}/{path}").out
    return {name: int(value) for name, value in re.findall(r"(\w+) *: (\d+)", text)}


def ledger(booted: Any) -> list[str]:
    lines: list[str] = booted("ledger", "--name", NAME, "-n", "0").out.splitlines()
    return lines


def intercepts(lines: list[str], partition: str, vp: int) -> Counter[str]:
    pattern = re.compile(rf" LP\d+ partition {partition} VP{vp} intercept (\w+)")
    return Counter(found[1] for line in lines if (found := pattern.search(line)))


def child(booted: Any) -> str:
    names: list[str] = booted("ssh", "--name", NAME, "--", f"ls {STATS}/partition").out.split()
    (found,) = set(names) - {"1"}
    return found


def test_messages_of_a_child_are_the_intercepts_of_the_ledger(booted: Any) -> None:
    partition, memory = child(booted), 0
    for vp in (0, 1):
        said = counters(booted, f"partition/{partition}/vp/{vp}/stats")
        seen = intercepts(ledger(booted), partition, vp)
        assert said["VpMemoryInterceptMessages"] == sum(seen[name] for name in MEMORY_MESSAGES), seen
        memory += said["VpMemoryInterceptMessages"]
        assert said["VpIoInterceptMessages"] == seen["X64_IO_PORT_INTERCEPT"] > 0, seen
        assert said["VpIoInstructionsCount"] == said["VpIoInterceptMessages"]
        assert said["VpNestedPageFaultInterceptsCount"] >= said["VpMemoryInterceptMessages"]
        assert said["VpLogicalProcessorDispatches"] >= sum(seen.values())
        assert said["VpTotalRunTime"] > 0 and said["VpHypervisorRunTime"] > 0
    assert memory, "no VP touched a page for the first time: nothing was compared"


def test_hypercalls_of_the_root_are_counted_on_their_lp(booted: Any) -> None:
    for vp in (0, 1):
        before = sum(f" LP{vp} partition 1 VP{vp} " in line and "->" in line for line in ledger(booted))
        said = counters(booted, f"partition/1/vp/{vp}/stats")
        # Successful DISPATCH_VP calls are not recorded.
        assert said["VpHypercallsCount"] >= before > 0
        again = counters(booted, f"partition/1/vp/{vp}/stats")
        assert again["VpTotalRunTime"] > said["VpTotalRunTime"], "the VP that read this did not run"


def test_partition_counts_its_pages(booted: Any) -> None:
    partition = child(booted)
    said = counters(booted, f"partition/{partition}/stats")
    deposited = 0
    for line in ledger(booted):
        call, reps = CALL.search(line), REPS.search(line)
        if not call or not reps or f"partition={partition} " not in call["words"]:
            continue
        sign = {"DEPOSIT_MEMORY": 1, "WITHDRAW_MEMORY": -1}.get(call["name"], 0)
        deposited += sign * int(reps[1])
    assert said["PtDepositedPages"] == deposited > 0
    runs = booted("slat", "--name", NAME, "--json").json[partition]
    mapped = said["PtGpaPages4K"] + 512 * said["PtGpaPages2M"]
    assert said["PtGpaPages"] == mapped > 0
    assert said["PtPartitionId"] == int(partition) and said["PtVirtualProcessors"] == 2
    assert mapped == sum(run["pages"] for run in runs if not run["no_access"])


def test_lp_times_add_up(booted: Any) -> None:
    for lp in (0, 1):
        first = counters(booted, f"lp/{lp}/stats")
        second = counters(booted, f"lp/{lp}/stats")
        assert first["LpRootVpIndex"] == lp
        assert second["LpGlobalTime"] > first["LpGlobalTime"] > 0
        assert second["LpTotalRunTime"] >= first["LpTotalRunTime"] > first["LpHypervisorRunTime"] > 0
        assert first["LpTotalRunTime"] <= first["LpGlobalTime"]


def test_hypervisor_counts_partitions_and_vps(booted: Any) -> None:
    said = counters(booted, "stats")
    assert (said["HvLogicalProcessors"], said["HvPartitions"], said["HvVirtualProcessors"]) == (2, 2, 4)
