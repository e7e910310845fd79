# SPDX-License-Identifier: GPL-2.0-or-later
"""What a series asks of the hypervisor anew, in every voice."""

from __future__ import annotations

import dataclasses

import jsonschema
import pytest

from lab.model.result import ValidateResult
from lab.model.surface import Addition, State
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
        assert "the series uses HV_X; none is known to have" in flat
        assert "the series issues HVCALL_X" not in flat, "what is implemented is no doubt"
        assert "\x1b" not in voice and "<b>" not in html.page(told, {})
