# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that has complained is used no more: its first report may have disarmed what reports the next."""

from types import SimpleNamespace

import pytest

from lab.child.protocol import VmmError
from lab.judge.allow import parse_table
from lab.pytest_plugin import session
from lab.validate import allowlist

pytest_plugins = ["pytester"]

TWO = """
@pytest.mark.scenario()
def test_one(lab): pass
@pytest.mark.scenario()
def test_two(lab): pass
"""
WARNING = [
    "[   10.000001] ------------[ cut here ]------------",
    "[   10.000002] WARNING: CPU: 0 PID: 7 at drivers/hv/mshv.c:1 careless+0x1/0x2",
    "[   10.000003] Call Trace:",
    "[   10.000004]  careless+0x1/0x2",
    "[   10.000005] ---[ end trace 0000000000000000 ]---",
]
ALLOW = """
[[allow]]
class = "warning"
functions = ["careless"]
flavours = ["kcsan"]
fits = "7.3"
why = "it is a line of a unit test, and nothing else in the world says it"
"""


@pytest.fixture
def kernel(monkeypatch):
    made = SimpleNamespace(flavour="kcsan", release="7.3.4-hvlab", unfixed=None, name="fixed")
    monkeypatch.setattr(session.LabSession, "kernel", lambda self: made)
    return made


@pytest.fixture
def allowed(monkeypatch):
    monkeypatch.setattr(allowlist, "entries", lambda: parse_table(ALLOW, "allow.toml"))


def outcomes(events):
    return {e["id"]: e for e in events_of("outcome", events)}


def order(events):
    return [e["id"] for e in events_of("outcome", events)]


def events_of(kind, events):
    return [e for e in events if e["event"] == kind]


def test_unexpected_splat_fails_the_scenario_and_ends_the_guest(run, world, kernel):
    world.logs = [[], WARNING]
    _, events = run(TWO)
    found = outcomes(events)
    assert found["one"]["verdict"] == "fail" and "careless" in found["one"]["reasons"][0]
    assert found["two"]["verdict"] == "pass"
    assert len(world.boots) == world.closed == 2


def test_expected_splat_passes_and_ends_the_guest_too(run, world, kernel):
    world.logs = [[], WARNING]
    _, events = run(TWO.replace("scenario()", "scenario(expects=('warning',))", 1))
    assert [outcomes(events)[s]["verdict"] for s in ("one", "two")] == ["pass", "pass"]
    assert len(world.boots) == 2


def test_allowed_splat_is_evidence_and_ends_the_guest_too(run, world, kernel, allowed):
    world.logs = [[], WARNING]
    _, events = run(TWO)
    one = outcomes(events)["one"]
    assert one["verdict"] == "pass" and not one["splats"]
    assert any("allowed splat" in line and "careless" in line for line in one["evidence"])
    assert [(e["entry"], e["where"]) for e in events_of("allowed", events)] == [("warning: careless", "one")]
    assert len(world.boots) == 2


def test_splat_at_boot_ends_that_guest_before_a_scenario_runs_on_it(run, world, kernel):
    world.logs = [WARNING]
    _, events = run(TWO)
    assert [outcomes(events)[s]["verdict"] for s in ("one", "two")] == ["pass", "pass"]
    assert len(world.boots) == 2 and len(events_of("splat", events)) == 1
    kinds = [e["event"] for e in events]
    assert kinds.index("splat") < kinds.index("outcome")


def test_kernel_that_complains_at_every_boot_is_taken_as_it_is(run, world, kernel):
    world.logs = [WARNING] * session.BOOTS
    _, events = run(TWO)
    assert sorted(order(events)) == ["one", "two"]
    assert len(world.boots) == session.BOOTS
    assert len(events_of("splat", events)) == session.BOOTS, "each is told"


def test_allowed_splat_at_boot_is_told_and_the_guest_is_used(run, world, kernel, allowed):
    world.logs = [WARNING]
    _, events = run(TWO)
    assert len(world.boots) == 1 and not events_of("splat", events)
    assert [e["where"] for e in events_of("allowed", events)] == ["boot"]


def test_splat_between_scenarios_blames_neither_and_ends_the_guest(run, world, kernel):
    world.late = [WARNING]
    _, events = run(TWO)
    assert [outcomes(events)[s]["verdict"] for s in ("one", "two")] == ["pass", "pass"]
    assert len(events_of("splat", events)) == 1 and len(world.boots) == 2


def test_report_that_is_still_being_printed_between_scenarios_is_read_to_its_end(run, world, kernel, allowed):
    """Half of a report explains nothing, and would be told as a splat."""
    world.factor = 1.0
    world.late = [WARNING[:4], [], WARNING[4:]]
    _, events = run(TWO)
    assert not events_of("splat", events)
    assert [e["where"] for e in events_of("allowed", events)] == ["between scenarios"]


def test_splat_of_an_access_that_is_not_survived_fails_the_scenario_first(run, world, kernel):
    world.probe_accidents = [VmmError("access", "ETIMEDOUT", "VP 0 is stuck")]
    world.late = [WARNING]
    _, events = run(TWO)
    one, two = (outcomes(events)[s] for s in ("one", "two"))
    assert one["verdict"] == "fail" and len(one["splats"]) == 1
    assert "careless" in one["reasons"][0] and "VP 0 is stuck" in one["reasons"][1]
    assert two["verdict"] == "fail" and not two["splats"]
    assert len(events_of("splat", events)) == 1, "told once"


def test_splat_after_the_last_scenario_is_told(run, world, kernel):
    world.late = [[], WARNING]
    _, events = run(TWO)
    assert len(events_of("splat", events)) == 1


def test_scenario_can_boot_the_kernel_without_base_fixes(run, world, kernel, monkeypatch):
    kernel.unfixed = SimpleNamespace(flavour="kcsan", release="7.3.4-hvlab", unfixed=None, name="unfixed")
    booted = []
    boot = session.boot_or_fork

    def watch(request, progress):
        booted.append(request.kernel.name)
        return boot(request, progress)

    monkeypatch.setattr(session, "boot_or_fork", watch)
    probed = []
    monkeypatch.setattr(session, "probe_abilities", lambda lab, args: probed.append(lab.kernel.name) or {})
    _, events = run(TWO.replace("scenario()", "scenario(unfixed=True)", 1))
    assert order(events) == ["two", "one"], "equal boots lie side by side, the unfixed one last"
    assert booted == ["fixed", "unfixed"]
    assert probed == ["fixed"], "a probe would set off what the scenario is to see"


def test_what_is_found_after_a_scenario_fails_it_for_pytest_too(run, world, kernel):
    """Who reads no report must not take it for a pass; the recorded reason stays the only one."""
    world.logs = [[], WARNING]
    result, events = run(TWO)
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*kernel splat (warning)*careless*"])
    assert len(outcomes(events)["one"]["reasons"]) == 1


def test_doubt_after_a_scenario_is_no_pass_for_pytest_either(run, world, kernel):
    result, events = run("""
@pytest.mark.scenario()
def test_one(lab, evidence): evidence.doubt("who knows")
""")
    result.assert_outcomes(failed=1)
    assert outcomes(events)["one"]["verdict"] == "inconclusive"


def test_failed_scenario_is_told_once(run, world, kernel):
    world.logs = [[], WARNING]
    result, _ = run("""
@pytest.mark.scenario()
def test_one(lab): assert False
""")
    result.assert_outcomes(failed=1)


@pytest.mark.parametrize(("log", "outcomes"), [(WARNING, {"xfailed": 1}), ([], {"failed": 1})])
def test_what_is_found_after_a_scenario_is_the_failure_that_was_expected(run, world, kernel, log, outcomes):
    world.logs = [[], log]
    result, _ = run("""
@pytest.mark.xfail(reason="known", strict=True)
@pytest.mark.scenario()
def test_one(lab): pass
""")
    result.assert_outcomes(**outcomes)


def test_expected_failure_that_cannot_be_judged_is_skipped(run, world, kernel):
    result, _ = run("""
@pytest.mark.xfail(reason="known", strict=True)
@pytest.mark.scenario(detectors=("no-such",))
def test_one(lab): pass
""")
    result.assert_outcomes(skipped=1)
