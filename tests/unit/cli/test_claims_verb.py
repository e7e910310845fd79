# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab claims``: the table from results that are there, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.cli.main import main
from lab.judge.armed import required
from lab.judge.verdict import compare_runs
from lab.model.result import DetectorProof, KernelRun, ScenarioOutcome, ValidateResult
from lab.model.verdict import Verdict
from lab.report import result_json

WRONG = "BAR0 maps SPA page 0x0: the child reaches the root's own memory"
DECIDE = (
    "bar_of_several_pages_reaches_the_device",
    "one_page_of_bar_0_does_not_map_spa_0",
    "bar_0_of_several_pages_is_accepted",
    "region_at_an_offset_inside_the_bar",
    "two_regions_of_one_bar_do_not_mix",
)


def write(folder: Path, name: str, series: str, patched: Verdict, flavour: str = "plain") -> Path:
    proofs = tuple(DetectorProof(d, True) for d in required(flavour))

    def side(side: str, verdict: Verdict) -> KernelRun:
        why = (WRONG,) if verdict is Verdict.FAIL else ()
        outcomes = tuple(ScenarioOutcome(n, ("C16",), verdict, why, observations={"n": 1}) for n in DECIDE)
        return KernelRun(side, "7.3.4", flavour, "key", verdict, (), outcomes, proofs)

    runs = side("base", Verdict.FAIL), side("patched", patched)
    pairs = compare_runs(*runs, fixes=("C16",), expects_changed=(), flavour=flavour)
    result = ValidateResult(patched, 0, (), series, ("p",), "7.3.4", {}, runs, pairs, ())
    path = folder / name
    path.write_text(result_json.dumps(result))
    return path


def test_table_from_a_result_names_every_kernel(tmp_path, capsys):
    path = write(tmp_path, "result.json", "mine", Verdict.PASS)
    assert main(["claims", "C16", "--from", str(path)]) == 0
    out = capsys.readouterr().out
    assert "C16    reproduced      not reproduced" in out
    assert WRONG in out and "mine: 0 reproduced, 1 not reproduced, 0 not decided" in out
    assert max(map(len, out.splitlines())) <= 100


def test_results_of_two_series_are_columns(tmp_path, capsys):
    good = write(tmp_path, "good.json", "good", Verdict.PASS)
    bad = write(tmp_path, "bad.json", "bad", Verdict.FAIL)
    assert main(["claims", "C16", "C14", "--json", "--from", str(good), str(bad)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["kernels"] == ["7.3.4", "good", "bad"]
    by_id = {claim["id"]: [k["standing"] for k in claim["kernels"]] for claim in found["claims"]}
    assert by_id["C16"] == ["reproduced", "not reproduced", "reproduced"]
    assert by_id["C14"] == ["not decided"] * 3
    assert all(k["why"] for claim in found["claims"] for k in claim["kernels"])


def test_every_claim_has_an_answer(tmp_path, capsys):
    path = write(tmp_path, "result.json", "mine", Verdict.PASS)
    assert main(["claims", "--json", "--from", str(path)]) == 3
    found = json.loads(capsys.readouterr().out)
    assert len(found["claims"]) >= 23
    assert all(len(c["kernels"]) == 2 and all(k["why"] for k in c["kernels"]) for c in found["claims"])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 99}', "\x00"])
def test_what_is_no_result_is_bad_input(tmp_path, capsys, text):
    (tmp_path / "x.json").write_text(text)
    assert main(["claims", "--from", str(tmp_path / "x.json")]) == 2
    assert str(tmp_path / "x.json") in capsys.readouterr().err


def test_unknown_claim_is_bad_input(capsys):
    assert main(["claims", "C99", "--from", "x"]) == 2
    assert "no such claim: 'C99'" in capsys.readouterr().err
