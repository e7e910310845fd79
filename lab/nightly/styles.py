# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel's own checkpatch.pl says of a patch."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from lab.build.sandbox import Sandbox
from lab.model.errors import LabUnavailable
from lab.model.kernel import KernelSource
from lab.model.nightly import CheckResult
from lab.model.series import Patch
from lab.model.verdict import Verdict
from lab.source.command import run

NAME = "checkpatch"
SCRIPT = "scripts/checkpatch.pl"
_BUDGET = 120.0
_FOUND = re.compile(r"^(\S*?):(\d+): ((?:ERROR|WARNING|CHECK)(?::[A-Z0-9_]+)?: .*)$")
_OF_THE_MAIL = re.compile(r"^((?:ERROR|WARNING|CHECK)(?::[A-Z0-9_]+)?: .*)$")


def checkpatch(patch: Patch, number: int, source: KernelSource, sandbox: Sandbox) -> CheckResult:
    """Advice on the style of one patch, from the base's own script. INCONCLUSIVE where it cannot be run."""
    began = time.monotonic()

    def said(verdict: Verdict, lines: tuple[str, ...] = (), note: str = "") -> CheckResult:
        return CheckResult(NAME, number, verdict, lines, note, time.monotonic() - began, advisory=True)

    if shutil.which("perl") is None:
        return said(Verdict.INCONCLUSIVE, note="perl is not installed; the verdict does not wait for it")
    if not (source.tree / SCRIPT).is_file():
        return said(Verdict.INCONCLUSIVE, note=f"this base has no {SCRIPT}; the verdict does not wait for it")
    with tempfile.TemporaryDirectory(prefix="hvlab-style-") as temp:
        mail = Path(temp, "patch")
        mail.write_bytes(patch.raw)
        inside = sandbox.kind != "none"
        tree, folder = ("/src", "/mail") if inside else (str(source.tree), temp)
        command = ["perl", f"{tree}/{SCRIPT}", f"--root={tree}", "--terse", "--showfile", "--show-types"]
        argv = sandbox.argv(
            [*command, "--no-summary", "--color=never", f"{folder}/patch"],
            ro={source.tree: tree, Path(temp): folder},
            rw={},
            cwd=tree,
            env={},
        )
        try:
            done = run(argv, what=NAME, timeout=_BUDGET, check=False)
        except LabUnavailable as e:
            return said(Verdict.INCONCLUSIVE, note=e.what)
    lines = findings(done.out.splitlines(), f"{folder}/patch")
    if done.code not in (0, 1) or (done.code == 1 and not lines):
        why = (done.err.strip() or done.out.strip() or f"exit {done.code}").splitlines()[-1]
        return said(Verdict.INCONCLUSIVE, note=f"{SCRIPT} broke: {why}")
    return said(Verdict.FAIL if lines else Verdict.PASS, lines)


def findings(lines: Iterable[str], mail: str) -> tuple[str, ...]:
    """``FILE:LINE: KIND:TYPE: TEXT`` of what the script printed; what is about the mail has no place."""
    found = []
    for line in lines:
        if match := _FOUND.match(line):
            at = "" if match[1] in (mail, "") else f"{match[1]}:{match[2]}: "
            found.append(at + match[3])
        elif match := _OF_THE_MAIL.match(line):
            found.append(match[1])
    return tuple(dict.fromkeys(found))
