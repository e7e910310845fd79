# SPDX-License-Identifier: GPL-2.0-or-later
"""What is handed to KCIDB fits its schema, has ids that last, and says of each kernel what it did."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
import sample
from kcidb_io.schema import LATEST

from lab.model.nightly import BaseFound, BaseGuess, CheckResult, NightlyReport, VersionReport
from lab.model.verdict import Verdict
from lab.report import kcidb

KINDS = ("checkouts", "builds", "tests", "issues", "incidents")


def submit(*versions: VersionReport) -> dict[str, Any]:
    """The submission, as the receiving side reads it."""
    report = replace(sample.REPORT, versions=versions or sample.VERSIONS)
    data: dict[str, Any] = json.loads(kcidb.dumps(report))
    LATEST.validate_exactly(data)
    return data


def by_end(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Records of one version without the digest in their ids."""
    return {":".join(record["id"].split(":")[3:]): record for record in records}


def test_the_sample_fits_the_newest_schema() -> None:
    data = submit()
    assert (LATEST.major, LATEST.minor) == (data["version"]["major"], data["version"]["minor"])
    assert all(data[kind] for kind in KINDS)
    assert {record["origin"] for kind in KINDS for record in data[kind]} == {"hvlab"}


def test_the_schema_would_refuse_a_mistake() -> None:
    data = kcidb.as_dict(sample.REPORT)
    data["tests"][0]["status"] = "fine"
    with pytest.raises(jsonschema.ValidationError):
        LATEST.validate_exactly(data)


def test_ids_are_unique_and_every_reference_leads_somewhere() -> None:
    data = submit()
    ids = {kind: [record["id"] for record in data[kind]] for kind in KINDS}
    for kind in KINDS:
        assert len(set(ids[kind])) == len(ids[kind]), kind
    assert {b["checkout_id"] for b in data["builds"]} <= set(ids["checkouts"])
    assert {t["build_id"] for t in data["tests"]} <= set(ids["builds"])
    assert {i["issue_id"] for i in data["incidents"]} == set(ids["issues"])
    assert {i["test_id"] for i in data["incidents"]} <= set(ids["tests"])


def test_ids_last_and_belong_to_what_decided_the_result() -> None:
    def ids(*versions: VersionReport) -> set[str]:
        return {record["id"] for record in submit(*versions)["tests"]}

    assert ids(sample.MMIO_V1) == ids(sample.MMIO_V1) < ids(sample.MMIO_V1, sample.MMIO_V2)
    again = replace(sample.MMIO_V1, finished="2027-01-01T00:00:00+00:00")
    assert ids(again) == ids(sample.MMIO_V1)
    other_lab = replace(sample.MMIO_V1, key="another base, another lab")
    assert not ids(other_lab) & ids(sample.MMIO_V1)
    resent = replace(sample.MMIO_V1, series=replace(sample.MMIO_1, message_id="<other@example.org>"))
    assert not ids(resent) & ids(sample.MMIO_V1)


def test_checkout_says_where_the_source_came_from() -> None:
    [checkout] = submit(sample.MMIO_V1)["checkouts"]
    assert checkout["message_id"] == "mmio-on-demand-v1-0@example.org"
    assert checkout["git_commit_hash"] == sample.MMIO_1.base_commit
    assert (checkout["git_commit_name"], checkout["valid"]) == ("v7.3.4", True)
    hashes = "".join(hashlib.sha256(p.raw).hexdigest() + "\n" for p in sample.MMIO_1.patches)
    assert checkout["patchset_hash"] == hashlib.sha256(hashes.encode()).hexdigest()


def test_a_commit_that_the_series_was_not_tried_on_is_not_named() -> None:
    elsewhere = replace(sample.MMIO_V1, base=BaseGuess(BaseFound.GIVEN, "--base", base="debian:7.3"))
    assert "git_commit_hash" not in submit(elsewhere)["checkouts"][0]


def test_a_series_without_a_base_is_an_invalid_checkout_and_no_more() -> None:
    data = submit(sample.IRQFD_V2)
    [checkout] = data["checkouts"]
    assert checkout["valid"] is False and "patch 2/2 is missing" in checkout["log_excerpt"]
    assert not any(data[kind] for kind in KINDS[1:])
    variant = replace(sample.VP_V1.variants[0], failed_phase="apply", evidence=("hunk 1 does not fit",))
    [checkout] = submit(replace(sample.VP_V1, variants=(variant,)))["checkouts"]
    assert checkout["valid"] is False and "hunk 1 does not fit" in checkout["log_excerpt"]


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.INCONCLUSIVE])
def test_a_series_that_its_base_does_not_take_is_an_invalid_checkout(verdict: Verdict) -> None:
    apply = CheckResult("apply", 0, verdict, ("does not apply at a.c:1",))
    data = submit(replace(sample.MMIO_V1, checks=(apply,), variants=()))
    (checkout,) = data["checkouts"]
    assert checkout["valid"] is False and "a.c:1" in checkout["log_excerpt"] and not data["tests"]


def test_a_build_fails_where_its_kernel_does_not_build() -> None:
    data = submit(sample.VP_V1)
    static, plain = data["builds"]
    assert "status" not in static
    assert (plain["status"], plain["duration"], plain["config_name"]) == ("FAIL", 12.0, "plain")
    assert "implicit declaration" in plain["log_excerpt"] and "patch 1 of 1" in plain["misc"]["culprit"]
    assert [test["path"] for test in data["tests"]] == ["hvlab.checks.build_plain.patch_1"]


def test_a_build_of_lost_variants_alone_has_no_status() -> None:
    lost = sample.MMIO_V2.variants[2]
    data = submit(replace(sample.MMIO_V2, checks=(), variants=(lost,)))
    assert "status" not in data["builds"][0]
    assert [test["status"] for test in data["tests"]] == ["MISS"]
    assert "budget" in data["tests"][0]["log_excerpt"]


def test_variants_of_one_flavour_share_its_build() -> None:
    builds = by_end(submit(sample.MMIO_V2)["builds"])
    assert {end: build.get("status") for end, build in builds.items()} == {
        "static": None,
        "plain": "PASS",
        "debug": "PASS",
    }


def test_statuses_tell_what_the_kernel_did() -> None:
    statuses = {end: test["status"] for end, test in by_end(submit(sample.MMIO_V1)["tests"]).items()}
    assert statuses["plain:plain"] == "FAIL"
    assert statuses["plain:plain:bar_pages_are_mapped_right"] == "FAIL"
    assert statuses["plain:plain:unmapped_gpa_reaches_the_vmm"] == "PASS"
    assert statuses["plain:plain:guest_sees_an_iommu"] == "SKIP"
    assert statuses["plain:plain+memory=4G@kvm-root"] == "PASS"
    assert (statuses["static:W=1:2"], statuses["static:arm64:1"]) == ("FAIL", "MISS")
    tests = by_end(submit(sample.MMIO_V1)["tests"])
    bad = tests["plain:plain:bar_pages_are_mapped_right"]
    assert (bad["misc"]["against_the_series"], bad["misc"]["base"], bad["duration"]) == (True, "pass", 1.2)
    assert tests["plain:plain:first_touch_of_page_n_maps_page_n"]["misc"]["base"] == "not run"
    assert tests["plain:plain"]["duration"] == 70.8 and "misc" not in tests["plain:plain"]
    assert tests["static:checkpatch:1"]["misc"] == {"advisory": True}
    assert "misc" not in tests["static:W=1:2"] and tests["static:W=1:2"]["duration"] == 3.5
    tests = by_end(submit(sample.IRQFD_V1)["tests"])
    assert tests["plain:plain"]["status"] == "ERROR"
    assert tests["plain:plain:ioeventfd_reaches_the_vmm"]["status"] == "ERROR"
    slow = tests["plain:plain:irqfd_teardown_ends_in_time"]
    assert (slow["status"], slow["misc"]["against_the_series"]) == ("FAIL", False)
    flaky = tests["plain:plain:irqfd_fires_once_per_write"]
    assert flaky["misc"]["reruns"][1] == "rerun under new seeds: fails 2 of 6 times (10 % to 70 %)"


def incidents(data: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    for found in data["incidents"]:
        kind = found["issue_id"].split(":")[1]
        yield kind, found["test_id"].rpartition(":")[2], found["present"]


def test_splats_claims_and_known_failures_are_issues() -> None:
    assert set(incidents(submit(sample.MMIO_V2))) == {
        ("claim", "plain", False),
        ("claim", "debug", False),
        ("splat", "unmapped_gpa_reaches_the_vmm", True),
    }
    assert set(incidents(submit(sample.IRQFD_V1))) == {
        ("splat", "plain", True),
        ("quarantine", "irqfd_teardown_ends_in_time", True),
    }
    assert "base" not in {kind for kind, _, _ in incidents(submit(sample.MMIO_V1))}
    culprits = {i["id"].split(":")[1]: i.get("culprit") for i in submit(sample.IRQFD_V1)["issues"]}
    assert culprits == {"splat": {"code": True}, "quarantine": None}
    old = replace(sample.MMIO_V1.variants[0].scenarios[1], counts=None)
    alike = replace(sample.MMIO_V1, variants=(replace(sample.MMIO_V1.variants[0], scenarios=(old,)),))
    data = submit(alike)
    assert ("base", "region_removed_leaves_no_mapping", True) in set(incidents(data))
    [issue] = [found for found in data["issues"] if found["id"].startswith("hvlab:base:")]
    assert issue["comment"] == "region_removed_leaves_no_mapping fails on 7.3.4 without the series"


def test_text_of_strangers_fits_the_schema() -> None:
    hostile = "a\x00b\x1b[31m\ud800\n" + "x" * 20000
    series = replace(
        sample.MMIO_1, topic=hostile, title=hostile, message_id=hostile, base_commit=hostile, author=hostile
    )
    variant = sample.MMIO_V1.variants[0]
    scenario = replace(variant.scenarios[0], id=hostile, reasons=(hostile,), evidence=(hostile,) * 9)
    variant = replace(
        variant,
        reasons=(hostile,),
        base_version=hostile,
        execution=hostile,
        host=hostile,
        scenarios=(scenario,),
        splats=(hostile,),
    )
    data = submit(replace(sample.MMIO_V1, series=series, variants=(variant,), finished="never"))
    assert "message_id" not in data["checkouts"][0]
    assert "origin_tests_finish_time" not in data["checkouts"][0]
    assert "\\u0000" not in json.dumps(data)


def test_an_empty_night_is_an_empty_submission() -> None:
    data = json.loads(kcidb.dumps(NightlyReport("2026-12-02T10:30:00+00:00", "", ())))
    LATEST.validate_exactly(data)
    assert not any(data[kind] for kind in KINDS)
