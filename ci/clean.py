# SPDX-License-Identifier: GPL-2.0-or-later
"""Clean runs: the scenarios on the embedded series' kernel, again and again, in several flavours. Resumable.

A run is clean when every scenario that was judged passed, no splat came that the allow-list does not
explain, and nothing was left in doubt. What base fails alike, for the same reasons, is a defect that the
series does not mean to fix, so it is no false alarm: those scenarios are found by one run of the base kernel
in each flavour, and named. Finished runs are kept in RESULTS (a JSON file) unless the code under lab/,
images/, templates/ or tests/guest changed: then all begins anew.

    python ci/clean.py [--runs plain=34,debug=8,kcsan=8] [--results FILE] [--qemu PATH ...] [-k EXPR]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab import paths
from lab.build.flavours import flavour
from lab.cache import Cache
from lab.hashing import digest, tree_digest
from lab.model.errors import LabError
from lab.model.kernel import KernelImage
from lab.model.result import ScenarioOutcome
from lab.model.verdict import Verdict
from lab.progress import TextProgress
from lab.unwind import unwind_on_signals
from lab.validate.drive import DriveRequest, drive
from lab.validate.exchange import Report, read_report
from lab.validate.kernels import Selectors, embedded_series, prepare

DEFAULT_RESULTS = Path("hvlab-out") / "clean.json"
REPORT = "report.jsonl"
"""The report in a run's folder."""
DEFAULT_RUNS = "plain=34,debug=8,kcsan=8"
_NUMBER = re.compile(r"\b(0x[0-9a-f]+|[0-9]+)\b")
_ELSEWHERE = re.compile(r"; CPUs are in .*")
"""What the processors did while the task that was waited for was lost already: whatever they liked."""
_FOLDERS = ("lab", "images", "templates", "tests/guest", "tests/series")


def parse_runs(text: str) -> dict[str, int]:
    """``plain=34,debug=8`` as a table. ValueError says what is wrong."""
    runs = {}
    for part in text.split(","):
        name, _, count = part.partition("=")
        if not name or not count.isdigit():
            raise ValueError(f"not FLAVOUR=RUNS: {part!r}")
        runs[name] = int(count)
    return runs


def code_key() -> str:
    """Changes when anything changes that a run depends on."""
    return digest(*(tree_digest(paths.repo_root() / folder) for folder in _FOLDERS))


def load(results: Path, key: str) -> dict[str, Any]:
    """Results of an earlier start with the same code, or fresh ones."""
    try:
        known: dict[str, Any] = json.loads(results.read_text())
        if known["code"] == key:
            return known
        print(f"{results}: of other code, beginning anew", file=sys.stderr)
    except (OSError, ValueError, KeyError):
        pass
    return {"code": key, "host": f"{platform.machine()}, {os.cpu_count()} CPUs", "known": {}, "jobs": {}}


def save(results: Path, known: dict[str, Any]) -> None:
    """Write whole or not at all."""
    results.parent.mkdir(parents=True, exist_ok=True)
    temporary = results.with_suffix(".new")
    temporary.write_text(json.dumps(known, indent=1) + "\n")
    temporary.replace(results)


class CleanRuns:
    """The runs of one start; ``out`` keeps the evidence of each."""

    def __init__(self, results: Path, expression: str | None) -> None:
        self.results = results
        self.out = results.resolve().parent / "clean"
        self.expression = expression
        self.known = load(results, digest(code_key(), expression or ""))
        self.progress = TextProgress()
        self._kernels: dict[tuple[str, str, bool], KernelImage] = {}

    def kernel(self, name: str, qemu: str | None, *, patched: bool) -> KernelImage:
        """The kernel of a flavour, built or taken from the cache."""
        key = (name, qemu or "", patched)
        if key not in self._kernels:
            series = str(embedded_series()) if patched else None
            selectors = Selectors(series=series, qemu=qemu, flavour=name)
            self._kernels[key] = prepare(selectors, self.progress, Cache(paths.cache_root()))
        return self._kernels[key]

    def _request(self, kernel: KernelImage, side: str, job: str, qemu: str | None) -> DriveRequest:
        return DriveRequest(
            kernel=kernel,
            side=side,
            out=self.out / job,
            qemu=qemu,
            expression=self.expression,
            factor=flavour(kernel.flavour).time_factor,
        )

    def base_fails(self, name: str, qemu: str | None, failed: list[ScenarioOutcome]) -> list[str]:
        """Those of ``failed`` that the base kernel fails for the same reasons: asked once for each."""
        asked: dict[str, list[str]] = self.known["known"].setdefault(name, {})
        if new := tuple(o.id for o in failed if o.id not in asked):
            request = self._request(self.kernel(name, qemu, patched=False), "base", f"{name}-base", qemu)
            outcomes = drive(replace(request, expression=None, order=new), self.progress).report.outcomes
            fails = {o.id: alike(o.reasons) for o in outcomes if o.verdict is Verdict.FAIL}
            asked.update({f: fails.get(f, []) for f in new})
        return [o.id for o in failed if asked[o.id] and alike(o.reasons) == alike(asked[o.id])]

    def run(self, job: str, name: str, qemu: str | None) -> dict[str, Any]:
        """One run of all scenarios on the patched kernel."""
        kernel = self.kernel(name, qemu, patched=True)
        started = time.monotonic()
        report = drive(self._request(kernel, "patched", job, qemu), self.progress).report
        return self.judge(report, name, qemu, round(time.monotonic() - started, 1))

    def again(self, job: str, name: str, qemu: str | None) -> dict[str, Any]:
        """A run that was not clean, judged anew from the report that it left: this script, which is no part
        of the code that runs, may compare better by now."""
        known: dict[str, Any] = self.known["jobs"][job]
        report = read_report(self.out / job / REPORT)
        return self.judge(report, name, qemu, known["seconds"]) if report.complete else known

    def judge(self, report: Report, name: str, qemu: str | None, seconds: float) -> dict[str, Any]:
        """What a run says."""
        judged = [o for o in report.outcomes if o.verdict is not None]
        failed = [o for o in judged if o.verdict is Verdict.FAIL]
        same = self.base_fails(name, qemu, failed)
        bad = {o.id: list(o.reasons) for o in judged if o.verdict is not Verdict.PASS and o.id not in same}
        # A splat belongs to the scenario that failed for it; what base fails alike may bring its own.
        explained = {s for o in judged if o.id in same for s in o.splats}
        splats = [s for s in report.splats if s not in explained]
        return {
            "flavour": name,
            "qemu": qemu or "installed",
            "passed": sum(o.verdict is Verdict.PASS for o in judged),
            "bad": bad,
            "like base": same,
            "splats": splats,
            "boots": len(report.boots),
            "seconds": seconds,
            "cpu": round(report.cpu, 1),
            "clean": report.complete and bool(judged) and not bad and not splats,
        }

    def all(self, runs: dict[str, int], qemus: list[str | None]) -> int:
        """Run what is missing; number of runs that are not clean."""
        jobs: dict[str, Any] = self.known["jobs"]
        for qemu in qemus:
            for name, count in runs.items():
                for number in range(1, count + 1):
                    job = f"{name}-{number}" if qemu is None else f"{name}-{digest(qemu)[:6]}-{number}"
                    if job not in jobs:
                        jobs[job] = self.run(job, name, qemu)
                        save(self.results, self.known)
                    elif not jobs[job]["clean"]:
                        jobs[job] = self.again(job, name, qemu)
                        save(self.results, self.known)
                    tell(job, jobs[job])
        dirty = sum(not job["clean"] for job in jobs.values())
        print(f"{len(jobs) - dirty} of {len(jobs)} runs clean; {self.results}")
        return dirty


def alike(reasons: Sequence[str]) -> list[str]:
    """Reasons without what differs from boot to boot: numbers, and what other tasks did meanwhile."""
    return sorted({_NUMBER.sub("#", _ELSEWHERE.sub("", reason)) for reason in reasons})


def tell(name: str, job: dict[str, Any]) -> None:
    """What became of a run."""
    how = "clean" if job["clean"] else "NOT CLEAN"
    same = f", {len(job['like base'])} fail like base" if job["like base"] else ""
    print(f"{name}: {how}, {job['passed']} passed{same} in {job['seconds']} s", flush=True)
    for scenario, reasons in job["bad"].items():
        print(f"  {scenario}: {'; '.join(reasons)}")
    for splat in job["splats"]:
        print(f"  splat {splat}")


def run_jobs(
    results: Path, runs: dict[str, int], qemus: list[str | None], expression: str | None = None
) -> int:
    """Number of runs that are not clean."""
    return CleanRuns(results, expression).all(runs, qemus)


def main() -> int:
    """Exit 0 when every run is clean."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", default=DEFAULT_RUNS, help="runs per flavour (default: %(default)s)")
    parser.add_argument(
        "--results", type=Path, default=DEFAULT_RESULTS, help="result file (default: %(default)s)"
    )
    parser.add_argument("--qemu", action="append", help="QEMU to use, may be repeated (default: installed)")
    parser.add_argument("-k", metavar="EXPR", dest="expression", help="only scenarios that match")
    args = parser.parse_args()
    unwind_on_signals()
    try:
        return 1 if run_jobs(args.results, parse_runs(args.runs), args.qemu or [None], args.expression) else 0
    except ValueError as e:
        parser.error(str(e))
    except LabError as e:
        print(f"clean.py: {e}", file=sys.stderr)
        return 4


if __name__ == "__main__":
    sys.exit(main())
