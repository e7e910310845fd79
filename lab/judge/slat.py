# SPDX-License-Identifier: GPL-2.0-or-later
"""The memory oracle: what a child's SLAT maps now must be explained by its live regions, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lab.model.ledger import SlatRun

Window = tuple[int, int]
"""A device's BAR in system physical memory: first 4 KiB page number, number of pages."""


@dataclass(frozen=True, slots=True)
class Region:
    """A region that the VMM has mapped and not yet removed.

    ``gfn`` and ``pages`` in 4 KiB frames; ``spa`` is the SPA page number behind ``gfn``, None if any
    will do (RAM: wherever the page is; MMIO: anywhere inside a device window). Pages of a region may
    be unmapped, mapping on demand is allowed; access beyond ``writable`` and ``executable`` is not.
    """

    kind: Literal["ram", "mmio"]
    gfn: int
    pages: int
    spa: int | None = None
    writable: bool = True
    executable: bool = False
    name: str = ""

    @property
    def end(self) -> int:
        """First frame after the region."""
        return self.gfn + self.pages

    def __str__(self) -> str:
        return f"{self.name or self.kind} at {_frames(self.gfn, self.pages)}"


def audit(
    runs: Iterable[SlatRun], regions: Iterable[Region], device_windows: Sequence[Window] = ()
) -> list[str]:
    """Problems of a SLAT, in the order of its frames; empty when every leaf is explained.

    Reported are leaves outside every region (also what is left after a region or a partition is gone),
    MMIO that leads to another page than it must, RAM that leads into a device, and access that the
    region does not grant.
    """
    ordered = sorted(regions, key=lambda region: region.gfn)
    problems: list[str] = []
    for run in sorted(runs, key=lambda run: run.gfn):
        for piece, region in _explain(run, ordered):
            problems += _problems(piece, region, device_windows)
    return problems


def clip(runs: Iterable[SlatRun], gfns: range) -> list[SlatRun]:
    """The parts of ``runs`` inside ``gfns``."""
    cut = []
    for run in runs:
        first, end = max(run.gfn, gfns.start), min(run.gfn + run.pages, gfns.stop)
        if first < end:
            cut.append(_part(run, first, end))
    return cut


def describe(run: SlatRun) -> str:
    """One line for people."""
    if run.no_access:
        return f"{_frames(run.gfn, run.pages)} no access"
    size = {1: "4K", 2: "2M", 3: "1G"}.get(run.level, f"level {run.level}")
    return f"{_frames(run.gfn, run.pages)} -> SPA {_pages(run.spa, run.pages)} {run.access or '-'} {size}"


def _part(run: SlatRun, first: int, end: int) -> SlatRun:
    spa = run.spa if run.no_access else run.spa + first - run.gfn
    return replace(run, gfn=first, pages=end - first, spa=spa)


def _explain(run: SlatRun, regions: Sequence[Region]) -> Iterator[tuple[SlatRun, Region | None]]:
    """Cut ``run`` at region borders: pieces with the first region that contains them."""
    at, end = run.gfn, run.gfn + run.pages
    for region in regions:
        first, last = max(at, region.gfn), min(end, region.end)
        if first >= last:
            continue
        if at < first:
            yield _part(run, at, first), None
        yield _part(run, first, last), region
        at = last
    if at < end:
        yield _part(run, at, end), None


def _problems(run: SlatRun, region: Region | None, windows: Sequence[Window]) -> Iterator[str]:
    if region is None:
        yield f"{describe(run)}: no live region explains it"
        return
    if run.no_access:
        return
    if region.kind == "ram":
        for window in windows:
            if _overlap(run, window):
                yield f"{describe(run)}: RAM ({region}) leads into the device at SPA {_pages(*window)}"
    elif region.spa is not None:
        wanted = region.spa + run.gfn - region.gfn
        if run.spa != wanted:
            yield f"{describe(run)}: {region} must lead to SPA {_pages(wanted, run.pages)}"
    elif not any(_inside(run, window) for window in windows):
        yield f"{describe(run)}: {region} leads outside every device"
    if "w" in run.access and not region.writable:
        yield f"{describe(run)}: writable, but {region} is read-only"
    if "x" in run.access and not region.executable:
        yield f"{describe(run)}: executable, but {region} is not"


def _overlap(run: SlatRun, window: Window) -> bool:
    first, pages = window
    return run.spa < first + pages and first < run.spa + run.pages


def _inside(run: SlatRun, window: Window) -> bool:
    first, pages = window
    return first <= run.spa and run.spa + run.pages <= first + pages


def _frames(gfn: int, pages: int) -> str:
    return f"GFN {_pages(gfn, pages)}"


def _pages(first: int, count: int) -> str:
    return f"{first:#x}" if count == 1 else f"{first:#x}..{first + count - 1:#x} ({count})"
