# SPDX-License-Identifier: GPL-2.0-or-later
"""Real small processes under the guard, and one try of a variant."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from lab.machine.proc import find_by_argument
from lab.model.nightly import BaseFound, BaseGuess, Variant, VariantResult, VariantTask
from lab.model.verdict import Verdict
from lab.nightly import attempt, guard, store
from lab.nightly.outcome import Place, told


@pytest.fixture
def token() -> str:
    return f"hvt-token-{secrets.token_hex(6)}"


def guarded(budget: float, script: str, token: str, result: str | Path = "/none") -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", guard.__name__, str(budget), "0.2", str(result), "sh", "-c", script, token]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


# A child in a session of its own, one that its parent left, and one that will not be asked to end.
FAMILY = 'setsid sleep 60 "$0" & (sleep 60 "$0" &) ; trap "" TERM; echo up; sleep 60 "$0"; sleep 60 "$0"'
FAMILY = FAMILY.replace('sleep 60 "$0"', 'sh -c "sleep 60; true" "$0"')


@pytest.mark.parametrize("how", ["budget", "closed", "SIGTERM"])
def test_nothing_outlives_the_guard_and_only_a_budget_leaves_a_result(
    how: str, token: str, tmp_path: Path
) -> None:
    (result := tmp_path / "variant.json").touch()
    with guarded(0.3 if how == "budget" else 60, FAMILY, token, result) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == b"up\n"
        assert len(find_by_argument(token)) >= 4
        if how == "closed":
            process.stdin.close()
        elif how == "SIGTERM":
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == (guard.OVER_BUDGET if how == "budget" else guard.STOPPED)
        assert find_by_argument(token) == []
        assert result.exists() == (how == "budget")


def test_the_guard_ends_as_its_command_does(token: str) -> None:
    for script, code in (("exit 3", 3), ("kill -9 $$", 128 + 9)):
        with guarded(60, script, token) as process:
            assert process.wait(10) == code


def place(folder: Path, budget: float = 30) -> Place:
    task = VariantTask("t/v1/plain", "s", BaseGuess(BaseFound.NONE, ""), Variant(budget=budget), "r")
    store.save(folder / "t.json", task)
    return Place.of(folder / "t.json")


def tried(tries: Generator[bytes, None, bool]) -> tuple[bytes, bool]:
    said = b""
    while True:
        try:
            said += next(tries)
        except StopIteration as end:
            return said, bool(end.value)


def test_a_command_without_a_result_is_lost_with_what_it_said(tmp_path: Path) -> None:
    where = place(tmp_path)
    where.folder.mkdir()
    store.save(where.folder / "variant.json", VariantResult(where.task.variant, Verdict.PASS))
    assert tried(attempt.run(where, ["sh", "-c", "echo hello; exit 4"], lambda: True)) == (b"hello\n", True)
    result = where.result()
    assert result is not None
    assert result.lost == "the runner ended with exit code 4 and left no result"
    assert result.evidence == ("hello",)
    assert told(result) == ("error", result.lost) and not where.finished()


def test_a_variant_that_is_not_wanted_any_more_leaves_nothing(tmp_path: Path, token: str) -> None:
    started = time.monotonic()
    tries = attempt.run(place(tmp_path), ["sh", "-c", "sleep 60; true", token], lambda: False)
    assert tried(tries)[1] is False
    assert time.monotonic() - started < attempt.GRACE / 2
    assert find_by_argument(token) == [] and list((tmp_path / "r").iterdir()) == []


def test_a_result_of_another_variant_is_none(tmp_path: Path) -> None:
    where = place(tmp_path)
    store.save(where.folder / "variant.json", VariantResult(Variant("debug"), Verdict.PASS))
    assert where.result() is None
