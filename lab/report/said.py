# SPDX-License-Identifier: GPL-2.0-or-later
"""What the parts of a nightly say about a series, for the voices that programs read.

Each part says pass, fail or doubt, or nothing at all (it was not run, it fails on base alike, it is in
quarantine, it is a matter of style). Every text that comes out is one clean line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lab.model.nightly import (
    CheckResult,
    MutantFate,
    MutantState,
    Rate,
    Scenario,
    VariantResult,
    VersionReport,
)
from lab.model.verdict import Verdict
from lab.report import view


@dataclass(frozen=True, slots=True)
class Said:
    """``verdict`` None: it says nothing about the series. ``why`` is "" for a plain pass only."""

    verdict: Verdict | None
    why: str = ""


def line(text: str) -> str:
    """``text`` on one line without control characters."""
    return " ".join(view.clean(text).split())


def scenario(found: Scenario) -> Said:
    """What a scenario says."""
    reason = line("; ".join(found.reasons))
    if found.counts is Verdict.PASS:
        return Said(Verdict.PASS)
    if found.quarantined:
        return Said(None, line(f"in quarantine: {found.quarantined}"))
    if found.counts is None:
        return Said(None, f"{found.change}: {reason}" if reason else found.change)
    return Said(found.counts, reason or found.change)


def check(found: CheckResult) -> Said:
    """What a static check of one patch says."""
    why = line(found.note or (found.lines[0] if found.lines else ""))
    if found.verdict is Verdict.PASS:
        return Said(Verdict.PASS)
    if found.advisory:
        return Said(None, f"a matter of style: {why or found.verdict}")
    return Said(found.verdict, why or str(found.verdict))


def variant(found: VariantResult) -> Said:
    """What a variant says as a whole."""
    if found.lost:
        return Said(Verdict.INCONCLUSIVE, line(f"no result: {found.lost}"))
    if found.verdict is Verdict.PASS:
        return Said(Verdict.PASS)
    reason = line("; ".join(found.reasons))
    if found.failed_phase:
        reason = f"ended in {found.failed_phase}" + (f": {reason}" if reason else "")
    return Said(found.verdict, reason or str(found.verdict))


def version(found: VersionReport) -> Said:
    """What all that is known of a version says."""
    if found.series.problem:
        return Said(Verdict.INCONCLUSIVE, line(f"cannot be judged: {found.series.problem}"))
    if found.verdict is Verdict.PASS:
        return Said(Verdict.PASS)
    parts = [(v.variant.id, variant(v)) for v in found.variants]
    parts += [(check_name(c), check(c)) for c in found.checks if not c.advisory]
    told = [f"{name}: {said.why}" for name, said in parts if said.verdict is found.verdict]
    return Said(found.verdict, "; ".join(told) or line(f"nothing was judged: {found.base.how}"))


def check_name(found: CheckResult) -> str:
    """``W=1 patch 2``."""
    return f"{found.name} patch {found.patch}"


def culprit(found: VersionReport, number: int) -> str:
    """A sentence on the first patch with which something fails; "" where there is none."""
    if not number:
        return ""
    subjects = [patch.subject for patch in found.series.patches]
    named = f" ({line(subjects[number - 1])})" if number <= len(subjects) else ""
    return f"first fails with patch {number} of {len(subjects)}{named}"


def rates(found: Scenario) -> list[str]:
    """A sentence for each kind of rerun."""
    kinds = (("the same seed", found.rerun_same), ("new seeds", found.rerun_new))
    return [f"rerun under {kind}: {rate(said)}" for kind, said in kinds if said is not None]


def rate(found: Rate) -> str:
    """``fails 2 of 6 times (10 % to 70 %)``."""
    return f"fails {found.hits} of {found.tries} times ({100 * found.low:.0f} % to {100 * found.high:.0f} %)"


def flaky(found: Scenario) -> bool:
    """Whether it failed and reruns did not all fail: its next pass proves nothing."""
    reruns = [r for r in (found.rerun_same, found.rerun_new) if r is not None and r.tries]
    return any(r.hits < r.tries for r in reruns)


def about_scenario(report: VersionReport, where: VariantResult, found: Scenario) -> list[str]:
    """Everything known of a scenario, a line each."""
    sides = (("base", found.base), ("patched", found.patched))
    lines = [f"{side}: {verdict if verdict is not None else 'not run'}" for side, verdict in sides]
    lines.append(f"change: {found.change}")
    lines += [f"claims: {', '.join(found.claims)}"] if found.claims else []
    lines += [f"quarantine: {found.quarantined}"] if found.quarantined else []
    lines += dict.fromkeys((*found.reasons, *found.evidence))
    lines += rates(found)
    lines += [text] if (text := culprit(report, found.culprit)) else []
    lines += [f"splat: {splat}" for splat in found.splats]
    lines += [f"file: {name}" for name in files(where, found)]
    return clean(lines)


def about_variant(report: VersionReport, found: VariantResult) -> list[str]:
    """Everything known of a variant besides its scenarios, a line each."""
    lines = [*found.reasons, *found.evidence, *found.notes]
    lines += [text] if (text := culprit(report, found.culprit)) else []
    lines += [f"claim {c.id} ({c.title}): base {c.base}, patched {c.patched}" for c in found.claims]
    lines += [f"splat outside every scenario: {splat}" for splat in found.splats]
    lines += [f"detector {name} stayed silent when tripped" for name, fired in found.detectors if not fired]
    if found.changed_lines is not None:
        ran, total = found.changed_lines
        lines.append(f"changed lines run: {ran} of {total}")
    lines += about_mutants(found)
    lines += [f"machine: {found.execution}"] if found.execution else []
    lines += [f"to repeat it: {command}" for command in found.reproduce]
    return clean(lines)


def about_mutants(found: VariantResult) -> list[str]:
    """How many of the defects that were put behind the series were noticed, and those that were not."""
    if not found.mutants:
        return []
    decided = [m for m in found.mutants if m.fate is not MutantFate.UNDECIDED]
    killed = sum(m.fate is MutantFate.KILLED for m in decided)
    lines = [f"defects put behind the series on purpose: {killed} of {len(decided)} noticed"]
    lines += [
        f"defect {m.id} ({m.kind}): {mutant(m)}" for m in found.mutants if m.fate is not MutantFate.KILLED
    ]
    return lines


def mutant(found: MutantState) -> str:
    """What became of a defect: ``killed by SCENARIO``, ``survived``, ``not decided: WHY``."""
    if found.fate is MutantFate.KILLED:
        return f"killed by {found.by}"
    return f"{found.fate}: {found.why}" if found.why else str(found.fate)


def about_check(found: CheckResult) -> list[str]:
    """Everything known of a static check, a line each."""
    return clean([*([found.note] if found.note else []), *found.lines])


def about_version(found: VersionReport) -> list[str]:
    """Where a version came from and what it was tried on, a line each."""
    series = found.series
    lines = [f"series: {series.title}", f"author: {series.author}", f"base: {found.base.how}"]
    lines += [f"repaired: patch {r.patch}, {r.hunk}: {r.what}" for r in series.repairs]
    return clean(lines)


def files(where: VariantResult, found: Scenario) -> list[str]:
    """Evidence files relative to the output folder."""
    return [f"{where.folder}/{name}" if where.folder else name for name in found.files]


def clean(lines: Iterable[str]) -> list[str]:
    """Each of ``lines`` on one line, without those that are empty."""
    return [text for each in lines if (text := line(each))]
