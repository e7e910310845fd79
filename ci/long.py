# SPDX-License-Identifier: GPL-2.0-or-later
"""What takes longer than the default run allows. Every part is resumable and has a result file.

Clean runs of the scenarios in several flavours (ci/clean.py), then boots of a Linux child in a row and a
soak with load in root and child (ci/soak.py), kept in soak.json beside RESULTS. Then the stand-in alone: a
million random hypercalls and more, and its mutants (ci/standin_long.py), kept in standin.json. Then every
mutant of the driver (hvlab mutants), kept in the cache. Last, the tests of tests/guest marked long.

    python ci/long.py [--runs plain=34,debug=8,kcsan=8] [--boots 20] [--minutes 30] [--results FILE]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import clean
import soak
import standin_long

from lab import paths
from lab.cli.main import main as hvlab
from lab.unwind import unwind_on_signals

DEFAULT_RESULTS = Path("hvlab-out") / "long.json"


def main() -> int:
    """Exit 0 when every job is clean."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", default=clean.DEFAULT_RUNS, help="clean runs per flavour (default: %(default)s)"
    )
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
    qemus = args.qemu or [None]
    try:
        runs = clean.parse_runs(args.runs)
    except ValueError as e:
        parser.error(str(e))
    dirty = clean.run_jobs(args.results, runs, qemus)
    soaked = soak.run_jobs(args.results.with_name("soak.json"), args.boots, args.minutes, qemus[0])
    broken = standin_long.run_jobs(args.results.with_name("standin.json"), standin_long.CALLS)
    # Its results are in the cache: a second start goes on where the first one ended.
    unnoticed = hvlab(["mutants"])
    guests = paths.tests_dir() / "guest"
    failed = subprocess.run(
        [sys.executable, "-m", "pytest", str(guests), "-m", "long"], check=False
    ).returncode
    return 1 if dirty or soaked or broken or unnoticed or failed else 0


if __name__ == "__main__":
    sys.exit(main())
