# SPDX-License-Identifier: GPL-2.0-or-later
"""Find the first patch with which each of several things goes wrong, with as few kernels as possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum


class Answer(Enum):
    """What a kernel with some of the patches says about one thing."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Told:
    """An answer, and why it is UNKNOWN."""

    answer: Answer
    why: str = ""


@dataclass(frozen=True, slots=True)
class Culprit:
    """The first patch (counted from 1) with which something goes wrong; 0 when it is only known to be one of
    ``first`` to ``last``. ``why`` then says what is in the way.

    ``alone``: with this patch, but without those from ``first`` on that stand before it: they were left out
    because kernels that end in them say nothing.
    """

    patch: int
    first: int
    last: int
    why: str = ""
    alone: bool = False

    def __str__(self) -> str:
        if self.alone:
            before = self.patch - 1
            others = f"patch {before}" if self.first == before else f"patches {self.first} to {before}"
            return f"fails with patch {self.patch} even without {others}: {self.why}"
        if self.patch:
            return f"first fails with patch {self.patch}"
        between = f"one of patches {self.first} to {self.last}"
        return f"first fails with {between}" + (f": {self.why}" if self.why else "")


Ask = Callable[[int, Sequence[str]], Mapping[str, Told]]
"""What the kernel with the first N patches says of some things; what is left out is UNKNOWN."""


def first_bad(total: int, things: Sequence[str], ask: Ask) -> dict[str, Culprit]:
    """Bisect ``things``, all good without patches and bad with ``total``, asking about a kernel at a time.

    Things that are still together in one range are asked about together. A kernel that does not tell is
    gone round. Where something comes and goes, this finds one patch with which it comes.
    """
    low = dict.fromkeys(things, 0)
    high = dict.fromkeys(things, total)
    skipped: dict[str, dict[int, str]] = {thing: {} for thing in things}
    found: dict[str, Culprit] = {}
    while pending := [thing for thing in things if thing not in found]:
        one = pending[0]
        at = _next(low[one], high[one], skipped[one])
        if at is None:
            found[one] = _culprit(low[one], high[one], skipped[one])
            continue
        together = [t for t in pending if low[t] < at < high[t] and at not in skipped[t]]
        told = ask(at, together)
        for thing in together:
            said = told.get(thing, Told(Answer.UNKNOWN, "it was not run"))
            if said.answer is Answer.BAD:
                high[thing] = at
            elif said.answer is Answer.GOOD:
                low[thing] = at
            else:
                skipped[thing][at] = said.why
    return found


def _next(low: int, high: int, skipped: Mapping[int, str]) -> int | None:
    """The number nearest to the middle between two that has not been asked in vain."""
    open_ones = [n for n in range(low + 1, high) if n not in skipped]
    return min(open_ones, key=lambda n: (abs(2 * n - low - high), n), default=None)


def _culprit(low: int, high: int, skipped: Mapping[int, str]) -> Culprit:
    if high - low == 1:
        return Culprit(high, high, high)
    why = "; ".join(f"with {n} applied: {skipped[n]}" for n in range(low + 1, high))
    return Culprit(0, low + 1, high, why)
