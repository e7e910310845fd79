# SPDX-License-Identifier: GPL-2.0-or-later
"""A recipe as a kernel module of its own: the same order of threads, forced by kprobes and without QEMU.

Each step becomes a probe. Whoever comes too early to its place waits there, and who has taken its step is
kept until its next one is due. Points that are lines are found in the very module that will be loaded, so
an export is good for that kernel alone; the exported module looks at the code before it touches anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lab.model.errors import BadInput
from lab.model.race import PointSpec, Recipe, Step
from lab.paths import templates_dir
from lab.race.code import ENDBR, ModuleCode
from lab.race.debuginfo import DebugInfo
from lab.race.points import ReadSource, Resolver

_TEMPLATES = "kprobe"
_LONGEST_NAME = 40
"""Of a module; the kernel has room for 55 letters (MODULE_NAME_LEN)."""
_COMM = 15
"""Letters of a task's name (TASK_COMM_LEN without its end)."""
_FEWEST = 4
"""Bytes that must be comparable: less could be any code."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The function whose return ends an action; ``command`` is what its second argument must be."""

    function: str
    command: str = ""


ENDS: Mapping[str, Ends] = {
    "remove": Ends("mshv_partition_ioctl", "MSHV_SET_GUEST_MEMORY"),
    "munmap": Ends("__x64_sys_munmap"),
}
"""Actions that end where one function returns. The others end in several places, or in an exit."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One place: ``offset`` bytes into a function, where the kernel must have ``code`` under ``mask``."""

    function: str
    offset: int
    code: bytes = b""
    mask: bytes = b""
    command: str = ""

    def __str__(self) -> str:
        return f"{self.function}+{self.offset:#x}" if self.offset else self.function


@dataclass(frozen=True, slots=True)
class Taken:
    """A step with its places. ``own`` is the actor's step before, -1 if none; ``until`` is when it may go on:
    its step after, or the number of steps."""

    actor: str
    point: str
    done: bool
    probes: tuple[Probe, ...]
    own: int
    until: int


@dataclass(frozen=True, slots=True)
class Export:
    """What the templates are filled with."""

    recipe: Recipe
    kernel: str
    module: str
    steps: tuple[Taken, ...]
    notes: tuple[str, ...] = ()

    @property
    def texts(self) -> dict[str, str]:
        """The files of the module's folder."""
        environment = Environment(
            loader=FileSystemLoader(templates_dir() / _TEMPLATES),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        environment.filters.update(comment=_comment, c_string=_c_string, c_bytes=_c_bytes, c_name=_c_name)
        names = {"race.c.j2": f"{self.module}.c", "Makefile.j2": "Makefile", "README.md.j2": "README.md"}
        return {
            name: environment.get_template(template).render(
                export=self, recipe=self.recipe, looks=in_words(self.recipe)
            )
            for template, name in names.items()
        }

    def write(self, folder: Path) -> None:
        """Put the files there. BadInput where something else is."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            texts = self.texts
            if strange := sorted({path.name for path in folder.iterdir()} - {*texts, f"{self.module}.ko"}):
                raise BadInput(f"the folder has {strange[0]} in it", where=str(folder), hint="name a new one")
            for name, text in texts.items():
                (folder / name).write_text(text)
        except OSError as e:
            raise BadInput(f"cannot be written: {e.strerror}", where=str(folder)) from e


@dataclass
class Exporter:
    """For one kernel: ``module`` is the driver's, ``debug`` the same with debug information."""

    module: Path
    debug: Path
    read_source: ReadSource
    kernel: str
    ends: Mapping[str, Ends] = field(default_factory=dict)
    """By actor: for what :data:`ENDS` does not know."""

    def export(self, recipe: Recipe) -> Export:
        """BadInput for what kprobes cannot do, or this kernel does not have."""
        check(recipe, self.ends)
        code = ModuleCode(self.module)
        symbols = {symbol.name: symbol.address for symbol in code.functions}
        resolver = Resolver(DebugInfo(self.debug, code.sections), symbols, self.read_source)
        steps, notes = [], []
        for number, step in enumerate(recipe.order):
            where = f"{recipe.where}: order {number + 1}"
            probes = self._probes(recipe, step, code, symbols, resolver, where)
            notes += [
                f"{probe} is not in the driver: its code is not looked at"
                for probe in probes
                if not probe.code
            ]
            own = max((n for n in range(number) if recipe.order[n].actor == step.actor), default=-1)
            later = (n for n in range(number + 1, len(recipe.order)) if recipe.order[n].actor == step.actor)
            until = next(later, len(recipe.order))
            steps.append(Taken(step.actor, str(step.at), step.at.done, probes, own, until))
        _check_apart(recipe, steps)
        return Export(recipe, self.kernel, module_name(recipe), tuple(steps), tuple(dict.fromkeys(notes)))

    def _probes(
        self,
        recipe: Recipe,
        step: Step,
        code: ModuleCode,
        symbols: Mapping[str, int],
        resolver: Resolver,
        where: str,
    ) -> tuple[Probe, ...]:
        """The places of a step."""
        spec = step.at
        if spec.done:
            end = end_of(recipe, step.actor, self.ends)
            assert end is not None  # as check() has found
            if end.function in symbols:
                return (_probe(code, symbols[end.function], end.command, where),)
            if resolver.knows(end.function):
                resolver.resolve(PointSpec(function=end.function), where)  # only copies: says so
            return (Probe(end.function, 0, command=end.command),)
        if spec.file or spec.source or spec.function in symbols or resolver.knows(spec.function):
            found = resolver.resolve(spec, where)
            return tuple(_probe(code, address, "", where) for address in found.addresses)
        return (Probe(spec.function, spec.offset),)  # of the kernel, of whose code nothing is known here


def in_words(recipe: Recipe) -> str:
    """What shows the race, for people who have no lab to look."""
    proof, found = recipe.proof, []
    if proof.splat:
        found.append(f"the kernel log complains ({', '.join(proof.splat)})")
    if proof.pages_left:
        found.append("the hypervisor still maps pages of the region when all is over")
    if proof.pages_left_held:
        found.append(
            "the hypervisor still maps pages of the region while `state` is `complete` (so let it linger)"
        )
    return ", or ".join(found)


def module_name(recipe: Recipe) -> str:
    """Name of the module."""
    return "race_" + _c_name(recipe.id)[: _LONGEST_NAME - len("race_")].rstrip("_")


def end_of(recipe: Recipe, actor: str, ends: Mapping[str, Ends]) -> Ends | None:
    """Where an actor's action ends; None when no one place is known."""
    if actor in ends:
        return ends[actor]
    does = recipe.actor(actor).does
    return ENDS.get(does[0].split()[0]) if len(does) == 1 else None


def check(recipe: Recipe, ends: Mapping[str, Ends]) -> None:
    """BadInput for what can be told without a kernel."""
    for name in ends:
        if name not in {actor.name for actor in recipe.actors}:
            raise BadInput(f"no actor {name!r}", where=recipe.where)
    for actor in recipe.actors:
        where = f"{recipe.where}: actors.{actor.name}"
        if actor.interrupt:
            raise BadInput(
                "an interrupt cannot be kept waiting by a kprobe: nobody says when it comes, and its CPU "
                "would take no other one meanwhile",
                where=where,
                hint="hvlab race run forces such an order",
            )
        if len(actor.comm.encode()) > _COMM:
            raise BadInput(f"no task can be called {actor.comm!r}: {_COMM} letters at most", where=where)
    for number, step in enumerate(recipe.order, 1):
        if step.at.hypercall is not None:
            raise BadInput(
                f"{step.actor} is at {step.at.hypercall}, which the lab's hypervisor holds: a kprobe can not",
                where=f"{recipe.where}: order {number}",
                hint="name a function that makes the call, or run it with hvlab race run",
            )
        if step.at.done and end_of(recipe, step.actor, ends) is None:
            does = "; ".join(recipe.actor(step.actor).does) or "something of its own"
            raise BadInput(
                f"{step.actor} does: {does}. No one function returns when that is done",
                where=f"{recipe.where}: order {number}",
                hint=f"name one whose return will do: --done {step.actor}=FUNCTION",
            )


def _check_apart(recipe: Recipe, steps: list[Taken]) -> None:
    """An actor that is to come by one place twice: two probes there could not tell its visits apart."""
    seen: dict[tuple[str, str], int] = {}
    for number, step in enumerate(steps, 1):
        for probe in step.probes:
            before = seen.setdefault((step.actor, str(probe)), number)
            if before != number:
                raise BadInput(
                    f"{step.actor} is at {probe} in step {before} already",
                    where=f"{recipe.where}: order {number}",
                    hint="kprobes tell places apart, not visits: name another place",
                )


def _probe(code: ModuleCode, address: int, command: str, where: str) -> Probe:
    owner = code.owner(address)
    if owner is None:
        raise BadInput(f"no function has the code at {address:#x}", where=where)
    text, mask = code.at(address)
    if address == owner.address and text.startswith(ENDBR):
        # A probe of the entry is put behind the landing mark, and the mark may be gone.
        text, mask = text[len(ENDBR) :], mask[len(ENDBR) :]
    if sum(map(bool, mask)) < _FEWEST:
        raise BadInput(
            f"the kernel patches nearly all code at {owner.name}+{address - owner.address:#x}",
            where=where,
            hint="name a line before or behind",
        )
    return Probe(owner.name, address - owner.address, text, mask, command)


def parse_ends(words: list[str]) -> dict[str, Ends]:
    """``ACTOR=FUNCTION`` by actor. BadInput."""
    found = {}
    for word in words:
        actor, equals, function = word.partition("=")
        if not equals or not actor or not re.fullmatch(r"[A-Za-z_][\w.]*", function):
            raise BadInput(f"not ACTOR=FUNCTION: {word!r}", where="--done")
        found[actor] = Ends(function)
    return found


# ---- filters of the templates

Filter = Callable[[str], str]


def _comment(text: str) -> str:
    """For inside of a C comment: what would end it is taken apart."""
    return " ".join(text.split()).replace("*/", "* /").replace("/*", "/ *")


def _c_string(text: str) -> str:
    def one(character: int) -> str:
        plain = 32 <= character < 127 and chr(character) not in '"\\?'
        return chr(character) if plain else f"\\{character:03o}"

    return '"' + "".join(map(one, text.encode())) + '"'


def _c_bytes(data: bytes) -> str:
    return ", ".join(f"0x{byte:02x}" for byte in data)


def _c_name(text: str) -> str:
    return re.sub(r"\W", "_", text, flags=re.ASCII)
