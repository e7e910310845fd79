# SPDX-License-Identifier: GPL-2.0-or-later
"""Does a failure show every time? Reruns on the patched kernel, and what their counts allow to say.

The scenarios themselves leave nothing to chance, so they have no seed. *The same seed* is the same snapshot
of the booted root (where the lab keeps one): memory and devices start alike, and what differs is the order
in which QEMU's threads run, and the nonce of the device's memory. *A new seed* is a new boot: addresses,
timers and everything that the root's kernel drew at boot differ too. Without a snapshot both are a new boot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lab.model.nightly import Rate
from lab.nightly.again import Again, Kernel, Seen, failed
from lab.race.judging import PREFIX
from lab.race.stats import wilson

MOST = 20
"""Scenarios that are rerun at most: when more fail, chance is not the reason."""


@dataclass(frozen=True, slots=True)
class Reruns:
    """How one scenario fared. A rate is None where no rerun of that kind was decided."""

    same: Rate | None = None
    new: Rate | None = None
    base: Rate | None = None
    """On the base kernel, only of a scenario that is flaky."""

    @property
    def flaky(self) -> bool:
        """Whether it failed once and did not in some rerun."""
        return any(r is not None and r.hits < r.tries for r in (self.same, self.new))

    def __str__(self) -> str:
        """``flaky: fails in 2 of 6 reruns (9.68 % to 70.00 %), ...``; "" when there was no rerun."""
        rates = [r for r in (self.same, self.new) if r is not None]
        if not rates:
            return ""
        hits, tries = sum(r.hits for r in rates), sum(r.tries for r in rates)
        text = f"fails in {hits} of {tries} reruns ({wilson(hits, tries)})"
        parts = [f"{r.hits} of {r.tries} {k}" for r, k in ((self.same, _SAME), (self.new, _NEW)) if r]
        text = f"{text}: {', '.join(parts)}"
        if self.base is not None:
            text += f"; base fails in {self.base.hits} of {self.base.tries}"
        return f"flaky: {text}" if self.flaky else text


_SAME, _NEW = "from the same snapshot", "after a new boot"


def rate(seen: Sequence[bool | None]) -> Rate | None:
    """The rate of failures (True) among decided reruns; None without any."""
    decided = [s for s in seen if s is not None]
    if not decided:
        return None
    bounds = wilson(sum(decided), len(decided))
    return Rate(sum(decided), len(decided), bounds.low, bounds.high)


def affordable(seconds: Mapping[str, float], budget: float) -> tuple[str, ...]:
    """The quickest of some scenarios, as many as fit into ``budget`` seconds together; at least one.

    ``seconds`` is what each took. A failure that waits for something that never comes takes long every time.
    """
    chosen: list[str] = []
    spent = 0.0
    for name in sorted(seconds, key=lambda n: (seconds[n], n)):
        spent += seconds[name]
        if chosen and spent > budget:
            break
        chosen.append(name)
    return tuple(chosen)


def rerun(
    again: Again, patched: Kernel, base: Kernel | None, ids: Sequence[str], count: int
) -> tuple[dict[str, Reruns], tuple[str, ...]]:
    """Rerun failed scenarios ``count`` times under each kind of seed; those that turn out to be flaky also on
    ``base``. Returns what was found by scenario, and sentences on what was not done."""
    ids, more = list(ids[:MOST]), len(ids) - MOST
    notes: list[str] = []
    if more > 0:
        notes.append(f"{more} more failures were not rerun, and the first {MOST} once of each kind")
        count = min(count, 1)
    if not ids or count < 1:
        return {}, tuple(notes)

    def times(kernel: Kernel, names: Sequence[str], kind: str, fresh: bool) -> dict[str, Rate | None]:
        def one(number: int) -> Seen:
            seen = again.run(kernel, names, f"again-{kind}-{number}", fresh=fresh)
            if seen.broken:
                notes.append(f"rerun {number} ({kind}): {seen.broken}")
            return seen

        return rates(one, names, count)

    same = times(patched, ids, "same", False)
    # A recipe forces its own order, and boots each attempt anew: it has one kind of rerun.
    new = times(patched, [i for i in ids if not i.startswith(PREFIX)], "new", True)
    found = {i: Reruns(same.get(i), new.get(i)) for i in ids}
    flaky = [i for i in ids if found[i].flaky]
    if flaky and base is not None:
        before = times(base, flaky, "base", False)
        found |= {i: Reruns(found[i].same, found[i].new, before.get(i)) for i in flaky}
    return found, tuple(dict.fromkeys(notes))


def rates(one: Callable[[int], Seen], ids: Sequence[str], count: int) -> dict[str, Rate | None]:
    """Run ``one`` for the numbers 1 to ``count``, and sum up. It ends early when the kernel does not even
    boot, or there is no run any more."""
    said: dict[str, list[bool | None]] = {i: [] for i in ids}
    for number in range(1, count + 1) if ids else ():
        seen = one(number)
        for i in ids:
            outcome = seen.outcomes.get(i)
            # A kernel that lacks the ability has neither failed nor not failed.
            said[i].append(failed(outcome) if outcome is not None and outcome.verdict else None)
        if seen.boot_failure or (seen.broken and not seen.outcomes):
            break
    return {i: rate(s) for i, s in said.items()}


def reasons(found: Mapping[str, Reruns]) -> dict[str, str]:
    """Why scenarios are in doubt, by id: those that are flaky."""
    return {i: str(r) for i, r in found.items() if r.flaky}
