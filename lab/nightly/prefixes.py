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


def prefix(series: Series, count: int) -> Series:
    """The first ``count`` patches; the series itself when those are all. ValueError for none, or too many.

    Its key comes from the mails, so two versions that begin alike share what is built of the beginning.
    """
    if not 0 < count <= len(series.patches):
        raise ValueError(f"{count} of {len(series.patches)} patches")
    if count == len(series.patches):
        return series
    patches = series.patches[:count]
    key = digest("prefix", *(p.raw for p in patches))
    return Series(name=f"{series.name} (first {count})", patches=patches, key=key)
