# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs ``run_matrix`` in a process of its own, so that it can be killed.

driver.py OUT HOSTS|- RECORDS... -- COMMAND...
"""

import sys
from pathlib import Path

from lab.nightly import hosts
from lab.nightly.matrix import run_matrix
from lab.progress import TextProgress
from lab.unwind import unwind_on_signals

unwind_on_signals()
cut = sys.argv.index("--")
out, where, *records = sys.argv[1:cut]
run_matrix(
    [Path(r) for r in records],
    Path(out),
    () if where == "-" else hosts.load(Path(where)),
    TextProgress(),
    lambda task: print(f"done {task}", flush=True),
    command=sys.argv[cut + 1 :],
)
