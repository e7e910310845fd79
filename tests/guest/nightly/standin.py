# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for a variant's run: a few steps, then a result that depends on the series.

    standin.py TOKEN SECONDS RECORD

With it run a process in a session of its own and an orphan, as builds and guests do.
"""

import subprocess
import sys
import time
from pathlib import Path

from lab.model.nightly import VariantResult, VariantTask
from lab.model.verdict import Verdict
from lab.nightly import store

token, seconds, file = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
task = store.load(file, VariantTask)
series = (file.parent / task.series).read_text()
sleep = [sys.executable, "-c", "import time; time.sleep(600)", token]
subprocess.Popen(sleep, start_new_session=True, stdin=subprocess.DEVNULL)
subprocess.run(["sh", "-c", '"$@" </dev/null & exit', "sh", *sleep], check=True)
for step in range(10):
    print(f"step {step} of {task.id}")
    time.sleep(seconds / 10)
folder = file.parent / task.folder
(folder / "evidence").mkdir(parents=True, exist_ok=True)
(folder / "evidence" / "console.txt").write_text(series)
verdict = Verdict.PASS if "good" in series else Verdict.FAIL
result = VariantResult(task.variant, verdict, (f"it is {series}",), folder=task.folder)
store.save(folder / "variant.json", result)
