# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests of the stand-in notice a broken stand-in. All mutants: ``python ci/mutants.py standin``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import paths
from lab.cache import Cache
from lab.validate.mutants import StandinMutant, Workshop, load_mutants, open_workshop

FOLDER = paths.tests_dir() / "mutants" / "standin"
FEW = ("held-call-keeps-the-lock", "no-shootdown", "own-memory-mapped", "page-leak", "wrong-status")
"""Run by default; the rest takes a minute more and belongs to the long run."""


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    with open_workshop(Cache(paths.cache_root())) as made:
        yield made


@pytest.mark.parametrize("mutant", [m for m in load_mutants(FOLDER) if m.name in FEW], ids=lambda m: m.name)
def test_mutant_is_killed(workshop: Workshop, mutant: StandinMutant) -> None:
    result = workshop.try_mutant(mutant)
    assert result.killed, f"nothing noticed that {mutant.why}"


def test_host_sees_own_memory_in_a_child(workshop: Workshop) -> None:
    """Cases kill this mutant first; the look at the tables while children are alive must, too."""
    (mutant,) = (m for m in load_mutants(FOLDER) if m.name == "own-memory-mapped")
    run = workshop.fuzz(mutant, calls=20_000)
    assert any("of the stand-in" in problem for problem in run.tiny.problems), run.why()
