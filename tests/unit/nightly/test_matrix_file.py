# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix file: what it makes, and that nothing wrong in it passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import paths
from lab.model.errors import BadInput
from lab.nightly.variants import load
from lab.series.mutants import load_driver_mutants


def matrix(tmp_path: Path, text: str) -> Path:
    (path := tmp_path / "m.toml").write_text(text)
    return path


def ids(path: Path, optional: bool = False) -> list[str]:
    return [v.id for v in load(path, optional=optional)]


def test_the_shipped_file_makes_plain_without_full_mmio_and_debug() -> None:
    shipped = load(paths.repo_root() / "ci" / "nightly.toml")
    assert [v.id for v in shipped] == ["plain", "plain+hv_nofull_mmio", "debug"]
    assert shipped[2].budget > shipped[0].budget
    assert [v.coverage for v in shipped] == [True, False, False]


def test_an_empty_file_makes_the_default_variant(tmp_path: Path) -> None:
    assert ids(matrix(tmp_path, "")) == ["plain"]


def test_every_combination_is_made_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        '[matrix]\nflavours = ["debug", "plain"]\nmachines = ["mshv-root", "kvm-root"]\n'
        'params = [[], ["cpus=4"]]\nbudget = 60\n'
    )
    made = load(matrix(tmp_path, text))
    assert len({v.id for v in made}) == 8
    assert [v.id for v in made[:3]] == ["debug", "debug+cpus=4", "debug@kvm-root"]
    assert {v.budget for v in made} == {60.0}


def test_what_is_excluded_is_not_made_and_what_is_optional_only_when_asked_for(tmp_path: Path) -> None:
    path = matrix(
        tmp_path,
        '[matrix]\nflavours = ["plain", "kcsan", "debug"]\nkernel_args = [[], ["a"]]\n'
        '[[exclude]]\nflavour = "debug"\nkernel_args = ["a"]\nreason = "r"\n'
        '[[optional]]\nflavour = "kcsan"\nreason = "r"\n',
    )
    assert ids(path) == ["plain", "plain+a", "debug"]
    assert ids(path, optional=True) == ["plain", "plain+a", "kcsan", "kcsan+a", "debug"]


def test_the_last_budget_that_picks_a_variant_wins(tmp_path: Path) -> None:
    path = matrix(
        tmp_path,
        '[matrix]\nflavours = ["plain", "debug"]\nkernel_args = [[], ["a"]]\nbudget = 10\n'
        '[[budget]]\nflavour = "debug"\nseconds = 20\n'
        '[[budget]]\nflavour = "debug"\nkernel_args = ["a"]\nseconds = 30.5\n',
    )
    assert [v.budget for v in load(path)] == [10, 10, 20, 30.5]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("x = 1", ":1", "unknown key 'x'"),
        ("[matrix]\nflavour = ['plain']", ":2", "unknown key 'flavour'"),
        ("[matrix]\nflavours = ['plian']", ":2", "flavours has 'plian'"),
        ("[matrix]\nmachines = ['nope']", ":2", "machines has 'nope'"),
        ("[matrix]\nflavours = 'plain'", ":2", "must be a list of strings"),
        ("[matrix]\nflavours = []", ":2", "is empty"),
        ("[matrix]\nkernel_args = ['a']", ":2", "must be a list of strings"),
        ("[matrix]\nkernel_args = []", ":2", "list of lists"),
        ("[matrix]\nbudget = 0", ":2", "greater than zero"),
        ("[matrix]\nbudget = true", ":2", "greater than zero"),
        ("[matrix]\nbudget = inf", ":2", "greater than zero"),
        ("[matrix]\nkernel_args = [['a'], ['a']]", ":1", "made 2 times"),
        ("[[exclude]]\nflavour = 'debug'\nreason = 'r'", ":1", "picks no variant"),
        ("[[exclude]]\nflavour = 'plain'", ":1", "reason is missing"),
        ("[[exclude]]\nreason = 'r'", "", "no variant is left"),
        ("\n[[budget]]\nflavour = 'plain'", ":2", "seconds is missing"),
        ("[[budget]]\nseconds = 1\n[[budget]]\nsecond = 1", ":4", "unknown key 'second'"),
        ("[budget]\nseconds = 1", ":1", "must be a list of tables"),
        ("[matrix", "", "not a matrix file"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path: Path, text: str, where: str, what: str) -> None:
    path = matrix(tmp_path, text)
    with pytest.raises(BadInput) as caught:
        load(path)
    assert what in str(caught.value)
    assert caught.value.where == f"{path}{where}"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such matrix file"):
        load(tmp_path / "nope.toml")
    with pytest.raises(BadInput, match="cannot read the matrix file: Is a directory"):
        load(tmp_path)


def test_what_is_measured_besides_is_said_by_variant(tmp_path: Path) -> None:
    path = matrix(
        tmp_path,
        '[matrix]\nflavours = ["plain", "debug"]\n[[coverage]]\nflavour = "debug"\n'
        '[[mutants]]\n[[mutants]]\nflavour = "plain"\nids = ["region-leaked", "pfn-off-by-one"]\n',
    )
    plain, debug = load(path)
    assert (plain.coverage, debug.coverage) == (False, True)
    assert plain.mutants == ("region-leaked", "pfn-off-by-one")
    assert debug.mutants == tuple(m.id for m in load_driver_mutants())
    assert (plain.id, debug.id) == ("plain", "debug")


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ('[[mutants]]\nids = ["region-leakd"]\n', 2, "does not exist"),
        ('[[mutants]]\nname = ["region-leaked"]\n', 2, "unknown key 'name'"),
        ('[[coverage]]\nreason = "r"\n', 2, "unknown key 'reason'"),
        ('[matrix]\nkernel_args = [["a"]]\n\n[[mutants]]\n', 4, r"cannot be tried on plain\+a"),
        ('[matrix]\nmachines = ["kvm-root"]\n[[mutants]]\n', 3, "cannot be tried on plain@kvm-root"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int, what: str
) -> None:
    path = matrix(tmp_path, text)
    with pytest.raises(BadInput, match=what) as error:
        load(path)
    assert error.value.where == f"{path}:{line}"
