# SPDX-License-Identifier: GPL-2.0-or-later
"""The stand-in's own mapping code, compiled for the host, against the host's walker of its tables."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from lab.hypervisor.memory import PAGE, Memory
from lab.hypervisor.slat import walk
from lab.model.ledger import SlatRun
from lab.paths import images_dir

SOURCE = images_dir() / "hypervisor"
GCC = shutil.which("gcc")
pytestmark = pytest.mark.skipif(GCC is None, reason="no gcc")

RAM_SIZE = 0x20200000
PRIVATE = 0x10200
"""First page of the stand-in's own memory, as hv.ld places it."""
PRIVATE_END = 0x11E00
RW, RWX, LARGE, NO_ACCESS = 0x3, 0xF, 0x80000000, 0x10000
OK, BAD_PARAMETER, DENIED, NO_MEMORY = 0, 5, 6, 0x0B


class Call(NamedTuple):
    """Status, repetitions done, and pages left in the pool after it."""

    status: int
    done: int
    free: int


Run = Callable[..., tuple[list[Call], list[SlatRun]]]


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("harness") / "memory_calls"
    symbols = {"hv_start": 0x10000000, "shared_start": 0x10000000, "shared_end": PRIVATE << 12}
    symbols |= {"heap_start": PRIVATE << 12, "heap_end": PRIVATE << 12, "hv_end": PRIVATE_END << 12}
    assert GCC
    subprocess.run(
        [GCC, "-O1", "-std=gnu11", "-fno-builtin", "-no-pie", "-I", str(SOURCE), "-o", str(out),
         str(Path(__file__).parent / "harness" / "memory_calls.c"),
         *(str(SOURCE / f"{name}.c") for name in ("npt", "partition", "mem", "hc_memory")),
         *(f"-Wl,--defsym={name}={value:#x}" for name, value in symbols.items())],
        check=True, timeout=60,
    )  # fmt: skip
    return out


@pytest.fixture
def run(harness: Path, tmp_path: Path) -> Run:
    """Make the calls with so many deposited pages; their results and what is mapped in the end."""

    def make(*calls: str, pages: int = 64) -> tuple[list[Call], list[SlatRun]]:
        ram = tmp_path / "ram"
        with ram.open("wb") as f:
            f.truncate(RAM_SIZE)
        done = subprocess.run(
            [str(harness), str(ram), str(pages), *calls],
            check=True, capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        root, *results = done.stdout.splitlines()
        with Memory(ram, RAM_SIZE) as memory:
            runs = walk(int(root, 16), lambda spa: memory.read(spa, PAGE))
        return [Call(*map(int, line.split())) for line in results], runs

    return make


def mapping(gfn: int, flags: int, pfn: int, reps: int = 1, start: int = 0) -> str:
    return f"map:{gfn:x}:{flags:x}:{pfn:x}:{reps:x}:{start:x}"


def unmapping(gfn: int, reps: int = 1, flags: int = 0) -> str:
    return f"unmap:{gfn:x}:{flags:x}:{reps:x}"


def test_what_is_mapped_is_what_the_walker_sees(run: Run) -> None:
    calls, runs = run(mapping(8, RW, 0xFEBF0, 16), mapping(0x40, NO_ACCESS, 0, 2), mapping(0x50, RWX, 0x99))
    assert [(c.status, c.done) for c in calls] == [(OK, 16), (OK, 2), (OK, 1)]
    assert runs == [
        SlatRun(8, 0xFEBF0, 16, "rw"),
        SlatRun(0x40, 0, 2, "", no_access=True),
        SlatRun(0x50, 0x99, 1, "rwx"),
    ]


def test_mapping_a_mapped_frame_succeeds_and_remaps_it(run: Run) -> None:
    calls, runs = run(mapping(8, RW, 0x100, 3), mapping(9, RWX, 0x200))
    assert calls[1].status == OK
    assert runs == [SlatRun(8, 0x100, 1, "rw"), SlatRun(9, 0x200, 1, "rwx"), SlatRun(10, 0x102, 1, "rw")]


def test_unmapping_what_is_not_mapped_succeeds(run: Run) -> None:
    calls, runs = run(unmapping(8, 4), mapping(8, RW, 0x100), unmapping(8), unmapping(8))
    assert [c.status for c in calls] == [OK] * 4
    assert [c.done for c in calls] == [4, 1, 1, 1]
    assert runs == []


def test_repetitions_before_the_start_are_not_done_again(run: Run) -> None:
    calls, runs = run(mapping(8, RW, 0x100, 4, start=3))
    assert calls[0][:2] == (OK, 4)
    assert runs == [SlatRun(11, 0x103, 1, "rw")]


@pytest.mark.parametrize("pfn", [PRIVATE, PRIVATE_END - 1])
def test_the_stand_ins_own_memory_cannot_be_mapped(run: Run, pfn: int) -> None:
    calls, runs = run(mapping(8, RW, pfn), mapping(8, RW, PRIVATE - 2, 4))
    assert calls[0][:2] == (DENIED, 0)
    assert calls[1][:2] == (DENIED, 2)
    assert runs == [SlatRun(8, PRIVATE - 2, 2, "rw")]


def test_a_large_page_over_the_stand_ins_memory_is_denied(run: Run) -> None:
    calls, runs = run(mapping(0x200, RW | LARGE, PRIVATE & ~0x1FF))
    assert calls[0][:2] == (DENIED, 0)
    assert runs == []


def test_an_empty_pool_is_insufficient_memory_and_what_was_done_stays(run: Run) -> None:
    """One table page is the root; each 2 MiB of frames needs a page of its own."""
    calls, runs = run(mapping(0x1FE, RW, 0x100, 4), pages=4)
    assert calls[0][:2] == (NO_MEMORY, 2)
    assert runs == [SlatRun(0x1FE, 0x100, 2, "rw")]


def test_a_hole_in_a_large_page_leaves_the_rest_mapped(run: Run) -> None:
    calls, runs = run(mapping(0x200, RW | LARGE, 0x40000), unmapping(0x210))
    assert [c.status for c in calls] == [OK, OK]
    assert runs == [SlatRun(0x200, 0x40000, 16, "rw"), SlatRun(0x211, 0x40011, 495, "rw")]


def test_a_large_page_replaces_small_ones_and_gives_their_table_back(run: Run) -> None:
    large = mapping(0x200, RW | LARGE, 0x40000)
    calls, runs = run(mapping(0x210, RW, 0x99), large, unmapping(0x200, flags=2))
    assert calls[1].free == calls[0].free + 1
    assert runs == []


def test_a_misaligned_large_page_is_refused(run: Run) -> None:
    calls, _ = run(mapping(0x201, RW | LARGE, 0x40000), mapping(0x200, RW | LARGE, 0x40001))
    assert [c[:2] for c in calls] == [(BAD_PARAMETER, 0)] * 2


def test_frames_beyond_the_guest_address_width_are_refused(run: Run) -> None:
    calls, runs = run(mapping(1 << 36, RW, 0x100), mapping((1 << 36) - 1, RW, 0x100, 2))
    assert [c[:2] for c in calls] == [(BAD_PARAMETER, 0), (BAD_PARAMETER, 1)]
    assert runs == [SlatRun((1 << 36) - 1, 0x100, 1, "rw")]
