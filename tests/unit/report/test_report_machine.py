# SPDX-License-Identifier: GPL-2.0-or-later
"""The voices for programs: result.json against its schema, JUnit."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lab.model.result import ValidateResult
from lab.model.verdict import Change, Verdict
from lab.report import claims as claims_text
from lab.report import html, junit, result_json, terminal

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "result-schema.md"


def check(result: ValidateResult) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(result_json.dumps(result))
    jsonschema.Draft202012Validator(result_json.schema()).validate(data)
    return data


def test_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(result_json.schema())


def test_result_matches_the_schema(result: ValidateResult) -> None:
    data = check(result)
    assert data["schema"] == 1
    assert data["verdict"] == "fail"
    by_id = {scenario["id"]: scenario for scenario in data["scenarios"]}
    fixed = by_id["bar_pages_are_mapped_right"]
    assert (fixed["claims"], fixed["flavour"], fixed["change"]) == (["C16"], "plain", "fixed")
    assert fixed["base"]["verdict"] == "fail"
    assert fixed["patched"]["verdict"] == "pass"
    assert fixed["patched"]["evidence"] == ["all 16 pages read their own index"]
    assert fixed["base"]["files"] == ["base/evidence/bar_pages_are_mapped_right/ledger.txt"]
    new = by_id["first_touch_of_page_n_maps_page_n"]
    assert new["base"] is None and new["base_reason"] == "maps no MMIO on first touch"
    assert data["kernels"]["base"]["verdict"] == "fail"
    assert data["kernels"]["patched"]["flavours"]["plain"]["detectors"][0]["fired"] is True
    assert data["lock"]["version"] == "7.3.4-1~bpo13+1"


def test_result_without_anything_matches_the_schema(result: ValidateResult) -> None:
    data = check(replace(result, runs=(), scenarios=(), phases=(), verdict=Verdict.INCONCLUSIVE, exit_code=4))
    assert data["kernels"]["base"] == {
        "verdict": "inconclusive",
        "reasons": ["this kernel was not run"],
        "flavours": {},
    }


def test_scenario_that_the_patched_kernel_cannot_run_says_why(result: ValidateResult) -> None:
    missing = replace(result.scenarios[0], patched=None, change=Change.NOT_APPLICABLE)
    data = check(replace(result, scenarios=(missing,)))
    assert data["scenarios"][0]["patched"] is None
    assert "not run" in data["scenarios"][0]["patched_reason"]


@pytest.mark.parametrize("change", list(Change))
def test_every_change_is_in_the_schema(result: ValidateResult, change: Change) -> None:
    check(replace(result, scenarios=(replace(result.scenarios[0], change=change),)))


def test_schema_refuses_what_is_not_documented(result: ValidateResult) -> None:
    data = result_json.as_dict(result)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(result_json.schema()).validate(data | {"extra": 1})


def test_every_key_is_documented() -> None:
    text = DOCUMENT.read_text()

    def keys(node: Any) -> set[str]:
        if isinstance(node, list):
            return set().union(*map(keys, node)) if node else set()
        if not isinstance(node, dict):
            return set()
        mine = set(node.get("properties", {})) if isinstance(node.get("properties"), dict) else set()
        return mine.union(*map(keys, node.values())) if node else mine

    assert [key for key in sorted(keys(result_json.schema())) if f"`{key}`" not in text] == []
    assert [change.value for change in Change if f"`{change.value}`" not in text] == []


def test_lock_is_the_lock_alone(result: ValidateResult) -> None:
    assert json.loads(result_json.lock(result)) == result.base_lock


def test_junit_counts_what_speaks_against_the_series(result: ValidateResult) -> None:
    root = ET.fromstring(junit.xml(result))
    series, scenarios = root.findall("testsuite")
    failure = series.find("testcase/failure")
    assert failure is not None and "passes on base" in (failure.get("message") or "")
    kinds = {
        case.get("name"): [child.tag for child in case if child.tag != "system-out"] for case in scenarios
    }
    assert kinds == {
        "bar_pages_are_mapped_right": [],
        "region_removed_leaves_no_mapping": [],
        "unmapped_gpa_reaches_the_vmm": ["failure"],
        "first_touch_of_page_n_maps_page_n": [],
        "injected_failure_leaks_nothing": ["error"],
        "still_broken": ["skipped"],
        "two_vps_touch_one_page": ["error"],
    }
    assert [scenarios.get(name) for name in ("tests", "failures", "errors", "skipped")] == [
        "7",
        "1",
        "2",
        "1",
    ]


def test_junit_has_the_evidence_of_both_sides(result: ValidateResult) -> None:
    root = ET.fromstring(junit.xml(result))
    [case] = root.findall(".//testcase[@name='bar_pages_are_mapped_right']")
    text = case.findtext("system-out") or ""
    assert "base: FAIL" in text and "map call 8" in text and "all 16 pages read their own index" in text


def test_junit_of_a_claim_that_still_fails_is_a_failure(result: ValidateResult) -> None:
    root = ET.fromstring(junit.xml(replace(result, fixes=("C23",))))
    assert root.find(".//testcase[@name='still_broken']/failure") is not None


def test_claims_stand_in_every_voice(result: ValidateResult) -> None:
    claims = result_json.as_dict(result)["claims"]
    assert [claim["id"] for claim in claims] == ["C16", "C15"]
    assert [kernel["standing"] for kernel in claims[0]["kernels"]] == ["reproduced", "not reproduced"]
    text = terminal.table(result, out=Path("out"))
    assert "C16    reproduced      not reproduced" in text
    assert "claims   hvlab claims --from out/result.json says why" in text
    told = claims_text.lines(result.claims, 100) if result.claims else []
    assert "  everywhere      not decided because: no arm64 here" in told
    page = html.page(result, {})
    assert "Review claims" in page and "not decided because: no arm64 here" in page
