# SPDX-License-Identifier: GPL-2.0-or-later
"""Armed-detector proofs: each detector is tripped on purpose in a throw-away boot of the kernel.

A pass counts only when its detectors fired here, on that very image. Run as a process of its own
(``python -m lab.validate.arm KERNEL_FILE REPORT ...``) so that a guest that dies on purpose and the
scenarios can go on side by side. The order matters: the panic comes last, it ends the guest.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lab.child.vmm import Vmm
from lab.judge import ledger as judge_ledger
from lab.judge import slat as judge_slat
from lab.judge.splats import parse
from lab.model.errors import GuestDied, LabError
from lab.model.result import DetectorProof
from lab.model.splat import SplatClass
from lab.progress import NullProgress
from lab.templates import load_machine, parse_params
from lab.unwind import unwind_on_signals
from lab.usage import cpu_seconds
from lab.validate.bringup import BootRequest, Lab
from lab.validate.exchange import ReportWriter, read_kernel_file
from lab.validate.forks import boot_or_fork

PROVOKE = "/sys/kernel/debug/provoke-crash/DIRECT"
HUNG_TASK_SECONDS = 1
HUNG_TASK_ARGS = (f"sysctl.kernel.hung_task_timeout_secs={HUNG_TASK_SECONDS}",)
LOG_BUDGET = 3.0
HUNG_TASK_BUDGET = 10.0
PANIC_BUDGET = 2.0
"""Seconds from the panic line to the end of the wait: the product's promise, so the proof's bound."""


def _splat_follows(lab: Lab, trip: str, cls: SplatClass, budget: float) -> DetectorProof:
    name = {SplatClass.WARNING: "warn", SplatClass.HUNG_TASK: "hung-task"}[cls]
    position = lab.kernel_log.position()
    lab.root.run(trip, timeout=budget + 10, check=False)
    deadline = time.monotonic() + budget
    while True:
        found = [s for s in parse(lab.kernel_log.since(position)) if s.cls is cls]
        if found:
            return DetectorProof(name, True, found[0].title)
        if time.monotonic() > deadline:
            return DetectorProof(name, False, f"nothing in the kernel log within {budget:.0f} s")
        lab.watch.check(f"arming {name}")
        time.sleep(0.05)


def prove_warn(lab: Lab) -> DetectorProof:
    """A WARN raised by lkdtm must come out of the log parser."""
    return _splat_follows(lab, f"echo WARNING > {PROVOKE}", SplatClass.WARNING, LOG_BUDGET)


def prove_hung_task(lab: Lab) -> DetectorProof:
    """A task put to uninterruptible sleep by lkdtm must be reported by khungtaskd."""
    trip = f"(echo HUNG_TASK > {PROVOKE}) >/dev/null 2>&1 </dev/null &"
    return _splat_follows(lab, trip, SplatClass.HUNG_TASK, HUNG_TASK_BUDGET)


def prove_leaks(lab: Lab) -> list[DetectorProof]:
    """A mapping that the oracles are told nothing of must be reported by both of them."""
    vmm = Vmm(lab.root)
    vmm.start()
    position = lab.hypervisor.position()
    try:
        vmm.create_partition(vps=1)
        vmm.read(0, 0, 8)
        partition = lab.child_partition()
        records = lab.hypervisor.since(position)
        leaks = judge_ledger.leaked_maps(records, partition)
        problems = judge_slat.audit(lab.hypervisor.slat(partition), [], [])
    finally:
        vmm.close()
    return [
        DetectorProof("ledger-leak", bool(leaks), leaks[0] if leaks else "a live mapping was not reported"),
        DetectorProof(
            "slat-leak", bool(problems), problems[0] if problems else "a live mapping was not reported"
        ),
    ]


def prove_panic(lab: Lab) -> DetectorProof:
    """A panic must end a wait within 2 s of its first line and come out of the log parser."""
    tripped = time.monotonic()
    try:
        lab.root.run(f"echo PANIC > {PROVOKE}", timeout=LOG_BUDGET + 10, check=False)
        lab.watch.wait(
            lambda: False, budget=LOG_BUDGET + 10, phase="arming panic", cause="a panic on purpose"
        )
    except GuestDied as e:
        splats = [s for s in parse(lab.kernel_log.serial_since(0)) if s.cls is SplatClass.PANIC]
        late = time.monotonic() - tripped
        if e.kind != "panic" or not splats:
            return DetectorProof("panic", False, f"the wait ended by {e.kind}: {e.what}")
        if late > PANIC_BUDGET:
            return DetectorProof("panic", False, f"reported {late:.1f} s after it was asked for")
        return DetectorProof("panic", True, splats[0].title)
    except LabError as e:
        return DetectorProof("panic", False, str(e).splitlines()[0])
    return DetectorProof("panic", False, "the guest outlived a panic on purpose")


def prove_all(lab: Lab, tell: Callable[[DetectorProof], None]) -> None:
    """Trip every detector of this issue; a detector that cannot be tripped counts as silent."""
    steps: tuple[tuple[tuple[str, ...], Callable[[Lab], DetectorProof | list[DetectorProof]]], ...] = (
        (("ledger-leak", "slat-leak"), prove_leaks),
        (("warn",), prove_warn),
        (("hung-task",), prove_hung_task),
        (("panic",), prove_panic),
    )
    if not lab.witness.sees_slat:
        steps = steps[1:]
    for names, step in steps:
        try:
            proofs = step(lab)
        except LabError as e:
            proofs = [DetectorProof(n, False, str(e).splitlines()[0]) for n in names]
        for proof in proofs if isinstance(proofs, list) else [proofs]:
            tell(proof)


def main(argv: list[str]) -> int:
    """Entry of the arming process; the report file tells the result, the status only a breakdown."""
    parser = argparse.ArgumentParser(prog="lab.validate.arm")
    parser.add_argument("kernel_file", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("--machine", default="mshv-root")
    parser.add_argument("--param", action="append", default=[])
    parser.add_argument("--qemu")
    args = parser.parse_args(argv)
    unwind_on_signals()
    writer = ReportWriter(args.report)
    try:
        request = BootRequest(
            machine=load_machine(args.machine, parse_params(args.param)),
            kernel=read_kernel_file(args.kernel_file),
            qemu=args.qemu,
            kernel_args=HUNG_TASK_ARGS,
        )
        lab = boot_or_fork(request, NullProgress())
        try:
            prove_all(lab, lambda p: writer.write("proof", name=p.name, fired=p.fired, detail=p.detail))
        finally:
            lab.close()
        writer.write("end", cpu=cpu_seconds())
    except GuestDied as e:
        writer.write("boot-failure", kind=e.kind, phase=e.phase, text=str(e))
        return 1
    except LabError as e:
        writer.write("error", text=str(e))
        return 1
    finally:
        writer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
