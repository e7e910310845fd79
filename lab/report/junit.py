# SPDX-License-Identifier: GPL-2.0-or-later
"""JUnit XML for CI services: one suite per flavour, judged relative to base, and the series itself.

Of a nightly there is a suite for the versions, one for each version's static checks and one per variant.
``failure`` is what speaks against the series, ``error`` is doubt, ``skipped`` is what says nothing about
it: a scenario that could not run, that fails on base alike or is in quarantine, a matter of style.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from lab.model.nightly import NightlyReport, VersionReport
from lab.model.result import ScenarioPair, ValidateResult
from lab.model.verdict import Verdict
from lab.report import said, view
from lab.report.said import Said


def xml(result: ValidateResult) -> str:
    """The document as text."""
    root = ET.Element("testsuites", name="hvlab")
    _suite(root, f"series {result.series_name}", [_series_case(result)], result.started)
    for flavour in view.flavours(result):
        cases = [_case(result, pair) for pair in result.scenarios if pair.flavour == flavour]
        _suite(root, f"scenarios [{flavour}]", cases, result.started)
    return _document(root)


def night(report: NightlyReport) -> str:
    """The document of a nightly as text."""
    root = ET.Element("testsuites", name="hvlab nightly")
    versions = [
        _said_case("versions", v.series.id, said.version(v), said.about_version(v)) for v in report.versions
    ]
    _suite(root, "versions", versions, report.started)
    for version in report.versions:
        _version_suites(root, version)
    if report.problems:
        broken = [
            _said_case(
                "inbox", problem.where, Said(None, said.line(problem.what)), said.clean([problem.hint])
            )
            for problem in report.problems
        ]
        _suite(root, "mails that are no use", broken, report.started)
    return _document(root)


def _document(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: ET.Element, name: str, cases: list[ET.Element], started: str) -> None:
    def count(tag: str) -> str:
        return str(sum(case.find(tag) is not None for case in cases))

    suite = ET.SubElement(
        root,
        "testsuite",
        name=view.clean(name),
        tests=str(len(cases)),
        failures=count("failure"),
        errors=count("error"),
        skipped=count("skipped"),
        time=f"{sum(float(case.get('time', '0')) for case in cases):.3f}",
    )
    if started:
        suite.set("timestamp", started)
    suite.extend(cases)


def _series_case(result: ValidateResult) -> ET.Element:
    case = ET.Element("testcase", classname="series", name=view.clean(result.series_name), time="0.000")
    _mark(case, result.verdict, list(result.reasons))
    return case


def _case(result: ValidateResult, pair: ScenarioPair) -> ET.Element:
    spent = sum(outcome.seconds for _, outcome in view.sides(pair))
    case = ET.Element(
        "testcase",
        classname=view.clean(f"scenarios.{pair.flavour}"),
        name=view.clean(pair.id),
        time=f"{spent:.3f}",
    )
    counts = view.counts_as(result, pair)
    reasons = list(pair.patched.reasons) if pair.patched else ["not run on the patched kernel"]
    if counts is None:
        ET.SubElement(case, "skipped", message=view.clean(f"{pair.change}: {'; '.join(reasons)}"))
    else:
        _mark(case, counts, [f"{pair.change}", *reasons])
    lines = [f"claims: {', '.join(pair.claims) or 'none'}"]
    if pair.base is None and pair.base_reason:
        lines.append(f"base: {pair.base_reason}")
    for side, outcome in view.sides(pair):
        lines.append(f"{side}: {view.starred(outcome)}")
        lines += [f"  {line}" for line in view.seen(outcome)]
    lines += [f"file: {name}" for side in view.SIDES for name in view.files(result, pair, side)]
    ET.SubElement(case, "system-out").text = "\n".join(view.clean(line) for line in lines)
    return case


def _version_suites(root: ET.Element, report: VersionReport) -> None:
    name, dotted = report.series.id, report.series.id.replace("/", ".")
    checks = [
        _said_case(f"{dotted}.checks", said.check_name(c), said.check(c), said.about_check(c), c.seconds)
        for c in report.checks
    ]
    if checks:
        _suite(root, f"{name} [checks]", checks, report.finished)
    for variant in report.variants:
        of = f"{dotted}.{variant.variant.id}"
        cases = [_said_case(of, "(variant)", said.variant(variant), said.about_variant(report, variant))]
        for scenario in variant.scenarios:
            about = said.about_scenario(report, variant, scenario)
            cases.append(_said_case(of, scenario.id, said.scenario(scenario), about, scenario.seconds))
        _suite(root, f"{name} [{variant.variant.id}]", cases, report.finished)


def _said_case(
    classname: str, name: str, says: Said, about: Sequence[str], seconds: float = 0.0
) -> ET.Element:
    case = ET.Element(
        "testcase", classname=view.clean(classname), name=view.clean(name), time=f"{seconds:.3f}"
    )
    if says.verdict is None:
        ET.SubElement(case, "skipped", message=says.why)
    else:
        _mark(case, says.verdict, [says.why])
    if about:
        ET.SubElement(case, "system-out").text = "\n".join(about)
    return case


def _mark(case: ET.Element, verdict: Verdict, reasons: list[str]) -> None:
    if verdict is Verdict.PASS:
        return
    tag = "failure" if verdict is Verdict.FAIL else "error"
    told = [view.clean(reason) for reason in reasons]
    element = ET.SubElement(case, tag, message=told[0] if told else str(verdict), type=str(verdict))
    element.text = "\n".join(told)
