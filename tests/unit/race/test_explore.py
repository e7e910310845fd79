# SPDX-License-Identifier: GPL-2.0-or-later
"""Which functions a patch touches, which actions can be repeated, and how counts are told."""

from types import SimpleNamespace

import pytest

from lab.cli.race_explore import side_by_side
from lab.model.errors import BadInput
from lab.model.race import Actor, Side
from lab.race.debuginfo import Function, Row
from lab.race.explore import functions_of
from lab.race.stress import Budget, Count
from lab.race.theatre import check_repeatable

A, B = "drivers/hv/a.c", "drivers/hv/b.c"
DEBUG = SimpleNamespace(
    functions={
        name: Function(name, file, line, ()) for name, file, line in [("g", A, 20), ("f", A, 10), ("h", B, 5)]
    },
    rows=[Row(0, A, 2), Row(1, A, 10), Row(2, A, 12), Row(3, A, 25), Row(4, B, 6)],
)


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ({A: (12,)}, ("f",)),
        ({A: (25, 12), B: (6,)}, ("f", "g", "h")),
        ({A: (11, 13)}, ()),  # no code there
        ({A: (2,)}, ()),  # in front of every function
        ({"drivers/hv/c.c": (6,)}, ()),
        ({}, ()),
    ],
)
def test_functions_that_lines_belong_to(lines, names):
    assert functions_of(DEBUG, lines) == names


def test_what_cannot_be_repeated():
    check_repeatable([Actor("vp", "vp-0", does=("touch 1",)), Actor("vmm", "m", does=("munmap",))], "r")
    with pytest.raises(BadInput, match="destroy"):
        check_repeatable([Actor("vmm", "m", does=("destroy vps",))], "r")


@pytest.mark.parametrize(
    ("budget", "spent"),
    [(Budget(3, None), True), (Budget(4, None), False), (Budget(4, 9.0), True), (Budget(None, 11.0), False)],
)
def test_budget(budget, spent):
    assert budget.spent(3, 10.0) is spent


def test_both_kernels_side_by_side():
    racy, fixed = Side(mutant="m"), Side(series="s")
    counts = [
        Count(racy, "plain", 0, 1000, 0, 20.0, 0, "", 3, 0),
        Count(racy, "perturbed", 20, 20, 0, 4.0, 1, "8 pages", 1, 30),
        Count(fixed, "plain", 0, 1000, 2, 20.0, 0, "", 3, 0),
    ]
    lines = side_by_side(counts)
    assert "mutant m" in lines[0] and "series s" in lines[0]
    assert lines[1].startswith("  plain") and lines[1].count("0 of 1000, 95 %: 0.00 % to 0.38 %") == 2
    assert any("first hit in round 1" in line for line in lines)
    assert any("2 rounds lost" in line for line in lines)
    assert any("20 of 20, 95 %: 83.89 % to 100.00 %" in line for line in lines)
