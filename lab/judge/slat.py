# SPDX-License-Identifier: GPL-2.0-or-later
"""The memory oracle: what a child's SLAT maps now must be explained by its live regions, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lab.model.ledger import SlatRun

Window = tuple[int, int]
"""A device's BAR in system physical memory: first 4 KiB page number, number of pages."""
Pages = tuple[int, int, int]
"""What is behind a part of a region: its first page in the region, number of pages, SPA page number."""


@dataclass(frozen=True, slots=True)
class Region:
    """A region that the VMM has mapped and not yet removed.

    ``gfn`` and ``pages`` in 4 KiB frames; ``spa`` is the SPA page number behind ``gfn``, None if any
    will do (RAM: wherever the page is; MMIO: anywhere inside a device window). Pages of a region may
    be unmapped, mapping on demand is allowed; access beyond ``writable`` and ``executable`` is not.
    ``behind`` says more about RAM: the root's own page tables, where they have a page. ``gone``: the host
    mapping under the region was taken away, so a device may not be reached through it any more.
    """

    kind: Literal["ram", "mmio"]
    gfn: int
    pages: int
    spa: int | None = None
    writable: bool = True
    executable: bool = False
    name: str = ""
    behind: tuple[Pages, ...] = ()
    gone: bool = False

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
    MMIO that leads to another page than it must, RAM that leads into a device or to another page than
    the root has there, access that the region does not grant, and the wrong cache type: a device must
    not be cached, RAM must. Overlay pages are the hypervisor's own.
    """
    ordered = sorted(regions, key=lambda region: region.gfn)
    problems: list[str] = []
    for run in sorted(runs, key=lambda run: run.gfn):
        if run.overlay:
            continue
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
    size += " uncached" if run.uncached else ""
    return f"{_frames(run.gfn, run.pages)} -> SPA {_pages(run.spa, run.pages)} {run.access or '-'} {size}"


_CLASSES = (
    ("no live region", "frames that no live region explains"),
    ("is gone", "a device behind a host mapping that is gone"),
    ("must lead to", "device frames that lead to another page"),
    ("outside every device", "device frames that lead outside the device"),
    ("leads into the device", "RAM that leads into a device"),
    ("the root has", "RAM frames that lead to another page than the root has"),
    ("not cached", "RAM that is not cached"),
    (": cached", "a device that is cached"),
    ("writable, but", "frames that are writable beyond their region"),
    ("executable, but", "frames that are executable beyond their region"),
)


def classes(problems: Iterable[str]) -> str:
    """The kinds of problems of an audit, in words that do not change between boots."""
    lines = list(problems)
    return "; ".join(text for mark, text in _CLASSES if any(mark in line for line in lines))


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
        yield from _wrong_pages(run, region)
        if run.uncached:
            yield f"{describe(run)}: not cached, but {region} is RAM"
    elif region.gone:
        yield f"{describe(run)}: the host mapping of {region} is gone"
        return
    elif region.spa is not None:
        wanted = region.spa + run.gfn - region.gfn
        if run.spa != wanted:
            yield f"{describe(run)}: {region} must lead to SPA {_pages(wanted, run.pages)}"
    elif not any(_inside(run, window) for window in windows):
        yield f"{describe(run)}: {region} leads outside every device"
    if region.kind == "mmio" and not run.uncached:
        yield f"{describe(run)}: cached, but {region} is a device"
    if "w" in run.access and not region.writable:
        yield f"{describe(run)}: writable, but {region} is read-only"
    if "x" in run.access and not region.executable:
        yield f"{describe(run)}: executable, but {region} is not"


def _wrong_pages(run: SlatRun, region: Region) -> Iterator[str]:
    for first, pages, spa in region.behind:
        start = max(run.gfn, region.gfn + first)
        end = min(run.gfn + run.pages, region.gfn + first + pages)
        if start < end:
            part, wanted = _part(run, start, end), spa + start - region.gfn - first
            if part.spa != wanted:
                yield f"{describe(part)}: the root has SPA {_pages(wanted, part.pages)} there ({region})"


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
