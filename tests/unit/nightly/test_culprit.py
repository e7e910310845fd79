# SPDX-License-Identifier: GPL-2.0-or-later
"""The first bad patch of several things at once, with kernels that do not tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from lab.nightly.bisect import Answer, Culprit, Told, first_bad


class Kernels:
    """Answers by a table of the first bad patch of each thing; counts what is asked."""

    def __init__(self, first: Mapping[str, int], silent: frozenset[int] = frozenset()) -> None:
        self.first, self.silent = first, silent
        self.asked: list[tuple[int, tuple[str, ...]]] = []

    def __call__(self, count: int, things: Sequence[str]) -> dict[str, Told]:
        self.asked.append((count, tuple(things)))
        if count in self.silent:
            return dict.fromkeys(things, Told(Answer.UNKNOWN, "no build"))
        return {t: Told(Answer.BAD if count >= self.first[t] else Answer.GOOD) for t in things}


def test_a_series_of_one_patch_asks_nothing() -> None:
    kernels = Kernels({"a": 1})
    assert first_bad(1, ["a"], kernels) == {"a": Culprit(1, 1, 1)}
    assert kernels.asked == []


def test_things_that_break_apart_are_found_with_few_kernels() -> None:
    kernels = Kernels({"a": 2, "b": 7, "c": 7})
    found = first_bad(8, ["a", "b", "c"], kernels)
    assert {t: c.patch for t, c in found.items()} == {"a": 2, "b": 7, "c": 7}
    assert kernels.asked[0] == (4, ("a", "b", "c"))
    assert len(kernels.asked) == len({count for count, _ in kernels.asked}) == 5


def test_a_kernel_that_tells_nothing_leaves_a_range_with_its_reason() -> None:
    found = first_bad(3, ["a"], Kernels({"a": 2}, frozenset({1, 2})))
    assert found["a"].patch == 0
    assert str(found["a"]) == (
        "first fails with one of patches 1 to 3: with 1 applied: no build; with 2 applied: no build"
    )


def test_what_was_not_run_is_no_answer() -> None:
    found = first_bad(2, ["a"], lambda count, things: {})
    assert (found["a"].patch, found["a"].why) == (0, "with 1 applied: it was not run")


@given(st.data())
def test_every_thing_is_found_or_enclosed(data: st.DataObject) -> None:
    total = data.draw(st.integers(1, 12))
    names = [str(n) for n in range(data.draw(st.integers(1, 4)))]
    first = {n: data.draw(st.integers(1, total)) for n in names}
    silent = frozenset(data.draw(st.sets(st.integers(1, total))))
    kernels = Kernels(first, silent)
    found = first_bad(total, names, kernels)
    assert set(found) == set(names)
    for name, culprit in found.items():
        assert culprit.first <= first[name] <= culprit.last
        assert culprit.patch in (0, first[name])
        if culprit.patch == 0:
            assert set(range(culprit.first, culprit.last)) <= silent
    assert all(0 < count < total for count, _ in kernels.asked)
    assert len(kernels.asked) == len(set(kernels.asked)), "nothing is asked twice"
