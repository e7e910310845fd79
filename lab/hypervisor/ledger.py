# SPDX-License-Identifier: GPL-2.0-or-later
"""The ledger: decoding records and reading the ring while the stand-in writes it."""

from __future__ import annotations

from lab.hypervisor import layout
from lab.hypervisor.layout import BLOCK
from lab.hypervisor.memory import Memory
from lab.model.ledger import LedgerRecord, LedgerSlice, RecordFlag, RecordKind


def decode_record(data: bytes) -> LedgerRecord:
    """Decode one ``struct host_record`` (160 bytes). ValueError if it is no record."""
    if len(data) != layout.RECORD.size:
        raise ValueError(f"a ledger record has {layout.RECORD.size} bytes, not {len(data)}")
    (
        seq, tsc, partition, vp, lp, kind, flags, code, status, words,
        rep_start, rep_count, rep_done, frames, rip, ret, *rest,
    ) = layout.RECORD.unpack(data)  # fmt: skip
    return LedgerRecord(
        seq=seq,
        tsc=tsc,
        lp=lp,
        kind=RecordKind(kind),
        flags=RecordFlag(flags),
        partition=partition,
        vp=vp,
        code=code,
        rep_start=rep_start,
        rep_count=rep_count,
        rep_done=rep_done,
        status=status,
        rip=rip,
        ret=ret,
        words=tuple(rest[layout.RECORD_FRAMES :][: min(words, layout.RECORD_WORDS)]),
        frames=tuple(rest[: min(frames, layout.RECORD_FRAMES)]),
    )


def callers(record: LedgerRecord) -> tuple[int, ...]:
    """Return addresses of who made the call, innermost first.

    The first lies in the kernel's common hypercall wrapper; the function of interest is the first
    one that is not in :data:`lab.hypervisor.names.HYPERCALL_WRAPPERS`.
    """
    return (record.ret, *record.frames) if record.ret else record.frames


class LedgerReader:
    """Reads the ring without disturbing the writer.

    The writer clears a record's sequence number, fills it, then publishes the number; a record is
    taken only if its number was right before and after the copy.
    """

    def __init__(self, memory: Memory, block: int) -> None:
        """``block``: address of host_block, already valid. ValueError if the ring makes no sense."""
        self._memory = memory
        self._block = block
        self._ring = memory.u64(block + BLOCK["ledger.address"])
        self._capacity = memory.u32(block + BLOCK["ledger.capacity"])
        size = memory.u32(block + BLOCK["ledger.record_size"])
        if size != layout.RECORD.size or self._capacity & (self._capacity - 1) or not self._capacity:
            raise ValueError(f"ledger of {self._capacity} records of {size} bytes")

    def position(self) -> int:
        """Sequence number of the newest record."""
        return self._memory.u64(self._block + BLOCK["ledger.head"])

    def since(self, position: int, *, final: bool = False) -> LedgerSlice:
        """Records after ``position``, oldest first.

        A record that is just being written ends the slice and comes with the next one, unless
        ``final`` says that nobody will finish it: then it counts as lost.
        """
        records: list[LedgerRecord] = []
        head = self.position()
        first = max(position, head - self._capacity)
        lost = first - position
        end = head
        for seq in range(first + 1, head + 1):
            record = self._record(seq)
            if record is not None:
                records.append(record)
            elif final or self.position() >= seq + self._capacity:
                lost += 1
            else:
                end = seq - 1
                break
        return LedgerSlice(tuple(records), lost, end)

    def _record(self, seq: int) -> LedgerRecord | None:
        spa = self._ring + (seq - 1) % self._capacity * layout.RECORD.size
        if self._memory.u64(spa) != seq:
            return None
        data = self._memory.read(spa, layout.RECORD.size)
        return decode_record(data) if self._memory.u64(spa) == seq else None
