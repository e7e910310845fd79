# SPDX-License-Identifier: GPL-2.0-or-later
"""The stand-in as the host sees it: state, ledger, partitions, second-level tables, faults, holds."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType

from lab.hypervisor import layout, slat
from lab.hypervisor.elf import find_symbol
from lab.hypervisor.faults import FaultPlan
from lab.hypervisor.holds import HoldPlan
from lab.hypervisor.layout import BLOCK, PartitionState
from lab.hypervisor.layout import State as StandInState
from lab.hypervisor.ledger import LedgerReader
from lab.hypervisor.memory import PAGE, Memory
from lab.model.errors import LabUnavailable
from lab.model.ledger import LedgerSlice, PartitionInfo, SlatRun

__all__ = ["HypervisorView", "StandInState"]

ROOT_PARTITION = 1
_TABLE_READS = 1000
"""Attempts to read the partition table while the stand-in changes it: it needs microseconds."""


class HypervisorView:
    """A mapped machine. Use as a context manager; valid as long as the RAM file exists.

    It can be opened before QEMU has started the stand-in: poll :meth:`ready`. Every other method
    needs it ready and raises LabUnavailable otherwise, except :meth:`panicked` and :meth:`state`.
    """

    def __init__(self, ram: Path, symbols: Path, below_4g: int) -> None:
        """``ram``: the machine's RAM file. ``symbols``: the stand-in's ELF64 image. ``below_4g``:
        bytes of RAM below the PCI hole. Raises LabUnavailable if either cannot be used."""
        self._block = find_symbol(symbols, layout.SYMBOL)
        self._where = str(ram)
        self._memory = Memory(ram, below_4g)
        self._reader: LedgerReader | None = None
        self._faults: FaultPlan | None = None
        self._holds: HoldPlan | None = None
        if self._memory.offset(self._block, layout.BLOCK_SIZE) is None:
            self.close()
            raise LabUnavailable(
                f"the stand-in's address {self._block:#x} lies outside RAM",
                where=self._where,
                hint="give the machine at least 512 MiB",
            )

    def __enter__(self) -> HypervisorView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unmap the RAM file."""
        self._memory.close()

    # ---- state ----
    def state(self) -> StandInState | None:
        """What the stand-in says of itself, None before it has started."""
        if self._u64("magic") != layout.MAGIC:
            return None
        version = self._u32("version")
        if version != layout.VERSION:
            raise LabUnavailable(
                f"the stand-in speaks version {version}, this lab {layout.VERSION}",
                where=self._where,
                hint="build the stand-in again",
            )
        return StandInState(self._u32("state"))

    def ready(self) -> bool:
        """True once the root partition has been started (and ever after, also when it is gone)."""
        return self.state() not in (None, StandInState.BOOTING)

    def panicked(self) -> str | None:
        """The stand-in's last words (``HV PANIC: ...``), None while it lives."""
        if self.state() not in (StandInState.PANICKED, StandInState.TRIPWIRE):
            return None
        length = min(self._u32("text_length"), layout.TEXT_SIZE)
        return self._memory.read(self._block + BLOCK["text"], length).decode("utf-8", "replace")

    def tsc_hz(self) -> int:
        """Frequency of the time stamps in ledger records."""
        self._require_ready()
        return self._u64("tsc_hz")

    def exits(self) -> int:
        """Exits of the root and its children to the stand-in since its start, over all LPs."""
        self._require_ready()
        first = self._block + BLOCK["exits"]
        return sum(self._memory.u64(first + 8 * i) for i in range(layout.LPS))

    def private_range(self) -> tuple[int, int]:
        """First byte of the stand-in's memory that no guest may reach, and the byte behind the last."""
        self._require_ready()
        return self._u64("shared_end"), self._u64("end")

    def root_memory(self, spa: int, length: int) -> bytes:
        """What the root has at a system physical address (its guest physical address is the same)."""
        return self._memory.read(spa, length)

    # ---- snapshots ----
    def park(self, budget: float = 10.0) -> None:
        """Keep every LP in the stand-in, so that a snapshot can be taken; :meth:`unpark` lets them go.

        An LP notices at its next exit: a fraction of a second when idle. Raises LabUnavailable when one
        has not come within ``budget`` seconds (the LPs are let go then).
        """
        self._require_ready()
        wanted = (1 << self._u32("lps")) - 1
        self._memory.set_u32(self._block + BLOCK["control.park"], 1)
        deadline = time.monotonic() + budget
        while self._u32("control.parked") != wanted:
            if time.monotonic() > deadline:
                parked = self._u32("control.parked")
                self.unpark()
                raise LabUnavailable(
                    f"LPs {parked:#x} of {wanted:#x} are parked after {budget:g} s", where=self._where
                )
            time.sleep(0.002)

    def unpark(self) -> None:
        """Let parked LPs go on; also in a machine that was restored from a snapshot and has not run yet."""
        self._memory.set_u32(self._block + BLOCK["control.park"], 0)

    # ---- ledger ----

    def position(self) -> int:
        """Sequence number of the newest ledger record: a mark for :meth:`since`."""
        return self._ledger().position()

    def since(self, position: int) -> LedgerSlice:
        """Ledger records after ``position``."""
        final = self.state() not in (StandInState.BOOTING, StandInState.RUNNING)
        return self._ledger().since(position, final=final)

    def ledger_enable(self, on: bool, *, dispatches: bool = False) -> None:
        """Switch the ledger; ``dispatches`` adds a record of every DISPATCH_VP (off at start)."""
        self._require_ready()
        self._memory.set_u32(self._block + BLOCK["control.ledger_on"], int(on))
        self._memory.set_u32(self._block + BLOCK["control.dispatch_on"], int(on and dispatches))

    def overrun_ledger(self) -> None:
        """Let the ring run on by more records than it holds: whatever is in it now is lost to readers.

        Only for guests that are thrown away: it proves that a loss is told.
        """
        self._require_ready()
        capacity = self._u32("ledger.capacity")
        # The low word: a guest that is thrown away makes no 2^32 calls before.
        self._memory.set_u32(self._block + BLOCK["ledger.head"], self.position() + capacity + 1)

    # ---- partitions and their memory ----
    def partitions(self) -> list[PartitionInfo]:
        """All partitions, the root (id 1) first."""
        self._require_ready()
        for _ in range(_TABLE_READS):
            before = self._u32("partition_seq")
            table = self._memory.read(
                self._block + BLOCK["partition"], layout.PARTITION.size * layout.PARTITIONS
            )
            if before % 2 == 0 and self._u32("partition_seq") == before:
                return [_partition(e) for e in layout.PARTITION.iter_unpack(table) if e[0]]
        raise LabUnavailable(
            "the stand-in stopped while changing its partition table",
            where=self._where,
            hint="look for a hypervisor panic",
        )

    def slat(self, partition_id: int) -> list[SlatRun]:
        """What partition ``partition_id`` maps now; empty if there is no such partition."""
        for info in self.partitions():
            if info.id == partition_id:
                return slat.walk(info.slat_root, self._table)
        return []

    def owners(self, spa_pfn: int) -> list[tuple[int, int]]:
        """(partition, gfn) of every child mapping of that physical page. The root maps everything."""
        return [
            (info.id, run.gfn + spa_pfn - run.spa)
            for info in self.partitions()
            if info.id != ROOT_PARTITION
            for run in slat.walk(info.slat_root, self._table)
            if not run.no_access and run.spa <= spa_pfn < run.spa + run.pages
        ]

    # ---- faults ----
    @property
    def faults(self) -> FaultPlan:
        """The fault plan: see :class:`~lab.hypervisor.faults.FaultPlan`."""
        if self._faults is None:
            self._require_ready()
            self._faults = FaultPlan(self._memory, self._block)
        return self._faults

    @property
    def holds(self) -> HoldPlan:
        """Hypercalls that wait for the host: see :class:`~lab.hypervisor.holds.HoldPlan`."""
        if self._holds is None:
            self._holds = HoldPlan(self._memory, self._block, self.tsc_hz())
        return self._holds

    # ---- within ----
    def _u32(self, field: str) -> int:
        return self._memory.u32(self._block + BLOCK[field])

    def _u64(self, field: str) -> int:
        return self._memory.u64(self._block + BLOCK[field])

    def _table(self, spa: int) -> bytes | None:
        return self._memory.read(spa, PAGE) if self._memory.offset(spa, PAGE) is not None else None

    def _require_ready(self) -> None:
        if not self.ready():
            raise LabUnavailable(
                "the stand-in has not started the root yet", where=self._where, hint="wait for ready()"
            )

    def _ledger(self) -> LedgerReader:
        if self._reader is None:
            self._require_ready()
            try:
                self._reader = LedgerReader(self._memory, self._block)
            except ValueError as e:
                raise LabUnavailable(
                    f"unusable {e}", where=self._where, hint="build the stand-in again"
                ) from e
        return self._reader


def _partition(entry: tuple[int, ...]) -> PartitionInfo:
    number, flags, root, state, free, total, _, vps = entry
    return PartitionInfo(
        id=number,
        state=PartitionState(state).name.lower(),
        flags=flags,
        slat_root=root,
        pool_free=free,
        pool_total=total,
        vps=tuple(i for i in range(64) if vps >> i & 1),
    )
