# SPDX-License-Identifier: GPL-2.0-or-later
"""What counts of hits allow to say."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds of a probability."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.low:.2f} % to {100 * self.high:.2f} %"

    def overlaps(self, other: Interval) -> bool:
        """Whether some probability is in both."""
        return self.low <= other.high and other.low <= self.high


def wilson(hits: int, tries: int, z: float = Z_95) -> Interval:
    """Wilson's score interval for ``hits`` of ``tries`` (Wilson 1927, without continuity correction).

    It stays inside of 0 to 1 and says something where nothing was hit, or everything. ValueError for counts
    that cannot be.
    """
    if tries < 0 or not 0 <= hits <= tries:
        raise ValueError(f"{hits} of {tries}")
    if tries == 0:
        return Interval(0.0, 1.0)
    share, square = hits / tries, z * z
    scale = 1 + square / tries
    middle = (share + square / (2 * tries)) / scale
    reach = z * math.sqrt(share * (1 - share) / tries + square / (4 * tries * tries)) / scale
    # The bound at the end of the scale is exact: rounding must not move it inside.
    low = 0.0 if hits == 0 else max(0.0, middle - reach)
    high = 1.0 if hits == tries else min(1.0, middle + reach)
    return Interval(low, high)
