# SPDX-License-Identifier: GPL-2.0-or-later
"""Armed-detector proofs: each detector is tripped on purpose in a throw-away boot of the kernel.

A pass counts only when its detectors fired here, on that very image. Run as a process of its own
(``python -m lab.validate.arm KERNEL_FILE REPORT ...``) so that a guest that dies on purpose and the
scenarios can go on side by side. The guests are forks of the snapshot that the scenarios start from,
where there is one. The order matters: a first report disarms later ones, and a panic ends the guest.
The driver runs only after the kernel's own detectors: a stock driver may disarm them by itself.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from lab.child.vmm import Vmm
from lab.judge import ledger as judge_ledger
from lab.judge import slat as judge_slat
from lab.judge.armed import BY_NAME, PROVOKED, by_module, required
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

Tell = Callable[[DetectorProof], None]

PROVOKE = "/sys/kernel/debug/provoke-crash/DIRECT"
MODULE_TRIP = "/sys/kernel/debug/hvlab-arm/trip"
MODULE_FILE = "/lab/hvlab_arm.ko"
HUNG_TASK_SECONDS = 1
LOG_BUDGET = 3.0
HUNG_TASK_BUDGET = 10.0
RACE_BUDGET = 12.0
TRIP_BUDGET = 30.0
PANIC_BUDGET = 2.0
"""Seconds from the panic line to the end of the wait: the product's promise, so the proof's bound."""
LEAK_AGE = 6.0
"""Seconds; kmemleak says nothing of objects younger than five."""
SCANS = 3
"""An object counts when a scan finds it as the one before has left it, so it takes two."""
SCAN_BUDGET = 60.0

FIRST = (
    "rcu",
    "irq-state",
    "atomic-sleep",
    "list",
    "debug-objects",
    "ubsan-bounds",
    "ubsan-shift",
    "warn",
    "hung-task",
    "kcsan",
    "kmemleak",
    "lockdep",
    "kasan",
)
"""Tripped in this order in one guest. None of them disarms what comes after it: the reports up to kmemleak
leave lockdep on (their taint is LOCKDEP_STILL_OK), the one of a lock switches lockdep off and nothing
else, and the one of KASAN switches off lockdep and KASAN itself."""
SECOND = ("wait-context", "kasan-vmalloc")
"""Those that FIRST disarms: lockdep reports once, and so does KASAN. They get a fork of their own."""


def _trip(name: str) -> str:
    if name in PROVOKED:
        return f"echo {PROVOKED[name]} > {PROVOKE}"
    return f"echo {name} > {MODULE_TRIP}"


def _splat_follows(lab: Lab, name: str, trip: str, budget: float) -> DetectorProof:
    position = lab.kernel_log.position()
    lab.root.run(trip, timeout=(budget + TRIP_BUDGET) * lab.factor, check=False)
    deadline = time.monotonic() + budget * lab.factor
    while True:
        found = BY_NAME[name].reported(parse(lab.kernel_log.since(position)))
        if found is not None:
            return DetectorProof(name, True, found.title)
        if time.monotonic() > deadline:
            return DetectorProof(name, False, f"nothing in the kernel log within {budget * lab.factor:.0f} s")
        lab.watch.check(f"arming {name}")
        time.sleep(0.05)


def prove_by_log(lab: Lab, name: str) -> DetectorProof:
    """A trip of LKDTM or of the lab's module must come out of the log parser."""
    if name == "hung-task":
        # The snapshot is the scenarios' own, so the time-out is shortened here. LKDTM never returns.
        lab.root.run(f"echo {HUNG_TASK_SECONDS} > /proc/sys/kernel/hung_task_timeout_secs")
        return _splat_follows(lab, name, f"({_trip(name)}) >/dev/null 2>&1 </dev/null &", HUNG_TASK_BUDGET)
    return _splat_follows(lab, name, _trip(name), RACE_BUDGET if name == "kcsan" else LOG_BUDGET)


def prove_kmemleak(lab: Lab, leaked: float) -> DetectorProof:
    """Objects leaked at ``leaked`` (monotonic) must be found by a scan, with the function that did it."""
    while (left := leaked + LEAK_AGE - time.monotonic()) > 0:
        lab.watch.check("arming kmemleak")
        time.sleep(min(left, 0.2))
    kmemleak = "/sys/kernel/debug/kmemleak"
    for _ in range(SCANS):
        done = lab.root.run(
            f"echo scan > {kmemleak} && cat {kmemleak}", timeout=SCAN_BUDGET * lab.factor, check=False
        )
        if done.rc:
            return DetectorProof("kmemleak", False, done.err.strip() or "a scan cannot be asked for")
        found = BY_NAME["kmemleak"].reported(parse(done.out.splitlines()))
        if found is not None:
            return DetectorProof("kmemleak", True, found.title)
    return DetectorProof("kmemleak", False, f"{SCANS} scans did not find the objects")


def load_module(lab: Lab) -> str:
    """Bring the lab's own module in; "" or why it is not there."""
    if lab.kernel.arming is None:
        return "there is no module to trip it with for this kernel"
    lab.root.put(lab.kernel.arming.read_bytes(), MODULE_FILE, 0o600)
    done = lab.root.run(f"insmod {MODULE_FILE}", check=False)
    if done.rc:
        return f"the kernel refuses the module that trips it: {(done.err or done.out).strip()}"
    return ""


def prove_by_logs(lab: Lab, names: Iterable[str], tell: Tell) -> None:
    """Trip those of ``names``, in their order, that the kernel's flavour has."""
    wanted = [n for n in names if n in required(lab.kernel.flavour)]
    absent = load_module(lab) if any(by_module(n) for n in wanted) else ""
    leaked = 0.0
    if "kmemleak" in wanted and not absent:
        # First, as the objects have to age.
        lab.root.run(_trip("kmemleak"), check=False)
        leaked = time.monotonic()
    for name in wanted:
        if absent and by_module(name):
            tell(DetectorProof(name, False, absent))
            continue
        try:
            tell(prove_kmemleak(lab, leaked) if name == "kmemleak" else prove_by_log(lab, name))
        except LabError as e:
            tell(DetectorProof(name, False, str(e).splitlines()[0]))


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


def prove_overflow(lab: Lab) -> DetectorProof:
    """Records that were overwritten before anybody read them must make the oracle doubt."""
    position = lab.hypervisor.position()
    lab.hypervisor.overrun_ledger()
    said = judge_ledger.doubts(lab.hypervisor.since(position), str, str)
    told = [line for line in said if "lost" in line]
    return DetectorProof("ledger-overflow", bool(told), told[0] if told else "the loss was not told")


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


def prove_all(lab: Lab, tell: Tell) -> None:
    """Trip what one guest can show, the panic last; what cannot be tripped counts as silent."""
    prove_by_logs(lab, FIRST, tell)
    steps: tuple[tuple[tuple[str, ...], Callable[[Lab], DetectorProof | list[DetectorProof]]], ...] = (
        (("ledger-leak", "slat-leak"), prove_leaks),
        (("ledger-overflow",), prove_overflow),
        (("panic",), prove_panic),
    )
    if not lab.witness.sees_slat:
        steps = steps[2:]
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
        )

        def tell(proof: DetectorProof) -> None:
            writer.write("proof", name=proof.name, fired=proof.fired, detail=proof.detail)

        lab = boot_or_fork(request, NullProgress())
        try:
            prove_all(lab, tell)
        finally:
            lab.close()
        if set(SECOND) & set(required(request.kernel.flavour)):
            lab = boot_or_fork(request, NullProgress())
            try:
                prove_by_logs(lab, SECOND, tell)
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
