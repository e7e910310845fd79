# SPDX-License-Identifier: GPL-2.0-or-later
"""b4's own review code asks our check command, and shows what we mean."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import b4
import b4.review.checks as b4_checks
import pytest
import sample

import lab
from lab.model.errors import BadInput
from lab.model.nightly import NightlyReport, Scenario, VersionReport
from lab.model.verdict import Verdict
from lab.nightly import b4_check, store
from lab.report import b4_ci
from lab.report.b4_ci import Status

COVER = (
    b"From: Ada Root <ada@example.org>\nSubject: [PATCH v2 0/3] mshv: MMIO on demand\n"
    b"Message-ID: <mmio-on-demand-v2-0@example.org>\n\nThis maps MMIO.\n"
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a finished nightly, with a blank in its name."""
    folder = tmp_path_factory.mktemp("last night")
    store.save(folder / b4_check.REPORT, sample.REPORT)
    return folder


@pytest.fixture
def reviewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: Path) -> Path:
    """A repository that b4 reviews in and that has our check commands."""
    repo = tmp_path / "linux"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    subprocess.run(["git", "init", "--quiet", repo], check=True)
    for kind in ("series", "perpatch"):
        command = f"{sys.executable} -m lab.nightly.b4_check '{out}' --url https://lab.example.org/"
        key = f"b4.review-{kind}-check-cmd"
        subprocess.run(["git", "-C", repo, "config", key, command], check=True)
    monkeypatch.chdir(repo)
    monkeypatch.setattr(b4, "MAIN_CONFIG", dict(b4.MAIN_CONFIG))
    b4._setup_main_config(argparse.Namespace(config=None), topdir=str(repo))
    return repo


def mail(raw: bytes) -> tuple[str, EmailMessage]:
    message = message_from_bytes(raw, policy=b4.emlpolicy)
    return message["message-id"].strip("<> "), message


def ask(report: NightlyReport, of: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(b4_ci.dumps(b4_ci.answer(report, of)))
    return found


def judged(report: VersionReport) -> NightlyReport:
    return replace(sample.REPORT, versions=(report,))


def test_b4_runs_our_commands_and_keeps_what_they_say(reviewed: Path) -> None:
    perpatch, series = b4_checks.load_check_cmds()
    assert len(perpatch) == len(series) == 1
    env = {"PYTHONPATH": str(Path(lab.__file__).parents[1])}
    cover, third = mail(COVER), mail(sample.MMIO_2.patches[2].raw)
    of_series = b4_checks.run_series_checks(cover, series, str(reviewed), extra_env=env)
    of_patch = b4_checks.run_perpatch_checks([third], perpatch, str(reviewed), extra_env=env)

    [whole] = of_series
    assert (whole["tool"], whole["status"], whole["url"]) == ("hvlab", "fail", "https://lab.example.org/")
    assert whole["summary"].endswith("variants: 1 fail, 1 in doubt, 2 pass")
    [patch] = of_patch[third[0]]
    assert (patch["tool"], patch["status"]) == ("hvlab-patch", "fail")
    assert "unmapped_gpa_reaches_the_vmm" in patch["summary"]

    kept = b4_checks.get_db()
    try:
        b4_checks.store_results(kept, cover[0], of_series)
        b4_checks.store_results(kept, third[0], of_patch[third[0]])
        assert b4_checks.get_cached_results(kept, [cover[0], third[0]]) == {
            cover[0]: of_series,
            third[0]: of_patch[third[0]],
        }
    finally:
        kept.close()
    for result in (whole, patch):
        for finding in json.loads(result["details"]):
            assert finding["status"] in b4_checks._STATUS_ORDER
            assert finding["context"] and set(map(type, finding.values())) == {str}


def test_a_mail_that_the_night_does_not_know_is_asked_for_again(reviewed: Path) -> None:
    _, series = b4_checks.load_check_cmds()
    env = {"PYTHONPATH": str(Path(lab.__file__).parents[1])}
    unknown = mail(COVER.replace(b"mmio-on-demand-v2-0", b"never-seen"))
    assert b4_checks.run_series_checks(unknown, series, str(reviewed), extra_env=env) == []


@pytest.mark.parametrize("report", sample.VERSIONS, ids=lambda r: r.series.id)
def test_a_series_has_its_verdict_and_doubt_is_a_warning(report: VersionReport) -> None:
    [result] = ask(sample.REPORT, report.series.message_id)
    expected = {Verdict.PASS: "pass", Verdict.FAIL: "fail", Verdict.INCONCLUSIVE: "warn"}
    assert (result["tool"], result["status"]) == ("hvlab", expected[report.verdict])
    assert result["summary"]


def test_a_patch_answers_for_what_fails_with_it() -> None:
    def status(version: int, number: int) -> tuple[str, str]:
        [result] = ask(sample.REPORT, f"mmio-on-demand-v{version}-{number}@example.org")
        return result["status"], result["summary"]

    assert status(1, 1)[0] == "fail" and "bar_pages_are_mapped_right" in status(1, 1)[1]
    assert status(1, 2)[0] == "fail" and "region_removed_leaves_no_mapping" in status(1, 2)[1]
    assert status(2, 1) == ("warn", "arm64: no compiler for arm64 on this host (and 1 more)")
    assert status(2, 2)[0] == "warn" and "1 of 4 variants have no result" in status(2, 2)[1]
    there = replace(sample.MMIO_V2, variants=tuple(v for v in sample.MMIO_V2.variants if not v.lost))
    [result] = ask(judged(there), "mmio-on-demand-v2-2@example.org")
    assert (result["status"], result["summary"]) == ("pass", "passes: build:plain, W=1, checkpatch")


def test_a_build_failure_is_put_down_to_its_patch() -> None:
    [result] = ask(sample.REPORT, "vp-lifetime-v1-1@example.org")
    assert result["status"] == "fail" and "ended in build" in result["summary"]


def test_where_nobody_knows_the_patch_no_patch_passes() -> None:
    found = sample.MMIO_V2.variants[1]
    scenarios = tuple(replace(s, culprit=0) for s in found.scenarios)
    report = judged(replace(sample.MMIO_V2, variants=(replace(found, scenarios=scenarios),)))
    for number in (2, 3):
        [result] = ask(report, f"mmio-on-demand-v2-{number}@example.org")
        assert result["status"] == "warn"
    assert (
        "fails, and it is not known with which patch"
        in ask(report, "mmio-on-demand-v2-2@example.org")[0]["summary"]
    )
    [doubt] = ask(sample.REPORT, "irqfd-rework-v1-1@example.org")
    assert doubt["status"] == "warn" and "is in doubt, and it is not known" in doubt["summary"]


def test_a_variant_fails_by_itself_only_where_no_scenario_explains_it() -> None:
    found = sample.MMIO_V2.variants[1]
    passing, failing = found.scenarios

    def second(*scenarios: Scenario) -> dict[str, Any]:
        report = replace(sample.MMIO_V2, variants=(replace(found, scenarios=scenarios),))
        [result] = ask(judged(report), "mmio-on-demand-v2-2@example.org")
        return result

    assert second(failing)["status"] == "pass"
    assert second(passing)["status"] == "warn"
    doubt = replace(failing, id="doubt", counts=Verdict.INCONCLUSIVE, culprit=0)
    both = second(doubt, replace(failing, culprit=0))
    assert "unmapped_gpa_reaches_the_vmm fails, and it is not known" in both["summary"]


def test_a_patch_of_which_nothing_is_known_does_not_pass() -> None:
    bare = replace(sample.MMIO_V2, checks=(), variants=(sample.MMIO_V2.variants[2],))
    [result] = ask(judged(bare), "mmio-on-demand-v2-2@example.org")
    assert (result["status"], "nothing is known" in result["summary"]) == ("warn", True)


@pytest.mark.parametrize("many", [1, len(sample.MMIO_V2.variants)])
def test_a_patch_does_not_pass_where_a_variant_is_lost(many: int) -> None:
    variants = sample.MMIO_V2.variants
    lost = tuple(replace(v, lost="the host died", scenarios=()) for v in variants[:many])
    mended = tuple(replace(v, scenarios=(), verdict=Verdict.PASS, lost="") for v in variants[many:])
    report = replace(sample.MMIO_V2, variants=(*lost, *mended), checks=())
    [result] = ask(judged(report), "mmio-on-demand-v2-2@example.org")
    assert result["status"] == "warn"
    some = f"1 of {len(variants)} variants have no result: {variants[0].variant.id}"
    assert (some if many == 1 else "no variant has a result") in result["summary"]


def test_style_and_repairs_are_warnings() -> None:
    style = replace(sample.MMIO_V2, checks=sample.MMIO_V2.checks[8:9], variants=sample.MMIO_V2.variants[:1])
    [result] = ask(judged(style), "mmio-on-demand-v2-3@example.org")
    assert result["status"] == "warn" and "a matter of style" in result["summary"]
    details = json.loads(ask(sample.REPORT, "irqfd-rework-v1-2@example.org")[0]["details"])
    assert any(d["context"].startswith("repaired drivers/hv/mshv_eventfd.c:20") for d in details)


def test_a_series_of_one_mail_answers_twice() -> None:
    series = replace(sample.VP_2, message_id=sample.VP_2.patches[0].message_id)
    results = ask(judged(replace(sample.VP_V2, series=series)), series.message_id)
    assert [(r["tool"], r["status"]) for r in results] == [("hvlab", "pass"), ("hvlab-patch", "pass")]


def test_a_series_without_variants_is_told_by_its_checks() -> None:
    checked = replace(sample.VP_V2, variants=(), delta=None)
    whole = ask(sample.REPORT, sample.VP_2.message_id)[0]
    assert whole["summary"] == "vp-lifetime/v2 on debian:7.3: variants: 1 pass"
    [result] = ask(judged(checked), sample.VP_2.message_id)
    assert (result["status"], result["summary"], result["details"]) == ("pass", "passes", "")
    [result] = ask(judged(replace(sample.MMIO_V1, variants=())), sample.MMIO_1.message_id)
    assert result["status"] == "fail" and result["summary"].startswith("W=1 patch 2: ")
    broken = replace(sample.VP_V2, series=replace(sample.VP_2, problem="patch 2/2 is damaged"))
    [result] = ask(judged(broken), sample.VP_2.message_id)
    assert (result["status"], result["summary"]) == ("warn", "cannot be judged: patch 2/2 is damaged")


def test_the_later_judgement_of_a_mail_counts() -> None:
    later = replace(sample.VP_V1, series=sample.VP_2, finished="2027-01-01T00:00:00+00:00")
    report = replace(sample.REPORT, versions=(later, sample.VP_V2))
    assert ask(report, sample.VP_2.message_id)[0]["status"] == "fail"


def test_a_broken_mail_is_told() -> None:
    [result] = ask(sample.REPORT, "<bad@example.org>")
    assert (result["status"], result["summary"]) == (
        "warn",
        "no use to the lab: the diff is damaged or cut short",
    )


def test_what_changed_since_the_version_before_is_told() -> None:
    details = json.loads(ask(sample.REPORT, sample.MMIO_2.message_id)[0]["details"])
    told = {d["context"]: (d["status"], d["description"]) for d in details}
    assert told["since v1: claim C16 [plain]"] == ("pass", "reproduced, now not reproduced")
    assert told["since v1: scenario unmapped_gpa_reaches_the_vmm [debug]"][0] == "warn"


def test_long_details_are_cut_and_say_so() -> None:
    found = sample.MMIO_V1.variants[0]
    many = tuple(replace(found.scenarios[0], id=f"s{n}") for n in range(300))
    report = judged(replace(sample.MMIO_V1, variants=(replace(found, scenarios=many),)))
    details = json.loads(ask(report, sample.MMIO_1.message_id)[0]["details"])
    assert len(details) == 201 and details[-1]["context"] == "103 more"


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"Message-Id: <a@b>\n\nx", "a@b"),
        (b"Subject: x\nMESSAGE-ID:\n <a@b>\n\nx", "a@b"),
        (b"Subject: \xff\nMessage-ID: <a@b>\n", "a@b"),
    ],
)
def test_message_id_is_found_in_any_mail(raw: bytes, found: str) -> None:
    assert b4_ci.message_id(raw) == found


@pytest.mark.parametrize("raw", [b"", b"\n\nMessage-ID: <a@b>\n", b"Message-ID: <>\n\n", b"\xff\x00"])
def test_a_mail_without_one_is_refused(raw: bytes) -> None:
    with pytest.raises(BadInput, match="no Message-ID"):
        b4_ci.message_id(raw)


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "cannot read: No such file"), ("{}", "not a NightlyReport"), ("", "not a NightlyReport")],
)
def test_a_lab_that_cannot_answer_is_no_failed_series(tmp_path: Path, content: str | None, why: str) -> None:
    if content is not None:
        (tmp_path / b4_check.REPORT).write_text(content)
    [result] = json.loads(b4_check.check(tmp_path, COVER))
    assert result["status"] == Status.WARN and why in result["summary"]
    [result] = json.loads(b4_check.check(tmp_path, b""))
    assert result["status"] == Status.WARN and "no Message-ID" in result["summary"]


def test_the_report_may_be_named_itself(out: Path) -> None:
    assert b4_check.check(out / b4_check.REPORT, COVER) == b4_check.check(out, COVER)
