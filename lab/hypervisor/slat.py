# SPDX-License-Identifier: GPL-2.0-or-later
"""Walking a partition's second-level tables in RAM, and comparing two walks.

Entries are AMD nested page table entries (AMD64 APM volume 2, 15.25) as
``images/hypervisor/npt.c`` writes them: bit 0 present, 1 writable, 4 not cached, 5 accessed, 6 dirty,
7 large page, 63 no execute, and software bits: 9 for a frame that the root mapped without access, 10
for an overlay page of the stand-in's own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from lab.hypervisor.memory import PAGE
from lab.model.ledger import SlatRun

PRESENT = 1 << 0
WRITABLE = 1 << 1
UNCACHED = 1 << 4
ACCESSED = 1 << 5
DIRTY = 1 << 6
LARGE = 1 << 7
NO_ACCESS = 1 << 9
OVERLAY = 1 << 10
NO_EXECUTE = 1 << 63
ADDRESS = 0x000F_FFFF_FFFF_F000
LEVELS = 4
_TABLE = struct.Struct("<512Q")

ReadPage = Callable[[int], bytes | None]
"""Address of a table page to its 4096 bytes, None where there is no RAM."""


def walk(root: int, read: ReadPage) -> list[SlatRun]:
    """All mapped frames below the table at ``root`` as runs, in order of GFN.

    A pointer to a table outside RAM ends that branch: the tables may change while they are read.
    """
    return list(_merge(_leaves(root, LEVELS, 0, read))) if root else []


def _leaves(table: int, level: int, gfn: int, read: ReadPage) -> Iterator[SlatRun]:
    page = read(table)
    if page is None or len(page) != PAGE:
        return
    shift = 9 * (level - 1)
    for index, entry in enumerate(_TABLE.unpack(page)):
        if not entry & (PRESENT | NO_ACCESS):
            continue
        first = gfn + (index << shift)
        if entry & PRESENT and level > 1 and not entry & LARGE:
            yield from _leaves(entry & ADDRESS, level - 1, first, read)
        else:
            yield _leaf(entry, first, level)


def _leaf(entry: int, gfn: int, level: int) -> SlatRun:
    present = bool(entry & PRESENT)
    access = "r" + "w" * bool(entry & WRITABLE) + "x" * (not entry & NO_EXECUTE) if present else ""
    return SlatRun(
        gfn=gfn,
        spa=(entry & ADDRESS) // PAGE if present else 0,
        pages=1 << 9 * (level - 1),
        access=access,
        no_access=not present,
        level=level,
        accessed=bool(entry & ACCESSED),
        dirty=bool(entry & DIRTY),
        uncached=bool(present and entry & UNCACHED),
        overlay=bool(present and entry & OVERLAY),
    )


def _continues(run: SlatRun, leaf: SlatRun) -> bool:
    return (
        run.gfn + run.pages == leaf.gfn
        and (run.no_access or run.spa + run.pages == leaf.spa)
        and replace(run, gfn=0, spa=0, pages=0) == replace(leaf, gfn=0, spa=0, pages=0)
    )


def _merge(leaves: Iterator[SlatRun]) -> Iterator[SlatRun]:
    run: SlatRun | None = None
    for leaf in leaves:
        if run is not None and _continues(run, leaf):
            run = replace(run, pages=run.pages + leaf.pages)
            continue
        if run is not None:
            yield run
        run = leaf
    if run is not None:
        yield run


@dataclass(frozen=True, slots=True)
class SlatDiff:
    """What changed between two walks. A frame that maps elsewhere, or differently, is in both."""

    removed: tuple[SlatRun, ...]
    added: tuple[SlatRun, ...]

    def __bool__(self) -> bool:
        return bool(self.removed or self.added)


def slat_diff(before: Sequence[SlatRun], after: Sequence[SlatRun]) -> SlatDiff:
    """Frames whose mapping changed. Access bits and the size of the leaf do not count as a change."""
    cuts = sorted({edge for run in (*before, *after) for edge in (run.gfn, run.gfn + run.pages)})
    old, new = _pieces(before, cuts), _pieces(after, cuts)
    return SlatDiff(
        removed=tuple(_merge(old[gfn] for gfn in cuts if gfn in old and old[gfn] != new.get(gfn))),
        added=tuple(_merge(new[gfn] for gfn in cuts if gfn in new and new[gfn] != old.get(gfn))),
    )


def _pieces(runs: Sequence[SlatRun], cuts: Sequence[int]) -> dict[int, SlatRun]:
    """``runs`` cut at every edge of either side, by GFN, without what does not count."""
    pieces: dict[int, SlatRun] = {}
    for run, gfn, end in _cut(runs, cuts):
        spa = 0 if run.no_access else run.spa + gfn - run.gfn
        pieces[gfn] = SlatRun(gfn, spa, end - gfn, run.access, no_access=run.no_access, uncached=run.uncached)
    return pieces


def _cut(runs: Sequence[SlatRun], cuts: Sequence[int]) -> Iterator[tuple[SlatRun, int, int]]:
    at = 0
    for run in sorted(runs, key=lambda r: r.gfn):
        while cuts[at] < run.gfn:
            at += 1
        while cuts[at] < run.gfn + run.pages:
            yield run, cuts[at], cuts[at + 1]
            at += 1
