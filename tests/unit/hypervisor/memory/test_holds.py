# SPDX-License-Identifier: GPL-2.0-or-later
"""Holds, the host's side against the stand-in's own code: which calls are held, for how long."""

from __future__ import annotations

import struct

import pytest

from lab.hypervisor import layout
from lab.hypervisor.holds import ALWAYS, Hold, HoldPlan
from lab.hypervisor.layout import HoldState
from lab.model.errors import BadInput, LabUnavailable

from ..conftest import ARENA, Root

GET_ID, UNMAP, INITIALIZE = 0x46, 0x4C, 0x41
TICKS = 10**9
CHILD, OTHER = 2, 3
STACK, DEEPER = 0xFFFFC90000003F00, 0xFFFFC90000003000
INTERRUPTS_ON = 0x202
INTERRUPTS_OFF = 0x002


@pytest.fixture
def plan(root: Root) -> HoldPlan:
    root.stand(STACK, INTERRUPTS_ON)
    return HoldPlan(root, 0, TICKS)  # type: ignore[arg-type]


def get_id(root: Root) -> bool:
    """Whether the call was made, and then that it was made well."""
    result = root.try_call(GET_ID, out=8)
    assert result is None or (result.status, result.partition) == (0, 1)
    return result is not None


def unmap(root: Root, partition: int, gfn: int, reps: int = 1) -> bool:
    return root.try_call(UNMAP, struct.pack("<QQII", partition, gfn, 0, 0), reps=reps) is not None


def test_held_call_comes_again_until_it_is_released(root: Root, plan: HoldPlan) -> None:
    hold = plan.arm(GET_ID)
    assert hold.look().state is HoldState.ARMED and not hold.look().held
    assert [get_id(root) for _ in range(5)] == [False] * 5
    seen = hold.wait(0.0)
    assert (seen.generation, seen.reentries, seen.lp, seen.interrupts_on) == (1, 4, 0, True)
    assert seen.rsp == STACK
    hold.release()
    assert hold.look().let_go and not hold.look().held
    assert get_id(root)
    assert hold.wait_released(0.0).state is HoldState.RELEASED
    assert hold.look().expired == 0
    assert get_id(root), "the one call that was to be held is through"


def test_call_is_made_once_and_only_at_the_end(root: Root, plan: HoldPlan) -> None:
    """What the root has changed meanwhile counts: the partition has its memory by then."""
    made = root.call(0x40, bytes(64), out=8).partition
    hold = plan.arm(INITIALIZE, partition=made)
    data = struct.pack("<Q", made)
    assert root.try_call(INITIALIZE, data) is None
    root.stand(DEEPER, INTERRUPTS_ON)
    assert root.deposit(made, [ARENA + 0x100 + i for i in range(64)]).status == 0
    root.stand(STACK, INTERRUPTS_ON)
    hold.release()
    result = root.try_call(INITIALIZE, data)
    assert result is not None and result.status == 0
    again = root.try_call(INITIALIZE, data)
    assert again is not None and again.status != 0, "it was initialised before"


def test_interrupts_off_are_told(root: Root, plan: HoldPlan) -> None:
    hold = plan.arm(GET_ID)
    root.stand(STACK, INTERRUPTS_OFF)
    assert not get_id(root)
    assert not hold.look().interrupts_on


def test_same_call_of_an_interrupt_handler_passes(root: Root, plan: HoldPlan) -> None:
    hold = plan.arm(GET_ID, count=ALWAYS)
    assert not get_id(root)
    root.stand(DEEPER, INTERRUPTS_OFF)
    assert get_id(root)
    root.stand(STACK, INTERRUPTS_ON)
    assert not get_id(root)
    assert (hold.look().generation, hold.look().reentries) == (1, 1)


def test_other_calls_pass(root: Root, plan: HoldPlan) -> None:
    plan.arm(UNMAP)
    assert get_id(root)


@pytest.mark.parametrize(
    ("partition", "gfn", "reps", "held"),
    [(CHILD, 0x10, 1, True), (CHILD, 0xF, 2, True), (CHILD, 0x13, 1, True), (CHILD, 0xF, 1, False),
     (CHILD, 0x14, 9, False), (OTHER, 0x10, 1, False)],
)  # fmt: skip
def test_partition_and_frames_choose(
    root: Root, plan: HoldPlan, partition: int, gfn: int, reps: int, held: bool
) -> None:
    plan.arm(UNMAP, partition=CHILD, gfn=range(0x10, 0x14))
    assert unmap(root, partition, gfn, reps) is not held


def test_from_the_nth_on_so_many_times(root: Root, plan: HoldPlan) -> None:
    hold = plan.arm(GET_ID, skip=2, count=2)
    assert get_id(root) and get_id(root)
    for generation in (1, 2):
        assert not get_id(root)
        assert hold.look().generation == generation
        hold.release()
        assert get_id(root)
    assert get_id(root)


def test_release_of_a_call_that_is_gone_does_not_let_the_next_one_go(root: Root, plan: HoldPlan) -> None:
    hold = plan.arm(GET_ID, count=ALWAYS)
    hold.release()  # nobody is held
    assert not get_id(root)
    assert not get_id(root), "held for good, whatever was said before"
    hold.release()
    assert get_id(root)
    assert not get_id(root)


def test_budget_ends_a_hold_that_nobody_releases(root: Root, plan: HoldPlan) -> None:
    hold = plan.arm(GET_ID, budget=2 / TICKS)
    assert not get_id(root)
    assert get_id(root)
    assert (hold.look().state, hold.look().expired) == (HoldState.EXPIRED, 1)


def test_cleared_hold_lets_its_call_go(root: Root, plan: HoldPlan) -> None:
    hold = plan.arm(GET_ID)
    assert not get_id(root)
    plan.clear()
    assert get_id(root) and get_id(root)
    assert hold.look().held, "as it stood then"
    plan.arm(GET_ID)
    assert not get_id(root), "the slot is good for another call"


def test_two_holds_hold_two_calls(root: Root, plan: HoldPlan) -> None:
    first, second = plan.arm(GET_ID), plan.arm(UNMAP)
    assert not get_id(root)
    root.stand(DEEPER, INTERRUPTS_ON)
    assert not unmap(root, CHILD, 0)
    assert first.look().held and second.look().held
    second.release()
    assert unmap(root, CHILD, 0)
    assert first.look().held and not second.look().held


def test_held_call_stands_in_the_ledger_when_it_is_held_and_when_it_goes_on(
    root: Root, plan: HoldPlan
) -> None:
    hold = plan.arm(GET_ID)
    assert not get_id(root) and not get_id(root)
    hold.release()
    assert get_id(root)
    begin, end, call = ledger(root)[-3:]
    assert begin == (4, 17, (GET_ID, 0, 0, 1, 1))
    assert end[:2] == (4, 18) and end[2][:4] == (GET_ID, 0, 1, 2) and end[2][5] == 0
    assert call[:2] == (1, GET_ID)


def ledger(root: Root) -> list[tuple[int, int, tuple[int, ...]]]:
    """Kind, code and words of all records."""
    head = int.from_bytes(root.read(layout.BLOCK["ledger.head"], 8), "little")
    at = int.from_bytes(root.read(layout.BLOCK["ledger.address"], 8), "little")
    size, found = layout.RECORD.size, []
    for number in range(head):
        record = layout.RECORD.unpack(root.memory.read(at + number * size, size))
        found.append((record[5], record[7], tuple(record[-layout.RECORD_WORDS :][: record[9]])))
    return found


def test_waiting_in_vain_is_told_with_what_was_waited_for(root: Root, plan: HoldPlan) -> None:
    hold = plan.arm(UNMAP)
    with pytest.raises(LabUnavailable, match=r"no UNMAP_GPA_PAGES is held within 0\.01 s"):
        hold.wait(0.01)
    assert not unmap(root, CHILD, 0)
    with pytest.raises(LabUnavailable, match="UNMAP_GPA_PAGES is still held"):
        hold.wait_released(0.01)


def test_death_ends_a_wait(plan: HoldPlan) -> None:
    def watch() -> None:
        raise RuntimeError("dead")

    with pytest.raises(RuntimeError, match="dead"):
        plan.arm(UNMAP).wait(60.0, watch)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"code": 0x10000}, "call 0x10000"), ({"count": 0}, "count 0"), ({"skip": -1}, "skip -1"),
     ({"budget": 0}, "a budget of 0 s"), ({"budget": 61}, "a budget of 61 s"),
     ({"gfn": range(4, 4)}, "not a range of frames")],
)  # fmt: skip
def test_values_without_sense_are_refused(plan: HoldPlan, arguments: dict[str, int], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        plan.arm(**{"code": UNMAP, **arguments})


def test_seventeenth_hold_is_refused(plan: HoldPlan) -> None:
    held: list[Hold] = [plan.arm(UNMAP) for _ in range(layout.HOLDS)]
    with pytest.raises(BadInput, match="all 16 holds are taken"):
        plan.arm(UNMAP)
    held[3].clear()
    assert plan.arm(UNMAP).look().generation == 0
