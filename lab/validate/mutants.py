# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of the stand-in: built in a temporary copy, and tried with the tiny guest."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.build.tiny import TinyGuest, build_tiny
from lab.cache import Cache
from lab.model.errors import BadInput
from lab.paths import images_dir
from lab.source.command import run, tool_env
from lab.validate.fuzz import FuzzRun, run_fuzz
from lab.validate.tiny import GROUPS, TinyRun, run_group

_KEYS = {"why", "replace"}
_PART_KEYS = {"file", "old", "new"}
FUZZ_SEED = 1
FUZZ_CALLS = 3000
_BUDGET = 300.0
_GUEST_BUDGET = 20.0
"""A mutant may hang its guest: then this much patience is lost."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """``old`` becomes ``new``; it must occur exactly once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class StandinMutant:
    """One defect. ``why`` says what is wrong with it, in a sentence."""

    name: str
    why: str
    parts: tuple[Replacement, ...]


@dataclass(frozen=True, slots=True)
class MutantResult:
    """``by`` names the test that noticed, empty when none did."""

    by: str
    seconds: float

    @property
    def killed(self) -> bool:
        """Whether a test noticed."""
        return bool(self.by)

    @property
    def text(self) -> str:
        """For the table."""
        return self.by or "nothing noticed"


def load_mutants(folder: Path) -> tuple[StandinMutant, ...]:
    """All mutants of a folder, by name. Raises BadInput with the file and what is wrong in it."""
    return tuple(_load(path) for path in sorted(folder.glob("*.toml")))


def _load(path: Path) -> StandinMutant:
    try:
        data = tomllib.loads(path.read_text())
        parts = data["replace"]
        if set(data) != _KEYS or not parts or any(set(part) != _PART_KEYS for part in parts):
            raise ValueError("expected the keys why and [[replace]] with file, old and new")
        return StandinMutant(path.stem, data["why"], tuple(Replacement(**part) for part in parts))
    except (KeyError, ValueError, TypeError) as error:
        raise BadInput(f"not a mutant: {error}", where=str(path)) from None


def mutated(text: str, part: Replacement, mutant: str) -> str:
    """The file's text with the replacement. Raises BadInput unless it applies exactly once."""
    count = text.count(part.old)
    if count != 1:
        raise BadInput(
            f"mutant {mutant}: its text occurs {count} times in {part.file}, not once",
            hint="the stand-in has changed there: bring the mutant up to date",
        )
    return text.replace(part.old, part.new)


@contextmanager
def open_workshop(cache: Cache) -> Iterator[Workshop]:
    """A workshop in a folder that is gone afterwards."""
    with cache.scratch("mutants") as folder:
        yield Workshop(build_tiny(cache), folder)


class Workshop:
    """A copy of the stand-in's sources with its objects, in a folder of the caller's."""

    def __init__(self, guest: TinyGuest, folder: Path) -> None:
        self._guest = guest
        self._source = folder / "hypervisor"
        self._objects = folder / "objects"
        shutil.copytree(images_dir() / "hypervisor", self._source)

    def unharmed(self) -> MutantResult:
        """The stand-in without a mutant: nothing may find anything."""
        return self._judge(stop=False)

    def try_mutant(self, mutant: StandinMutant) -> MutantResult:
        """Build it and run the tests until one notices. Raises BadInput when it does not apply."""
        with self._changed(mutant):
            return self._judge(stop=True)

    def fuzz(self, mutant: StandinMutant, seed: int = FUZZ_SEED, calls: int = FUZZ_CALLS) -> FuzzRun:
        """Build it and let the fuzzer alone try."""
        with self._changed(mutant):
            return run_fuzz(seed, calls, self._guest, *self._build())

    @contextlib.contextmanager
    def _changed(self, mutant: StandinMutant) -> Iterator[None]:
        saved = {part.file: (self._source / part.file).read_text() for part in mutant.parts}
        try:
            for part in mutant.parts:
                path = self._source / part.file
                path.write_text(mutated(path.read_text(), part, mutant.name))
            yield
        finally:
            for name, text in saved.items():
                (self._source / name).write_text(text)

    def _build(self) -> tuple[Path, Path]:
        """The image and the one with symbols."""
        run(
            ["make", "-s", "-C", self._source, f"O={self._objects}", f"-j{os.cpu_count() or 1}"],
            what="building a mutant",
            timeout=_BUDGET,
            env={k: v for k, v in tool_env().items() if k not in ("MAKEFLAGS", "MAKELEVEL", "CFLAGS")},
        )
        return self._objects / "hv.elf", self._objects / "hv.elf64"

    def _judge(self, *, stop: bool) -> MutantResult:
        began = time.monotonic()
        elf, symbols = self._build()
        more = ("stop",) if stop else ()
        for group in GROUPS:
            found = run_group(group, self._guest, elf, symbols, *more, budget=_GUEST_BUDGET)
            if not found.ok:
                return MutantResult(f"{group}: {_noticed(found)}", time.monotonic() - began)
        fuzzed = run_fuzz(FUZZ_SEED, FUZZ_CALLS, self._guest, elf, symbols)
        by = "" if fuzzed.ok else f"fuzzer: {_noticed(fuzzed.tiny)}"
        return MutantResult(by, time.monotonic() - began)


def _noticed(found: TinyRun) -> str:
    for name in found.failures:
        return name
    if found.problems:
        return found.problems[0].splitlines()[0]
    return (found.died or "it did not end").splitlines()[0]
