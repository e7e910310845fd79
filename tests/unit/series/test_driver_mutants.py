# SPDX-License-Identifier: GPL-2.0-or-later
"""The mutant files of the driver: all of them load, and what is wrong in one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.model.errors import BadInput
from lab.model.mutant import DriverMutant
from lab.series.mutants import driver_mutants_dir, load_driver_mutant, load_driver_mutants, series_with

ALL = load_driver_mutants()
TRAILERS = "On: base\nClass: leak\n"
MAIL = """From: hvlab developers <hvlab@localhost>
Date: Mon, 23 Nov 2026 09:00:00 +0000
Subject: [PATCH] mshv: MUTANT: nothing

Says what is wrong.

{trailers}---
 x.c | 2 +-

diff --git a/x.c b/x.c
--- a/x.c
+++ b/x.c
@@ -1 +1 @@
-one
+two
"""


def written(tmp_path: Path, trailers: str, name: str = "some") -> Path:
    path = tmp_path / f"{name}.patch"
    path.write_text(MAIL.format(trailers=trailers))
    return path


@pytest.mark.parametrize("mutant", ALL, ids=lambda m: m.id)
def test_every_mutant_touches_the_driver_only_and_says_what_is_wrong(mutant: DriverMutant) -> None:
    assert all(f.startswith("drivers/hv/mshv_") for f in mutant.patch.files), mutant.patch.files
    assert "MUTANT" in mutant.title
    assert not mutant.equivalent or mutant.equivalent.startswith("because ")
    assert series_with(mutant).patches[-1] == mutant.patch


def test_the_folder_holds_nothing_but_mutants_and_their_description() -> None:
    names = {p.name for p in driver_mutants_dir().iterdir()}
    assert names == {f"{m.id}.patch" for m in ALL} | {"README.md"}


def test_trailers_are_read(tmp_path: Path) -> None:
    more = (
        "Claims: C4, C7\nFlavours: debug kcsan\nScenarios: first or second\nEquivalent: because\n of this\n"
    )
    mutant = load_driver_mutant(written(tmp_path, TRAILERS + more))
    assert (mutant.on, mutant.kind, mutant.claims) == ("base", "leak", ("C4", "C7"))
    assert (mutant.flavours, mutant.scenarios) == (("debug", "kcsan"), "first or second")
    assert mutant.equivalent == "because of this"
    assert load_driver_mutant(written(tmp_path, TRAILERS, "plain-one")).flavours == ("plain",)


@pytest.mark.parametrize(
    ("trailers", "where", "what"),
    [
        ("On: base\nClass: leak\nClas: leak\n", ":9", "unknown trailer"),
        ("On: base\nClass: leak\nno trailer\n", ":9", "unknown trailer"),
        ("On: elsewhere\nClass: leak\n", ":7", "On is"),
        ("On: base\nClass: bad\n", ":8", "Class is"),
        ("On: base\nOn: base\nClass: leak\n", ":8", "twice"),
        ("On: base\nClass: leak\nClaims: C99\n", ":9", "C99"),
        ("On: base\nClass: leak\nFlavours: sweet\n", ":9", "sweet"),
        ("On: base\nClass: leak\nScenarios: (\n", ":9", "not an expression"),
        ("On: base\nClass: leak\nEquivalent:\n", ":9", "says nothing"),
        ("Class: leak\n", "", "no trailer On"),
        ("On: base\n", "", "no trailer Class"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_line(
    tmp_path: Path, trailers: str, where: str, what: str
) -> None:
    path = written(tmp_path, trailers)
    with pytest.raises(BadInput, match=what) as caught:
        load_driver_mutant(path)
    assert caught.value.where == f"{path}{where}"


def test_name_that_could_not_stand_in_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="name"):
        load_driver_mutant(written(tmp_path, TRAILERS, "Bad Name"))
