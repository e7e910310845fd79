# SPDX-License-Identifier: GPL-2.0-or-later
"""What a series asks of the hypervisor anew, in every voice."""

from __future__ import annotations

import dataclasses

import jsonschema
import pytest

from lab.model.result import ValidateResult
from lab.model.surface import Addition, State
from lab.model.verdict import Verdict
from lab.report import html, mail, result_json, terminal

WHERE = ("drivers/hv/a.c:f",)
NEW = Addition("hypercall", "", 0x0ABC, WHERE, State.UNKNOWN, text="the series issues 0x0abc \x1b[31m<b>")
FINE = Addition("hypercall", "HVCALL_X", 0x4C, WHERE, State.IMPLEMENTED, text="the series issues HVCALL_X")
REFUSED = Addition("msr", "HV_X", 0x40000003, WHERE, State.REFUSED, "#GP", "why", "the series uses HV_X")


@pytest.fixture
def told(result: ValidateResult) -> ValidateResult:
    """Two additions are doubtful; one scenario on the patched kernel reached the first."""
    first = result.scenarios[0]
    assert first.patched is not None
    why = "the stand-in does not model what the kernel asked for: 0x0abc (0x0abc) not implemented, status 0x2"
    reached = dataclasses.replace(first, patched=dataclasses.replace(first.patched, reasons=(why,)))
    return dataclasses.replace(
        result, scenarios=(reached, *result.scenarios[1:]), additions=(NEW, REFUSED, FINE)
    )


def test_json_names_scenarios_that_reached_it(told: ValidateResult) -> None:
    data = result_json.as_dict(told)
    jsonschema.validate(data, result_json.schema())
    assert [a["reached"] for a in data["surface"]] == [[told.scenarios[0].id], [], []]
    assert [a["state"] for a in data["surface"]] == ["unknown", "refused", "implemented"]


def test_every_voice_says_how_the_guests_ran(result: ValidateResult) -> None:
    for voice in (
        terminal.table(result),
        mail.text(result),
        html.page(result, {}),
        result_json.dumps(result),
    ):
        assert "QEMU 7.2.22, TCG with one thread: because" in voice


def test_people_read_what_is_doubtful_and_whether_it_was_reached(told: ValidateResult) -> None:
    for voice in (terminal.table(told), mail.text(told), html.page(told, {})):
        flat = " ".join(voice.split())
        assert "the series issues 0x0abc" in flat and "; 1 did" in flat
        assert "the series uses HV_X" in flat
        assert "not exercised: HV_X (0x40000003) in drivers/hv/a.c:f: no scenario is known to have" in flat
        assert flat.count("not exercised") == 1, "the other one was reached"
        assert "the series issues HVCALL_X" not in flat, "what is implemented is no doubt"
        assert "\x1b" not in voice and "<b>" not in html.page(told, {})


def test_a_pass_says_at_its_verdict_what_it_says_nothing_of(result: ValidateResult) -> None:
    passed = dataclasses.replace(
        result, verdict=Verdict.PASS, exit_code=0, reasons=("fixed",), additions=(NEW,)
    )
    sentence = "not exercised: hypercall 0x0abc in drivers/hv/a.c:f"
    for voice, verdict in ((terminal.table(passed), "verdict  PASS"), (mail.text(passed), "Verdict:   PASS")):
        after = voice[voice.index(verdict) :].splitlines()[:4]
        assert sentence in " ".join(" ".join(after).split()), after
    page = html.page(passed, {})
    assert sentence in page[page.index("verdict pass") : page.index("<h2>")]
    assert [line.startswith(sentence) for line in result_json.as_dict(passed)["not_exercised"]] == [True]


def test_nothing_is_said_of_code_when_no_scenario_ran(result: ValidateResult) -> None:
    stopped = dataclasses.replace(result, scenarios=(), additions=(NEW,))
    for voice in (terminal.table(stopped), mail.text(stopped), html.page(stopped, {})):
        assert "not exercised" not in voice


def test_every_voice_says_what_a_scenario_did_without(result: ValidateResult) -> None:
    first = result.scenarios[0]
    assert first.patched is not None
    blind = dataclasses.replace(first, patched=dataclasses.replace(first.patched, unobserved=("the SLAT",)))
    told = dataclasses.replace(result, scenarios=(blind, *result.scenarios[1:]))
    for voice in (terminal.table(told), mail.text(told), html.page(told, {})):
        assert "pass*" in voice and "does not show: the SLAT" in " ".join(voice.split())
    data = result_json.as_dict(told)
    jsonschema.validate(data, result_json.schema())
    assert data["scenarios"][0]["patched"]["unobserved"] == ["the SLAT"]
    assert "pass*" not in terminal.table(result) + mail.text(result) + html.page(result, {})
