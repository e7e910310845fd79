# SPDX-License-Identifier: GPL-2.0-or-later
"""JUnit of a nightly counts what speaks against a series, and no text breaks the document."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import sample

from lab.report import junit


def suites() -> dict[str, ET.Element]:
    return {str(suite.get("name")): suite for suite in ET.fromstring(junit.night(sample.REPORT))}


def kinds(suite: ET.Element) -> dict[str, str]:
    """{case: its outcome}."""
    found = {}
    for case in suite:
        tags = [child.tag for child in case if child.tag != "system-out"]
        assert len(tags) <= 1
        found[str(case.get("name"))] = tags[0] if tags else "passed"
    return found


def test_every_version_is_a_case() -> None:
    versions = suites()["versions"]
    assert kinds(versions) == {
        "mmio-on-demand/v1": "failure",
        "mmio-on-demand/v2": "failure",
        "vp-lifetime/v1": "failure",
        "vp-lifetime/v2": "passed",
        "irqfd-rework/v1": "error",
        "irqfd-rework/v2": "error",
    }
    assert [versions.get(n) for n in ("tests", "failures", "errors", "skipped")] == ["6", "3", "2", "0"]
    unjudged = versions.find("testcase[@name='irqfd-rework/v2']/error")
    assert unjudged is not None and "patch 2/2 is missing" in str(unjudged.get("message"))


def test_every_variant_is_a_suite_that_says_what_counts() -> None:
    found = suites()
    assert list(found) == [
        "versions",
        "mmio-on-demand/v1 [checks]",
        "mmio-on-demand/v1 [plain]",
        "mmio-on-demand/v1 [debug]",
        "mmio-on-demand/v1 [plain+memory=4G@kvm-root]",
        "mmio-on-demand/v2 [checks]",
        "mmio-on-demand/v2 [plain]",
        "mmio-on-demand/v2 [debug]",
        "mmio-on-demand/v2 [plain+memory=4G@kvm-root]",
        "mmio-on-demand/v2 [plain+hv_nofull_mmio]",
        "vp-lifetime/v1 [checks]",
        "vp-lifetime/v1 [plain]",
        "vp-lifetime/v2 [checks]",
        "vp-lifetime/v2 [plain]",
        "irqfd-rework/v1 [checks]",
        "irqfd-rework/v1 [plain]",
        "mails that are no use",
    ]
    assert kinds(found["irqfd-rework/v1 [plain]"]) == {
        "(variant)": "error",
        "irqfd_fires_once_per_write": "error",
        "irqfd_teardown_ends_in_time": "skipped",
        "ioeventfd_reaches_the_vmm": "error",
        "irqfd_of_a_dead_partition": "passed",
    }
    assert kinds(found["mmio-on-demand/v2 [plain+memory=4G@kvm-root]"]) == {"(variant)": "error"}
    assert kinds(found["vp-lifetime/v1 [plain]"]) == {"(variant)": "failure"}
    checks = kinds(found["mmio-on-demand/v1 [checks]"])
    assert (checks["W=1 patch 2"], checks["checkpatch patch 1"], checks["arm64 patch 1"]) == (
        "failure",
        "skipped",
        "error",
    )


def test_evidence_and_reruns_stand_in_the_case() -> None:
    case = suites()["irqfd-rework/v1 [plain]"].find("testcase[@name='irqfd_fires_once_per_write']")
    assert case is not None and case.get("time") == "4.000"
    text = case.findtext("system-out") or ""
    assert "base: pass" in text and "write 1: vector 0x40 twice" in text
    assert "rerun under new seeds: fails 2 of 6 times (10 % to 70 %)" in text


def test_broken_mails_are_told_and_fail_nothing() -> None:
    assert set(kinds(suites()["mails that are no use"]).values()) == {"skipped"}


def test_text_of_strangers_does_not_break_the_document() -> None:
    hostile = "]]> & <x> \x00\x1b\ud800\ufffe\n"
    series = replace(sample.MMIO_1, title=hostile, author=hostile, problem=hostile)
    variant = replace(sample.MMIO_V1.variants[0], reasons=(hostile,), evidence=(hostile,), lost=hostile)
    report = replace(sample.MMIO_V1, series=series, variants=(variant,))
    text = junit.night(replace(sample.REPORT, versions=(report,)))
    ET.fromstring(text.encode())
    assert "\x1b" not in text
