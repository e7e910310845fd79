# SPDX-License-Identifier: GPL-2.0-or-later
"""A nightly in the schema of KCIDB 5.3, the kernel's common database of CI results.

A version of a series is a checkout (base with the patches on it), a flavour is a build of it, a scenario of a
variant is a test. Static checks hang on a build of their own, which has no status. Splats, and failures that
are known for a reason (in quarantine, on base alike), are issues; where one was met is an incident.
An id says what it stands for and ends in a digest of all that decided it: the same result has the same id
in every report, another one has another.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from lab.hashing import digest
from lab.model.claim import Standing
from lab.model.nightly import BaseFound, CheckResult, NightlyReport, Scenario, VariantResult, VersionReport
from lab.model.verdict import Change, Verdict
from lab.report import said, view

ORIGIN = "hvlab"
VERSION = {"major": 5, "minor": 3}
ARCHITECTURE = "x86_64"
_EXCERPT = 16000
"""Characters of an excerpt; the schema takes 16384."""
_STATUS = {Verdict.PASS: "PASS", Verdict.FAIL: "FAIL", Verdict.INCONCLUSIVE: "ERROR"}
_UNBUILT = ("fetch", "apply", "build")
"""A variant that ended in one of these phases has no kernel that could be tested."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ADDRESS = re.compile(r"[^@\s<>]+@[^@\s<>]+")
_ISSUE = 1
"""Version of our issues: what they say of themselves follows from their ids."""

Record = dict[str, Any]


def dumps(report: NightlyReport) -> str:
    """The submission as JSON text, ending in a line break."""
    return json.dumps(as_dict(report), indent=1) + "\n"


def as_dict(report: NightlyReport) -> Record:
    """The submission: JSON values that fit the schema."""
    found = _Submission()
    for version in report.versions:
        _version(found, version)
    return {"version": VERSION} | {kind: list(records.values()) for kind, records in found.kinds.items()}


class _Submission:
    """Records by kind and id: one issue may be met in many versions."""

    def __init__(self) -> None:
        self.kinds: dict[str, dict[str, Record]] = {
            kind: {} for kind in ("checkouts", "builds", "tests", "issues", "incidents")
        }

    def add(self, kind: str, record: Record) -> Record:
        self.kinds[kind][record["id"]] = record
        return record

    def met(self, issue: Record, test: Record, *, present: bool = True) -> None:
        """An issue showed in a test, or (``present`` False) did not where it would have."""
        self.add("issues", issue)
        id = f"{ORIGIN}:{digest('incident', issue['id'], test['id'])}"
        values = {"issue_id": issue["id"], "issue_version": _ISSUE, "test_id": test["id"]}
        self.add("incidents", _record(id, **values, present=present))


def _version(found: _Submission, report: VersionReport) -> None:
    checkout = found.add("checkouts", _checkout(report))
    if not checkout["valid"]:
        return
    if report.checks:
        build = found.add("builds", _static(checkout["id"]))
        for check in report.checks:
            found.add("tests", _check(build["id"], check))
    for flavour in dict.fromkeys(v.variant.flavour for v in report.variants):
        variants = [v for v in report.variants if v.variant.flavour == flavour]
        build = found.add("builds", _build(report, checkout["id"], flavour, variants))
        for variant in variants:
            if variant.failed_phase not in _UNBUILT:
                _variant(found, report, build["id"], variant)


def _checkout(report: VersionReport) -> Record:
    series = report.series
    id = f"{ORIGIN}:{series.id}:{digest('checkout', series.key, series.message_id, report.key)}"
    hashes = [hashlib.sha256(patch.raw).hexdigest() + "\n" for patch in series.patches]
    untaken = [c for c in report.checks if c.name == "apply" and c.verdict is not Verdict.PASS]
    failed = bool(report.variants) and all(v.failed_phase == "apply" for v in report.variants)
    valid = not series.problem and report.base.found is not BaseFound.NONE and not (failed or untaken)
    found = _record(
        id,
        comment=said.line(f"v{series.version}: {series.title}"),
        valid=valid,
        message_id=_message_id(series.message_id),
        git_commit_hash=_commit(report),
        git_commit_name=_base_name(report),
        origin_tests_finish_time=_time(report.finished),
        misc={
            "topic": said.line(series.topic),
            "version": series.version,
            "base": said.line(report.base.how),
            "verdict": str(report.verdict),
            "patches": said.clean(patch.subject for patch in series.patches),
            "repairs": said.clean(f"patch {r.patch}, {r.hunk}: {r.what}" for r in series.repairs),
        },
    )
    if hashes:
        found["patchset_hash"] = hashlib.sha256("".join(hashes).encode()).hexdigest()
    if not valid:
        evidence = [line for c in untaken for line in (c.note, *c.lines)]
        evidence += [line for v in report.variants for line in (*v.reasons, *v.evidence)]
        found["log_excerpt"] = _excerpt([series.problem, report.base.how, *evidence])
    return found


def _build(report: VersionReport, checkout: str, flavour: str, variants: Iterable[VariantResult]) -> Record:
    """One kernel. It built when a variant got beyond the build, it failed when one ended there; where no
    variant has a result nothing is known."""
    known = [v for v in variants if not v.lost]
    broken = [v for v in known if v.failed_phase == "build"]
    built = any(v.failed_phase not in _UNBUILT for v in known)
    status = "FAIL" if broken else "PASS" if built else None
    walls = [t.wall for v in known for t in v.timings if (t.name, t.side) == ("build", "patched")]
    return _record(
        f"{checkout}:{flavour}",
        checkout_id=checkout,
        comment=said.line(f"{report.series.id} [{flavour}]"),
        architecture=ARCHITECTURE,
        config_name=said.line(flavour),
        status=status,
        duration=max(walls, default=None),
        log_excerpt=_excerpt(line for v in broken for line in (*v.reasons, *v.evidence)),
        misc={"culprit": said.culprit(report, broken[0].culprit)} if broken and broken[0].culprit else None,
    )


def _static(checkout: str) -> Record:
    return _record(
        f"{checkout}:static",
        checkout_id=checkout,
        comment="static checks, each patch on top of those before it",
        config_name="static checks",
    )


def _check(build: str, found: CheckResult) -> Record:
    return _record(
        f"{build}:{found.name}:{found.patch}",
        build_id=build,
        path=f"hvlab.checks.{_path(found.name)}.patch_{found.patch}",
        status="MISS" if found.verdict is Verdict.INCONCLUSIVE else _STATUS[found.verdict],
        comment=said.line(f"{said.check_name(found)} {'(a matter of style)' if found.advisory else ''}"),
        duration=found.seconds or None,
        log_excerpt=_excerpt(said.about_check(found)),
        misc={"advisory": True} if found.advisory else None,
    )


def _variant(found: _Submission, report: VersionReport, build: str, variant: VariantResult) -> None:
    """The variant as a test of its own, its scenarios, and what is known of their failures."""
    whole = found.add("tests", _whole(report, build, variant))
    if variant.lost:
        return
    for splat in variant.splats:
        found.met(_splat(splat), whole)
    for claim in variant.claims:
        if claim.patched != Standing.NOT_DECIDED:
            issue = _issue("claim", claim.id, f"{claim.id}: {claim.title}", digest("claim", claim.title))
            found.met(issue, whole, present=claim.patched == Standing.REPRODUCED)
    for scenario in variant.scenarios:
        test = found.add("tests", _scenario(report, whole["id"], build, variant, scenario))
        for splat in scenario.splats:
            found.met(_splat(splat), test)
        known = _known(report, variant, scenario)
        if known is not None and test["status"] == "FAIL":
            found.met(known, test)


def _whole(report: VersionReport, build: str, found: VariantResult) -> Record:
    return _record(
        f"{build}:{found.variant.id}",
        build_id=build,
        path="hvlab",
        status="MISS" if found.lost else _STATUS[found.verdict],
        comment=said.line(f"{report.series.id} [{found.variant.id}]: {said.variant(found).why}").rstrip(": "),
        environment=_environment(found),
        duration=found.wall or None,
        log_excerpt=_excerpt([found.lost, *said.about_variant(report, found)]),
        misc={"failed_phase": found.failed_phase} if found.failed_phase else None,
    )


def _scenario(report: VersionReport, whole: str, build: str, where: VariantResult, found: Scenario) -> Record:
    """The status is what this very kernel did, also where that does not speak against the series."""
    if found.patched is not None:
        status = _STATUS[found.patched]
    else:
        status = "SKIP" if found.counts is None else "MISS"
    misc: Record = {
        "change": found.change,
        "base": str(found.base or "not run"),
        "against_the_series": found.counts is Verdict.FAIL and not found.quarantined,
        "claims": list(found.claims),
        "reruns": said.rates(found),
        "culprit": said.culprit(report, found.culprit),
    }
    return _record(
        f"{whole}:{found.id}",
        build_id=build,
        path=f"hvlab.{_path(found.id)}",
        status=status,
        comment=said.line(f"{found.id} [{where.variant.id}]: {said.scenario(found).why}").rstrip(": "),
        environment=_environment(where),
        duration=found.seconds or None,
        log_excerpt=_excerpt(said.about_scenario(report, where, found)),
        misc={key: value for key, value in misc.items() if value not in ("", [])},
    )


def _environment(found: VariantResult) -> Record:
    words = (found.execution, f"machine {found.variant.machine}", " ".join(found.variant.params))
    misc = {
        "variant": said.line(found.variant.id),
        "kernel_args": said.clean(found.variant.kernel_args),
        "host": said.line(found.host),
        "release": said.line(found.release),
    }
    return {
        "comment": said.line(", ".join(filter(None, words))),
        "misc": {key: value for key, value in misc.items() if value},
    }


def _known(report: VersionReport, where: VariantResult, found: Scenario) -> Record | None:
    """The issue that explains why a failure does not count."""
    if found.quarantined:
        title = f"{found.id}: {found.quarantined}"
        return _issue("quarantine", found.id, title, digest("quarantine", found.id, found.quarantined))
    if found.change == Change.STILL_FAILING and found.counts is None:
        base = where.base_version or report.base.how
        title = f"{found.id} fails on {base} without the series"
        return _issue("base", found.id, title, digest("base", found.id, base))
    return None


def _splat(splat: str) -> Record:
    return _issue("splat", splat, splat, "")


def _issue(kind: str, name: str, title: str, end: str) -> Record:
    found = _record(
        ":".join(filter(None, (ORIGIN, kind, said.line(name), end))),
        version=_ISSUE,
        report_subject=said.line(title),
        comment=said.line(title),
        categories=[f"hvlab.{kind}"],
    )
    # Why something is in quarantine nobody has told us.
    return found if kind == "quarantine" else found | {"culprit": {"code": True}}


def _record(id: str, **values: Any) -> Record:
    """``values`` without those that are not known: the schema takes no null and no empty text."""
    found = {key: value for key, value in values.items() if value is not None and value != ""}
    return {"id": said.line(id), "origin": ORIGIN} | found


def _path(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text) or "_"


def _excerpt(lines: Iterable[str]) -> str:
    return view.clip("\n".join(said.clean(lines)), _EXCERPT)


def _message_id(text: str) -> str:
    bare = said.line(text).strip("<>")
    return bare if _ADDRESS.fullmatch(bare) else ""


def _commit(report: VersionReport) -> str:
    """The commit that the series says it is made for, where that is what it was tried on."""
    commit = report.series.base_commit.lower()
    return commit if report.base.found is BaseFound.BASE_COMMIT and _COMMIT.fullmatch(commit) else ""


def _base_name(report: VersionReport) -> str:
    version = next((v.base_version for v in report.variants if v.base_version), "")
    return f"v{said.line(version)}" if version else ""


def _time(text: str) -> str:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return ""
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()
