# SPDX-License-Identifier: GPL-2.0-or-later
"""Look for lost wake-ups: heartbeats in a Linux child while its root is kept busy.

Timers on both processors, the disk and the network of the child beat for a while (``child-io beat``);
the root reads its own disk and fetches from the child, which halts and wakes VPs all the time. A pause of
10 s or more is a stall; then the stacks of the root, the child's console and the last records
are printed. TCG decides which races are possible: one thread (QEMU before 10) and
``--param tcg_thread=parked`` are different runs.

    python ci/stall.py [--seconds 90] [--runs 1] [--qemu PATH] [--param scheduler=core]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from soak import LOAD, MACHINE, autopsy, complaints, start_load, stop_load

from lab.machine.child_argv import CHILD_ADDRESS
from lab.model.errors import LabError
from lab.paths import images_dir
from lab.progress import NullProgress
from lab.templates import load_machine
from lab.validate.bringup import BootRequest
from lab.validate.child_snapshot import Up, boot_with_child
from lab.validate.heartbeat import run_beats
from lab.validate.kernels import Selectors, prepare


def main() -> int:
    """Exit 0 when no beat stalled in any run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=90, help="of each run (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=1, help="boots in a row (default: %(default)s)")
    parser.add_argument("--qemu", help="QEMU to use (default: the installed one)")
    parser.add_argument("--param", action="append", default=[], metavar="K=V", help="of the machine")
    args = parser.parse_args()
    params = dict(word.split("=", 1) for word in args.param)
    bad: list[str] = []
    for run in range(1, args.runs + 1):
        bad += one_run(run, args.seconds, args.qemu, params)
    print("\n".join(bad))
    print(f"{'BAD' if bad else 'good'}: {args.runs} runs of {args.seconds} s")
    return 1 if bad else 0


def one_run(run: int, seconds: int, qemu: str | None, params: dict[str, str]) -> list[str]:
    """Boot, beat, look at both kernels; what was bad."""
    kernel = prepare(Selectors(qemu=qemu), NullProgress())
    spec = load_machine(MACHINE, params)
    asked = BootRequest(machine=spec, kernel=kernel, qemu=qemu, template=MACHINE, params=params)
    up = boot_with_child(asked, NullProgress(), snapshots=False)
    try:
        print(f"run {run}: {up.seconds:.1f} s to the child's login", flush=True)
        return beat(up, seconds)
    except LabError as e:
        return [f"run {run}: {e}", *autopsy(up.lab, up.child)]
    finally:
        up.child.close()
        up.lab.close()


def beat(up: Up, seconds: int) -> list[str]:
    """Heartbeats under load."""
    script = (images_dir() / "child" / "load").read_bytes()
    for where in (up.child.ssh, up.lab.root):
        where.put(script, LOAD, 0o755)
    start_load(up.child.ssh, "child")
    start_load(up.lab.root, f"root {CHILD_ADDRESS}")
    beats = run_beats(up.child, seconds)
    for one in beats:
        print(f"  {one}", flush=True)
    bad = [str(one) for one in beats if one.stalled]
    if bad:
        bad += autopsy(up.lab, up.child)
    counts = Counter[str]()
    for where in (up.lab.root, up.child.ssh):
        bad += stop_load(where, counts)
    print(f"  {dict(counts)}")
    return bad + complaints(up.lab, up.child)


if __name__ == "__main__":
    sys.exit(main())
