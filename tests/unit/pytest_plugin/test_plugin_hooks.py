# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin's hooks in a pytest run of their own; labs are stand-ins, everything else is real."""

from types import SimpleNamespace

import pytest

from lab.hashing import digest
from lab.model.errors import GuestDied
from lab.pytest_plugin import session
from lab.pytest_plugin.afterwards import LOST_SECONDS
from lab.validate.base import GONE_BUDGET

pytest_plugins = ["pytester"]


def outcomes(events):
    return {e["id"]: e for e in events if e["event"] == "outcome"}


def order(events):
    return [e["id"] for e in events if e["event"] == "outcome"]


def died(kind, what="it died"):
    return GuestDied(what, kind=kind, phase="boot")


def test_unknown_mark_argument_is_refused(run, world):
    result, _ = run("@pytest.mark.scenario(claim=('C16',))\ndef test_one(lab): pass\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_one*no argument claim*claims*"])
    assert world.boots == []


def test_mark_argument_by_position_is_refused(run, world):
    result, _ = run("@pytest.mark.scenario('C16')\ndef test_one(lab): pass\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*by position*"])


def test_two_scenarios_must_not_share_an_id(run, pytester, world):
    pytester.makepyfile(test_other="import pytest\n@pytest.mark.scenario()\ndef test_one(): pass\n")
    result, _ = run("@pytest.mark.scenario()\ndef test_one(): pass\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*two scenarios share an id: one*"])


THREE = """
@pytest.mark.scenario(claims=("C4",))
def test_four(): pass
@pytest.mark.scenario(claims=("C16", "C17"))
def test_sixteen(): pass
@pytest.mark.scenario(quick=True)
def test_marked(): pass
def test_no_scenario(): pass
"""


def test_quick_set_is_what_is_marked_quick(run):
    _, events = run(THREE, "--hvlab-quick")
    assert order(events) == ["marked"]


def test_quick_set_with_claims_is_what_decides_them(run):
    _, events = run(THREE, "--hvlab-quick", "--hvlab-claims=C17,C4")
    assert sorted(order(events)) == ["four", "sixteen"]


def test_slow_scenarios_are_in_the_quick_set_only_where_all_of_a_claim_is_asked_for(run):
    slow = THREE + '@pytest.mark.scenario(claims=("C4",), slow=True)\ndef test_storm(): pass\n'
    _, events = run(slow, "--hvlab-quick", "--hvlab-claims=C4")
    assert order(events) == ["four"]
    _, events = run(slow, "--hvlab-quick", "--hvlab-claims=C4", "--hvlab-slow")
    assert sorted(order(events)) == ["four", "storm"]


def test_quick_scenarios_come_first_and_their_end_is_told(run):
    result, events = run(THREE, "--hvlab-claims=C17")
    result.assert_outcomes(passed=4)
    assert order(events)[0] == "sixteen"
    kinds = [e["event"] for e in events]
    assert kinds.index("quick") == kinds.index("outcome") + 1
    assert kinds[-1] == "end"


def test_equal_boots_lie_side_by_side(run, world):
    marks = [("a", "'x'"), ("b", ""), ("c", "'x'"), ("d", "")]
    text = "".join(
        f"@pytest.mark.scenario(kernel_args=({args}{',' if args else ''}))\ndef test_{name}(lab): pass\n"
        for name, args in marks
    )
    _, events = run(text)
    assert order(events) == ["b", "d", "a", "c"]
    assert world.boots == [(), ("x",)]
    assert world.closed == 2


EXTRA = """
@pytest.mark.scenario(extra_args=("y",))
def test_more(lab): pass
@pytest.mark.scenario(kernel_args=("x",), extra_args=("y",))
def test_both(lab): pass
@pytest.mark.scenario(extra_args=("y",))
def test_more_again(lab): pass
"""


def test_extra_arguments_are_of_the_boot_too(run, world):
    _, events = run(EXTRA)
    assert order(events) == ["more", "more_again", "both"]
    assert world.boots == [("y",), ("x", "y")]


MANY = """
import pathlib
RUN = pathlib.Path({ran!r})
def note(name):
    with RUN.open("a") as file: print(name, file=file)
@pytest.fixture(scope="module")
def module(): note("module")
@pytest.mark.scenario(quick=True)
def test_quick(module): note("quick")
@pytest.mark.scenario()
def test_short(module): note("short")
@pytest.mark.scenario(slow=True)
def test_long(): note("long")
@pytest.mark.scenario(kernel_args=("x",))
def test_other(module): note("other")
def test_no_scenario(): note("no scenario")
"""


def test_processes_that_run_together_run_each_scenario_once_the_long_ones_first(run, tmp_path):
    taken, ran = tmp_path / "taken", tmp_path / "ran"
    taken.mkdir()
    _, events = run(MANY.format(ran=str(ran)), f"--hvlab-together={taken}")
    assert order(events) == ["quick", "long", "short", "other"]
    assert events[0] == {"event": "plan", "ids": ["quick", "short", "long", "other"]}
    assert [line for line in ran.read_text().split() if line != "module"] == order(events)
    _, events = run(MANY.format(ran=str(ran)), f"--hvlab-together={taken}")
    assert [e["event"] for e in events] == ["plan", "quick", "end"]
    for file in list(taken.iterdir())[1:3]:
        file.unlink()
    _, events = run(MANY.format(ran=str(ran)), f"--hvlab-together={taken}")
    assert len(order(events)) == 2 and [e["event"] for e in events].count("quick") == 1


def test_scenario_after_others_that_are_taken_may_be_in_another_file(run, pytester, tmp_path):
    """pytest has kept the first file's set-up for the one that it took to be next."""
    pytester.makepyfile(test_later="import pytest\n@pytest.mark.scenario()\ndef test_last(): pass\n")
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / digest("second")).touch()
    scenarios = "".join(f"@pytest.mark.scenario()\ndef test_{n}(): pass\n" for n in ("first", "second"))
    _, events = run(scenarios, f"--hvlab-together={taken}")
    found = {e["id"]: e["verdict"] for e in events if e["event"] == "outcome"}
    assert found == {"first": "pass", "last": "pass"}


def test_nothing_boots_unless_a_test_asks(run, world):
    _, events = run(THREE)
    assert world.boots == []
    assert {o["verdict"] for o in outcomes(events).values()} == {"pass"}


def test_missing_ability_is_no_verdict(run, world):
    text = """
@pytest.mark.scenario(needs=("nofull_mmio",))
def test_lacking(lab): assert False
@pytest.mark.scenario(needs=("map_on_first_touch",))
def test_able(lab): pass
"""
    _, events = run(text)
    found = outcomes(events)
    assert found["lacking"]["verdict"] is None
    assert found["lacking"]["reasons"] == ["this kernel lacks the ability nofull_mmio"]
    assert found["able"]["verdict"] == "pass"
    assert len(world.boots) == 1, "a missing ability is no reason to boot again"


def test_missing_detector_is_no_verdict_and_no_boot(run, world, monkeypatch):
    monkeypatch.setattr(session.LabSession, "kernel", lambda self: SimpleNamespace(flavour="plain"))
    text = """
@pytest.mark.scenario(detectors=("warn", "no-such"))
def test_lacking(lab): assert False
"""
    _, events = run(text)
    found = outcomes(events)["lacking"]
    assert found["verdict"] is None
    assert found["reasons"] == ["this flavour has no detector no-such"]
    assert world.boots == []


ACCIDENTS = """
ACCIDENTS = {accidents}
@pytest.mark.scenario()
def test_one(lab):
    if ACCIDENTS:
        lab.spoil("dead")
        raise GuestDied("HV PANIC: tripwire: host state", kind=ACCIDENTS.pop(0), phase="scenario")
"""


def test_what_a_machine_does_not_show_is_no_verdict(run, world):
    world.sighted = False
    result, events = run("""
from lab.model.errors import NotObservable
@pytest.mark.scenario()
def test_blind(lab): raise NotObservable("the ledger")
@pytest.mark.scenario()
def test_by_value(lab, evidence): evidence.unseen("the SLAT")
@pytest.mark.scenario()
def test_failing(lab, evidence):
    evidence.fail("wrong value")
    raise NotObservable("the ledger")
""")
    result.assert_outcomes(passed=1, skipped=1, failed=1)
    found = outcomes(events)
    assert found["blind"]["verdict"] is None
    assert found["blind"]["reasons"] == ["not observable here: the ledger"]
    assert found["by_value"]["verdict"] == "pass"
    assert found["by_value"]["unobserved"] == ["the SLAT", "partitions left behind"]
    assert found["by_value"]["detectors"] == ["warn"]
    assert found["failing"]["verdict"] == "fail", "what failed before stays a failure"


def test_tripwire_is_run_once_more_on_a_fresh_boot(run, world):
    result, events = run(ACCIDENTS.format(accidents=["tripwire"]))
    result.assert_outcomes(passed=1)
    assert order(events) == ["one"] and outcomes(events)["one"]["verdict"] == "pass"
    assert len(world.boots) == 2


def test_second_tripwire_is_inconclusive_infrastructure(run, world):
    _, events = run(ACCIDENTS.format(accidents=["tripwire", "tripwire", "tripwire"]))
    outcome = outcomes(events)["one"]
    assert outcome["verdict"] == "inconclusive"
    assert outcome["reasons"] == ["infrastructure: HV PANIC: tripwire: host state"]
    assert len(world.boots) == 2, "run once more, not until it suits"


def test_kernel_panic_is_not_run_again(run, world):
    _, events = run(ACCIDENTS.format(accidents=["panic"]))
    assert outcomes(events)["one"]["verdict"] == "fail"
    assert len(world.boots) == 1


ONE = "@pytest.mark.scenario()\ndef test_one(lab): pass\n"
TWO = ONE + "@pytest.mark.scenario()\ndef test_two(lab): pass\n"


def test_tripwire_while_booting_boots_once_more(run, world):
    world.boot_accidents = [died("tripwire")]
    _, events = run(TWO)
    assert {o["verdict"] for o in outcomes(events).values()} == {"pass"}
    assert len(world.boots) == 2


def test_tripwire_while_probing_does_not_condemn_the_kernel(run, world):
    world.probe_accidents = [died("tripwire")]
    _, events = run(TWO)
    assert {o["verdict"] for o in outcomes(events).values()} == {"pass"}, events


def test_boot_failure_is_the_cause_of_all_and_happens_once(run, world):
    world.boot_accidents = [died("panic", "Kernel panic - not syncing: no init")]
    _, events = run(TWO)
    assert [e["kind"] for e in events if e["event"] == "boot-failure"] == ["panic"]
    for outcome in outcomes(events).values():
        assert outcome["verdict"] == "fail" and "no init" in outcome["reasons"][0]
    assert len(world.boots) == 1


def test_hang_in_the_driver_says_where_and_keeps_the_stacks(run, world, tmp_path):
    world.stacks = (
        "task 7 (sh) state S\n[<0>] do_wait+0x1/0x2\n"
        "task 69 (mshv-vmm) state D\n[<0>] wait_for_completion+0x1/0x2\n[<0>] mshv_map_user_memory+0x3/0x9\n"
    )
    text = """
@pytest.mark.scenario()
def test_one(lab): raise GuestDied("no answer within 15 s", kind="driver-hang", phase="region add")
@pytest.mark.scenario()
def test_two(lab): pass
"""
    _, events = run(text)
    (reason,) = outcomes(events)["one"]["reasons"]
    assert "mshv-vmm (69) is stuck in wait_for_completion <- mshv_map_user_memory" in reason
    (file,) = [f for f in outcomes(events)["one"]["files"] if f.endswith("last-words.txt")]
    assert "state D" in (tmp_path / file).read_text()
    assert len(world.boots) == 2, "a lab with a stuck driver is not used again"


def test_partitions_of_a_lost_task_are_not_waited_for(run, world):
    run("""
@pytest.mark.scenario()
def test_one(lab): raise GuestDied("task 88 does not answer", kind="driver-hang", phase="running the VMM")
@pytest.mark.scenario()
def test_two(lab): assert False
""")
    assert world.patience == [LOST_SECONDS, GONE_BUDGET]


def test_interrupted_run_has_no_end(run, world):
    result, events = run("@pytest.mark.scenario()\ndef test_one(lab): raise KeyboardInterrupt\n")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert world.closed == len(world.boots) == 1
    assert "end" not in [e["event"] for e in events] and outcomes(events) == {}


def test_failed_lab_is_kept_when_asked_for(run, world):
    text = ONE.replace("pass", "assert False") + "@pytest.mark.scenario()\ndef test_two(lab): pass\n"
    run(text, "--hvlab-keep=mine")
    assert world.kept == ["lab-1"]
    assert len(world.boots) == 2 and world.closed == 1
