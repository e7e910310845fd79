# SPDX-License-Identifier: GPL-2.0-or-later
"""State, partitions, second-level tables and owners, read from a synthetic RAM file."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.hypervisor import layout
from lab.hypervisor.elf import find_symbol, symbol_address
from lab.hypervisor.layout import BLOCK, VERSION, State
from lab.hypervisor.slat import slat_diff
from lab.hypervisor.view import HypervisorView
from lab.model.errors import LabUnavailable
from lab.model.ledger import PartitionInfo, SlatRun

from .conftest import BLOCK_AT, TABLES_AT, StandIn, elf64

TABLE = 0x27
"""Present, writable, user, accessed: a pointer to the next table."""
PAGE = 0x1000
HIGH_TABLE = (1 << 32) + 0x3000


def test_a_symbol_is_found_by_its_whole_name() -> None:
    image = elf64({"host_block_end": 7, "host_block": 0x11C40000})
    assert symbol_address(image, "host_block") == 0x11C40000
    assert symbol_address(image, "host") is None


def test_a_file_that_is_no_elf64_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "hv.elf"
    path.write_bytes(b"\x7fELF\x01\x01" + bytes(64))
    with pytest.raises(LabUnavailable, match=r"hv\.elf"):
        find_symbol(path, "host_block")


def test_it_is_ready_only_when_the_root_was_started(standin: StandIn, view: HypervisorView) -> None:
    assert (view.ready(), view.state()) == (False, None)
    standin.start(State.BOOTING)
    assert (view.ready(), view.state()) == (False, State.BOOTING)
    with pytest.raises(LabUnavailable, match="not started"):
        view.position()
    standin.start()
    assert view.ready()
    assert view.panicked() is None


def test_another_version_of_the_interface_is_refused(standin: StandIn, view: HypervisorView) -> None:
    standin.u32("version", VERSION + 1)
    standin.start()
    with pytest.raises(LabUnavailable, match=f"version {VERSION + 1}"):
        view.ready()


@pytest.mark.parametrize("state", [State.PANICKED, State.TRIPWIRE])
def test_last_words_are_given_after_a_panic(standin: StandIn, view: HypervisorView, state: State) -> None:
    text = b"HV PANIC: lp 0: root exit 0x7f"
    standin.at(BLOCK_AT + BLOCK["text"], text)
    standin.u32("text_length", len(text))
    standin.start()
    assert view.panicked() is None
    standin.u32("state", state)
    assert view.panicked() == text.decode()


def test_partitions_are_those_with_an_id(standin: StandIn, view: HypervisorView) -> None:
    standin.partition(0, id=1, state=2, pool_total=9)
    pool = {"pool_free": 290, "pool_total": 298}
    standin.partition(3, id=5, state=3, flags=1 << 13, slat_root=0x7000, vps=0b101, **pool)
    standin.start()
    root, child = view.partitions()
    assert (root.id, root.state, root.pool_total) == (1, "active", 9)
    assert child == PartitionInfo(5, "finalized", 1 << 13, 0x7000, 290, 298, (0, 2))


def test_a_partition_table_that_stays_half_changed_is_refused(standin: StandIn, view: HypervisorView) -> None:
    standin.u32("partition_seq", 3)
    standin.start()
    with pytest.raises(LabUnavailable, match="partition table"):
        view.partitions()


def _tables(standin: StandIn) -> int:
    """gfn 8..11 to a BAR, 12 no access, 0x200.. a 2 MiB leaf; one table page lies above 4 GiB."""
    pml4, pdpt, pd, pt = TABLES_AT, TABLES_AT + PAGE, HIGH_TABLE, TABLES_AT + 2 * PAGE
    standin.table(pml4, {0: pdpt | TABLE, 5: 0x7_FFFF_F000 | TABLE})
    standin.table(pdpt, {0: pd | TABLE})
    standin.table(pd, {0: pt | TABLE, 1: 0x4000_0000 | 0xA7})
    nx = 1 << 63
    standin.table(pt, {8 + i: (0xFEBF0 + i) << 12 | 0x7 | nx for i in range(4)} | {12: 1 << 9})
    standin.table(pt, {20: 0x1234 << 12 | 0x65, 21: 0x1235 << 12 | 0x5})
    return pml4


BAR = SlatRun(8, 0xFEBF0, 4, "rw")
NO_ACCESS = SlatRun(12, 0, 1, "", no_access=True)


def test_the_walk_gives_runs_with_their_access(standin: StandIn, view: HypervisorView) -> None:
    standin.partition(1, id=2, state=2, slat_root=_tables(standin))
    standin.start()
    assert view.slat(2) == [
        BAR,
        NO_ACCESS,
        SlatRun(20, 0x1234, 1, "rx", accessed=True, dirty=True),
        SlatRun(21, 0x1235, 1, "rx"),
        SlatRun(0x200, 0x40000, 512, "rwx", level=2, accessed=True),
    ]
    assert view.slat(3) == []


def test_owners_are_the_children_that_map_the_page(standin: StandIn, view: HypervisorView) -> None:
    root = _tables(standin)
    standin.partition(0, id=1, state=2, slat_root=root)
    standin.partition(1, id=2, state=2, slat_root=root)
    standin.partition(2, id=4, state=2, slat_root=root)
    standin.start()
    assert view.owners(0xFEBF2) == [(2, 10), (4, 10)]
    assert view.owners(0x40005) == [(2, 0x205), (4, 0x205)]
    assert view.owners(0) == []


def test_a_remapped_page_is_both_removed_and_added() -> None:
    same, last = SlatRun(8, 0xFEBF0, 2, "rw", accessed=True), SlatRun(11, 0xFEBF3, 1, "rw")
    after = [same, SlatRun(10, 0x77, 1, "rw"), last]
    diff = slat_diff([BAR, NO_ACCESS], after)
    assert diff.removed == (SlatRun(10, 0xFEBF2, 1, "rw"), NO_ACCESS)
    assert diff.added == (SlatRun(10, 0x77, 1, "rw"),)


def test_splitting_a_large_page_without_remapping_is_no_change() -> None:
    large = SlatRun(0x200, 0x40000, 512, "rw", level=2)
    small = [SlatRun(0x200, 0x40000, 100, "rw"), SlatRun(0x264, 0x40064, 412, "rw", dirty=True)]
    assert not slat_diff([large], small)
    assert slat_diff([large], small[:1]).removed == (SlatRun(0x264, 0x40064, 412, "rw"),)


def test_from_nothing_everything_is_added() -> None:
    assert slat_diff([], [BAR, NO_ACCESS]).added == (BAR, NO_ACCESS)
    assert not slat_diff([], [])


def test_hold_is_written_where_the_stand_in_reads_it_in_ticks_of_its_clock(
    standin: StandIn, view: HypervisorView
) -> None:
    standin.start()
    view.holds.arm(0x4B, gfn=5)
    view.holds.arm(0x4C, partition=2, gfn=range(8, 12), skip=3, count=2, budget=0.5)
    at = BLOCK_AT + BLOCK["control.hold"] + layout.HOLD.size
    entry = layout.HOLD.unpack(standin.get(at, layout.HOLD.size))
    assert entry[:9] == (1, 0x4C, 2, 8, 11, 1_000_000_000, 3, 2, 0)
    assert not any(entry[9:])
    view.holds.clear()
    assert standin.get(at, 4) == bytes(4)
