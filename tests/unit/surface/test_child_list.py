# SPDX-License-Identifier: GPL-2.0-or-later
"""What the list says of children, against the tables that serve them."""

from __future__ import annotations

import pytest

from lab.paths import images_dir
from lab.surface import listing
from lab.surface.constants import Constants
from lab.surface.functions import blocks
from lab.surface.lexer import Kind

SOURCE = images_dir() / "hypervisor"


@pytest.fixture(scope="module")
def numbers() -> Constants:
    constants = Constants()
    for name in ("abi.h", "child_features.c"):
        constants.read(name, (SOURCE / name).read_text())
    return constants


def table(file: str, name: str, prefix: str, numbers: Constants) -> list[int]:
    """The numbers that the initialiser of a table names, in order."""
    (block,) = [b for b in blocks(file, (SOURCE / file).read_text()) if b.name == name]
    names = [t.text for t in block.body if t.kind is Kind.NAME and t.text.startswith(prefix)]
    values = [numbers.value(n) for n in names]
    assert values and None not in values, names
    return [v for v in values if v is not None]


def listed(kind: str) -> set[int]:
    return {n for e in listing.load() if e.kind == kind and e.child for n in e.numbers}


def test_hypercalls_of_a_child_are_those_of_its_table(numbers: Constants) -> None:
    assert listed("hypercall") == set(table("child_hypercall.c", "ops", "HC_", numbers))


def test_synthetic_msrs_of_a_child_are_those_of_its_rules(numbers: Constants) -> None:
    ends = table("child_synthetic.c", "rules", "SMSR_", numbers)
    ranges = zip(ends[::2], ends[1::2], strict=True)
    assert listed("msr") == {n for first, last in ranges for n in range(first, last + 1)}


def test_leaves_of_a_child_end_where_it_is_told(numbers: Constants) -> None:
    last = numbers.value("CHILD_LEAF_MAX")
    assert last is not None
    assert listed("cpuid") == set(range(0x40000000, last + 1))
