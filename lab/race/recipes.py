# SPDX-License-Identifier: GPL-2.0-or-later
"""Recipes from TOML: one file each, unknown keys refused with their place (docs/races.md has the format)."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lab import paths
from lab.hypervisor import names as abi
from lab.model.errors import BadInput
from lab.model.race import (
    DONE,
    Actor,
    HoldKind,
    HypercallSpec,
    PointSpec,
    Proof,
    Recipe,
    Setup,
    Side,
    Step,
)
from lab.model.splat import SplatClass

SUFFIX = ".toml"
_ID = re.compile(r"[a-z0-9][a-z0-9-]*")
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_COMM = re.compile(r"[^\x00-\x1f\x7f]{1,15}")
_OFFSET = re.compile(r"([A-Za-z_][\w.]*)\+(0x[0-9a-f]+|[0-9]+)")
_LINE = re.compile(r"([\w./-]+\.[ch]):([0-9]+)")
_TOP = ("title", "claims", "wording", "setup", "actors", "order", "proof", "racy", "fixed")
_SETUP = ("vps", "pages", "touched", "ram", "lapic", "kernel_args", "flavour")
_ACTOR = ("comm", "interrupt", "does", "cpu")
_STEP = ("actor", "at", "hold")
_POINT = ("function", "source", "nth")
_CALL = ("hypercall", "partition", "pages", "nth")
_PARTITIONS = ("", "child", "root")
_PROOF = ("splat", "pages_left", "pages_left_held", "freed")
_LAST_CODE = 0xFFFF
_SIDE = ("mutant", "stock", "series")

_T = TypeVar("_T")


def recipes_dir() -> Path:
    """Where the lab's own recipes are."""
    return paths.tests_dir() / "races"


def load_all(folder: Path) -> tuple[Recipe, ...]:
    """Every recipe of a folder, by id. BadInput."""
    return tuple(load(path) for path in sorted(folder.glob(f"*{SUFFIX}")))


def named(name: str) -> Recipe:
    """A recipe by its file, or one of the lab's own by its name. BadInput."""
    path = Path(name)
    if path.suffix == SUFFIX:
        return load(path)
    own = recipes_dir() / f"{name}{SUFFIX}"
    if not own.is_file():
        known = ", ".join(sorted(p.stem for p in recipes_dir().glob(f"*{SUFFIX}")))
        raise BadInput(f"no recipe {name!r}", hint=f"there are {known}")
    return load(own)


def load(path: Path) -> Recipe:
    """One recipe. BadInput names file and key."""
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError as e:
        raise BadInput("no such recipe", where=str(path)) from e
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise BadInput(f"not a recipe: {e}", where=str(path)) from e
    return parse(data, path.stem, str(path))


def parse(data: Mapping[str, Any], ident: str, where: str) -> Recipe:
    """A recipe from the values of its file. BadInput."""
    if not _ID.fullmatch(ident):
        raise BadInput("a recipe's name has small letters, digits and hyphens", where=where)
    top = _Table(data, _TOP, where)
    actors = tuple(
        _actor(name, _Table(values, _ACTOR, f"{where}: actors.{name}"))
        for name, values in top.take("actors", dict).items()
    )
    names = [actor.name for actor in actors]
    order = tuple(
        _step(_Table(values, _STEP, f"{where}: order {n}"), names)
        for n, values in enumerate(top.take("order", list), 1)
    )
    if len(order) < 2 or len({step.actor for step in order}) < 2:
        raise BadInput("an order has two steps or more, of two actors or more", where=where)
    if idle := [name for name in names if name not in {step.actor for step in order}]:
        raise BadInput(f"actor {idle[0]} has no step in the order", where=where)
    recipe = Recipe(
        id=ident,
        title=top.take("title", str),
        claims=top.names("claims"),
        wording=" ".join(top.take("wording", str).split()),
        setup=_setup(_Table(top.get("setup", dict, {}), _SETUP, f"{where}: setup")),
        actors=actors,
        order=order,
        proof=_proof(_Table(top.take("proof", dict), _PROOF, f"{where}: proof"), names),
        racy=_side(_Table(top.take("racy", dict), _SIDE, f"{where}: racy")),
        fixed=_side(_Table(top.take("fixed", dict), _SIDE, f"{where}: fixed")) if "fixed" in data else None,
        where=where,
    )
    _check_calls(recipe)
    return recipe


def parse_point(value: object, where: str) -> PointSpec:
    """``"function"``, ``"function+0x12"``, ``"file.c:12"``, ``"done"``, or a table with a source pattern or a
    hypercall."""
    if isinstance(value, dict) and "hypercall" in value:
        return _call(_Table(value, _CALL, where))
    if isinstance(value, dict):
        table = _Table(value, _POINT, where)
        nth = table.get("nth", int, 1)
        if nth < 1:
            raise BadInput("nth counts from 1", where=where)
        return PointSpec(function=table.take("function", str), source=table.take("source", str), nth=nth)
    if isinstance(value, str):
        if value == DONE:
            return PointSpec()
        if found := _OFFSET.fullmatch(value):
            return PointSpec(function=found[1], offset=int(found[2], 0))
        if found := _LINE.fullmatch(value):
            return PointSpec(file=found[1], line=int(found[2]))
        if _NAME.fullmatch(value):
            return PointSpec(function=value)
    raise BadInput(
        f"not a point: {value!r}",
        where=where,
        hint='write "function", "function+0x12", "file.c:12", "done", { function = "f", source = "text" } or '
        '{ hypercall = "NAME" }',
    )


def _call(table: _Table) -> PointSpec:
    """A point at a hypercall."""
    if isinstance(table.take("hypercall", object), str):
        name = table.take("hypercall", str)
        code = abi.hypercall_code(name)
        if code is None:
            near = difflib.get_close_matches(name.removeprefix("HVCALL_"), abi.HYPERCALLS.values(), 2, 0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else "a name of hvgdk_mini.h, or a code"
            raise BadInput(f"no hypercall {name!r}", where=table.where, hint=hint)
    else:
        code = table.take("hypercall", int)
    if not 0 < code <= _LAST_CODE:
        raise BadInput(f"a hypercall's code has 16 bits, not {code}", where=table.where)
    partition, nth = table.get("partition", str, ""), table.get("nth", int, 1)
    if partition not in _PARTITIONS:
        raise BadInput(f"no partition {partition!r}", where=table.where, hint="there are child and root")
    if nth < 1:
        raise BadInput("nth counts from 1", where=table.where)
    pages = table.get("pages", list, [])
    if pages and (len(pages) != 2 or not all(type(page) is int for page in pages) or pages[0] > pages[1]):
        raise BadInput("pages are a first and a last one", where=table.where, hint="pages = [0, 3]")
    if pages and (code not in abi.FRAME_CALLS or partition == "root"):
        known = ", ".join(abi.hypercall(code) for code in sorted(abi.FRAME_CALLS))
        hint = f"calls that do are {known}"
        raise BadInput(f"{abi.hypercall(code)} names no pages of a child", where=table.where, hint=hint)
    named = abi.HYPERCALLS.get(code, f"{code:#06x}")
    call = HypercallSpec(code, named, partition, (pages[0], pages[1]) if pages else None)
    return PointSpec(hypercall=call, nth=nth)


def _check_calls(recipe: Recipe) -> None:
    """BadInput for points at hypercalls that do not go with the rest of the recipe."""
    last = {}
    for number, step in enumerate(recipe.order, 1):
        last[step.actor] = number
        call = step.at.hypercall
        if call is not None and call.pages is not None and call.pages[1] >= recipe.setup.pages:
            what = (
                f"the region has pages 0 to {recipe.setup.pages - 1}" if recipe.setup.pages else "no region"
            )
            raise BadInput(f"{call}: {what}", where=f"{recipe.where}: order {number}")
    freed = recipe.proof.freed
    if freed and recipe.order[last[freed] - 1].at.hypercall is not None:
        raise BadInput(
            f"{freed} is at a hypercall in the end, where the lab does not know the registers",
            where=f"{recipe.where}: proof",
            hint="hold it at a function, or look for something else",
        )


class _Table:
    """A table whose keys are known, and its place."""

    def __init__(self, values: object, keys: Iterable[str], where: str) -> None:
        if not isinstance(values, Mapping):
            raise BadInput("not a table", where=where)
        self._values, self.where = values, where
        keys = tuple(keys)
        for key in values:
            if key not in keys:
                near = difflib.get_close_matches(str(key), keys, 1)
                hint = f"did you mean {near[0]}?" if near else f"known keys are {', '.join(keys)}"
                raise BadInput(f"unknown key {key!r}", where=where, hint=hint)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def take(self, key: str, kind: type[_T]) -> _T:
        """A value that must be there."""
        if key not in self._values:
            raise BadInput(f"{key} is missing", where=self.where)
        value = self._values[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise BadInput(f"{key} must be of type {kind.__name__}", where=self.where)
        return value

    def get(self, key: str, kind: type[_T], default: _T) -> _T:
        """A value that may be missing."""
        return self.take(key, kind) if key in self._values else default

    def names(self, key: str, check: Callable[[str], bool] = bool) -> tuple[str, ...]:
        """A list of words, empty where there is none."""
        values = self.get(key, list, [])
        for value in values:
            if not isinstance(value, str) or not check(value):
                raise BadInput(f"{key}: {value!r} cannot be one", where=self.where)
        return tuple(values)


def _actor(name: str, table: _Table) -> Actor:
    actor = Actor(
        name=name,
        comm=table.get("comm", str, ""),
        interrupt=table.get("interrupt", bool, False),
        does=table.names("does"),
        cpu=table.take("cpu", int) if "cpu" in table else None,
    )
    if bool(actor.comm) == actor.interrupt or not _COMM.fullmatch(actor.comm or "-"):
        raise BadInput("an actor has a comm, or acts in interrupts", where=table.where)
    if actor.cpu is not None and (actor.interrupt or actor.cpu < 0):
        raise BadInput("cpu is the number of one that a task may run on", where=table.where)
    return actor


def _step(table: _Table, actors: list[str]) -> Step:
    name = table.take("actor", str)
    if name not in actors:
        near = difflib.get_close_matches(name, actors, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(actors)}"
        raise BadInput(f"no actor {name!r}", where=table.where, hint=hint)
    hold = table.get("hold", str, HoldKind.AUTO.value)
    if hold not in list(HoldKind):
        raise BadInput(f"no hold {hold!r}", where=table.where, hint=f"there are {', '.join(HoldKind)}")
    step = Step(name, parse_point(table.take("at", object), table.where), HoldKind(hold))
    other = (HoldKind.SPIN, HoldKind.FREEZE) if step.at.hypercall is not None else (HoldKind.HYPERCALL,)
    if step.hold in other:
        hint = "leave it out: the hypervisor holds a hypercall, and nothing else"
        raise BadInput(f"no hold {hold!r} at this point", where=table.where, hint=hint)
    return step


def _setup(table: _Table) -> Setup:
    touched = table.get("touched", list, [])
    setup = Setup(
        vps=table.get("vps", int, 1),
        pages=table.get("pages", int, 8),
        touched=tuple(touched),
        ram=table.get("ram", bool, False),
        lapic=table.get("lapic", bool, False),
        kernel_args=table.names("kernel_args"),
        flavour=table.get("flavour", str, "plain"),
    )
    if not all(isinstance(page, int) and 0 <= page < setup.pages for page in touched):
        raise BadInput("touched names pages of the region", where=table.where)
    return setup


def _proof(table: _Table, actors: list[str]) -> Proof:
    known = {cls.value for cls in SplatClass}
    proof = Proof(
        splat=table.names("splat", known.__contains__),
        pages_left=table.get("pages_left", bool, False),
        pages_left_held=table.get("pages_left_held", bool, False),
        freed=table.get("freed", str, ""),
    )
    if proof.freed and proof.freed not in actors:
        raise BadInput(f"no actor {proof.freed!r}", where=table.where, hint=f"there are {', '.join(actors)}")
    if not (proof.splat or proof.pages_left or proof.pages_left_held or proof.freed):
        raise BadInput("nothing would show the race", where=table.where, hint=f"give {', '.join(_PROOF)}")
    return proof


def _side(table: _Table) -> Side:
    side = Side(
        mutant=table.get("mutant", str, ""),
        series=table.get("series", str, ""),
        stock=table.get("stock", bool, False),
    )
    if sum((bool(side.mutant), bool(side.series), side.stock)) != 1:
        raise BadInput("a side is a mutant, a series or stock", where=table.where)
    return side
