# SPDX-License-Identifier: GPL-2.0-or-later
"""The first patches of a series, as series of their own."""

from __future__ import annotations

from lab.hashing import digest
from lab.model.nightly import InboxSeries
from lab.model.series import Series


def as_series(series: Series | InboxSeries) -> Series:
    """``series`` as the rooms that build take it."""
    if isinstance(series, Series):
        return series
    return Series(name=series.title or series.id, patches=series.patches, key=series.key)


def prefix(series: Series, count: int, extra: int = 0) -> Series:
    """The first ``count`` patches, and patch ``extra`` (0: none) on top of them; the series itself when those
    are all. ValueError for none, or too many.

    Its key comes from the mails, so two versions that begin alike share what is built of the beginning.
    """
    total = len(series.patches)
    if not 0 <= count <= total or count + extra == 0 or (extra and not count < extra <= total):
        raise ValueError(f"{count} of {total} patches, and patch {extra}")
    if count == total or (extra == total == count + 1):
        return series
    patches = series.patches[:count] + series.patches[extra - 1 : extra] * bool(extra)
    key = digest("prefix", *(p.raw for p in patches))
    return Series(
        name=f"{series.name} (first {count}{f' and {extra}' if extra else ''})", patches=patches, key=key
    )
