#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Break the stand-in or the driver on purpose, one defect at a time: the tests must notice every one.

    python ci/mutants.py standin|driver [--only NAME ...]

The driver's mutants are those of ``hvlab mutants``. For the stand-in:

Each mutant is a file in tests/mutants/standin with exact replacements. The stand-in is built with it in a
temporary copy, and the tiny guest runs on it, group by group, until the first failure; what no case
kills meets the fuzzer. A replacement that does not apply exactly once is an error. Exit 0 when the
stand-in as it is passes and no mutant does.
"""

from __future__ import annotations

import argparse
import sys

from lab import paths
from lab.cache import Cache
from lab.cli.main import main as hvlab
from lab.unwind import unwind_on_signals
from lab.validate.mutants import load_mutants, open_workshop


def main() -> int:
    """Print a line for each mutant."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["standin", "driver"], help="what to break")
    parser.add_argument("--only", action="append", metavar="NAME", help="may be repeated")
    args = parser.parse_args()
    unwind_on_signals()
    if args.what == "driver":
        return hvlab(["mutants", *(args.only or [])])
    mutants = load_mutants(paths.tests_dir() / "mutants" / args.what)
    if args.only:
        unknown = set(args.only) - {m.name for m in mutants}
        if unknown:
            parser.error(f"no such mutant: {', '.join(sorted(unknown))}")
        mutants = tuple(m for m in mutants if m.name in args.only)
    with open_workshop(Cache(paths.cache_root())) as workshop:
        whole = workshop.unharmed()
        print(f"{'(none)':24} {whole.text:60} {whole.seconds:6.1f} s", flush=True)
        survivors = 0
        for mutant in mutants:
            result = workshop.try_mutant(mutant)
            survivors += not result.killed
            print(f"{mutant.name:24} {result.text:60} {result.seconds:6.1f} s", flush=True)
    print(f"{len(mutants) - survivors} of {len(mutants)} mutants killed")
    return 1 if survivors or whole.killed else 0


if __name__ == "__main__":
    sys.exit(main())
