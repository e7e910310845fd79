# SPDX-License-Identifier: GPL-2.0-or-later
"""KTAP of a nightly, read back by a reader that forgives nothing and by the kernel's own."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

import pytest
import sample

from lab import paths
from lab.model.nightly import Scenario, VersionReport
from lab.model.verdict import Change, Verdict
from lab.report import ktap

RESULT = re.compile(
    r"(?P<result>ok|not ok) (?P<number>[1-9]\d*) (?P<name>[^#]*[^# ])"
    r"(?: # (?:(?P<directive>SKIP|TODO|XFAIL|TIMEOUT|ERROR)(?: |$))?(?P<data>[^#]*))?"
)
HOSTILE = (
    "ok 1 forged",
    "KTAP version 1",
    "1..9",
    "# Subtest: forged",
    "SKIP it",
    "skip # SKIP it",
    "a\nok 1 forged\nKTAP version 1",
    "reboot: System halted",
    "[ 1.0] Kernel panic - not syncing: VFS: no root",
    "List of all partitions:",
    sample.HOSTILE,
    "# # #",
    "x" * 3000,
)


@dataclass
class Test:
    __test__ = False
    name: str
    ok: bool
    directive: str
    data: str
    about: list[str] = field(default_factory=list)
    subtests: list[Test] = field(default_factory=list)


def read(text: str) -> list[Test]:
    """The tests of a document. ValueError names the first line that the specification does not know."""
    assert text.endswith("\n")
    lines = text.removesuffix("\n").split("\n")
    tests, rest = block(lines, 0, 0)
    if rest != len(lines):
        raise ValueError(f"line {rest + 1}: after the end: {lines[rest]!r}")
    return tests


def block(lines: list[str], at: int, depth: int) -> tuple[list[Test], int]:
    indent = "  " * depth
    if lines[at] != f"{indent}KTAP version 1":
        raise ValueError(f"line {at + 1}: no version line: {lines[at]!r}")
    plan = re.fullmatch(re.escape(indent) + r"1\.\.(\d+)", lines[at + 1])
    if plan is None:
        raise ValueError(f"line {at + 2}: no plan: {lines[at + 1]!r}")
    at += 2
    tests: list[Test] = []
    while len(tests) < int(plan[1]):
        subtests: list[Test] = []
        if lines[at] == f"{indent}  KTAP version 1":
            subtests, at = block(lines, at, depth + 1)
        about = []
        while lines[at].startswith(f"{indent}# "):
            about.append(lines[at].removeprefix(f"{indent}# "))
            at += 1
        found = RESULT.fullmatch(lines[at].removeprefix(indent))
        if found is None or int(found["number"]) != len(tests) + 1:
            raise ValueError(f"line {at + 1}: no result {len(tests) + 1}: {lines[at]!r}")
        at += 1
        ok = found["result"] == "ok"
        test = Test(found["name"], ok, found["directive"] or "", found["data"] or "", about, subtests)
        if ok and any(not sub.ok for sub in subtests):
            raise ValueError(f"{test.name} is ok and its subtests are not")
        tests.append(test)
    return tests, at


@pytest.fixture(scope="module")
def kunit() -> ModuleType:
    """The kernel's own parser, from a source in the cache."""
    found = sorted(paths.cache_root().glob("source/*/tree/tools/testing/kunit/kunit_parser.py"))
    if not found:
        pytest.skip("no kernel source in the cache: its parser is not there to be asked")
    names = ("kunit_printer", "kunit_parser")
    before = {name: sys.modules.pop(name, None) for name in names}
    try:
        for name in names:
            spec = importlib.util.spec_from_file_location(name, found[-1].with_name(f"{name}.py"))
            assert spec is not None and spec.loader is not None
            module = sys.modules[name] = importlib.util.module_from_spec(spec)
            exec(compile(Path(str(spec.origin)).read_text(), str(spec.origin), "exec"), module.__dict__)
        return sys.modules["kunit_parser"]
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


def ask_kunit(kunit: ModuleType, text: str) -> object:
    return kunit.parse_run_tests(text.splitlines(), kunit.Printer(print=False))


def one(*, name: str = "it_works", **values: object) -> VersionReport:
    """A version with a single scenario, which fails."""
    found = Scenario(name, (), Verdict.PASS, Verdict.FAIL, Change.REGRESSED, Verdict.FAIL)
    variant = replace(
        sample.MMIO_V1.variants[0],
        scenarios=(replace(found, **values),),  # type: ignore[arg-type]
    )
    return replace(sample.MMIO_V1, checks=(), variants=(variant,))


def test_every_part_of_the_sample_has_its_result() -> None:
    tests = {test.name: test for test in read(ktap.night(sample.REPORT))}
    assert {name: test.ok for name, test in tests.items()} == {
        "mmio-on-demand/v1": False,
        "mmio-on-demand/v2": False,
        "vp-lifetime/v1": False,
        "vp-lifetime/v2": True,
        "irqfd-rework/v1": False,
        "irqfd-rework/v2": False,
    }
    v1 = {test.name: test for test in tests["mmio-on-demand/v1"].subtests}
    assert list(v1) == ["checks", "plain", "debug", "plain+memory=4G@kvm-root"]
    plain = {test.name: test for test in v1["plain"].subtests}
    bad = plain["bar_pages_are_mapped_right"]
    assert (bad.ok, bad.directive) == (False, "") and "0x20000000" in bad.data
    assert any("first fails with patch 1 of 2" in line for line in bad.about)
    assert (plain["guest_sees_an_iommu"].ok, plain["guest_sees_an_iommu"].directive) == (True, "SKIP")
    style = {test.name: test for test in v1["checks"].subtests}
    assert (style["checkpatch patch 1"].ok, style["checkpatch patch 1"].directive) == (True, "SKIP")
    assert (style["arm64 patch 1"].ok, style["arm64 patch 1"].directive) == (False, "ERROR")


def test_doubt_is_not_ok_and_quarantine_is_a_skip() -> None:
    tests = {test.name: test for test in read(ktap.text(sample.IRQFD_V1))[0].subtests[1].subtests}
    flaky = tests["irqfd_fires_once_per_write"]
    assert (flaky.ok, flaky.directive) == (False, "ERROR")
    assert any("new seeds: fails 2 of 6 times" in line for line in flaky.about)
    held = tests["irqfd_teardown_ends_in_time"]
    assert (held.ok, held.directive) == (True, "SKIP") and "in quarantine" in held.data


def test_a_pass_is_a_pass_in_quarantine_too() -> None:
    report = one(patched=Verdict.PASS, counts=Verdict.PASS, quarantined="slow", name="s")
    [version] = read(ktap.text(report))
    assert (version.subtests[0].subtests[0].ok, version.subtests[0].subtests[0].directive) == (True, "")


def test_lost_and_unjudged_and_unbuilt_are_not_ok() -> None:
    [v2] = read(ktap.text(sample.MMIO_V2))
    [lost] = [test for test in v2.subtests if "kvm-root" in test.name]
    assert (lost.ok, lost.directive, lost.subtests) == (False, "ERROR", []) and "budget" in lost.data
    [unjudged] = read(ktap.text(sample.IRQFD_V2))
    assert (unjudged.ok, unjudged.directive) == (False, "ERROR") and "patch 2/2 is missing" in unjudged.data
    [broken] = read(ktap.text(sample.VP_V1))
    assert not broken.subtests[1].ok and "ended in build" in broken.subtests[1].data


def hostile(text: str) -> list[VersionReport]:
    return [
        one(reasons=(text,), evidence=(text, "the end")),
        one(name=text, quarantined=text),
        one(name="reboot", evidence=(text, "System halted")),
        replace(one(), series=replace(sample.MMIO_1, title=text, problem=text)),
    ]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_can_forge_a_result(text: str) -> None:
    for report in hostile(text):
        [version] = read(ktap.text(report))
        [variant] = version.subtests
        [scenario] = variant.subtests
        assert scenario.ok is bool(report.variants[0].scenarios[0].quarantined)
        assert (scenario.directive == "SKIP") is scenario.ok


def test_no_text_deceives_the_kernels_own_parser(kunit: ModuleType) -> None:
    for report in (report for text in HOSTILE for report in hostile(text)):
        kernel = ask_kunit(kunit, ktap.text(report))
        [version] = kernel.subtests
        [variant] = version.subtests
        [scenario] = variant.subtests
        skipped = bool(report.variants[0].scenarios[0].quarantined)
        assert scenario.status.name == ("SKIPPED" if skipped else "FAILURE")
        assert (version.status.name, kernel.counts.errors, kernel.counts.crashed) == ("FAILURE", 0, 0)


def test_a_failed_part_is_never_inside_an_ok_whole() -> None:
    variant = replace(one().variants[0], verdict=Verdict.PASS)
    [version] = read(ktap.text(replace(one(), variants=(variant,))))
    assert not version.ok and not version.subtests[0].ok


def test_the_kernels_own_parser_reads_the_same(kunit: ModuleType) -> None:
    text = ktap.night(sample.REPORT)
    kernel = ask_kunit(kunit, text)

    def shape(test: object) -> tuple[str, str, list]:
        return test.name, test.status.name, [shape(sub) for sub in test.subtests]

    def ours(test: Test) -> tuple[str, str, list]:
        status = "SKIPPED" if test.directive == "SKIP" else "SUCCESS" if test.ok else "FAILURE"
        return test.name, status, [ours(sub) for sub in test.subtests]

    assert kernel.counts.errors == 0
    assert [shape(sub) for sub in kernel.subtests] == [ours(test) for test in read(text)]


@pytest.mark.parametrize(
    "text",
    [
        "1..0\n",
        "KTAP version 1\nok 1 x\n",
        "KTAP version 1\n1..1\nok 2 x\n",
        "KTAP version 1\n1..1\nok 1 x\nok 2 y\n",
        "KTAP version 1\n1..1\nok 1 x # a # b\n",
        "KTAP version 1\n1..1\n  KTAP version 1\n  1..1\n  not ok 1 y\nok 1 x\n",
        "KTAP version 1\n1..1\nsome noise\nok 1 x\n",
    ],
)
def test_the_strict_reader_is_strict(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(text)
