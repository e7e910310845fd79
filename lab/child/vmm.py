# SPDX-License-Identifier: GPL-2.0-or-later
"""Drive a child partition through ``mshv-vmm`` in the root, over one SSH channel.

vmm = Vmm(root)
vmm.start()
vmm.create_partition(vps=2)
region = vmm.map_bar("0000:00:03.0", 2, gfn=0x10000, pages=16)
vmm.read(0, region.gpa, 8)
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lab.child.protocol import (
    COUNTERS,
    Access,
    AccessResult,
    LiveRegion,
    Region,
    StormCount,
    VmmError,
    decode_fields,
    decode_live,
    decode_region,
    decode_reply,
    decode_results,
    encode_access,
    split_batches,
)
from lab.model.errors import LabError, NotObservable
from lab.root.root import Root
from lab.root.session import Session

PROTOCOL_VERSION = 1
DEFAULT_RAM_PAGES = 256
BATCH = 1000
"""Accesses in one line: longer lines gain nothing."""
IN_FLIGHT = 4
_REFERENCE = "kvm-vmm"
_BUDGET = 5.0
STORM_ROUNDS = 20_000
"""Bound of a storm that nobody ends."""
_MARGIN = 10.0
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


class Vmm:
    """One ``mshv-vmm`` with at most one partition.

    Without ``socket`` the VMM lives as long as this object's SSH channel. With ``socket`` (a path in
    the root) it outlives it: ``start()`` joins the one that is there or starts it.

    VmmError when the VMM refuses something; GuestDied when it or the guest is gone or silent.
    """

    def __init__(self, root: Root, *, socket: str = "") -> None:
        self._root = root
        self._socket = socket
        self._session: Session | None = None
        self._tags = itertools.count(1)
        self._budget = _BUDGET
        self._pid = 0
        self._bare: set[int] = set()  # regions whose host mapping was taken away under them

    # ---- the process

    def start(self) -> None:
        """Start the VMM, or join the one at ``socket``."""
        vmm = command = self._root.vmm
        if self._socket:
            path = shlex.quote(self._socket)
            self._root.run(f"[ -S {path} ] || {vmm} --detach {path}")
            command = f"{vmm} --connect {path}"
        self._session = self._root.open_session(command)
        hello = self.hello()
        if hello["version"] != PROTOCOL_VERSION:
            raise LabError(
                f"the VMM speaks protocol {hello['version']}, the lab {PROTOCOL_VERSION}",
                where=vmm,
                hint="the root file system is of another version of the lab: boot anew",
            )
        self._pid = hello["pid"]
        if self._root.factor > 1.0:
            self.set_budget(self._budget)

    @property
    def pid(self) -> int:
        """Process id in the root; 0 before ``start()``."""
        return self._pid

    def hello(self) -> dict[str, int]:
        """``version``, ``pid``, ``ring``, ``vps`` and ``ram_pages`` (0 without a partition)."""
        return decode_fields(self._request("hello"))

    def quit(self) -> None:
        """End the VMM in good order; the kernel removes what it still held."""
        self._request("quit")
        self.close()

    def close(self) -> None:
        """Close the channel; without ``socket`` the VMM ends with it."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def kill(self) -> None:
        """SIGKILL, as a crash would: nothing is undone by the VMM itself."""
        self._root.run(f"kill -9 {self._pid}")
        self.close()

    def set_budget(self, seconds: float) -> None:
        """How long one access or parallel request may run before VmmError ETIMEDOUT (default 5 s); as every
        wait for the VMM, stretched by the root's factor."""
        self._request("budget", self._milliseconds(max(seconds, 0.001)))
        self._budget = seconds

    # ---- partition and memory

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

    def release_request(self, bdf: str) -> int:
        """An event that is signalled when the kernel wants the device back, see :meth:`read_event`."""
        event = self.new_event()
        self._request("vfio", bdf, "request", str(event))
        return event

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

    # ---- events

    def new_event(self) -> int:
        """Number of a new eventfd of the VMM."""
        return int(self._request("event", "new")[0])

    def close_event(self, event: int) -> None:
        """Close an eventfd; its number may be given again."""
        self._request("event", "close", str(event))

    def read_event(self, event: int, budget: float = 0.0) -> int:
        """How often the eventfd was signalled since the last time; waits up to ``budget`` seconds for the
        first signal, 0 when none came."""
        return int(self._request("event", "read", str(event), self._milliseconds(budget), extra=budget)[0])

    def write_event(self, event: int) -> None:
        """Signal the eventfd."""
        self._request("event", "write", str(event))

    def ioeventfd(
        self, event: int, gpa: int, width: int, value: int | None = None, *, remove: bool = False
    ) -> None:
        """Let a child's write of ``width`` bytes (0: any) and ``value`` (None: any) signal the eventfd."""
        what = "del" if remove else "add"
        words = [what, str(event), f"{gpa:#x}", str(width), *([] if value is None else [f"{value:#x}"])]
        self._request("ioeventfd", *words)

    def irqfd(self, event: int, gsi: int, resample: int | None = None, *, remove: bool = False) -> None:
        """Let the eventfd raise interrupt ``gsi`` of the routes; ``resample`` is signalled at its EOI."""
        words = ["del" if remove else "add", str(event), str(gsi)]
        self._request("irqfd", *words, *([] if resample is None else [str(resample)]))

    def routes(self, routes: Mapping[int, tuple[int, int]]) -> None:
        """Set the whole table of interrupts: MSI address and data by number."""
        words = [f"{word:#x}" for gsi, (address, data) in routes.items() for word in (gsi, address, data)]
        self._request("routes", *words)

    def interrupts(self, vector: int) -> int:
        """How many interrupts of this vector the child has taken."""
        return int.from_bytes(self.peek(COUNTERS + 8 * vector, 8), "little")

    # ---- accesses

    def read(self, vp: int, gpa: int, width: int = 4) -> int:
        """Value that VP ``vp`` reads. VmmError EINTERCEPT when the access is intercepted."""
        return self._value(Access(gpa, width, "read", vp=vp))

    def write(self, vp: int, gpa: int, width: int, value: int) -> None:
        """Let VP ``vp`` write. VmmError EINTERCEPT when the access is intercepted."""
        self._value(Access(gpa, width, "write", value, vp=vp))

    def access(self, accesses: Sequence[Access]) -> list[AccessResult]:
        """Any number of accesses in order; an intercept is a result, not an error.

        Accesses of one VP in a row run without leaving the guest in between; several batches are
        under way at once.
        """
        batches = split_batches(accesses, BATCH)
        lines = [["access", str(batch[0].vp), *map(encode_access, batch)] for batch in batches]
        results: list[AccessResult] = []
        for batch, words in zip(batches, self._pipeline(lines), strict=True):
            results += decode_results(words, batch)
        return results

    def parallel(
        self, jobs: Sequence[Sequence[Access]], *, lockstep: bool = False
    ) -> list[list[AccessResult]]:
        """One list of accesses per VP, all at once: the VPs meet inside the guest and then start.

        With ``lockstep`` they meet before every access, as long as all of them have one.
        """
        parts = []
        for job in jobs:
            if len({access.vp for access in job}) != 1:
                raise ValueError("each list of a parallel request is for exactly one VP")
            parts.append(" ".join([str(job[0].vp), *map(encode_access, job)]))
        words = self._request(
            "parallel", "lockstep" if lockstep else "together", " / ".join(parts), jobs=len(jobs)
        )
        split = " ".join(words).split(" / ")
        if len(split) != len(jobs):
            raise LabError(f"{len(split)} results for {len(jobs)} VPs", where="mshv-vmm")
        return [decode_results(text.split(), job) for text, job in zip(split, jobs, strict=True)]

    def submit(self, vp: int, accesses: Sequence[Access]) -> None:
        """Start accesses on a VP and do not wait: regions may change meanwhile."""
        self._request("submit", str(vp), *map(encode_access, accesses))

    def collect(self, vp: int, accesses: Sequence[Access], budget: float = _BUDGET) -> list[AccessResult]:
        """Results of what was submitted. VmmError ETIMEDOUT when it takes longer than ``budget``."""
        words = self._request("collect", str(vp), self._milliseconds(budget), extra=budget)
        return decode_results(words, accesses)

    def storm(self, vp: int, words: Mapping[int, int], rounds: int = STORM_ROUNDS) -> None:
        """Let a VP read 64-bit words over and over, at most so many rounds: GPA to the value that must be
        there. Returns when the first round is over."""
        self._request("storm", str(vp), str(rounds), *(f"r8:{at:x}={word:x}" for at, word in words.items()))

    def calm(self, vp: int, budget: float = _BUDGET) -> StormCount:
        """End a storm, after one more whole round (unless it has had all its rounds), and count."""
        fields = decode_fields(self._request("calm", str(vp), str(round(budget * 1000)), extra=budget))
        return StormCount(**fields)

    def registers(self, vp: int) -> dict[str, int]:
        """General and control registers of a VP."""
        return decode_fields(self._request("regs", str(vp)))

    # ---- wire

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

    def _milliseconds(self, seconds: float) -> str:
        """A budget for the VMM: the root's factor is in it, which the session adds by itself."""
        return str(round(seconds * self._root.factor * 1000))

    def _value(self, access: Access) -> int:
        result = self.access([access])[0]
        if result.message is not None:
            m = result.message
            text = f"{access.kind} at {access.gpa:#x}: {m.name}, gpa {m.gpa:#x}"
            raise VmmError("access", "EINTERCEPT", text)
        return result.value or 0

    def _request(self, *words: str, jobs: int = 1, extra: float = 0.0) -> list[str]:
        return next(self._pipeline([list(words)], jobs * self._budget + extra))

    def _pipeline(self, lines: Sequence[list[str]], each: float | None = None) -> Iterator[list[str]]:
        """Replies to ``lines`` in order, with at most IN_FLIGHT of them unanswered."""
        if self._session is None:
            raise LabError("the VMM is not running", where="mshv-vmm", hint="call start() first")
        budget = (each or self._budget) + _MARGIN
        tags: list[str] = []
        failed: VmmError | None = None
        unable: NotObservable | None = None
        for done in range(len(lines)):
            while failed is None and len(tags) < min(len(lines), done + IN_FLIGHT):
                tag = str(next(self._tags))
                self._session.send_line(" ".join([tag, *lines[len(tags)]]), budget)
                tags.append(tag)
            if done == len(tags):
                break
            line = self._session.receive_line(budget)
            try:
                words = decode_reply(line, tags[done])
            except VmmError as e:
                # Replies under way are read first, so that the next request finds its own.
                if e.errno_name == "EOPNOTSUPP" and self._root.vmm.endswith(_REFERENCE):
                    # Not the kernel's refusal but the program's own: KVM has no counterpart.
                    unable = unable or NotObservable(f"{e.op} with {_REFERENCE}: {e.text}")
                failed = failed or e
                continue
            except ValueError as e:
                raise LabError(str(e), where="mshv-vmm", hint="the VMM lost step: start it anew") from e
            if failed is None:
                yield words
        if unable is not None:
            raise unable
        if failed is not None:
            raise failed
