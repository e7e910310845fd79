# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``b4 review`` shows of a nightly: the result of a check command for one mail.

b4 runs such a command for each patch (``b4.review-perpatch-check-cmd``) and for the cover letter, or the
first patch where there is none (``b4.review-series-check-cmd``). The mail comes on standard input; what goes
out is a JSON list of results with ``tool``, ``status`` (``pass``, ``warn``, ``fail``), ``summary``, ``url``
and ``details``, which is a JSON list of findings in a text. Doubt is a ``warn``. b4 keeps results by tool and
mail, so that what is said of a series and what is said of its first patch are two tools. An empty list is not
kept: b4 asks again.
"""

from __future__ import annotations

import email.parser
import email.policy
import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from lab.model.errors import BadInput
from lab.model.nightly import Delta, NightlyReport, VersionReport
from lab.model.verdict import Verdict
from lab.report import said, view

TOOL = "hvlab"
TOOL_OF_PATCH = "hvlab-patch"
_FINDINGS = 200
"""Findings told of one mail."""


class Status(StrEnum):
    """How b4 colours a result or a finding."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of a result's details. ``context`` says what it is about."""

    status: Status
    context: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """A cell of b4's matrix of mails and tools."""

    tool: str
    status: Status
    summary: str
    findings: tuple[Finding, ...] = ()
    url: str = ""


_OF = {Verdict.PASS: Status.PASS, Verdict.FAIL: Status.FAIL, Verdict.INCONCLUSIVE: Status.WARN}


def message_id(mail: bytes) -> str:
    """The Message-ID of a mail, without angle brackets; BadInput if it has none."""
    message = email.parser.BytesParser(policy=email.policy.compat32).parsebytes(mail, headersonly=True)
    found = said.line(str(message["Message-ID"] or "")).strip("<> ")
    if not found:
        raise BadInput("the mail has no Message-ID", where="standard input", hint="give one whole mail")
    return found


def answer(report: NightlyReport, of: str, url: str = "") -> tuple[Result, ...]:
    """What a nightly says of the mail with Message-ID ``of``; nothing where it does not know the mail.

    ``url`` leads to the nightly's site, if there is one. Of two judgements of one mail the later one counts.
    """
    wanted = of.strip("<> ")
    found = [v for v in report.versions if wanted in _ids(v)]
    if not found:
        broken = [p for p in report.problems if p.message_id.strip("<> ") == wanted]
        return tuple(Result(TOOL, Status.WARN, said.line(f"no use to the lab: {p.what}")) for p in broken)
    version = max(found, key=lambda v: v.finished)
    results = [_series(version, url)] if _bare(version.series.message_id) == wanted else []
    numbers = [n for n, p in enumerate(version.series.patches, 1) if _bare(p.message_id) == wanted]
    return (*results, *(_patch(version, number, url) for number in numbers))


def dumps(results: Iterable[Result]) -> str:
    """What b4 reads, ending in a line break."""
    return json.dumps([_as_dict(result) for result in results], indent=1) + "\n"


def excuse(reason: str) -> str:
    """What b4 reads where the lab itself cannot answer: a doubt, for it is not the series that failed."""
    return dumps([Result(TOOL, Status.WARN, said.line(f"no answer: {reason}"))])


def _as_dict(result: Result) -> dict[str, str]:
    shown = [
        {
            "status": str(finding.status),
            "context": said.line(finding.context),
            "state": str(finding.status),
            "description": said.line(finding.description),
        }
        for finding in result.findings[:_FINDINGS]
    ]
    if len(result.findings) > _FINDINGS:
        left = len(result.findings) - _FINDINGS
        shown.append({"status": str(Status.WARN), "context": f"{left} more", "state": "", "description": ""})
    return {
        "tool": result.tool,
        "status": str(result.status),
        "summary": view.clip(said.line(result.summary), 200),
        "url": result.url,
        "details": json.dumps(shown) if shown else "",
    }


def _ids(report: VersionReport) -> set[str]:
    return {
        _bare(id) for id in (report.series.message_id, *(p.message_id for p in report.series.patches)) if id
    }


def _bare(id: str) -> str:
    return id.strip("<> ")


def _series(report: VersionReport, url: str) -> Result:
    """The whole series: its variants, failures in them, its checks, what changed since the version before."""
    findings = []
    for variant in report.variants:
        says = said.variant(variant)
        findings.append(Finding(_status(says.verdict), variant.variant.id, says.why or "passes"))
        for scenario in variant.scenarios:
            says = said.scenario(scenario)
            if says.verdict not in (None, Verdict.PASS):
                told = [says.why, said.culprit(report, scenario.culprit), *said.rates(scenario)]
                context = f"{variant.variant.id}: {scenario.id}"
                findings.append(Finding(_status(says.verdict), context, "; ".join(filter(None, told))))
    for check in report.checks:
        if check.verdict is not Verdict.PASS and not check.advisory:
            findings.append(Finding(_OF[check.verdict], said.check_name(check), said.check(check).why))
    findings += _changes(report.delta)
    status = _OF[report.verdict]
    return Result(TOOL, status, _summary(report), tuple(findings), url)


def _summary(report: VersionReport) -> str:
    if report.series.problem or not report.variants:
        return said.version(report).why or "passes"
    counts = [
        f"{sum(v.verdict is verdict for v in report.variants)} {word}"
        for verdict, word in (
            (Verdict.FAIL, "fail"),
            (Verdict.INCONCLUSIVE, "in doubt"),
            (Verdict.PASS, "pass"),
        )
        if any(v.verdict is verdict for v in report.variants)
    ]
    text = f"{report.series.id} on {report.base.base or report.base.tree or 'its base'}: variants: "
    text += ", ".join(counts)
    bad = sum(c.verdict is Verdict.FAIL and not c.advisory for c in report.checks)
    return text + (f"; {bad} checks fail" if bad else "")


def _changes(delta: Delta | None) -> list[Finding]:
    """What is better or worse than in the version before."""
    if delta is None:
        return []
    found = []
    for change in delta.differences:
        if change.better is not None:
            status = Status.PASS if change.better else Status.WARN
            where = f" [{change.variant}]" if change.variant else ""
            context = f"since v{delta.before}: {change.kind} {change.id}{where}"
            found.append(Finding(status, context, f"{change.before}, now {change.now}"))
    return found


def _patch(report: VersionReport, number: int, url: str) -> Result:
    """One patch: its checks, and what first fails with it."""
    findings = [*_put_down_to(report, number), *_checks_of(report, number)]
    findings += [
        Finding(Status.WARN, f"repaired {r.hunk}", r.what) for r in report.series.repairs if r.patch == number
    ]
    if lost := [v.variant.id for v in report.variants if v.lost]:
        # Static checks alone are no pass where kernels should have run.
        text = f"{len(lost)} of {len(report.variants)} variants have no result: {', '.join(lost)}"
        if len(lost) == len(report.variants):
            text = "no variant has a result: nothing is known"
        findings.append(Finding(Status.WARN, report.series.id, text))
    if report.series.problem:
        findings.append(Finding(Status.WARN, report.series.id, said.version(report).why))
    elif unknown := _put_down_to(report, 0):
        word = "fails" if unknown[0].status is Status.FAIL else "is in doubt"
        why = f"{unknown[0].context} {word}, and it is not known with which patch"
        findings.append(Finding(Status.WARN, report.series.id, why))
    elif not findings and report.verdict is not Verdict.PASS:
        findings.append(Finding(Status.WARN, report.series.id, "nothing is known of this patch alone"))
    ranks = [Status.PASS, Status.WARN, Status.FAIL]
    status = max((f.status for f in findings), key=ranks.index, default=Status.PASS)
    told = [f for f in findings if f.status is status]
    if status is Status.PASS:
        names = dict.fromkeys(f.context for f in findings)
        return Result(
            TOOL_OF_PATCH, status, f"passes: {', '.join(names) or 'the series'}", tuple(findings), url
        )
    more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
    summary = f"{told[0].context}: {told[0].description}{more}"
    return Result(TOOL_OF_PATCH, status, summary, tuple(findings), url)


def _put_down_to(report: VersionReport, number: int) -> list[Finding]:
    """What variants and scenarios with that culprit say; 0: with none. A lost variant says nothing."""
    found = []
    for variant in report.variants:
        told = [(s.culprit, f"{variant.variant.id}: {s.id}", said.scenario(s)) for s in variant.scenarios]
        if not any(says.verdict not in (None, Verdict.PASS) for _, _, says in told):
            told.append((variant.culprit, variant.variant.id, said.variant(variant)))
        for culprit, context, says in () if variant.lost else told:
            if culprit == number and says.verdict not in (None, Verdict.PASS):
                found.append(Finding(_status(says.verdict), context, says.why))
    return sorted(found, key=lambda finding: finding.status is not Status.FAIL)


def _checks_of(report: VersionReport, number: int) -> list[Finding]:
    found = []
    for check in report.checks:
        if check.patch == number:
            worst = Status.WARN if check.advisory and check.verdict is Verdict.FAIL else _OF[check.verdict]
            found.append(Finding(worst, check.name, said.check(check).why))
    return found


def _status(verdict: Verdict | None) -> Status:
    return Status.PASS if verdict is None else _OF[verdict]
