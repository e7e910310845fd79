# SPDX-License-Identifier: GPL-2.0-or-later
"""A scenario's verdict from what its phases raised."""

import pytest

from lab.model.errors import GuestDied, LabUnavailable
from lab.model.verdict import Verdict
from lab.pytest_plugin.instruments import Evidence
from lab.pytest_plugin.recording import AbilityMissing, Recording
from lab.pytest_plugin.scenario import ScenarioMark


class Call:
    """One phase as pytest reports it."""

    def __init__(self, when, error=None):
        self.when = when
        self.duration = 0.25
        self.excinfo = None if error is None else pytest.ExceptionInfo.from_exception(error)


def raised(error):
    try:
        raise error
    except BaseException as e:
        return e


def outcome(*errors, before=()):
    recording = Recording("some_scenario", ScenarioMark(claims=("C16",)))
    for text in before:
        recording.failures.append(text)
    for when, error in zip(("setup", "call", "teardown"), (*errors, None, None, None), strict=False):
        recording.phase(Call(when, None if error is None else raised(error)))
    return recording.outcome()


def died(kind):
    return GuestDied("the guest died", kind=kind, phase="scenario", detail="last words")


def test_three_clean_phases_pass():
    assert outcome(None, None, None).verdict is Verdict.PASS


def test_a_failed_assertion_fails_with_its_message():
    result = outcome(None, AssertionError("page 3 is SPA page 0x0\nassert False"))
    assert (result.verdict, result.reasons) == (Verdict.FAIL, ("page 3 is SPA page 0x0",))


def test_a_dead_guest_fails_and_says_how():
    result = outcome(None, died("panic"))
    assert result.verdict is Verdict.FAIL
    assert result.observations == {"died": "panic", "failed with": "panic in scenario: the guest died"}


def test_a_tripwire_is_infrastructure_and_never_a_failure():
    result = outcome(None, died("tripwire"))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.reasons[0].startswith("infrastructure")


def test_a_lab_that_cannot_run_is_doubt():
    assert outcome(LabUnavailable("disk full")).verdict is Verdict.INCONCLUSIVE


def test_an_error_of_our_own_code_is_doubt_not_a_kernel_failure():
    result = outcome(None, KeyError("oops"))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "KeyError" in result.reasons[0]


def test_a_missing_ability_gives_no_verdict():
    result = outcome(AbilityMissing("this kernel lacks the ability x"))
    assert (result.verdict, result.reasons) == (None, ("this kernel lacks the ability x",))


def test_a_failure_found_afterwards_beats_a_clean_run():
    assert outcome(None, None, None, before=("kernel splat",)).verdict is Verdict.FAIL


def test_a_failure_beats_doubt_and_keeps_it():
    result = outcome(None, AssertionError("wrong page"), LabUnavailable("disk full"))
    assert result.verdict is Verdict.FAIL
    assert len(result.reasons) == 2


def test_nothing_that_ran_is_no_pass():
    recording = Recording("some_scenario", ScenarioMark())
    assert recording.outcome().verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(("kind", "first"), [("driver-hang", "splat"), ("panic", "panic in scenario")])
def test_a_report_goes_before_the_hang_that_it_explains(kind, first):
    """Where the CPUs of a hung guest are differs from boot to boot; base and patched are compared by this."""
    recording = Recording("some_scenario", ScenarioMark())
    recording.error(died(kind))
    evidence = Evidence(recording, None)
    evidence.fail("left behind")
    evidence.fail("splat of the kernel", explains_hang=True)
    result = recording.outcome()
    assert result.observations["failed with"].startswith(first)
    assert len(result.reasons) == 3
