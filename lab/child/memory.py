# SPDX-License-Identifier: GPL-2.0-or-later
"""Partition and memory of a child: its regions, and what the VMM does to its own mappings under them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lab.child.channel import VmmChannel
from lab.child.protocol import (
    LiveRegion,
    Region,
    VmmError,
    decode_live,
    decode_region,
)
from lab.root.root import Root

DEFAULT_RAM_PAGES = 256
DestroyOrder = Literal["tidy", "vps", "partition"]


@dataclass(frozen=True, slots=True)
class BarInfo:
    """Where a BAR lies: system physical address and size in bytes."""

    phys_spa: int
    size: int

    @property
    def pages(self) -> int:
        """Size in pages of 4 KiB."""
        return self.size >> 12


class VmmMemory(VmmChannel):
    """A VMM with at most one partition, and its memory."""

    def __init__(self, root: Root, *, socket: str = "") -> None:
        super().__init__(root, socket=socket)
        self._bare: set[int] = set()  # regions whose host mapping was taken away under them

    def create_partition(
        self,
        vps: int = 1,
        ram_pages: int = DEFAULT_RAM_PAGES,
        *,
        lapic: bool = False,
        x2apic: bool = False,
        hyperv: int = 0,
    ) -> None:
        """Create partition, RAM of ``ram_pages`` at guest address 0, and VPs.

        ``lapic``: with local APICs; ``x2apic``: that can be x2APICs; ``hyperv``: synthetic processor
        features, which say what of Hyper-V the child sees.
        """
        words = ["lapic"] * lapic + ["x2apic"] * x2apic + ["hyperv", hex(hyperv)] * bool(hyperv)
        self._request("create", str(vps), str(ram_pages), *words)

    def destroy(self, order: DestroyOrder = "tidy") -> None:
        """Destroy the partition. What goes first: ``tidy`` the regions, ``vps`` the VPs' files,
        ``partition`` the partition's file."""
        self._request("destroy", order)
        self._bare.clear()

    def bar(self, bdf: str, bar_index: int) -> BarInfo:
        """Where the root's PCI core put a BAR."""
        bar = self._root.pci_device(bdf).bar(bar_index)
        return BarInfo(bar.address, bar.size)

    def map_bar(
        self,
        bdf: str,
        bar: int,
        gfn: int,
        pages: int,
        first_page: int = 0,
        writable: bool = True,
        *,
        host_writable: bool = True,
        partial: bool = False,
        mapped_pages: int = 0,
        executable: bool = False,
    ) -> Region:
        """Region of BAR pages ``first_page``... through VFIO; the device must be bound to vfio-pci.

        The VMM maps the whole BAR and makes the region a part of it; with ``partial`` it maps only
        those pages, so that the VMA's own offset is not 0. ``host_writable`` False maps read-only.
        ``mapped_pages`` maps only so many and asks for a region that reaches beyond them, where nothing is.
        """
        host = ["vfio", bdf, str(bar)]
        if mapped_pages:
            partial = True
        first, count = (first_page, mapped_pages or pages) if partial else (0, 0)
        number = self._map(host, first, count, host_writable, guard=bool(mapped_pages))
        start, over = 0 if partial else first_page, bool(mapped_pages)
        return self._region(number, gfn, pages, start, writable, executable, over=over)

    def map_physical(
        self,
        address: int,
        gfn: int,
        pages: int,
        writable: bool = True,
        *,
        host_writable: bool = True,
        mapped_pages: int = 0,
    ) -> Region:
        """Region of physical memory at ``address`` through /dev/mem: the control experiment.
        ``mapped_pages`` as in :meth:`map_bar`."""
        host, over = ["devmem", f"{address:#x}"], bool(mapped_pages)
        number = self._map(host, 0, mapped_pages or pages, host_writable, guard=over)
        return self._region(number, gfn, pages, 0, writable, False, over=over)

    def map_file(
        self,
        path: str,
        gfn: int,
        pages: int,
        first_page: int = 0,
        writable: bool = True,
        executable: bool = False,
    ) -> Region:
        """Region of a file in the root, shared; mapped from its page ``first_page`` on."""
        number = self._map(["file", path], first_page, pages, True)
        return self._region(number, gfn, pages, 0, writable, executable)

    def map_anonymous(
        self, gfn: int, pages: int, writable: bool = True, executable: bool = False, *, mapped_pages: int = 0
    ) -> Region:
        """Region of fresh anonymous memory of the VMM. ``mapped_pages`` maps only so many and asks for a
        region of ``pages``, which may be any 64-bit number."""
        number = self._map(["anon"], 0, mapped_pages or pages, True)
        return self._region(number, gfn, pages, 0, writable, executable, over=bool(mapped_pages))

    def map_part(self, gfn: int, before: int, pages: int, behind: int) -> Region:
        """Region of fresh anonymous memory that goes on before and behind the region."""
        number = self._map(["anon"], 0, before + pages + behind, True)
        return self._region(number, gfn, pages, before, True, False)

    def advise(self, region: Region, what: Literal["huge", "small", "drop"], first: int, pages: int) -> None:
        """madvise() of pages of the region's host mapping: huge pages or none, or drop their content."""
        self._request("advise", what, str(region.map), str(first), str(pages))

    def unmap(self, region: Region, *, keep_host: bool = False) -> None:
        """Remove a region, and its host mapping unless ``keep_host``."""
        self._request("region", "del", str(region.id))
        if region.map is not None and not keep_host and region.id not in self._bare:
            self._request("munmap", str(region.map))
        self._bare.discard(region.id)

    def munmap(self, region: Region) -> None:
        """Unmap the host mapping under a live region, which stays."""
        if region.map is None:
            raise ValueError("the region's host mapping is gone already")
        self._request("munmap", str(region.map))
        self._bare.add(region.id)

    def drop_host(self, number: int) -> None:
        """Unmap a host mapping that no region is made of any more."""
        self._request("munmap", str(number))

    def replace(self, region: Region, page: int, pages: int, *host: str, writable: bool = True) -> int:
        """Map something else where pages of a region's host mapping are, or were: the region stays.

        ``host`` is what the VMM maps and its first page: ``("anon", "0")``, ``("vfio", BDF, BAR, FIRST)``.
        Returns the new mapping's number.
        """
        if region.map is None:
            raise ValueError("the region never had a host mapping")
        kind, first = list(host[:-1]), int(host[-1])
        self._bare.add(region.id)
        at = str(region.first_page + page)
        words = [*kind, str(first), str(pages), "rw" if writable else "ro", "at", str(region.map), at]
        return int(self._request("map", *words)[0])

    def fill(self, number: int, pages: int, word: int) -> None:
        """Write one 64-bit word all over the first pages of a host mapping."""
        self._request("fill", str(number), "0", str(pages), f"{word:#x}")

    def protect(self, region: Region, page: int, pages: int, mode: Literal["none", "ro", "rw"]) -> None:
        """Change the access that the VMM has to pages of a region, which splits its mapping."""
        first = region.first_page + page
        self._request("protect", str(region.map), str(first), str(pages), mode)

    def toggle(self, region: Region) -> None:
        """Let a thread of the VMM take the right to write from its host mapping and give it back, over
        and over, until :meth:`settle`. The mapping must stay meanwhile; the region need not."""
        self._request("toggle", "on", str(region.map), str(region.first_page), str(region.pages))

    def settle(self) -> int:
        """End :meth:`toggle`: how often it took the right away."""
        return int(self._request("toggle", "off")[0])

    def span(self, parts: Sequence[tuple[str, int, int, int]], gfn: int) -> Region:
        """One region over several mappings side by side, each (BDF, BAR, first page, pages)."""
        pages = sum(part[3] for part in parts)
        room = self._map(["anon"], 0, pages, True)
        at = 0
        for bdf, bar, first, count in parts:
            self._request(
                "map", "vfio", bdf, str(bar), str(first), str(count), "rw", "at", str(room), str(at)
            )
            at += count
        return self._region(room, gfn, pages, 0, True, False)

    def fork(self, *, orphan: bool = False) -> int:
        """Make a copy of the VMM that does nothing; its process id. An ``orphan`` outlives the VMM."""
        return int(self._request("fork", *["orphan"] * orphan)[0])

    def unfork(self, pid: int) -> None:
        """Kill a copy."""
        self._request("unfork", str(pid))

    def regions(self) -> list[Region]:
        """Regions as the VMM knows them (without the RAM)."""
        return [decode_region(word) for word in self._request("region", "list")]

    def live(self) -> list[LiveRegion]:
        """All regions of the partition, the RAM first, with the physical pages behind them; empty without
        a partition or when the VMM is not running."""
        if self._session is None or not self.hello()["vps"]:
            return []
        return [decode_live(word) for word in self._request("region", "live")]

    @property
    def running(self) -> bool:
        """Whether there is a channel to the VMM."""
        return self._session is not None

    def repeat(self, rounds: int, requests: Sequence[str], budget: float = 60.0) -> None:
        """Run requests of the line protocol in order, ``rounds`` times, inside the VMM. VmmError with the
        first that fails, or that an intercept ends."""
        self._request("repeat", str(rounds), " / ".join(requests), extra=budget)

    def host_read(self, region: Region, offset: int, width: int) -> int:
        """The root's own read through the region's host mapping; VmmError EFAULT if that faults."""
        at = (region.first_page << 12) + offset
        return int(self._request("host", "read", str(region.map), str(at), str(width))[0], 0)

    def map_host(self, bdf: str, bar: int) -> int:
        """Map a whole BAR in the VMM alone, read-only; no partition needed. The mapping's number."""
        return self._map(["vfio", bdf, str(bar)], 0, 0, False)

    def host_words(self, number: int, offsets: Sequence[int]) -> list[int]:
        """64-bit words that the root itself reads through a host mapping."""
        lines = [["host", "read", str(number), str(offset), "8"] for offset in offsets]
        return [int(words[0], 0) for words in self._pipeline(lines)]

    def host_write(self, region: Region, offset: int, width: int, value: int) -> None:
        """The root's own write through the region's host mapping."""
        at = (region.first_page << 12) + offset
        self._request("host", "write", str(region.map), str(at), str(width), str(value))

    def device(self, bdf: str, what: Literal["on", "off", "reset", "close"]) -> None:
        """VFIO device: memory decoding on or off, function reset, or give it back."""
        self._request("vfio", bdf, what)

    def give_back(self, region: Region, bdf: str) -> None:
        """What a VMM does on a release request: unmap region and BAR, close the device."""
        self.unmap(region)
        self.device(bdf, "close")

    def peek(self, gpa: int, size: int) -> bytes:
        """Bytes of the child's RAM."""
        return bytes.fromhex(self._request("peek", str(gpa), str(size))[0])

    def poke(self, gpa: int, data: bytes) -> None:
        """Write into the child's RAM."""
        self._request("poke", str(gpa), data.hex())

    def _map(self, host: list[str], first: int, pages: int, writable: bool, *, guard: bool = False) -> int:
        mode = ("rw" if writable else "ro") + ("-guard" if guard else "")
        return int(self._request("map", *host, str(first), str(pages), mode)[0])

    def _region(
        self,
        number: int,
        gfn: int,
        pages: int,
        first: int,
        writable: bool,
        executable: bool,
        *,
        over: bool = False,
    ) -> Region:
        flags = "r" + "w" * writable + "x" * executable + "o" * over
        try:
            words = self._request("region", "add", f"{gfn:#x}", str(pages), str(number), str(first), flags)
        except VmmError:
            self._request("munmap", str(number))
            raise
        return Region(int(words[0]), gfn, pages, number, first, writable, executable)
