#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The long jobs of the stand-in itself: a million random hypercalls and more, and every mutant. Resumable.

    python ci/standin_long.py [--results FILE] [--calls 1000000]

Finished jobs are kept in RESULTS unless the code they depend on changed. ci/long.py runs them, too.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path

from clean import load, save

from lab import paths
from lab.build.standin import build_standin
from lab.build.tiny import build_tiny
from lab.cache import Cache
from lab.hashing import digest, tree_digest
from lab.model.errors import LabError
from lab.unwind import unwind_on_signals
from lab.validate.fuzz import run_fuzz
from lab.validate.mutants import load_mutants, open_workshop

DEFAULT_RESULTS = Path("hvlab-out") / "standin.json"
CALLS = 1_000_000
FUZZ_JOBS: dict[str, tuple[int | None, int, tuple[str, ...]]] = {
    "fuzz seed 1": (1, 1, ()),
    "fuzz new seed": (None, 1, ()),
    "fuzz on two LPs": (None, 2, ()),
    "fuzz scheduler=core": (None, 1, ("scheduler=core",)),
    "fuzz scheduler=core on two LPs": (None, 2, ("scheduler=core",)),
    "fuzz parent=l1vh": (None, 1, ("parent=l1vh",)),
}
"""Name to seed (None: a new one, kept in the result), LPs and arguments of the stand-in."""


def code_key() -> str:
    """Changes when anything changes that a job depends on."""
    root = paths.repo_root()
    folders = ("lab", "images/hypervisor", "images/tiny", "tests/mutants")
    return digest(*(tree_digest(root / folder) for folder in folders))


def _fuzz(seed: int | None, cpus: int, hypervisor_args: tuple[str, ...], calls: int) -> dict[str, object]:
    cache = Cache(paths.cache_root())
    standin = build_standin(cache)
    run = run_fuzz(
        seed if seed is not None else secrets.randbits(32),
        calls,
        build_tiny(cache),
        standin.elf,
        standin.symbols,
        hypervisor_args=hypervisor_args,
        cpus=cpus,
    )
    text = f"{run.number:,} calls in {run.seconds:.0f} s, {run.dispatched:,} dispatches"
    return {"ok": run.ok, "text": text, "again": run.replay, "why": "" if run.ok else run.why()}


def _mutants() -> dict[str, object]:
    mutants = load_mutants(paths.tests_dir() / "mutants" / "standin")
    alive = []
    with open_workshop(Cache(paths.cache_root())) as workshop:
        if workshop.unharmed().killed:
            alive.append("(none): the stand-in as it is fails")
        for mutant in mutants:
            try:
                if not workshop.try_mutant(mutant).killed:
                    alive.append(mutant.name)
            except LabError as error:
                alive.append(str(error))
    return {
        "ok": not alive,
        "text": f"{len(mutants)} mutants, not killed: {', '.join(alive) or 'none'}",
        "again": "python ci/mutants.py standin",
        "why": "\n".join(alive),
    }


def run_jobs(results: Path, calls: int) -> int:
    """How many jobs failed."""
    known = load(results, code_key())
    jobs = known["jobs"]
    assert isinstance(jobs, dict)
    for name, (seed, cpus, words) in FUZZ_JOBS.items():
        label = f"{name}, {calls:,} calls"
        if label not in jobs:
            jobs[label] = _fuzz(seed, cpus, words, calls)
            save(results, known)
    if "mutants" not in jobs:
        jobs["mutants"] = _mutants()
        save(results, known)
    for name, job in jobs.items():
        print(f"{name}: {'ok' if job['ok'] else 'FAILED'}: {job['text']}; {job['again']}")
        if job["why"]:
            print(job["why"])
    return sum(not job["ok"] for job in jobs.values())


def main() -> int:
    """Exit 0 when every job is in order."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=DEFAULT_RESULTS, help="default: %(default)s")
    parser.add_argument("--calls", type=int, default=CALLS, help="of each fuzzer run (default: %(default)s)")
    args = parser.parse_args()
    unwind_on_signals()
    return 1 if run_jobs(args.results, args.calls) else 0


if __name__ == "__main__":
    sys.exit(main())
