# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines side by side: what counts as a difference, and what says nothing."""

from __future__ import annotations

import json

import pytest

from lab.judge import side_by_side
from lab.judge.armed import required
from lab.model.comparison import RUNNING, Comparison, MachineRuns
from lab.model.errors import ExitCode
from lab.model.result import DetectorProof, KernelRun, ScenarioOutcome
from lab.model.verdict import Verdict
from lab.report import side_by_side as report

PROOFS = tuple(DetectorProof(name, True) for name in required("plain"))
P, F, D = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def outcome(ident, verdict, *, reasons=(), unobserved=()):
    if verdict is not P and not reasons:
        reasons = ("why",)
    return ScenarioOutcome(ident, ("C3",), verdict, reasons=tuple(reasons), unobserved=tuple(unobserved))


def run(side, *outcomes, proofs=PROOFS, failed=""):
    return KernelRun(
        side, "7.3.4", "plain", "key", P, outcomes=outcomes, detectors=proofs, failed_phase=failed
    )


def machine(name, *runs):
    kind = {"kvm-root": "kvm", "external": "external"}.get(name, "stand-in")
    return MachineRuns(name, kind, runs)


def judged(*machines):
    rows = side_by_side.scenarios(machines)
    return rows, *side_by_side.judge(machines, rows)


def test_pass_here_and_fail_there_differs_on_that_kernel_only():
    rows, code, reasons = judged(
        machine("mshv-root", run("base", outcome("a", F)), run("patched", outcome("a", P))),
        machine("kvm-root", run("base", outcome("a", P)), run("patched", outcome("a", P))),
    )
    assert rows[0].differs == ("base",) and rows[0].compared == ("base", "patched")
    assert code == ExitCode.PASS, "the newest kernel agrees"
    assert "agree on the patched kernel in all 1" in reasons[0]


def test_difference_on_the_newest_kernel_fails():
    _, code, reasons = judged(
        machine("mshv-root", run("patched", outcome("a", F), outcome("b", P))),
        machine("kvm-root", run("patched", outcome("a", P), outcome("b", P))),
    )
    assert code == ExitCode.FAIL
    assert reasons == ("machines differ on the patched kernel: a",)


@pytest.mark.parametrize("other", [None, D])
def test_what_was_not_reached_is_neither_difference_nor_agreement(other):
    rows, code, _ = judged(
        machine("mshv-root", run("base", outcome("a", F))),
        machine("kvm-root", run("base", outcome("a", other, reasons=["not observable here: the ledger"]))),
    )
    assert rows[0].differs == () and rows[0].compared == ()
    assert code == ExitCode.INCONCLUSIVE


def test_pass_without_armed_detectors_is_no_pass_beside_others_either():
    rows, code, reasons = judged(
        machine("mshv-root", run("base", outcome("a", P), outcome("b", P))),
        machine("kvm-root", run("base", outcome("a", P), proofs=())),
    )
    assert rows[0].cells[1].outcome.verdict is D
    assert code == ExitCode.INCONCLUSIVE, reasons


def test_machine_that_did_not_get_there_is_the_labs_failure():
    _, code, reasons = judged(
        machine("mshv-root", run("base", outcome("a", P))), machine("external", run(RUNNING, failed="ssh"))
    )
    assert code == ExitCode.LAB_UNAVAILABLE
    assert "external, running: ended in phase ssh" in reasons[0]


def test_kernel_of_a_machine_of_others_is_held_against_the_newest_of_ours():
    rows, code, _ = judged(
        machine("mshv-root", run("base", outcome("a", F)), run("patched", outcome("a", P))),
        machine("external", run(RUNNING, outcome("a", P), proofs=())),
    )
    assert rows[0].differs == () and rows[0].compared == ("patched",)
    assert rows[0].cells[2].outcome.verdict is P, "nobody trips detectors there; a note says so"
    assert code == ExitCode.PASS


def comparison():
    machines = (
        machine("mshv-root", run("base", outcome("a", F, reasons=["still mapped\x1b[31m"]))),
        MachineRuns(
            "kvm-root",
            "kvm",
            (
                run(
                    "base",
                    outcome("a", P, unobserved=["the SLAT"]),
                    outcome("b", None, reasons=["not observable here: the ledger"]),
                    outcome("c", None, reasons=["this kernel lacks the ability nofull_mmio"]),
                ),
            ),
            ("a note",),
        ),
    )
    rows = side_by_side.scenarios(machines)
    code, reasons = side_by_side.judge(machines, rows)
    return Comparison("a series", "7.3.4", machines, rows, int(code), reasons)


def test_table_has_a_word_for_every_kind_of_result():
    lines = report.table(comparison()).splitlines()
    rows = [line for line in lines if line[:2] in ("a ", "b ", "c ") and "(" not in line]
    words = {line.split()[0]: line.split()[1:] for line in rows}
    assert words["a"] == ["FAIL", "pass*", "base"]
    assert words["b"] == ["-", "unseen"]
    assert words["c"] == ["-", "-"]
    assert "a (C3): machines differ on base" in lines
    assert any("still mapped" in line and "\x1b" not in line for line in lines)
    assert any("a note" in line for line in lines)
    assert max(map(len, lines)) <= report.WIDTH


def test_json_says_the_same():
    data = json.loads(report.dumps(comparison()))
    assert data["exit_code"] == ExitCode.FAIL
    cells = {row["id"]: [cell["word"] for cell in row["cells"]] for row in data["scenarios"]}
    assert cells == {"a": ["FAIL", "pass*"], "b": ["-", "unseen"], "c": ["-", "-"]}
    assert data["scenarios"][0]["cells"][1]["unobserved"] == ["the SLAT"]
    assert [m["hypervisor"] for m in data["machines"]] == ["stand-in", "kvm"]
