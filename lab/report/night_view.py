# SPDX-License-Identifier: GPL-2.0-or-later
"""What the voices of a nightly run share: order, words and figures. Pure; texts come out as they came in."""

from __future__ import annotations

import datetime
import email.utils
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lab.judge.verdict import is_fact
from lab.model.claim import Standing
from lab.model.nightly import (
    CheckResult,
    Delta,
    Difference,
    NightlyReport,
    Rate,
    Scenario,
    VariantResult,
    VersionReport,
)
from lab.model.verdict import Change, Verdict

_WORST_FIRST = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)
_QUIET = (Change.SAME, Change.NOT_APPLICABLE)
_MEANS = {
    Change.SAME: Verdict.PASS,
    Change.FIXED: Verdict.PASS,
    Change.REGRESSED: Verdict.FAIL,
    Change.STILL_FAILING: Verdict.FAIL,
    Change.CHANGED: Verdict.INCONCLUSIVE,
    Change.UNDECIDED: Verdict.INCONCLUSIVE,
}
_MANY = 3
"""Names told one by one in a sentence; what is more is counted."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A series through its versions, oldest first."""

    topic: str
    versions: tuple[VersionReport, ...]

    @property
    def newest(self) -> VersionReport:
        return self.versions[-1]


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for a verdict; ``verdict`` is its own, which may be milder than the whole's."""

    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class ClaimAnswer:
    """A review claim in one version: how it stands there, and what became of it since ``before``."""

    now: str
    answer: str


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """A review claim through the versions; an answer is None where no variant spoke of it."""

    id: str
    title: str
    base: str
    answers: tuple[ClaimAnswer | None, ...]


def topics(report: NightlyReport) -> list[Topic]:
    """Series, the worst newest version first, then the youngest."""
    groups: dict[str, list[VersionReport]] = {}
    for version in report.versions:
        groups.setdefault(version.series.topic, []).append(version)
    found = [Topic(t, tuple(sorted(vs, key=lambda v: v.series.version))) for t, vs in groups.items()]
    found.sort(key=lambda t: t.topic)
    found.sort(key=lambda t: _seconds(t.newest.series.date), reverse=True)
    found.sort(key=lambda t: _WORST_FIRST.index(t.newest.verdict))
    return found


def reasons(version: VersionReport) -> list[Reason]:
    """Why a version has its verdict, the worst first. Empty for a plain pass."""
    if version.series.problem:
        return [Reason(Verdict.INCONCLUSIVE, version.series.problem)]
    found: list[Reason] = []
    for result in version.variants:
        if result.verdict is not Verdict.PASS:
            found += [
                Reason(result.verdict, f"{result.variant.id}: {why.text}")
                for why in variant_reasons(result)
                if why.verdict is not Verdict.PASS
            ]
    for check in version.checks:
        if check.verdict is not Verdict.PASS and not check.advisory:
            found.append(Reason(check.verdict, f"patch {check.patch}: {check_words(check)}"))
    if not found and version.verdict is not Verdict.PASS:
        found.append(Reason(version.verdict, "nothing was run"))
    found.sort(key=lambda reason: _WORST_FIRST.index(reason.verdict))
    return list(dict.fromkeys(found))


def variant_reasons(result: VariantResult) -> list[Reason]:
    """Why a variant has its verdict; at least one sentence unless it passed. What counts neither against the
    series nor as doubt has the verdict of a pass."""
    if result.lost:
        return [Reason(result.verdict, f"no result: {result.lost}")]
    found = list(result.reasons)
    if result.failed_phase and not any(result.failed_phase in reason for reason in found):
        found.insert(0, f"the patched kernel ended in phase {result.failed_phase}")
    if not found and result.verdict is not Verdict.PASS:
        found.append(f"{result.verdict}, and the result does not say why")
    return [Reason(Verdict.PASS if is_fact(why) else result.verdict, why) for why in found]


def check_words(check: CheckResult) -> str:
    """A check in some words: ``W=1 fails, 2 new lines``, ``arm64 not checked: no compiler``."""
    if check.verdict is Verdict.INCONCLUSIVE:
        return f"{check.name} not checked" + (f": {check.note}" if check.note else "")
    if check.verdict is Verdict.PASS:
        return f"{check.name} passes"
    lines = f", {_count(len(check.lines), 'new line')}" if check.lines else ""
    return f"{check.name} fails{lines}"


def notable(scenarios: Iterable[Scenario]) -> list[Scenario]:
    """What a reader wants to see, what counts against the series first."""
    return sorted((s for s in scenarios if is_notable(s)), key=rank)


def is_notable(scenario: Scenario) -> bool:
    """False for what passes on both sides, or could not run, and was never rerun or excused."""
    return (
        scenario.change not in _QUIET
        or scenario.counts in (Verdict.FAIL, Verdict.INCONCLUSIVE)
        or bool(scenario.quarantined)
        or scenario.rerun_same is not None
        or scenario.rerun_new is not None
    )


def rank(scenario: Scenario) -> tuple[int, str]:
    """To sort by: what fails, what is in doubt, what fails and does not count, the rest."""
    if scenario.counts is Verdict.FAIL:
        return 0, scenario.id
    if scenario.counts is Verdict.INCONCLUSIVE:
        return 1, scenario.id
    return (2 if scenario.patched is Verdict.FAIL else 3), scenario.id


def means(scenario: Scenario) -> Verdict | None:
    """The colour of a scenario's change; None where it says nothing."""
    if scenario.change == Change.NEW:
        return scenario.patched
    return _MEANS.get(Change(scenario.change)) if scenario.change in set(Change) else None


def differences(delta: Delta) -> list[Difference]:
    """What became worse first, what became better last."""
    return sorted(delta.differences, key=lambda d: {False: 0, None: 1, True: 2}[d.better])


def culprits(version: VersionReport) -> dict[int, list[str]]:
    """Patches (from 1) that something is put down to, and what: ``SCENARIO (VARIANT)`` or a phase."""
    found: dict[int, list[str]] = {}
    for result in version.variants:
        if result.culprit:
            found.setdefault(result.culprit, []).append(
                f"{result.failed_phase or result.verdict} ({result.variant.id})"
            )
        for scenario in notable(result.scenarios):
            if scenario.culprit:
                found.setdefault(scenario.culprit, []).append(f"{scenario.id} ({result.variant.id})")
    return dict(sorted(found.items()))


def check_names(checks: Iterable[CheckResult]) -> list[str]:
    """Names of checks, each once, in the order in which they were made; matters of style last."""
    ordered = sorted(checks, key=lambda c: c.advisory)
    return list(dict.fromkeys(c.name for c in ordered))


def claim_rows(versions: Sequence[VersionReport]) -> list[ClaimRow]:
    """Review claims over versions (oldest first), by id. The first version is measured by its base."""
    titles: dict[str, str] = {}
    for version in versions:
        for result in version.variants:
            titles.update({claim.id: claim.title for claim in result.claims})
    rows = []
    for claim in sorted(titles, key=_natural):
        base, before = "", ""
        answers: list[ClaimAnswer | None] = []
        for version in versions:
            states = [c for r in version.variants for c in r.claims if c.id == claim]
            if not states:
                answers.append(None)
                continue
            base = base or merged(c.base for c in states)
            now = merged(c.patched for c in states)
            answers.append(ClaimAnswer(now, answered(base, before, now)))
            before = now if now != Standing.NOT_DECIDED else before
        rows.append(ClaimRow(claim, titles[claim], base, tuple(answers)))
    return rows


def merged(states: Iterable[str]) -> str:
    """How a claim stands over variants: reproduced in one is reproduced."""
    seen = set(states)
    for state in (Standing.REPRODUCED, Standing.NOT_REPRODUCED):
        if state in seen:
            return state
    return Standing.NOT_DECIDED


def answered(base: str, before: str, now: str) -> str:
    """Was that comment addressed? ``before`` is the state in an earlier version, "" in the first one."""
    last = before or base
    if now == Standing.REPRODUCED:
        if last == Standing.NOT_REPRODUCED:
            return "came back" if before else "introduced"
        return "not addressed"
    if now == Standing.NOT_REPRODUCED:
        return "addressed" if last == Standing.REPRODUCED else "no problem"
    return "open"


def rate(value: Rate | None) -> str:
    """``2 of 3 (21–94%)``: failures in reruns, and where the probability lies; "" without reruns."""
    if value is None:
        return ""
    return f"{value.hits} of {value.tries} ({100 * value.low:.0f}–{100 * value.high:.0f}%)"


def duration(seconds: float) -> str:
    """``42 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def age(then: str, now: str) -> str:
    """``5 h``, ``3 days``: from a mail's date to another; "" when either is no date."""
    start, end = _seconds(then), _seconds(now)
    if not start or not end:
        return ""
    hours = max(0, int(end - start) // 3600)
    return f"{hours} h" if hours < 48 else _count(hours // 24, "day")


def when(text: str) -> str:
    """A time as ``2026-11-29 11:40 UTC``; what is no time, as it is."""
    found = moment(text)
    return found.strftime("%Y-%m-%d %H:%M UTC") if found else text


def moment(text: str) -> datetime.datetime | None:
    """A time as ISO 8601 or a mail has it, in UTC; one without a zone is in UTC. None if it is no time."""
    for parse in (datetime.datetime.fromisoformat, email.utils.parsedate_to_datetime):
        try:
            found = parse(text)
            return found.astimezone(datetime.UTC) if found.tzinfo else found.replace(tzinfo=datetime.UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def listed(names: Sequence[str]) -> str:
    """``a, b, c and 4 more``."""
    shown = ", ".join(names[:_MANY])
    return shown + (f" and {len(names) - _MANY} more" if len(names) > _MANY else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _natural(claim: str) -> tuple[str, int, str]:
    digits = claim.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-")
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0
    return claim[: len(claim) - len(digits)], number, claim


def _seconds(text: str) -> float:
    found = moment(text)
    return found.timestamp() if found else 0.0
