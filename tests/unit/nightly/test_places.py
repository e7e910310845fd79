# SPDX-License-Identifier: GPL-2.0-or-later
"""One nightly at a time in an output folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.model.errors import LabUnavailable
from lab.model.nightly import Variant
from lab.nightly.places import Out, locked


def test_second_nightly_is_refused_and_told_whose_the_folder_is(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "out"),
        pytest.raises(LabUnavailable, match=r"another nightly \(process \d+\)"),
        locked(tmp_path / "out"),
    ):
        pytest.fail("two nightlies write into one folder")
    with locked(tmp_path / "out") as out:
        assert out.root == tmp_path / "out"
    assert list((tmp_path / "out").iterdir()) == []


def test_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LabUnavailable, match="cannot write"), locked(tmp_path / "file" / "out"):
        pass


def test_places_of_a_version(tmp_path: Path) -> None:
    out = Out(tmp_path)
    place = out.version("fix-it/v2")
    assert place.variant(Variant()) == tmp_path / "series" / "fix-it" / "v2" / "variants" / "plain"
    assert out.run("2026-11-29T01:02:03+00:00").name == "20261129T0102030000"
    place.report.parent.mkdir(parents=True)
    place.report.touch()
    assert out.versions() == [place]
