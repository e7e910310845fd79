#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How many accesses per second a scenario gets, and what the ledger costs.

One boot, one SSH channel. *Batched*: one call with many accesses; *synchronous*: one access a call;
*intercepted*: accesses to a GPA without a region, each of which travels from the stand-in through the
driver to the VMM and back.

The ledger's cost: the same work with the ledger on and off, alternating within the boot. The loop of
intercepts is the one with the most hypercalls per second, so its ratio is the worst case; mapping and
unmapping a region of RAM, and the whole boot, are printed beside it.

The last line is ``ratio N.NN``: the median of wall time with the ledger on / off in the intercept loop.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import bench

from lab.child.protocol import Access
from lab.child.vmm import Vmm
from lab.model.kernel import KernelImage
from lab.templates import load_machine
from lab.validate.bringup import BootRequest, Lab

GFN = 0x100000
RAM_GFN = 0x20000
NOWHERE = 0x2_0000_0000
PAGE = 4096
REQUIRED = 2000
"""Accesses per second in batches that the test API owes its scenarios."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one piece of work, and the hypercalls and intercepts in it (0 when nobody counted)."""

    wall: float
    cpu: float
    records: int
    exits: int


def measure(lab: Lab, work: Callable[[], object]) -> Cost:
    """Do the work once."""
    view, machine = lab.hypervisor, lab.machine
    exits, records, cpu = view.exits(), view.position(), machine.cpu_seconds()
    started = time.monotonic()
    work()
    wall = time.monotonic() - started
    return Cost(wall, machine.cpu_seconds() - cpu, view.position() - records, view.exits() - exits)


def compare(lab: Lab, name: str, work: Callable[[], None], rounds: int) -> float:
    """Alternate ledger on and off; the median ratio of wall time."""
    work()
    walls: list[float] = []
    cpus: list[float] = []
    last: dict[bool, Cost] = {}
    for number in range(rounds):
        for on in (True, False) if number % 2 == 0 else (False, True):
            lab.hypervisor.ledger_enable(on)
            try:
                last[on] = measure(lab, work)
            finally:
                lab.hypervisor.ledger_enable(True)
        walls.append(last[True].wall / last[False].wall)
        cpus.append(last[True].cpu / last[False].cpu if last[False].cpu else float("nan"))
    cost = last[True]
    print(
        f"ledger on / off, {name}: wall {bench.spread(walls)}, QEMU CPU {bench.spread(cpus)}; "
        f"{cost.exits / cost.wall:,.0f} exits/s and {cost.records / cost.wall:,.0f} records/s with it",
        flush=True,
    )
    return bench.median(walls)


def boot_cost(kernel: KernelImage, args: argparse.Namespace) -> None:
    """Ledger on / off over whole boots; off by the stand-in's boot argument."""
    walls: list[float] = []
    cpus: list[float] = []
    for number in range(args.boots):
        row: dict[bool, tuple[float, float]] = {}
        for on in (True, False) if number % 2 == 0 else (False, True):
            params = {} if on else {"hypervisor_args": "ledger=off"}
            started = time.monotonic()
            lab = bench.boot(request(kernel, args, params))
            try:
                row[on] = time.monotonic() - started, lab.machine.cpu_seconds()
            finally:
                lab.close()
        walls.append(row[True][0] / row[False][0])
        cpus.append(row[True][1] / row[False][1])
    if walls:
        print(f"ledger on / off, boot to SSH: wall {bench.spread(walls)}, QEMU CPU {bench.spread(cpus)}")


def request(kernel: KernelImage, args: argparse.Namespace, params: dict[str, str]) -> BootRequest:
    """A boot of the default machine."""
    machine = load_machine("mshv-root", params)
    return BootRequest(machine=machine, kernel=kernel, qemu=args.qemu, params=params)


def rate(name: str, count: int, seconds: float, note: str = "") -> float:
    """Print and return events per second."""
    print(f"{name}: {count / seconds:,.0f}/s ({count} in {seconds:.2f} s){note}", flush=True)
    return count / seconds


def run(args: argparse.Namespace) -> float:
    """Measure everything on one boot."""
    kernel = bench.kernel(args)
    lab = bench.boot(request(kernel, args, {}))
    try:
        device = lab.device("ivshmem-plain")
        lab.passthrough(device)
        vmm = Vmm(lab.root)
        vmm.start()
        vmm.create_partition(vps=1)
        region = vmm.map_bar(device.bdf, device.bar, GFN, device.pages)
        span = device.pages * PAGE
        reads = [Access(region.gpa + i * 8 % span, 8) for i in range(args.accesses)]
        wrong = sum(
            result.value != device.expected_word(i * 8 % span // PAGE, i % (PAGE // 8))
            for i, result in enumerate(vmm.access(reads))
        )
        if wrong:
            raise SystemExit(f"{wrong} of {len(reads)} reads gave another value than the device holds")
        cost = measure(lab, lambda: vmm.access(reads))
        per_exit = f"; {cost.exits} exits, QEMU CPU {cost.cpu:.2f} s"
        batched = rate("batched MMIO reads of 8 bytes", len(reads), cost.wall, per_exit)

        def one_by_one() -> None:
            for access in reads[: args.single]:
                vmm.read(0, access.gpa, access.width)

        cost = measure(lab, one_by_one)
        rate("synchronous MMIO reads", min(args.single, len(reads)), cost.wall)

        nowhere = [Access(NOWHERE + i * 8, 8) for i in range(args.intercepts)]

        def intercepts() -> None:
            for result in vmm.access(nowhere):
                if result.message is None:
                    raise SystemExit("an access to a GPA without a region did not reach the VMM")

        intercepts()
        cost = measure(lab, intercepts)
        rate("intercepts that reach the VMM", len(nowhere), cost.wall, f"; {cost.exits} exits")

        def regions() -> None:
            for _ in range(args.regions):
                vmm.unmap(vmm.map_anonymous(RAM_GFN, 512))

        ratio = compare(lab, "intercepts", intercepts, args.rounds)
        compare(lab, "map and unmap 2 MiB of RAM", regions, args.rounds)
        vmm.close()
    finally:
        lab.close()
    boot_cost(kernel, args)
    print(f"batched: {batched / REQUIRED:.0f} times the {REQUIRED:,}/s that scenarios rely on")
    return ratio


def main() -> int:
    """Parse and run."""
    options = bench.parser(__doc__)
    options.add_argument("--accesses", type=int, default=50_000, help="batched reads (default: %(default)s)")
    options.add_argument("--single", type=int, default=300, help="synchronous reads (default: %(default)s)")
    options.add_argument("--intercepts", type=int, default=4000, help="per round (default: %(default)s)")
    options.add_argument("--regions", type=int, default=20, help="per round (default: %(default)s)")
    options.add_argument("--rounds", type=int, default=7, help="on and off, each (default: %(default)s)")
    options.add_argument("--boots", type=int, default=3, help="boots of each kind (default: %(default)s)")
    return bench.main(run, options)


if __name__ == "__main__":
    sys.exit(main())
