# SPDX-License-Identifier: GPL-2.0-or-later
"""What takes longer than the default run allows: repeated clean runs, and the soak. Resumable.

Each job runs the scenarios once on one kernel and must end without a failure, a splat or a doubt.
Finished jobs are kept in RESULTS (a JSON file); a second start goes on where the first one ended,
unless the code under lab/, images/, templates/ or tests/guest changed: then it begins anew.

Then boots of a Linux child in a row and a soak with load in root and child (ci/soak.py), kept in
soak.json beside RESULTS. Then the stand-in alone: a million random hypercalls and more, and its mutants
(ci/standin_long.py), kept in standin.json. Last, every mutant of the driver (hvlab mutants), kept in the
cache.

    python ci/long.py [--runs 10] [--boots 20] [--minutes 30] [--results FILE] [--qemu PATH ...]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

from lab import paths
from lab.cache import Cache
from lab.cli.main import main as hvlab
from lab.hashing import digest, tree_digest
from lab.model.verdict import Verdict
from lab.progress import TextProgress
from lab.unwind import unwind_on_signals
from lab.validate.drive import DriveRequest, drive
from lab.validate.kernels import Selectors, embedded_series, prepare

DEFAULT_RESULTS = Path("hvlab-out") / "long.json"


def code_key() -> str:
    """Changes when anything changes that a run depends on."""
    root = paths.repo_root()
    folders = [
        root / "lab",
        root / "images",
        root / "templates",
        root / "tests" / "guest",
        root / "tests" / "series",
    ]
    return digest(*(tree_digest(f) for f in folders))


def load(results: Path, key: str) -> dict[str, object]:
    """Results of an earlier start with the same code, or fresh ones."""
    try:
        known = json.loads(results.read_text())
        if known["code"] == key:
            return known
        print(f"{results}: of other code, beginning anew", file=sys.stderr)
    except (OSError, ValueError, KeyError):
        pass
    return {"code": key, "host": f"{platform.machine()}, {os.cpu_count()} CPUs", "jobs": {}}


def save(results: Path, known: dict[str, object]) -> None:
    """Write whole or not at all."""
    results.parent.mkdir(parents=True, exist_ok=True)
    temporary = results.with_suffix(".new")
    temporary.write_text(json.dumps(known, indent=1) + "\n")
    temporary.replace(results)


def clean_run(name: str, out: Path, qemu: str | None, progress: TextProgress) -> dict[str, object]:
    """One run of all scenarios on the patched kernel."""
    selectors = Selectors(series=str(embedded_series()), qemu=qemu)
    kernel = prepare(selectors, progress, Cache(paths.cache_root()))
    started = time.monotonic()
    driven = drive(DriveRequest(kernel=kernel, side="patched", out=out / name, qemu=qemu), progress)
    outcomes = driven.report.outcomes
    bad = {o.id: list(o.reasons) for o in outcomes if o.verdict is not Verdict.PASS}
    return {
        "passed": sum(o.verdict is Verdict.PASS for o in outcomes),
        "bad": bad,
        "splats": driven.report.splats,
        "boots": len(driven.report.boots),
        "seconds": round(time.monotonic() - started, 1),
        "clean": driven.report.complete and bool(outcomes) and not bad and not driven.report.splats,
    }


def main() -> int:
    """Exit 0 when every job is clean."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10, help="clean runs per QEMU (default: %(default)s)")
    parser.add_argument(
        "--results", type=Path, default=DEFAULT_RESULTS, help="result file (default: %(default)s)"
    )
    parser.add_argument(
        "--qemu", action="append", help="QEMU to use, may be repeated (default: the installed one)"
    )
    parser.add_argument("--boots", type=int, default=20, help="boots of a Linux child (default: %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="time of the soak, 0 for none (default: %(default)s)"
    )
    args = parser.parse_args()
    unwind_on_signals()
    progress = TextProgress()
    known = load(args.results, code_key())
    jobs = known["jobs"]
    assert isinstance(jobs, dict)
    out = args.results.resolve().parent / "long"
    for qemu in args.qemu or [None]:
        for number in range(1, args.runs + 1):
            name = f"clean-{number}" if qemu is None else f"clean-{digest(qemu)[:6]}-{number}"
            if name not in jobs:
                jobs[name] = {"qemu": qemu or "installed", **clean_run(name, out, qemu, progress)}
                save(args.results, known)
            job = jobs[name]
            how = "clean" if job["clean"] else "NOT CLEAN"
            print(f"{name}: {how}, {job['passed']} passed in {job['seconds']} s")
            for scenario, reasons in job["bad"].items():
                print(f"  {scenario}: {'; '.join(reasons)}")
    dirty = sum(not job["clean"] for job in jobs.values())
    print(f"{len(jobs) - dirty} of {len(jobs)} runs clean; {args.results}")
    from soak import run_jobs  # it shares our result files

    soaked = run_jobs(args.results.with_name("soak.json"), args.boots, args.minutes, (args.qemu or [None])[0])
    import standin_long

    broken = standin_long.run_jobs(args.results.with_name("standin.json"), standin_long.CALLS)
    # Its results are in the cache: a second start goes on where the first one ended.
    unnoticed = hvlab(["mutants"])
    return 1 if dirty or soaked or broken or unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
