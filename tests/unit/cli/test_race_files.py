# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``hvlab race run --out`` leaves in a folder."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from lab.cli.race import write
from lab.model.errors import BadInput
from lab.model.race import Attempt, Event, Outcome
from lab.race.recipes import load_all, recipes_dir
from lab.race.runner import RecipeResult, SideResult

RECIPE = load_all(recipes_dir())[0]


def result() -> RecipeResult:
    attempt = Attempt(Outcome.CLEAN, "", 0.1, (Event(0.0, "vp", "begins: touch 1"),))
    assert RECIPE.fixed is not None
    racy = SideResult(RECIPE.racy, (attempt,))
    return RecipeResult(RECIPE, racy, SideResult(RECIPE.fixed, (attempt, attempt)), 1.0)


def test_result_and_a_picture_of_each_kernel_are_written(tmp_path: Path) -> None:
    write([result()], tmp_path / "new")
    (said,) = json.loads((tmp_path / "new" / "result.json").read_text())["recipes"]
    assert said["id"] == RECIPE.id and said["shown"] is False
    assert said["racy"]["reached"] == 0 and said["fixed"]["of"] == 2
    for name in ("racy", "fixed"):
        ET.fromstring((tmp_path / "new" / f"{RECIPE.id}-{name}.svg").read_text())


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot write there"):
        write([result()], tmp_path / "file" / "below")
