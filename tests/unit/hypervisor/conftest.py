# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine's RAM with a stand-in in it, made by hand from the encodings of host.h."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.hypervisor import layout
from lab.hypervisor.layout import BLOCK
from lab.hypervisor.view import HypervisorView

BLOCK_AT = 0x10000
RING_AT = 0x20000
CAPACITY = 8
TABLES_AT = 0x40000
LOW = 0x80000
"""RAM below the hole in this toy machine; the file goes on for as much above 4 GiB."""


def elf64(symbols: dict[str, int]) -> bytes:
    """A minimal ELF64 file: header, symbol table, string table, three section headers."""
    strings, entries = b"\0", struct.pack("<IBBHQQ", 0, 0, 0, 0, 0, 0)
    for name, value in symbols.items():
        entries += struct.pack("<IBBHQQ", len(strings), 0x11, 0, 1, value, 8)
        strings += name.encode() + b"\0"
    symbols_at, strings_at = 64, 64 + len(entries)
    sections_at = strings_at + len(strings)
    null = bytes(64)
    symtab = struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, symbols_at, len(entries), 2, 1, 8, 24)
    strtab = struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, strings_at, len(strings), 0, 0, 1, 0)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, sections_at, 0, 64, 0, 0, 64, 3, 0
    )
    return header + entries + strings + null + symtab + strtab


class StandIn:
    """Writes into the RAM file what the C code would write into RAM."""

    def __init__(self, ram: Path) -> None:
        self.ram = ram
        self.head = 0
        with ram.open("wb") as f:
            f.truncate(2 * LOW)
        self.u32("version", layout.VERSION)
        self.u32("size", layout.BLOCK_SIZE)
        self.u64("ledger.address", RING_AT)
        self.u32("ledger.record_size", layout.RECORD.size)
        self.u32("ledger.capacity", CAPACITY)
        self.u32("partitions", layout.PARTITIONS)
        self.u64("tsc_hz", 2_000_000_000)

    def at(self, offset: int, data: bytes) -> None:
        with self.ram.open("r+b") as f:
            f.seek(offset)
            f.write(data)

    def get(self, offset: int, length: int) -> bytes:
        with self.ram.open("rb") as f:
            f.seek(offset)
            return f.read(length)

    def u32(self, field: str, value: int) -> None:
        self.at(BLOCK_AT + BLOCK[field], struct.pack("<I", value))

    def u64(self, field: str, value: int) -> None:
        self.at(BLOCK_AT + BLOCK[field], struct.pack("<Q", value))

    def start(self, state: layout.State = layout.State.RUNNING) -> None:
        self.u32("state", state)
        self.u64("magic", layout.MAGIC)

    def record(self, **fields: object) -> int:
        """Append a record; ``seq=0`` leaves it half written. Returns its number."""
        self.head += 1
        data = encode_record(**{"seq": self.head, **fields})
        self.at(RING_AT + (self.head - 1) % CAPACITY * layout.RECORD.size, data)
        self.u64("ledger.head", self.head)
        return self.head

    def partition(self, slot: int, **fields: int) -> None:
        keys = ("id", "flags", "slat_root", "state", "pool_free", "pool_total", "pad", "vps")
        entry = layout.PARTITION.pack(*(fields.get(k, 0) for k in keys))
        self.at(BLOCK_AT + BLOCK["partition"] + slot * layout.PARTITION.size, entry)

    def table(self, spa: int, entries: dict[int, int]) -> None:
        """A table page; above 4 GiB the file goes on where the low RAM ends."""
        offset = spa if spa < LOW else spa - (1 << 32) + LOW
        for index, entry in entries.items():
            self.at(offset + 8 * index, struct.pack("<Q", entry))


def encode_record(**fields: object) -> bytes:
    """A ``struct host_record`` with the given fields, the rest 0; ``words`` and ``frames`` are tuples."""
    words = fields.get("words", ())
    frames = fields.get("frames", ())
    assert isinstance(words, tuple) and isinstance(frames, tuple)
    order = ["seq", "tsc", "partition", "vp", "lp", "kind", "flags", "code", "status"]
    order_reps = ["rep_start", "rep_count", "rep_done"]
    values = [fields.get(k, 1 if k == "kind" else 0) for k in order]
    reps = [fields.get(k, 0) for k in order_reps]
    return layout.RECORD.pack(
        *values, len(words), *reps, len(frames), fields.get("rip", 0), fields.get("ret", 0),
        *frames, *[0] * (layout.RECORD_FRAMES - len(frames)),
        *words, *[0] * (layout.RECORD_WORDS - len(words)),
    )  # fmt: skip


@pytest.fixture
def standin(tmp_path: Path) -> StandIn:
    """RAM in which the stand-in has filled its block but not yet shown it."""
    return StandIn(tmp_path / "ram")


@pytest.fixture
def view(standin: StandIn, tmp_path: Path) -> Iterator[HypervisorView]:
    """A view of that RAM."""
    symbols = tmp_path / "hv.elf64"
    symbols.write_bytes(elf64({"other": 1, "host_block": BLOCK_AT, "host_block_end": 3}))
    with HypervisorView(standin.ram, symbols, LOW) as v:
        yield v
