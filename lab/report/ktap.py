# SPDX-License-Identifier: GPL-2.0-or-later
"""KTAP version 1, the kernel's own format of test results (Documentation/dev-tools/ktap.rst).

A version of a series is a test, its static checks and its variants are subtests, their scenarios are
subtests of those. Doubt is ``not ok`` with the directive ERROR, what says nothing about the series is a SKIP.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lab.model.nightly import CheckResult, NightlyReport, Scenario, VariantResult, VersionReport
from lab.model.verdict import Change, Verdict, worst
from lab.report import said, view
from lab.report.said import Said

_START = "KTAP version 1"
_INDENT = "  "
_TAKEN = re.compile(
    r"List of all partitions:|Kernel panic - not syncing: VFS:|reboot: System halted|Subtest: "
)
"""The kernel's own reader takes these for the end of a log, the last one for the begin of a subtest."""


_DIRECTIVE = re.compile(r"(?:skip|todo|xfail|timeout|error)\b", re.IGNORECASE)
_WIDTH = 400
"""Characters of the reason in a result line."""


@dataclass(frozen=True, slots=True)
class _Test:
    name: str
    says: Said
    about: tuple[str, ...] = ()
    subtests: tuple[_Test, ...] = ()

    @property
    def settled(self) -> Said:
        """What it says; a test whose subtests are not all ok is not ok."""
        bad = [t.name for t in self.subtests if t.settled.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE)]
        if bad and self.says.verdict is Verdict.PASS:
            return Said(Verdict.INCONCLUSIVE, f"not ok in it: {', '.join(bad)}")
        return self.says


def text(report: VersionReport) -> str:
    """The results of one version, ending in a line break."""
    return _document([_version(report)])


def night(report: NightlyReport) -> str:
    """The results of all versions of a nightly, ending in a line break."""
    return _document([_version(version) for version in report.versions])


def _version(report: VersionReport) -> _Test:
    parts = [_variant(report, variant) for variant in report.variants]
    if report.checks:
        parts.insert(0, _checks(report.checks))
    about = tuple(said.about_version(report))
    return _Test(report.series.id, said.version(report), about, tuple(parts))


def _checks(found: Sequence[CheckResult]) -> _Test:
    tests = tuple(_Test(said.check_name(c), said.check(c), tuple(said.about_check(c))) for c in found)
    verdicts = [test.says.verdict for test in tests if test.says.verdict is not None]
    if not verdicts:
        return _Test("checks", Said(None, "matters of style only"), (), tests)
    verdict = worst(verdicts)
    why = "" if verdict is Verdict.PASS else ", ".join(t.name for t in tests if t.says.verdict is verdict)
    return _Test("checks", Said(verdict, why), (), tests)


def _variant(report: VersionReport, found: VariantResult) -> _Test:
    tests = tuple(_scenario(report, found, scenario) for scenario in found.scenarios)
    return _Test(found.variant.id, said.variant(found), tuple(said.about_variant(report, found)), tests)


def _scenario(report: VersionReport, where: VariantResult, found: Scenario) -> _Test:
    quiet = found.change == Change.SAME and found.counts is Verdict.PASS
    about = () if quiet else tuple(said.about_scenario(report, where, found))
    return _Test(found.id, said.scenario(found), about)


def _document(tests: Sequence[_Test]) -> str:
    lines = [_TAKEN.sub(lambda found: found[0].replace(" ", "_"), line) for line in _block(tests)]
    return "\n".join(lines) + "\n"


def _block(tests: Sequence[_Test]) -> list[str]:
    lines = [_START, f"1..{len(tests)}"]
    for number, test in enumerate(tests, 1):
        if test.subtests:
            lines += [_INDENT + line for line in _block(test.subtests)]
        name = _name(test.name)
        lines += [f"# {name}: {line}" for line in test.about]
        lines.append(_result(number, name, test.settled))
    return lines


def _result(number: int, name: str, says: Said) -> str:
    # A hash sign inside the text would begin a directive, and so would its first word.
    why = view.clip(said.line(says.why).replace("#", ""), _WIDTH)
    if says.verdict is None:
        return f"ok {number} {name} # SKIP {why}".rstrip()
    if says.verdict is Verdict.PASS:
        return f"ok {number} {name}"
    if says.verdict is Verdict.INCONCLUSIVE:
        return f"not ok {number} {name} # ERROR {why}".rstrip()
    return f"not ok {number} {name} # {'reason: ' if _DIRECTIVE.match(why) else ''}{why}".rstrip("# ")


def _name(text: str) -> str:
    """A description may hold anything but a hash sign; a leading dash is no part of it."""
    return " ".join(said.line(text).replace("#", " ").split()).lstrip("- ") or "unnamed"
