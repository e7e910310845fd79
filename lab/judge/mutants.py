# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the scenarios noticed a mutant: what it did, against the same kernel without it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from _pytest.mark.expression import Expression

from lab.model.result import ScenarioOutcome
from lab.model.verdict import Verdict

BUILD, BOOT, SPLAT, ABILITY = "build", "boot", "splat", "ability"
"""What can notice a mutant besides a scenario."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One kernel's run: outcomes in order, splats of its boots, the death of its first boot, abilities."""

    outcomes: tuple[ScenarioOutcome, ...]
    splats: tuple[str, ...] = ()
    boot_failure: str = ""
    abilities: Mapping[str, bool] | None = None


@dataclass(frozen=True, slots=True)
class Kill:
    """Who noticed, and what it saw in one line."""

    by: str
    evidence: str


def kills(twin: Seen, mutant: Seen) -> tuple[Kill, ...]:
    """Everything that noticed, the first first. Doubt is not among them."""
    found = []
    if mutant.boot_failure and not mutant.outcomes:
        found.append(Kill(BOOT, mutant.boot_failure))
    good = {o.id for o in twin.outcomes if o.verdict is Verdict.PASS}
    for outcome in mutant.outcomes:
        if outcome.verdict is Verdict.FAIL and outcome.id in good:
            found.append(Kill(outcome.id, _evidence(outcome)))
    new = [s for s in mutant.splats if s not in twin.splats]
    found += [Kill(SPLAT, f"kernel log at boot: {s}") for s in new[:1]]
    for name, had in sorted((twin.abilities or {}).items()):
        if had and (mutant.abilities or {}).get(name) is False:
            found.append(Kill(ABILITY, f"the kernel lost the ability {name}"))
    return tuple(found)


def standing(found: Sequence[Kill], mutant: Seen, bare: Seen) -> tuple[Kill, ...]:
    """What of ``found`` is a kill against ``bare`` as well: the twin without fixes that the mutant lacks too.

    The rest may be what those fixes mend, and so may a splat that ``bare`` has shown anywhere.
    """
    if bare.boot_failure or not bare.outcomes:
        return ()
    against = kills(bare, mutant)
    shown = {splat for outcome in bare.outcomes for splat in outcome.splats} | set(bare.splats)
    return tuple(k for k in found if k in against and not any(splat in k.evidence for splat in shown))


def doubts(mutant: Seen) -> str:
    """Why nothing was noticed where something may be; "" when all was judged."""
    unclear = [o for o in mutant.outcomes if o.verdict is Verdict.INCONCLUSIVE]
    if not unclear:
        return ""
    why = unclear[0].reasons[0] if unclear[0].reasons else "no reason"
    return f"{len(unclear)} scenarios inconclusive, first {unclear[0].id}: {why}"


def order(twin: Sequence[ScenarioOutcome], hint: str, skip: Collection[str] = ()) -> tuple[str, ...]:
    """Ids of what passes on the twin, hinted ones first, else as the twin ran them."""
    ids = [o.id for o in twin if o.verdict is Verdict.PASS and o.id not in skip]
    if not hint:
        return tuple(ids)
    wanted = Expression.compile(hint)
    first = [name for name in ids if wanted.evaluate(_Matcher(name))]
    return (*first, *(name for name in ids if name not in first))


class _Matcher:
    """Matches a word of the expression like pytest's -k does: as a part of the name."""

    def __init__(self, name: str) -> None:
        self._name = name.lower()

    def __call__(self, word: str, /, **_: str | int | bool | None) -> bool:
        return word.lower() in self._name


def _evidence(outcome: ScenarioOutcome) -> str:
    parts = [outcome.reasons[0] if outcome.reasons else "failed", *outcome.splats[:1]]
    return "; ".join(" ".join(p.split()) for p in parts)
