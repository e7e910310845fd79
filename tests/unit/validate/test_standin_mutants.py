# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the stand-in as data: each applies to the sources as they are."""

from pathlib import Path

import pytest

from lab import paths
from lab.model.errors import BadInput
from lab.validate.mutants import Replacement, StandinMutant, load_mutants, mutated

FOLDER = paths.tests_dir() / "mutants" / "standin"
SOURCE = paths.images_dir() / "hypervisor"


@pytest.mark.parametrize("mutant", load_mutants(FOLDER), ids=lambda m: m.name)
def test_mutant_applies_and_changes_something(mutant: StandinMutant) -> None:
    for part in mutant.parts:
        text = (SOURCE / part.file).read_text()
        assert mutated(text, part, mutant.name) != text


def test_there_are_enough_of_them() -> None:
    assert len(load_mutants(FOLDER)) >= 15


@pytest.mark.parametrize("text", ["nothing like it", "twice and twice"])
def test_text_that_is_not_there_once_is_an_error(text: str) -> None:
    with pytest.raises(BadInput, match="occurs"):
        mutated(text, Replacement("x.c", "twice", "never"), "some")


@pytest.mark.parametrize("content", ["", "why = 'x'", "why = 'x'\n[[replace]]\nfile = 'a'\nold = 'b'", "= ="])
def test_file_that_is_no_mutant_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.toml").write_text(content)
    with pytest.raises(BadInput, match="not a mutant"):
        load_mutants(tmp_path)
