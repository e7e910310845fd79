#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Fuzz the stand-in with random hypercalls from a bare-metal root partition.

The same seed makes the same calls. After every call the guest checks that its own memory and registers
are as they were; in the end it tears everything down and all deposited pages must have come back. A
failure is run once more up to its call; the last line says how to do that again.
"""

from __future__ import annotations

import argparse
import secrets
import sys

from lab import paths
from lab.build.standin import build_standin
from lab.build.tiny import build_tiny
from lab.cache import Cache
from lab.hypervisor import names
from lab.unwind import unwind_on_signals
from lab.validate.fuzz import FuzzRun, run_fuzz, shrink


def report(run: FuzzRun) -> None:
    """What was called and what came of it."""
    rate = f", {run.number / run.seconds:,.0f} calls/s" if run.seconds else ""
    print(f"seed {run.seed}: {run.number:,} of {run.calls:,} calls in {run.seconds:.1f} s{rate}")
    print(f"  {run.dispatched:,} dispatches, {run.messages:,} of them with a message; ", end="")
    print(f"{run.msr_accesses:,} MSR accesses, {run.msr_faults:,} of them #GP")
    print(f"  {run.intercepts:,} intercepts among the last records of the ledger")
    print(f"  the host looked {run.looks:,} times at the children's tables and saw {run.leaves:,} mappings")
    statuses = sorted(run.statuses.items(), key=lambda item: -item[1])
    print("  statuses: " + ", ".join(f"{names.status(s)} {n:,}" for s, n in statuses))
    known = {c: n for c, n in run.codes.items() if c in names.HYPERCALLS}
    codes = sorted(known.items(), key=lambda item: -item[1][0])
    print("  calls (succeeded): " + ", ".join(f"{names.hypercall(c)} {n:,} ({g:,})" for c, (n, g) in codes))
    others = [n for c, (n, _) in run.codes.items() if c not in known]
    print(f"  codes without a name: {len(others)}, called {sum(others):,} times")


def main() -> int:
    """Exit 0 when every seed came through."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, action="append", help="may be repeated (default: a random one)")
    parser.add_argument("--calls", type=int, default=100_000, help="default: %(default)s")
    parser.add_argument("--cpus", type=int, choices=[1, 2], default=1, help="2: both make calls at once")
    parser.add_argument("--hypervisor-arg", action="append", default=[], help="argument for the stand-in")
    parser.add_argument("--qemu", metavar="PATH", help="qemu-system-x86_64 to use")
    args = parser.parse_args()
    unwind_on_signals()
    cache = Cache(paths.cache_root())
    standin, guest = build_standin(cache), build_tiny(cache)
    failed = 0

    def run(seed: int, calls: int) -> FuzzRun:
        extra = tuple(args.hypervisor_arg)
        return run_fuzz(
            seed,
            calls,
            guest,
            standin.elf,
            standin.symbols,
            hypervisor_args=extra,
            cpus=args.cpus,
            qemu=args.qemu,
        )

    for seed in args.seed or [secrets.randbits(32)]:
        done = run(seed, args.calls)
        report(done)
        if not done.ok:
            failed += 1
            shorter = shrink(done, lambda calls, seed=seed: run(seed, calls))
            print(f"FAILED\n{shorter.why()}\n{shorter.replay}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
