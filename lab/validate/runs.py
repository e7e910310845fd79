# SPDX-License-Identifier: GPL-2.0-or-later
"""One kernel's run: scenarios and detector proofs side by side, judged, and kept in the cache.

A run of the base is the same for every series, so it is cached under everything it depends on:
kernel, stand-in, VMM, scenarios, the lab's own code, machine and selection. Detector proofs depend on
the kernel image and are cached for both sides.
"""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from lab import paths
from lab.build import warnings
from lab.build.flavours import flavour
from lab.build.rootfs import build_initramfs
from lab.build.standin import StandIn, build_standin
from lab.build.vmm import build_vmm
from lab.cache import Cache
from lab.hashing import digest, file_sha256, tree_digest
from lab.judge.verdict import CUT_SHORT, kernel_verdict, settle
from lab.machine import spawn
from lab.model.kernel import KernelImage
from lab.model.result import DetectorProof, KernelRun, PhaseTime
from lab.model.verdict import Verdict
from lab.progress import Progress
from lab.validate import allowlist
from lab.validate.drive import DriveRequest, DriveResult
from lab.validate.exchange import Report, image_to_json, read_report, run_from_json, run_to_json
from lab.validate.lanes import Lane
from lab.validate.shares import drive_shared
from lab.validate.workers import end

ARM_BUDGET = 180.0
"""Seconds for a whole arming process, times the flavour's factor; its own waits are far shorter."""
_ARMING_CODE = ("child", "hypervisor", "judge", "machine", "model", "root", "validate")
"""Packages whose code boots, trips and reads; the others say what is built, and how it is told."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Which scenarios on which kernel, and where the evidence goes."""

    side: str
    kernel: KernelImage
    out: Path
    claims: tuple[str, ...] = ()
    quick: bool = False
    slow: bool = False
    """Slow scenarios belong to the quick set too."""
    expression: str | None = None
    keep: str | None = None
    shares: int = 1
    """How many processes run the scenarios at once."""


class Runner:
    """Runs kernels on one machine template."""

    def __init__(
        self, cache: Cache, progress: Progress, machine: str, params: tuple[str, ...], qemu: str | None
    ) -> None:
        self._cache = cache
        self._progress = progress
        self._machine = machine
        self._params = params
        self._qemu = qemu
        self._stop = threading.Event()
        self._standin: StandIn | None = None
        self._initramfs: Path | None = None
        self._arming_lock = threading.Lock()
        self._arming_locks: dict[str, threading.Lock] = {}
        self._armed: dict[str, tuple[DetectorProof, ...]] = {}

    def stop(self) -> None:
        """End everything that runs; runs under way return soon, as cut short."""
        self._stop.set()

    def stopped(self) -> bool:
        """Whether somebody did."""
        return self._stop.is_set()

    def images(self) -> None:
        """Phase image: stand-in, VMM and root file system, from the cache when unchanged."""
        self._standin = build_standin(self._cache)
        self._initramfs = build_initramfs(build_vmm(self._cache), self._cache)

    def lab_key(self) -> str:
        """Everything but kernel and selection that decides what a run says."""
        if self._standin is None or self._initramfs is None:
            self.images()
        assert self._standin is not None and self._initramfs is not None
        root = paths.repo_root()
        return digest(
            self._standin.key,
            str(self._initramfs.parent.name),
            tree_digest(root / "lab"),
            tree_digest(root / "tests" / "guest" / "scenarios"),
            tree_digest(root / "templates" / "machines"),
            paths.images_dir() / "kernel" / allowlist.TABLE,
            self._machine,
            "\0".join(self._params),
            self._qemu or "",
        )

    def run(
        self, plan: RunPlan, on_quick: Callable[[KernelRun], None] | None = None, lane: Lane | None = None
    ) -> KernelRun:
        """Drive and judge one kernel. The base side comes from the cache when nothing changed.

        ``on_quick`` gets the run as it stands when the quick set is judged.
        """
        lane = lane or Lane(self._progress)
        key = self._run_key(plan)
        if plan.side == "base" and (entry := self._cache.get("run", key)) is not None:
            run = run_from_json(json.loads((entry / "run.json").read_text()))
            lane.progress.record(PhaseTime("drive", "base", 0.0, 0.0, "cached"))
            shutil.copytree(entry / "evidence", plan.out / "evidence", dirs_exist_ok=True)
            if on_quick:
                on_quick(replace(run, cached=True))
            return replace(run, cached=True)
        with ThreadPoolExecutor(max_workers=2) as pool:
            proofs = pool.submit(self.proofs, plan.kernel, plan.side, plan.out / "arm", lane)
            if lane.shared:
                wait([proofs])  # who has a turn and asks for them must not be what they wait for

            def quick(report: Report) -> None:
                if on_quick:
                    on_quick(self._judge(plan, report, proofs, ""))

            driven = self._drive(plan, quick, lane)
            why = (
                "" if driven.report.complete else f"{CUT_SHORT} (status {driven.exit_status}), see pytest.log"
            )
            run = self._judge(plan, driven.report, proofs, why)
        if plan.side == "base" and driven.report.complete and not run.failed_phase and _settled(run):
            self._keep(key, run, plan.out / "evidence")
        return run

    def _run_key(self, plan: RunPlan) -> str:
        selection = digest("\0".join(plan.claims), str((plan.quick, plan.slow)), plan.expression or "")
        return digest(plan.kernel.key, self.lab_key(), selection)

    def known(self, plan: RunPlan) -> bool:
        """Whether :meth:`run` would take this run of a base from the cache."""
        return plan.side == "base" and self._cache.get("run", self._run_key(plan)) is not None

    def _keep(self, key: str, run: KernelRun, evidence: Path) -> None:
        def produce(folder: Path) -> None:
            (folder / "run.json").write_text(json.dumps(run_to_json(run), indent=1))
            evidence.mkdir(exist_ok=True)
            shutil.copytree(evidence, folder / "evidence")

        self._cache.publish("run", key, produce)

    def _drive(self, plan: RunPlan, on_quick: Callable[[Report], None], lane: Lane) -> DriveResult:
        request = DriveRequest(
            kernel=plan.kernel,
            side=plan.side,
            out=plan.out,
            machine=self._machine,
            params=self._params,
            qemu=self._qemu,
            claims=plan.claims,
            quick=plan.quick,
            slow=plan.slow,
            expression=plan.expression,
            keep=plan.keep,
            factor=flavour(plan.kernel.flavour).time_factor,
        )
        driven = drive_shared(request, plan.shares, lane.progress, on_quick, self._stop, lane.turn)
        count = f"{len(driven.report.outcomes)} scenarios, {len(driven.report.boots)} boots"
        lane.progress.record(PhaseTime("drive", plan.side, driven.wall, driven.report.cpu, count))
        return driven

    def _judge(
        self, plan: RunPlan, report: Report, proofs: Future[tuple[DetectorProof, ...]], cut_short: str
    ) -> KernelRun:
        kernel = plan.kernel
        run = KernelRun(
            side=plan.side,
            release=kernel.release,
            flavour=kernel.flavour,
            key=kernel.key,
            verdict=Verdict.INCONCLUSIVE,
            abilities=report.abilities,
            fixes=kernel.fixes,
            warnings=warnings.of_image(kernel),
        )
        failure = report.boot_failure
        if failure is not None and not report.boots:
            verdict = Verdict.INCONCLUSIVE if failure["kind"] == "tripwire" else Verdict.FAIL
            lines = tuple(str(failure["text"]).splitlines())
            why = (f"{failure['kind']} in phase {failure['phase']}: {lines[0] if lines else ''}",)
            return replace(run, verdict=verdict, reasons=why, failed_phase="boot", evidence=lines[1:])
        detectors = proofs.result()
        outcomes = tuple(settle(o, detectors, kernel.flavour) for o in report.outcomes)
        splats = tuple(dict.fromkeys(report.splats))
        own = kernel_verdict(outcomes, detectors, flavour=kernel.flavour, splats=splats)
        verdict, reasons = own.verdict, list(own.reasons)
        if cut_short:
            reasons.append(cut_short)
            verdict = Verdict.FAIL if verdict is Verdict.FAIL else Verdict.INCONCLUSIVE
        return replace(
            run,
            verdict=verdict,
            reasons=tuple(reasons),
            outcomes=outcomes,
            detectors=detectors,
            splats=splats,
        )

    def _arming_key(self, kernel: KernelImage) -> str:
        """What decides whether a detector fires: the core kernel, and the code that trips and reads.

        The driver's module is not part of it, so base and a patched kernel that differ in nothing else
        share their proofs. All kernel detectors live in the core kernel. How mshv_root.ko is
        instrumented for them comes from configuration and Makefile, and a series that touches a Makefile
        is never built as the module alone (lab.build.modscope). What a scenario asks is no part either.
        """
        if self._standin is None or self._initramfs is None:
            self.images()
        assert self._standin is not None and self._initramfs is not None
        root = paths.repo_root()
        return digest(
            file_sha256(kernel.bzimage),
            kernel.flavour,
            file_sha256(kernel.arming) if kernel.arming else "",
            self._standin.key,
            str(self._initramfs.parent.name),
            *(tree_digest(root / "lab" / part) for part in _ARMING_CODE),
            tree_digest(root / "templates" / "machines"),
            self._machine,
            "\0".join(self._params),
            self._qemu or "",
        )

    def proofs(
        self, kernel: KernelImage, side: str, out: Path, lane: Lane | None = None
    ) -> tuple[DetectorProof, ...]:
        """Detector proofs of this image, from the cache or from throw-away boots.

        Kernels that share their proofs are armed once, even when nothing came of it.
        """
        key = self._arming_key(kernel)
        with self._arming_lock:
            lock = self._arming_locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._armed:
                self._armed[key] = self._known_proofs(key) or self._arm_in_turn(
                    key, kernel, side, out, lane or Lane(self._progress)
                )
            return self._armed[key]

    def _known_proofs(self, key: str) -> tuple[DetectorProof, ...]:
        if (entry := self._cache.get("armed", key)) is None:
            return ()
        return tuple(DetectorProof(**p) for p in json.loads((entry / "proofs.json").read_text()))

    def _arm_in_turn(
        self, key: str, kernel: KernelImage, side: str, out: Path, lane: Lane
    ) -> tuple[DetectorProof, ...]:
        with lane.turn():
            return self._arm(key, kernel, side, out, lane.progress)

    def _arm(
        self, key: str, kernel: KernelImage, side: str, out: Path, progress: Progress
    ) -> tuple[DetectorProof, ...]:
        started = time.monotonic()
        budget = ARM_BUDGET * flavour(kernel.flavour).time_factor
        out.mkdir(parents=True, exist_ok=True)
        kernel_file, report_file = out / "kernel.json", out / "report.jsonl"
        kernel_file.write_text(json.dumps(image_to_json(kernel), indent=1) + "\n")
        report_file.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "lab.validate.arm", str(kernel_file), str(report_file)]
        argv += ["--machine", self._machine] + (["--qemu", self._qemu] if self._qemu else [])
        argv += [f"--param={p}" for p in self._params]
        process = spawn.start(argv, log=out / "arm.log", die_with_me=True)
        try:
            while process.poll() is None and not self._stop.is_set():
                if time.monotonic() - started > budget:
                    progress.note(f"arming the {side} kernel's detectors took over {budget:.0f} s")
                    break
                time.sleep(0.05)
        finally:
            end(process)
        report = read_report(report_file)
        proofs = tuple(report.proofs)
        progress.record(
            PhaseTime(
                "arm",
                side,
                time.monotonic() - started,
                report.cpu,
                f"{sum(p.fired for p in proofs)} detectors fired",
            )
        )
        if report.complete and proofs and all(p.fired for p in proofs):
            self._cache.publish(
                "armed",
                key,
                _writer(
                    "proofs.json", [{"name": p.name, "fired": p.fired, "detail": p.detail} for p in proofs]
                ),
            )
        return proofs


def _settled(run: KernelRun) -> bool:
    """Only a run without doubt is worth keeping: doubt may be gone the next time."""
    return all(o.verdict is not Verdict.INCONCLUSIVE for o in run.outcomes) and bool(run.outcomes)


def _writer(name: str, values: object) -> Callable[[Path], None]:
    def produce(folder: Path) -> None:
        (folder / name).write_text(json.dumps(values, indent=1))

    return produce
