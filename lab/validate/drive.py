# SPDX-License-Identifier: GPL-2.0-or-later
"""Phase drive: the scenarios on one kernel, in a pytest process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import paths
from lab.cache import remove_tree
from lab.machine import spawn
from lab.model.errors import BadInput, LabUnavailable
from lab.model.kernel import KernelImage
from lab.progress import Progress
from lab.validate.exchange import Report, image_to_json, read_report
from lab.validate.workers import end

SCRATCH = ".scratch"
"""Folder for temporary files of the scenarios, below the output folder; gone afterwards."""
ORDER = "order.txt"
NOTHING = 5
"""pytest's exit status when no test was selected."""
SILENCE_BUDGET = 240.0
"""Seconds without a new report line before the run counts as dead. Every wait inside a scenario has a
budget of its own that is far smaller; this one only catches a pytest process that itself hangs."""


@dataclass(frozen=True, slots=True)
class DriveRequest:
    """Which scenarios to run on which kernel (None: the one that runs on the machine already). ``claims``
    selects the quick set by claim."""

    kernel: KernelImage | None
    side: str
    out: Path
    machine: str = "mshv-root"
    params: tuple[str, ...] = ()
    qemu: str | None = None
    claims: tuple[str, ...] = ()
    quick: bool = False
    slow: bool = False
    expression: str | None = None
    keep: str | None = None
    factor: float = 1.0
    counters: Path | None = None
    """Where the counters of a profiled kernel are kept."""
    order: tuple[str, ...] = ()
    """Only the scenarios with these ids, in this order."""
    stop_at_failure: bool = False
    fresh: bool = False
    """Boot each lab from the start, never from a snapshot."""
    share: int = 1
    together: Path | None = None
    """Only what no other process with this folder has taken; ``share`` numbers them from 1."""

    def named(self, name: str) -> Path:
        """A file of this run in the output folder, which the shares of one run have in common."""
        stem, dot, suffix = name.partition(".")
        return self.out / (name if self.share == 1 else f"{stem}-{self.share}{dot}{suffix}")


@dataclass(slots=True)
class DriveResult:
    """What the pytest process reported; ``report.cpu`` includes its guests."""

    report: Report
    exit_status: int
    output: str
    wall: float


def pytest_argv(request: DriveRequest, kernel_file: Path, report: Path) -> list[str]:
    """Command line of the scenario run."""
    argv = [
        sys.executable,
        "-m",
        "pytest",
        str(paths.tests_dir() / "guest" / "scenarios"),
        "-q",
        "-p",
        "no:cacheprovider",
        # Where it is installed it imports all of hypothesis to say nothing at the end: half a second.
        "-p",
        "no:hypothesispytest",
        "-o",
        f"log_file={request.named('debug.log')}",
        "-o",
        "log_file_level=INFO",
        # Not in /tmp, where pytest keeps the folders of its last three runs.
        f"--basetemp={scratch(request)}",
        f"--rootdir={paths.repo_root()}",
        f"--hvlab-report={report}",
        f"--hvlab-out={request.out}",
        f"--hvlab-machine={request.machine}",
    ]
    if request.kernel is not None:
        argv += [f"--hvlab-kernel-file={kernel_file}", f"--hvlab-flavour={request.kernel.flavour}"]
    argv += [f"--hvlab-param={p}" for p in request.params]
    if request.qemu:
        argv.append(f"--hvlab-qemu={request.qemu}")
    if request.quick:
        argv.append("--hvlab-quick")
    if request.slow:
        argv.append("--hvlab-slow")
    if request.claims:
        argv.append(f"--hvlab-claims={','.join(request.claims)}")
    if request.expression:
        argv += ["-k", request.expression]
    if request.counters:
        argv.append(f"--hvlab-counters={request.counters}")
    if request.order:
        argv.append(f"--hvlab-order={request.out / ORDER}")
    if request.stop_at_failure:
        argv.append("--hvlab-stop-at-failure")
    if request.fresh:
        argv.append("--hvlab-fresh")
    if request.together is not None:
        argv.append(f"--hvlab-together={request.together}")
    if request.keep:
        argv.append(f"--hvlab-keep={request.keep}")
    return argv


def scratch(request: DriveRequest) -> Path:
    """Where the scenarios put temporary files."""
    return request.out / (SCRATCH if request.share == 1 else f"{SCRATCH}-{request.share}")


def drive(
    request: DriveRequest,
    progress: Progress,
    on_quick: Callable[[Report], None] | None = None,
    stop: threading.Event | None = None,
) -> DriveResult:
    """Run the scenarios; ``on_quick`` is told once when the quick set is done, ``stop`` ends the run early.

    Raises LabUnavailable when pytest itself breaks, BadInput for a bad -k. A run that dies half-way
    still returns what it had reported; ``report.complete`` is then False.
    """
    request.out.mkdir(parents=True, exist_ok=True)
    kernel_file = request.named("kernel.json")
    if request.kernel is not None:
        kernel_file.write_text(json.dumps(image_to_json(request.kernel), indent=1) + "\n")
    if request.order:
        (request.out / ORDER).write_text("".join(f"{name}\n" for name in request.order))
    report_file = request.named("report.jsonl")
    report_file.unlink(missing_ok=True)
    log = request.named("pytest.log")
    started = time.monotonic()
    process = spawn.start(pytest_argv(request, kernel_file, report_file), log=log, die_with_me=True)
    try:
        tell = _reporter(progress, request.side, on_quick)
        _wait(process, report_file, SILENCE_BUDGET * request.factor, tell, stop or threading.Event())
    finally:
        end(process)
        remove_tree(scratch(request))
    status, wall = process.returncode, time.monotonic() - started
    output = log.read_text(errors="replace")
    report = read_report(report_file)
    if status in (2, 3, 4) and not report.complete:
        raise LabUnavailable(
            "the scenario run broke", where=str(log), detail="\n".join(output.splitlines()[-15:])
        )
    if status == NOTHING and not report.outcomes and request.together is None:
        raise nothing_selected(request)
    return DriveResult(report, status, output, wall)


def nothing_selected(request: DriveRequest) -> BadInput:
    """The error for a selection that leaves no scenario."""
    return BadInput(
        "no scenario selected",
        where=f"-k {request.expression}",
        hint=f"pytest --collect-only {paths.tests_dir() / 'guest' / 'scenarios'} names them",
    )


def _reporter(
    progress: Progress, side: str, on_quick: Callable[[Report], None] | None
) -> Callable[[Report], None]:
    waiting = [on_quick] if on_quick else []

    def tell(report: Report) -> None:
        if report.outcomes:
            done, last = len(report.outcomes), report.outcomes[-1].id
            progress.step(done, None, f"{side}: {done} scenarios judged, last {last}")
        if report.quick_done and waiting:
            waiting.pop()(report)

    return tell


def _wait(
    process: subprocess.Popen[bytes],
    report: Path,
    budget: float,
    tell: Callable[[Report], None],
    stop: threading.Event,
) -> None:
    seen, last_change = -1, time.monotonic()
    while process.poll() is None:
        size = report.stat().st_size if report.exists() else 0
        if size != seen:
            seen, last_change = size, time.monotonic()
            tell(read_report(report))
        if stop.is_set() or time.monotonic() - last_change > budget:
            end(process)
            return
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            pass
