# SPDX-License-Identifier: GPL-2.0-or-later
"""The interval of a share, against values computed by hand and from the literature."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.race.stats import Interval, wilson


@pytest.mark.parametrize(
    ("hits", "tries", "low", "high"),
    [
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # By symmetry of the second last.
        (20, 20, 0.8389, 1.0),
        # z^2 / (n + z^2): what 0 of n leaves.
        (0, 1000, 0.0, 0.003827),
    ],
)
def test_known_values(hits, tries, low, high):
    found = wilson(hits, tries)
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


def test_nothing_tried_says_nothing():
    assert wilson(0, 0) == Interval(0.0, 1.0)


@pytest.mark.parametrize(("hits", "tries"), [(-1, 3), (4, 3), (0, -1)])
def test_counts_that_cannot_be(hits, tries):
    with pytest.raises(ValueError, match="of"):
        wilson(hits, tries)


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_holds_the_share_and_mirrors(counts):
    hits, tries = counts
    found, mirrored = wilson(hits, tries), wilson(tries - hits, tries)
    assert 0 <= found.low <= hits / tries <= found.high <= 1
    assert found.low == pytest.approx(1 - mirrored.high, abs=1e-9)


def test_overlap_is_mutual():
    none, all_of_them = wilson(0, 20), wilson(20, 20)
    assert not none.overlaps(all_of_them)
    assert none.overlaps(wilson(1, 29))
    assert wilson(1, 29).overlaps(none)
