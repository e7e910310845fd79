# SPDX-License-Identifier: GPL-2.0-or-later
"""Schedules: who goes first, and where somebody has to stand back. Drawn from a seed, and cut down.

After "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs" (Burckhardt et al., ASPLOS 2010):
the actor of the highest priority runs until it ends, waits or comes to one of a few change points, where it
gets the lowest priority. Change points are drawn from the lines that an actor was seen to pass.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lab.hypervisor.names import hypercall_code
from lab.model.race import HoldKind, PointSpec, Proof, Recipe, Side, Step


@dataclass(frozen=True, slots=True)
class Schedule:
    """``first``: actors by priority; ``changes``: for each actor the points, by number, where it stands back,
    in the order in which it passes them."""

    first: tuple[str, ...]
    changes: Mapping[str, tuple[int, ...]]

    def __str__(self) -> str:
        parts = [f"{actor} at {', '.join(map(str, at))}" for actor, at in self.changes.items() if at]
        return f"{' before '.join(self.first)}; {'; '.join(parts) or 'no change'}"


def draw(seed: int, number: int, traces: Mapping[str, Sequence[int]], most: int) -> Schedule:
    """Schedule ``number`` of a seed: the same whatever was drawn before. ``traces``: the points of each actor
    as it passes them; ``most``: change points, of which there is at least one."""
    rng = random.Random(f"{seed}:{number}")
    first = sorted(traces)
    rng.shuffle(first)
    steps = [(actor, place) for actor in sorted(traces) for place in range(len(traces[actor]))]
    chosen = sorted(rng.sample(steps, min(len(steps), rng.randint(1, most))))
    changes = {
        actor: tuple(traces[actor][place] for owner, place in chosen if owner == actor)
        for actor in sorted(traces)
    }
    return Schedule(tuple(first), changes)


def merged(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Without the steps that the next one of the same actor follows at once: nothing happens between them."""
    return tuple(
        step
        for number, step in enumerate(steps)
        if number + 1 == len(steps) or steps[number + 1].actor != step.actor
    )


def minimal(steps: Sequence[Step], fails: Callable[[tuple[Step, ...]], bool]) -> tuple[Step, ...]:
    """Steps without which it does not fail any more: one after the other is left out while it still fails.

    ``fails`` is not asked for orders that are none: less than two steps, or of one actor.
    """
    least, number = tuple(steps), 0
    while number < len(least):
        shorter = merged((*least[:number], *least[number + 1 :]))
        if len(shorter) > 1 and len({step.actor for step in shorter}) > 1 and fails(shorter):
            least, number = shorter, 0
        else:
            number += 1
    return least


# ---- as a recipe


def to_toml(recipe: Recipe) -> str:
    """A recipe as a file that :mod:`lab.race.recipes` reads: the same recipe, but for its id and place."""
    setup, proof = recipe.setup, recipe.proof
    lines = [
        "# SPDX-License-Identifier: GPL-2.0-or-later",
        f"title = {_text(recipe.title)}",
        f"claims = {_list(recipe.claims)}",
        f"wording = {_text(recipe.wording)}",
        "",
        "[setup]",
        f"vps = {setup.vps}",
        f"pages = {setup.pages}",
        f"touched = {list(setup.touched)}",
        f"ram = {_flag(setup.ram)}",
        f"lapic = {_flag(setup.lapic)}",
        f"kernel_args = {_list(setup.kernel_args)}",
        f"flavour = {_text(setup.flavour)}",
    ]
    for actor in recipe.actors:
        lines += ["", f"[actors.{_text(actor.name)}]"]
        lines.append("interrupt = true" if actor.interrupt else f"comm = {_text(actor.comm)}")
        lines.append(f"does = {_list(actor.does)}")
        lines += [f"cpu = {actor.cpu}"] if actor.cpu is not None else []
    for step in recipe.order:
        lines += ["", "[[order]]", f"actor = {_text(step.actor)}", f"at = {_point(step.at)}"]
        if step.hold is not HoldKind.AUTO:
            lines.append(f"hold = {_text(step.hold.value)}")
    lines += ["", "[proof]", *_proof(proof), "", "[racy]", _side(recipe.racy)]
    if recipe.fixed is not None:
        lines += ["", "[fixed]", _side(recipe.fixed)]
    return "\n".join(lines) + "\n"


def _proof(proof: Proof) -> list[str]:
    lines = [f"splat = {_list(proof.splat)}"] if proof.splat else []
    lines += ["pages_left = true"] if proof.pages_left else []
    lines += ["pages_left_held = true"] if proof.pages_left_held else []
    return lines + ([f"freed = {_text(proof.freed)}"] if proof.freed else [])


def _side(side: Side) -> str:
    if side.mutant:
        return f"mutant = {_text(side.mutant)}"
    return "stock = true" if side.stock else f"series = {_text(side.series)}"


def _point(at: PointSpec) -> str:
    nth = f", nth = {at.nth}" if at.nth != 1 else ""
    if (call := at.hypercall) is not None:
        known = hypercall_code(call.name) == call.code
        parts = [f"hypercall = {_text(call.name) if known else call.code}"]
        parts += [f"partition = {_text(call.partition)}"] if call.partition else []
        parts += [f"pages = {list(call.pages)}"] if call.pages is not None else []
        return f"{{ {', '.join(parts)}{nth} }}"
    if at.source:
        return f"{{ function = {_text(at.function)}, source = {_text(at.source)}{nth} }}"
    return _text(str(at))


def _text(text: str) -> str:
    """A basic string of TOML: JSON escapes the same way, all but the delete character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, texts))}]"


def _flag(on: bool) -> str:
    return "true" if on else "false"
