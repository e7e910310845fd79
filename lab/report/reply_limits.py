# SPDX-License-Identifier: GPL-2.0-or-later
"""What a version's judgement does not say, in sentences: a reader must not take silence for a pass."""

from __future__ import annotations

from lab.model.nightly import MutantFate, VariantResult, VersionReport
from lab.model.verdict import Verdict
from lab.report import night_view


def unseen(version: VersionReport) -> list[str]:
    """Sentences; empty only where everything that was asked for was seen."""
    found = []
    if version.series.repairs:
        patches = sorted({r.patch for r in version.series.repairs})
        found.append(
            f"patch {', '.join(map(str, patches))}: hunks were recovered from a quoted reply, so what was "
            "tested may not be what you sent"
        )
    for check in version.checks:
        if check.verdict is Verdict.INCONCLUSIVE:
            found.append(f"patch {check.patch}: {night_view.check_words(check)}")
    told: dict[str, list[str]] = {}
    for result in version.variants:
        for text in _of_variant(result):
            told.setdefault(text, []).append(result.variant.id)
    found += [f"{', '.join(names)}: {text}" for text, names in told.items()]
    return list(dict.fromkeys(found))


def _of_variant(result: VariantResult) -> list[str]:
    if result.lost:
        return [f"no result: {result.lost}"]
    found = []
    if result.failed_phase:
        found.append(f"no scenario ran, the patched kernel ended in phase {result.failed_phase}")
    silent = [name for name, fired in result.detectors if not fired]
    if silent:
        found.append(f"silent when tripped on purpose: {', '.join(silent)}")
    missing = [s.id for s in result.scenarios if s.patched is None]
    if missing:
        found.append(f"not run: {night_view.listed(missing)}")
    excused = [s.id for s in result.scenarios if s.quarantined]
    if excused:
        found.append(f"in quarantine, a failure does not count: {night_view.listed(excused)}")
    if result.changed_lines and result.changed_lines[0] < result.changed_lines[1]:
        ran, total = result.changed_lines
        found.append(f"{total - ran} of {total} changed lines did not run")
    elif result.scenarios and result.changed_lines is None:
        found.append("coverage of the changed lines was not measured")
    missed = [m.id for m in result.mutants if m.fate is MutantFate.SURVIVED]
    if missed:
        found.append(f"defects put in on purpose that no scenario noticed: {night_view.listed(missed)}")
    return found
