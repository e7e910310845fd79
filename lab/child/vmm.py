# SPDX-License-Identifier: GPL-2.0-or-later
"""Drive a child partition through ``mshv-vmm`` in the root, over one SSH channel.

vmm = Vmm(root)
vmm.start()
vmm.create_partition(vps=2)
region = vmm.map_bar("0000:00:03.0", 2, gfn=0x10000, pages=16)
vmm.read(0, region.gpa, 8)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.child.channel import BUDGET
from lab.child.protocol import (
    COUNTERS,
    Access,
    AccessResult,
    StormCount,
    VmmError,
    decode_fields,
    decode_results,
    encode_access,
    split_batches,
)
from lab.child.requests import VmmRequests
from lab.model.errors import LabError

BATCH = 1000
"""Accesses in one line: longer lines gain nothing."""
STORM_ROUNDS = 20_000
"""Bound of a storm that nobody ends."""


class Vmm(VmmRequests):
    """One ``mshv-vmm`` with at most one partition.

    Without ``socket`` the VMM lives as long as this object's SSH channel. With ``socket`` (a path in
    the root) it outlives it: ``start()`` joins the one that is there or starts it.

    VmmError when the VMM refuses something; GuestDied when it or the guest is gone or silent.
    """

    # ---- events

    def release_request(self, bdf: str) -> int:
        """An event that is signalled when the kernel wants the device back, see :meth:`read_event`."""
        event = self.new_event()
        self._request("vfio", bdf, "request", str(event))
        return event

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

    def collect(self, vp: int, accesses: Sequence[Access], budget: float = BUDGET) -> list[AccessResult]:
        """Results of what was submitted. VmmError ETIMEDOUT when it takes longer than ``budget``."""
        words = self._request("collect", str(vp), self._milliseconds(budget), extra=budget)
        return decode_results(words, accesses)

    def storm(self, vp: int, words: Mapping[int, int], rounds: int = STORM_ROUNDS) -> None:
        """Let a VP read 64-bit words over and over, at most so many rounds: GPA to the value that must be
        there. Returns when the first round is over."""
        self._request("storm", str(vp), str(rounds), *(f"r8:{at:x}={word:x}" for at, word in words.items()))

    def calm(self, vp: int, budget: float = BUDGET) -> StormCount:
        """End a storm, after one more whole round (unless it has had all its rounds), and count."""
        fields = decode_fields(self._request("calm", str(vp), str(round(budget * 1000)), extra=budget))
        return StormCount(**fields)

    def registers(self, vp: int) -> dict[str, int]:
        """General and control registers of a VP."""
        return decode_fields(self._request("regs", str(vp)))

    def _value(self, access: Access) -> int:
        result = self.access([access])[0]
        if result.message is not None:
            m = result.message
            text = f"{access.kind} at {access.gpa:#x}: {m.name}, gpa {m.gpa:#x}"
            raise VmmError("access", "EINTERCEPT", text)
        return result.value or 0
