# SPDX-License-Identifier: GPL-2.0-or-later
"""Which patch of a series made a call that the stand-in does not model."""

from __future__ import annotations

import re
from dataclasses import replace

from lab.model.result import KernelRun, ScenarioOutcome
from lab.model.series import Series

_CALLER = re.compile(r"called from (\w+)\+0x[0-9a-f]+")
_HUNK = re.compile(r"^@@ [^@]*@@ ?(.*)$")


def patches_touching(series: Series, function: str) -> list[str]:
    """Subjects of the patches that add lines to a function, or define it.

    Told from the diff: the function's name stands in the hunk's header or in an added line that opens
    a definition. A caller's frame is a guess of the stand-in, so this is a hint and no proof.
    """
    word = re.compile(rf"\b{re.escape(function)}\s*\(")
    found = []
    for patch in series.patches:
        inside = False
        for line in patch.raw.decode("utf-8", "replace").splitlines():
            if header := _HUNK.match(line):
                inside = bool(word.search(header[1]))
            elif line.startswith("+") and (inside or (word.search(line) and not line[1:2].isspace())):
                found.append(patch.subject)
                break
    return found


def name_patches(run: KernelRun, series: Series) -> KernelRun:
    """``run`` with the patches named in every reason that names a caller."""

    def named(reason: str) -> str:
        caller = _CALLER.search(reason)
        subjects = patches_touching(series, caller[1]) if caller else []
        return reason + "".join(f', touched by the patch "{s}"' for s in subjects)

    def of(outcome: ScenarioOutcome) -> ScenarioOutcome:
        return replace(outcome, reasons=tuple(map(named, outcome.reasons)))

    return replace(run, reasons=tuple(map(named, run.reasons)), outcomes=tuple(map(of, run.outcomes)))
