# SPDX-License-Identifier: GPL-2.0-or-later
"""From a task's record to a request, and to a result whatever happens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.model.errors import BadInput
from lab.model.nightly import BaseFound, BaseGuess, Variant, VariantResult, VariantTask
from lab.model.verdict import Verdict
from lab.nightly import store
from lab.nightly.variant import FILE, command_of, main, params_of, request_of

TASK = VariantTask(
    id="do-it/v1/plain",
    series="series.mbox",
    base=BaseGuess(BaseFound.GIVEN, "given", base="debian:7.3"),
    variant=Variant(),
    folder="out/plain",
)


def record(folder: Path, task: VariantTask) -> str:
    store.save(folder / "task.json", task)
    return str(folder / "task.json")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HVLAB_CACHE", str(tmp_path / "cache"))


def test_kernel_arguments_become_one_parameter_of_the_machine() -> None:
    assert params_of(Variant(params=("cpus=1",))) == ("cpus=1",)
    both = Variant(params=("kernel_args=quiet", "cpus=1"), kernel_args=("hv_nofull_mmio", "x=2"))
    assert params_of(both) == ("cpus=1", "kernel_args=quiet hv_nofull_mmio x=2")


def test_paths_of_a_task_are_relative_to_its_record(tmp_path: Path) -> None:
    (tmp_path / "series.mbox").touch()
    (tmp_path / "c.toml").touch()
    task = replace(TASK, claims="c.toml", jobs=3, expression="bar", qemu="")
    task = replace(task, variant=replace(task.variant, coverage=True))
    request = request_of(task, tmp_path)
    assert request.selectors.series == str(tmp_path / "series.mbox")
    assert request.selectors.claims == tmp_path / "c.toml"
    assert (request.selectors.base, request.selectors.tree, request.selectors.qemu) == (
        "debian:7.3",
        None,
        None,
    )
    assert (request.selectors.jobs, request.expression, request.coverage) == (3, "bar", True)
    assert request.out == tmp_path / "out/plain"
    with pytest.raises(BadInput, match="no such file"):
        request_of(replace(task, claims="absent.toml"), tmp_path)


def test_the_command_names_the_lock_or_the_tree() -> None:
    task = replace(TASK, variant=Variant("debug", kernel_args=("a", "b")), expression="x or y")
    assert command_of(task) == (
        "hvlab validate series.mbox --base lock:base.lock --flavour debug --machine mshv-root "
        "--param 'kernel_args=a b' -k 'x or y'"
    )
    assert "--tree /linux" in command_of(replace(task, base=BaseGuess(BaseFound.GIVEN, "", tree="/linux")))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, "no such file"),
        ({"series": "rubbish.mbox"}, "rubbish.mbox"),
        ({"quarantine": "absent.toml"}, "no such quarantine file"),
        ({"variant": Variant(machine="no-such-machine")}, "no machine template is called 'no-such-machine'"),
    ],
)
def test_what_cannot_run_is_a_result_that_is_lost(
    tmp_path: Path, change: dict[str, object], why: str
) -> None:
    (tmp_path / "rubbish.mbox").write_text("no mail\n")
    if "variant" in change:
        (tmp_path / "series.mbox").touch()
    task = replace(TASK, **change)  # type: ignore[arg-type]
    assert main([record(tmp_path, task)]) == 0
    told = store.load(tmp_path / "out/plain" / FILE, VariantResult)
    assert why in told.lost
    assert (told.verdict, told.reasons, told.variant) == (Verdict.INCONCLUSIVE, (told.lost,), task.variant)
    assert told.host and told.folder == "out/plain"


def test_a_record_that_is_none_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "task.json").write_text("{}")
    assert main([str(tmp_path / "task.json")]) == 2
    assert "not a VariantTask" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["task.json"]
    assert main([]) == 2


def test_a_runner_that_breaks_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.nightly.variant.validate", lambda *_: 1 / 0)
    (tmp_path / "series.mbox").touch()
    assert main([record(tmp_path, TASK)]) == 0
    told = store.load(tmp_path / "out/plain" / FILE, VariantResult)
    assert told.lost == "the runner broke: ZeroDivisionError: division by zero"
    assert any("Traceback" in line for line in told.evidence)
