# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix file: which variants a nightly runs of every series (``ci/nightly.toml`` describes it)."""

from __future__ import annotations

import difflib
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lab import templates
from lab.build import flavours
from lab.model.errors import BadInput
from lab.model.nightly import Variant
from lab.nightly.tables import Table, read
from lab.paths import images_dir
from lab.series.mutants import load_driver_mutants

_AXES = ("flavours", "machines", "params", "kernel_args", "budget")
_RULES = ("exclude", "optional", "budget", "coverage", "mutants")
_PICKS = ("flavour", "machine", "params", "kernel_args")


def load(path: Path, *, optional: bool = False) -> tuple[Variant, ...]:
    """The variants of a matrix file, in its order; with ``optional`` those too that it marks so.

    BadInput with file and place for an unknown key, flavour, machine or mutant, for a rule that picks
    nothing, for a variant made twice, and when nothing is left.
    """
    file = read(path, "matrix file")
    file.only(("matrix", *_RULES))
    matrix = file.table("matrix")
    matrix.only(_AXES)
    made = list(_product(matrix))
    for id_, count in Counter(v.id for v in made).items():
        if count > 1:
            raise BadInput(f"variant {id_} is made {count} times", where=matrix.where)
    dropped = _picked(file.tables("exclude"), made)
    kept = [v for v in made if v not in dropped]
    extra = _picked(file.tables("optional"), kept)
    budgets = _budgets(file.tables("budget"), kept)
    counted = _picked(file.tables("coverage"), kept, reason=False)
    mutants = _mutants(file.tables("mutants"), kept)
    wanted = tuple(
        replace(v, budget=budgets.get(v, v.budget), coverage=v in counted, mutants=mutants.get(v, v.mutants))
        for v in kept
        if optional or v not in extra
    )
    if not wanted:
        raise BadInput("no variant is left", where=str(path), hint="look at its exclude and optional tables")
    return wanted


def _product(matrix: Table) -> Sequence[Variant]:
    axes = (
        _known(matrix, "flavours", "plain", tuple(flavours.load(images_dir() / "kernel" / "flavours.toml"))),
        _known(matrix, "machines", "mshv-root", tuple(templates.available())),
        matrix.lists("params"),
        matrix.lists("kernel_args"),
    )
    budget = matrix.number("budget", Variant().budget)
    return [Variant(f, m, p, k, budget) for f, m, p, k in itertools.product(*axes)]


def _known(matrix: Table, key: str, default: str, known: Sequence[str]) -> tuple[str, ...]:
    names = matrix.strings(key, (default,))
    if not names:
        raise matrix.bad(key, "is empty")
    for name in names:
        if name not in known:
            raise matrix.bad(key, f"has {name!r}, which does not exist", f"known are {', '.join(known)}")
    return names


def _picks(rule: Table, variants: Sequence[Variant]) -> list[Variant]:
    """The variants that a rule picks: all that it says must be so."""
    wants: dict[str, object] = {}
    for key in _PICKS:
        if key in rule.data:
            wants[key] = rule.string(key) if key in ("flavour", "machine") else rule.strings(key)
    picked = [v for v in variants if all(getattr(v, key) == value for key, value in wants.items())]
    if not picked:
        raise BadInput("picks no variant", where=rule.where, hint=f"made are {_ids(variants)}")
    return picked


def _picked(rules: Sequence[Table], variants: Sequence[Variant], *, reason: bool = True) -> set[Variant]:
    found: set[Variant] = set()
    for rule in rules:
        rule.only((*_PICKS, "reason") if reason else _PICKS)
        if reason:
            rule.string("reason")
        found.update(_picks(rule, variants))
    return found


def _budgets(rules: Sequence[Table], variants: Sequence[Variant]) -> dict[Variant, float]:
    """Seconds by variant; of two rules for one the later wins."""
    budgets = {}
    for rule in rules:
        rule.only((*_PICKS, "seconds"))
        budgets.update(dict.fromkeys(_picks(rule, variants), rule.number("seconds")))
    return budgets


def _mutants(rules: Sequence[Table], variants: Sequence[Variant]) -> dict[Variant, tuple[str, ...]]:
    """Mutants by variant; of two rules for one the later wins."""
    if not rules:
        return {}
    known = tuple(m.id for m in load_driver_mutants())
    found = {}
    for rule in rules:
        rule.only((*_PICKS, "ids"))
        ids = rule.strings("ids", known)
        for name in ids:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else "hvlab mutants --help says where they are"
                raise rule.bad("ids", f"has {name!r}, which does not exist", hint)
        picked = _picks(rule, variants)
        for v in picked:
            if (v.machine, v.params, v.kernel_args) != (Variant().machine, (), ()):
                raise BadInput(
                    f"mutants cannot be tried on {v.id}",
                    where=rule.where,
                    hint="only on the default machine, without parameters and arguments of the kernel",
                )
        found.update(dict.fromkeys(picked, ids))
    return found


def _ids(variants: Sequence[Variant]) -> str:
    return ", ".join(v.id for v in variants)
