# SPDX-License-Identifier: GPL-2.0-or-later
"""What the scenarios ran, in every voice."""

from __future__ import annotations

from dataclasses import replace

from lab.model.result import ValidateResult
from lab.report import html, mail, result_json, terminal, view

SUM = "changed lines run: 3 of 6; not run: drivers/hv/mshv_regions.c:14-15, 20"


def folded(text: str) -> str:
    return " ".join(text.split())


def test_every_voice_names_the_lines_that_no_scenario_ran(result: ValidateResult) -> None:
    page = html.page(result, {})
    assert SUM in folded(terminal.table(result))
    assert SUM in folded(mail.text(result))
    assert SUM in page
    assert "if (a &lt; b &amp;&amp; c)" in page and "mshv_never" in page


def test_doubts_about_the_counts_are_told(result: ValidateResult) -> None:
    for text in (terminal.table(result), mail.text(result)):
        said = folded(text)
        assert "some of these lines may have run: unmapped_gpa_reaches_the_vmm: the guest is dead" in said
        assert "coverage is not known of include/linux/mm.h" in said
        assert "passed without counters and not with them: two_vps" in said


def test_result_json_has_the_numbers(result: ValidateResult) -> None:
    found = result_json.as_dict(result)["coverage"]
    assert (found["run"], found["total"]) == (3, 6)
    assert found["files"][0]["not_run"] == [14, 15, 20]


def test_who_did_not_ask_is_told_how(result: ValidateResult) -> None:
    without = replace(result, coverage=None)
    assert "hvlab validate --coverage says which changed lines ran" in folded(terminal.table(without))
    assert result_json.as_dict(without)["coverage"] is None


def test_why_it_could_not_be_measured_is_told_once(result: ValidateResult) -> None:
    why = f"{view.NOT_MEASURED}: no gcov"
    without = replace(result, coverage=None, notes=(why,))
    assert view.coverage(without) == []
    assert why in folded(terminal.table(without))
