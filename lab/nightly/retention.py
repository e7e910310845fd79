# SPDX-License-Identifier: GPL-2.0-or-later
"""What of the cache is kept: what was used lately, within a budget of the disk.

Nothing goes that somebody makes or uses. Sources and base kernels, which take longest to have again, go last.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.build.kernel import BASE_KIND
from lab.build.module import BASE_KIND as MODULAR_KIND
from lab.cache import Cache, Entry
from lab.machine import state
from lab.model.errors import BadInput
from lab.source.specs import KIND as SOURCE_KIND

DAY = 86400.0
KEEP_DAYS = 30.0
"""Days that an unused entry is kept, unless told otherwise."""

LAST = (SOURCE_KIND, BASE_KIND, MODULAR_KIND)
"""Kinds that go only when there is nothing else to remove."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``keep_days`` since the last use; ``max_size`` in bytes of all entries, None for no such limit."""

    keep_days: float = KEEP_DAYS
    max_size: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.keep_days < 1e6:
            raise BadInput(f"{self.keep_days:g} is not a number of days", where="--keep-days")


@dataclass(frozen=True, slots=True)
class Removal:
    """Something that is gone, or with a dry run would be. ``size`` in bytes."""

    what: str
    why: str
    size: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """What became of a cache. ``before`` and ``after`` are bytes of all entries; ``in_use`` names what the
    limits ask to remove and somebody uses; ``problems`` says what could not be removed."""

    before: int
    after: int
    removed: tuple[Removal, ...] = ()
    in_use: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def sweep(cache: Cache, limits: Limits, *, now: float | None = None, dry_run: bool = False) -> Sweep:
    """Remove entries until the limits hold or all that is left is in use; with ``dry_run`` only say so.

    Entries that are links, or that lie behind one, are not looked at.
    """
    now = time.time() if now is None else now
    entries = in_order(own(cache))
    named = named_in(entries, cache.root, _words())
    work = _Work(cache, named, dry_run, sum(e.size for e in entries))
    before = work.total
    for entry in entries:
        if why := too_old(entry, limits, now):
            work.drop(entry, why)
    for entry in entries:
        if limits.max_size is None or work.total <= limits.max_size:
            break
        work.drop(entry, "to keep within the budget")
    return Sweep(before, work.total, tuple(work.removed), tuple(work.in_use), tuple(work.problems))


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Entries in the order in which they go: least recently used first, kinds of ``LAST`` at the end."""
    return sorted(entries, key=lambda e: (e.kind in LAST, e.used, e.kind, e.key))


def too_old(entry: Entry, limits: Limits, now: float) -> str:
    """Why an entry has been kept long enough; "" when it has not."""
    unused = (now - entry.used) / DAY
    return f"unused for {unused:.0f} days" if unused > limits.keep_days else ""


def own(cache: Cache) -> list[Entry]:
    """The entries that really lie where they say, in the cache's own folders."""
    return [
        e
        for e in cache.entries()
        if e.path == cache.root / e.kind / e.key
        and not e.path.is_symlink()
        and not e.path.parent.is_symlink()
    ]


def named_in(entries: Sequence[Entry], root: Path, words: Iterable[str]) -> set[Path]:
    """Folders of those entries that some word names by a path at or below them."""
    prefixes = "|".join(re.escape(str(r)) for r in dict.fromkeys((root, root.absolute(), root.resolve())))
    pattern = re.compile(rf"(?:{prefixes})/([\w.+-]+)/([\w.+-]+)")
    known = {(e.kind, e.key): e.path for e in entries}
    found = {known.get((m[1], m[2])) for word in words for m in pattern.finditer(word)}
    return {path for path in found if path is not None}


def _words() -> list[str]:
    """What running labs say of themselves, and the arguments of every process that we may look at."""
    words = [
        json.dumps(dataclasses.asdict(lab.record), ensure_ascii=False)
        for lab in state.list_labs()
        if lab.status() != "stale"
    ]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words += process.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
    return words


@dataclass(slots=True)
class _Work:
    """A sweep under way. ``named`` are entries that a process or a lab names."""

    cache: Cache
    named: set[Path]
    dry_run: bool
    total: int
    removed: list[Removal] = field(default_factory=list)
    in_use: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    tried: set[Path] = field(default_factory=set)

    def drop(self, entry: Entry, why: str) -> None:
        """Remove an entry unless it is in use; a second call for the same one does nothing."""
        if entry.path in self.tried:
            return
        self.tried.add(entry.path)
        name = f"{entry.kind}/{entry.key}"
        try:
            gone = entry.path not in self.named and self._remove(entry)
        except OSError as e:
            self.problems.append(f"{entry.path}: {e.strerror or e}")
            return
        if gone:
            self.removed.append(Removal(name, why, entry.size))
        elif entry.path.exists():
            self.in_use.append(name)
            return
        self.total -= entry.size

    def _remove(self, entry: Entry) -> bool:
        return not self.cache.busy(entry) if self.dry_run else self.cache.remove(entry)
