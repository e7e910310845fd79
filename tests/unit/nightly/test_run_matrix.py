# SPDX-License-Identifier: GPL-2.0-or-later
"""What the matrix does before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.model.errors import BadInput
from lab.model.nightly import BaseFound, BaseGuess, Variant, VariantResult, VariantTask
from lab.model.verdict import Verdict
from lab.nightly import store
from lab.nightly.matrix import run_matrix
from lab.progress import NullProgress


def task(folder: Path, name: str, result: str) -> Path:
    record = VariantTask(name, "s.mbox", BaseGuess(BaseFound.NONE, ""), Variant(), result)
    store.save(folder / f"{name}.json", record)
    return folder / f"{name}.json"


def test_what_is_finished_is_told_and_nothing_is_started(tmp_path: Path) -> None:
    tasks = [task(tmp_path, name, name) for name in ("b", "a")]
    for name in ("a", "b"):
        store.save(tmp_path / name / "variant.json", VariantResult(Variant(), Verdict.FAIL))
    told: list[Path] = []
    run_matrix(tasks, tmp_path / "out", (), NullProgress(), told.append)
    assert told == tasks
    assert not (tmp_path / "out").exists()


def test_two_tasks_cannot_have_one_folder(tmp_path: Path) -> None:
    tasks = [task(tmp_path, "a", "r"), task(tmp_path, "b", "x/../r")]
    with pytest.raises(BadInput, match=r"same result folder as .*a\.json") as caught:
        run_matrix(tasks, tmp_path / "out", (), NullProgress(), lambda _: None)
    assert caught.value.where == str(tasks[1])


def test_a_record_that_is_none_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(BadInput, match="not a VariantTask"):
        run_matrix([tmp_path / "x.json"], tmp_path / "out", (), NullProgress(), lambda _: None)
    assert not (tmp_path / "out").exists()
