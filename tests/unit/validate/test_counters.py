# SPDX-License-Identifier: GPL-2.0-or-later
"""Counters are kept from guest to guest; what died with one is named."""

from pathlib import Path

from lab.model.errors import GuestDied
from lab.validate.counters import CounterKeeper, read_taken

OBJECT = "/obj/drivers/hv/mshv_regions"


class Root:
    """Prints what a root's shell would."""

    def __init__(self) -> None:
        self.counters = {OBJECT: b"adcg\n1", "/obj/drivers/hv/mshv_irq": b""}
        self.died = False

    def output(self, command: str, timeout: float) -> bytes:
        if self.died:
            raise GuestDied("the kernel panicked", kind="panic", phase="running")
        parts = [b"==> .%s.gcda <==\n%s" % (n.encode(), data) for n, data in self.counters.items()]
        return b"\n".join(parts)


class Lab:
    def __init__(self) -> None:
        self.root = Root()

    def alive(self) -> bool:
        return True


def contents(folder: Path) -> dict[tuple[int, str], bytes]:
    return {(guest, name): file.read_bytes() for guest, name, file in read_taken(folder).counters}


def test_the_last_counters_of_each_guest_count(tmp_path: Path) -> None:
    keeper, lab = CounterKeeper(tmp_path / "c"), Lab()
    keeper.booted()
    keeper.take(lab, "one")  # type: ignore[arg-type]
    lab.root.counters[OBJECT] = b"adcg\n2"
    keeper.take(lab, "two")  # type: ignore[arg-type]
    keeper.booted()
    keeper.take(Lab(), "three")  # type: ignore[arg-type]
    taken = read_taken(tmp_path / "c")
    assert (taken.scenarios, taken.guests, taken.lost) == (3, 2, {})
    found = contents(tmp_path / "c")
    assert found[1, OBJECT] == b"adcg\n2" and found[2, OBJECT] == b"adcg\n1"
    assert found[2, "/obj/drivers/hv/mshv_irq"] == b""


def test_a_dead_guest_loses_only_the_scenario_in_which_it_died(tmp_path: Path) -> None:
    keeper, lab = CounterKeeper(tmp_path / "c"), Lab()
    keeper.booted()
    keeper.take(lab, "before")  # type: ignore[arg-type]
    lab.root.died = True
    keeper.take(lab, "deadly")  # type: ignore[arg-type]
    taken = read_taken(tmp_path / "c")
    assert taken.lost == {"deadly": "the kernel panicked"}
    assert contents(tmp_path / "c")[1, OBJECT] == b"adcg\n1"


def test_a_kernel_without_counters_is_told(tmp_path: Path) -> None:
    keeper, lab = CounterKeeper(tmp_path / "c"), Lab()
    lab.root.counters = {}
    keeper.booted()
    keeper.take(lab, "one")  # type: ignore[arg-type]
    assert read_taken(tmp_path / "c").lost == {"one": "the kernel shows no profiled object"}


def test_a_run_that_never_began_has_nothing(tmp_path: Path) -> None:
    taken = read_taken(tmp_path / "none")
    assert (taken.scenarios, taken.guests, taken.counters) == (0, 0, [])
