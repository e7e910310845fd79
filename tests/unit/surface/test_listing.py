# SPDX-License-Identifier: GPL-2.0-or-later
"""The list itself, without a kernel."""

from __future__ import annotations

import pytest

from lab.hypervisor.names import HYPERCALLS
from lab.model.errors import LabUnavailable
from lab.model.surface import State
from lab.surface import listing, sites
from lab.surface.derive import derive

GOOD = '[hypercall]\nHVCALL_A = { number = 1, state = "implemented" }\n'


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('X = { number = 1, state = "implemented", colour = 1 }', "unknown keys ['colour']"),
        ('X = { number = 1, state = "unknown" }', "implemented, refused or ignored"),
        ('X = { number = 1, state = "ignored" }', "wants a reason"),
        ('X = { number = 1, state = "refused", why = "w" }', "'answer'"),
        ('X = { number = 1, state = "implemented", answer = "#GP" }', "'answer'"),
        ('X = { state = "implemented" }', "not an entry"),
        ("X = 1 = 2", "not TOML"),
    ],
)
def test_wrong_line_is_refused_with_its_place(line: str, says: str) -> None:
    with pytest.raises(LabUnavailable) as e:
        listing.parse(f"[msr]\n{line}\n", "list.toml")
    assert says in str(e.value) and "list.toml" in str(e.value)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(LabUnavailable, match="colours"):
        listing.parse("[colours]\n")


def test_row_of_numbers_is_found_by_each_of_them() -> None:
    surface = listing.parse('[msr]\nSINT0 = { number = 0x90, count = 16, state = "implemented" }\n')
    assert surface.number("msr", 0x9F) and not surface.number("msr", 0xA0)
    assert not surface.number("hypercall", 0x90)


def test_missing_and_unissued_and_misnamed() -> None:
    codes = ("HVCALL_B", "0x77", "p->c")
    code = "void f(void) { " + "".join(f"hv_do_hypercall({c}, 0, 0); " for c in codes) + "}"
    files = {"a.c": code, "h.h": "#define HVCALL_A 0x5\n#define HVCALL_B 0x6\n"}
    derived = derive(files.get, ["a.c"], ["h.h"])
    surface = listing.parse(GOOD)
    assert sorted((u.name, u.number) for u in listing.missing(derived, surface)) == [
        ("", 0x77),
        ("HVCALL_B", 6),
    ]
    assert [e.name for e in listing.unissued(derived, surface)] == ["HVCALL_A"]
    assert listing.misnamed(derived, surface) == ["hypercall HVCALL_A is 0x5 in the headers, 0x1 in the list"]
    assert [u.site for u in listing.undeclared(derived, surface)] == ["a.c:f"]
    told = listing.parse(GOOD + '[dynamic]\n"a.c:f" = "reason"\n')
    assert listing.undeclared(derived, told) == []


def test_real_list_loads_and_has_no_name_or_number_twice() -> None:
    surface = listing.load()
    names = [(e.kind, e.name) for e in surface]
    numbers = [(e.kind, n) for e in surface for n in e.numbers]
    assert len(set(names)) == len(names) > 200
    assert len(set(numbers)) == len(numbers)
    assert {e.state for e in surface} == {State.IMPLEMENTED, State.REFUSED, State.IGNORED}


def test_ledger_and_list_call_hypercalls_alike() -> None:
    surface = listing.load()
    here = {e.number: e.name.removeprefix("HVCALL_") for e in surface if e.name.startswith("HVCALL_")}
    assert here == {n: HYPERCALLS.get(n) for n in here}


def test_what_qemu_asks_for_is_in_the_list_and_the_other_way_round() -> None:
    surface = listing.load()
    there = {(kind, name) for kind, names in sites.qemu().items() for name in names}
    assert there - {(e.kind, e.name) for e in surface} == set()
    assert {(e.kind, e.name) for e in surface if e.by == "qemu"} - there == set()
    assert all(places for names in sites.qemu().values() for places in names.values())
