#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How much longer does a boot to SSH take on the stand-in than without it?

Both boots have the same kernel, initramfs, CPUs, memory, devices and QEMU accelerator; only the machine
``bare-root`` has no stand-in. They alternate in one run, so that a host that becomes busy slows both down.
Wall time runs from before QEMU's start to a finished login, CPU time is QEMU's until then.

A bare kernel measures its TSC and its APIC timer against emulated hardware, which a Hyper-V root is told
by the hypervisor. ``--told`` adds a third boot whose TSC is named by ``tsc_early_khz``: a harder comparison.

The last line is ``ratio N.NN``: the median over the pairs of wall time with the stand-in / without it.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

import bench

from lab.model.kernel import KernelImage
from lab.templates import load_machine
from lab.validate.bringup import BootRequest


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of boot."""

    name: str
    machine: str
    kernel_args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds of one boot, and the stand-in's exits (0 without it)."""

    wall: float
    cpu: float
    exits: int
    records: int
    tsc_khz: int


def measure(kind: Kind, kernel: KernelImage, args: argparse.Namespace) -> Sample:
    """Boot to a login and shut down."""
    params = {"cpus": str(args.cpus), "memory": args.memory}
    request = BootRequest(
        machine=load_machine(kind.machine, params),
        kernel=kernel,
        qemu=args.qemu,
        kernel_args=kind.kernel_args,
        template=kind.machine,
        params=params,
    )
    started = time.monotonic()
    lab = bench.boot(request)
    wall, cpu = time.monotonic() - started, lab.machine.cpu_seconds()
    try:
        if lab.machine.spec.hypervisor == "none":
            return Sample(wall, cpu, 0, 0, 0)
        view = lab.hypervisor
        return Sample(wall, cpu, view.exits(), view.position(), view.tsc_hz() // 1000)
    finally:
        lab.close()


def run(args: argparse.Namespace) -> float:
    """Alternate the boots; the median ratio."""
    kernel = bench.kernel(args)
    stand_in, bare = Kind("stand-in", "mshv-root"), Kind("bare", "bare-root")
    warm = [measure(kind, kernel, args) for _ in range(args.warm_up) for kind in (stand_in, bare)]
    kinds = [stand_in, bare]
    if args.told:
        khz = warm[0].tsc_khz if warm else measure(stand_in, kernel, args).tsc_khz
        kinds.append(Kind("bare, told its TSC", "bare-root", (f"tsc_early_khz={khz}",)))
    print(f"Linux {kernel.release}, {args.cpus} CPUs, {args.memory}, {args.pairs} pairs after {args.warm_up}")
    rows: list[dict[str, Sample]] = []
    for number in range(args.pairs):
        # Each pair the other way round: whatever comes second has no lasting advantage.
        order = kinds if number % 2 == 0 else kinds[::-1]
        row = {kind.name: measure(kind, kernel, args) for kind in order}
        rows.append(row)
        parts = [f"{k.name} {row[k.name].wall:.2f} s wall {row[k.name].cpu:.2f} s CPU" for k in kinds]
        ratio = row["stand-in"].wall / row["bare"].wall
        print(f"pair {number + 1}: {'; '.join(parts)}; ratio {ratio:.2f}", flush=True)
    for kind in kinds:
        samples = [row[kind.name] for row in rows]
        wall, cpu = bench.spread([s.wall for s in samples]), bench.spread([s.cpu for s in samples])
        exits = f"; {samples[-1].exits} exits, {samples[-1].records} ledger records" * (kind is stand_in)
        print(f"median {kind.name}: {wall} s wall, {cpu} s CPU{exits}")
    for kind in kinds[1:]:
        wall_ratio = bench.spread([row["stand-in"].wall / row[kind.name].wall for row in rows])
        cpu_ratio = bench.spread([row["stand-in"].cpu / row[kind.name].cpu for row in rows])
        print(f"stand-in / {kind.name}: wall {wall_ratio}, CPU {cpu_ratio}")
    return bench.median([row["stand-in"].wall / row["bare"].wall for row in rows])


def main() -> int:
    """Parse and run."""
    options = bench.parser(__doc__)
    options.add_argument("--pairs", type=int, default=5, help="boots of each kind (default: %(default)s)")
    options.add_argument("--warm-up", type=int, default=1, help="pairs not counted (default: %(default)s)")
    options.add_argument("--cpus", type=int, default=2)
    options.add_argument("--memory", default="1G")
    options.add_argument(
        "--told", action="store_true", help="also a bare boot that is told its TSC frequency"
    )
    return bench.main(run, options)


if __name__ == "__main__":
    sys.exit(main())
