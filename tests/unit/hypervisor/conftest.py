# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine's RAM with a stand-in in it: made by hand, or with the stand-in's own hypercalls in a process."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lab.hypervisor import layout
from lab.hypervisor.layout import BLOCK
from lab.hypervisor.memory import PAGE, Memory
from lab.hypervisor.slat import walk
from lab.hypervisor.view import HypervisorView
from lab.model.ledger import SlatRun
from lab.paths import images_dir

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


# ---- the stand-in's own hypercalls, compiled for the host ----
SOURCE = images_dir() / "hypervisor"
HARNESS = Path(__file__).parent / "harness" / "hypercalls.c"
NEEDS_THE_MACHINE = {"main", "linux", "string", "log", "apic", "selftest", "abi_check"}
OWN, HIDDEN, OWN_END = 0x10000, 0x10200, 0x12600
"""The stand-in's pages as hv.ld places them: first, first that the root does not see, end."""
ARENA = 0x20000
"""First page of the root's RAM in the harness. The first two carry input and output of hypercalls."""
ARENA_PAGES = 0x4000
SYMBOLS = {
    "hv_start": OWN, "shared_start": OWN, "shared_end": HIDDEN, "heap_start": HIDDEN, "heap_end": 0x11000,
    "ledger_start": 0x11000, "ledger_end": 0x12400, "hv_end": OWN_END,
}  # fmt: skip
_DEPOSIT, _WITHDRAW, _MAP, _UNMAP = 0x48, 0x49, 0x4B, 0x4C


class Result(NamedTuple):
    """Status, repetitions done, ledger flags, output."""

    status: int
    done: int
    flags: int
    out: bytes

    @property
    def partition(self) -> int:
        """The first eight bytes of output as a number."""
        return int.from_bytes(self.out[:8], "little")


class PageInfo(NamedTuple):
    """``struct page``, and what the root may do to the page (1 read, 2 write, 4 execute)."""

    state: int
    visible: int
    lost: int
    owner: int
    maps: int
    access: int


class Root:
    """Makes hypercalls as the root does, and looks at what became of its pages."""

    def __init__(self, program: Path, ram: Path) -> None:
        with ram.open("wb") as f:
            f.truncate((ARENA + ARENA_PAGES) * PAGE)
        self.memory = Memory(ram, 1 << 32)
        self._process = subprocess.Popen(
            [program, ram], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.table = int(self._answer(), 16)

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)
        self.memory.close()

    def _answer(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline().strip()
        assert line and not line.startswith("panic"), f"the stand-in died: {line or self._process.poll()}"
        return line

    def _ask(self, line: str) -> str:
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        return self._answer()

    def call(self, code: int, data: bytes = b"", *, out: int = 0, reps: int = 0, start: int = 0,
             fast: bool = False, overlap: bool = False) -> Result:  # fmt: skip
        """``overlap``: the output is written over the input."""
        control = code | fast << 16 | reps << 32 | start << 48
        verb = "o" if overlap else "c"
        result = self._made(f"{verb} {control:x} {out} {data.hex()}")
        assert result is not None, f"call {code:#x} is held"
        return result

    def try_call(self, code: int, data: bytes = b"", *, out: int = 0, reps: int = 0) -> Result | None:
        """The same, None when the call is held."""
        return self._made(f"c {code | reps << 32:x} {out} {data.hex()}")

    def _made(self, line: str) -> Result | None:
        if (answer := self._ask(line)) == "held":
            return None
        status, done, flags, *rest = answer.split()
        return Result(int(status), int(done), int(flags), bytes.fromhex(rest[0] if rest else ""))

    def stand(self, stack: int, flags: int) -> None:
        """The root's stack pointer and RFLAGS at its next calls."""
        self._ask(f"s {stack:x} {flags:x}")

    # ---- the host block, as lab.hypervisor.memory.Memory has it; address 0 is its first byte
    def read(self, offset: int, length: int) -> bytes:
        return bytes.fromhex(self._ask(f"b {offset:x} {length}"))

    def write(self, offset: int, data: bytes) -> None:
        self._ask(f"w {offset:x} {data.hex()}")

    def u32(self, offset: int) -> int:
        return int.from_bytes(self.read(offset, 4), "little")

    def set_u32(self, offset: int, value: int) -> None:
        self.write(offset, value.to_bytes(4, "little"))

    def deposit(self, partition: int, pages: list[int], start: int = 0) -> Result:
        data = struct.pack(f"<Q{len(pages)}Q", partition, *pages)
        return self.call(_DEPOSIT, data, reps=len(pages), start=start)

    def withdraw(self, partition: int, count: int) -> tuple[Result, list[int]]:
        result = self.call(_WITHDRAW, struct.pack("<QII", partition, 0, 0), reps=count, out=8 * count)
        return result, list(struct.unpack(f"<{count}Q", result.out))[: result.done]

    def map(self, partition: int, gfn: int, flags: int, pages: list[int], start: int = 0) -> Result:
        data = struct.pack(f"<QQII{len(pages)}Q", partition, gfn, flags, 0, *pages)
        return self.call(_MAP, data, reps=len(pages), start=start)

    def unmap(self, partition: int, gfn: int, reps: int = 1, flags: int = 0, start: int = 0) -> Result:
        return self.call(_UNMAP, struct.pack("<QQII", partition, gfn, flags, 0), reps=reps, start=start)

    def simple(self, code: int, partition: int) -> Result:
        """INITIALIZE, FINALIZE, DELETE_PARTITION."""
        return self.call(code, struct.pack("<Q", partition))

    def page(self, pfn: int) -> PageInfo:
        return PageInfo(*map(int, self._ask(f"p {pfn:x}").split()))

    def pool(self, slot: int) -> tuple[int, int]:
        """Free and deposited pages of the partition in that slot."""
        _, _, free, total, _ = self._ask(f"t {slot}").split()
        return int(free), int(total)

    def slat(self, slot: int) -> list[SlatRun]:
        root = int(self._ask(f"t {slot}").split()[-1], 16)
        return walk(root, lambda spa: self.memory.read(spa, PAGE))

    def become_l1vh(self) -> None:
        """From now on the root is an L1VH parent."""
        self._ask("l")

    def problem(self) -> str:
        """What is wrong with the books: a page in two places, counters that differ. "ok" if nothing."""
        return self._ask("k")


@pytest.fixture(scope="session")
def hypercall_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in's hypercalls as a program of the host."""
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("no gcc")
    out = tmp_path_factory.mktemp("harness") / "hypercalls"
    sources = [str(f) for f in sorted(SOURCE.glob("*.c")) if f.stem not in NEEDS_THE_MACHINE]
    done = subprocess.run(
        [gcc, "-O1", "-g", "-w", "-std=gnu11", "-fno-builtin", "-no-pie", "-I", str(SOURCE), "-o", str(out),
         str(HARNESS), *sources, "-Wl,--unresolved-symbols=ignore-all",
         *(f"-Wl,--defsym={name}={page << 12:#x}" for name, page in SYMBOLS.items())],
        check=False, timeout=120, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def root(hypercall_program: Path, tmp_path: Path) -> Iterator[Root]:
    """A root partition and nothing else."""
    r = Root(hypercall_program, tmp_path / "root-ram")
    yield r
    r.close()
