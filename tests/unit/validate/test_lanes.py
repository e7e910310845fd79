# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns: never more than there are, the lowest place first, and nobody waits for ever."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from lab.validate import flavours
from lab.validate.lanes import Stopped, Turns, turns_here

PATIENCE = 10.0


def never() -> bool:
    return False


class Work:
    """Takes a turn in a thread of its own, tells when it has it, and keeps it until it is let go."""

    def __init__(self, turns: Turns, place: int, order: list[int]) -> None:
        self.has, self.may_end = threading.Event(), threading.Event()
        self._turns, self._place, self._order = turns, place, order
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with self._turns.take(self._place, never):
            self._order.append(self._place)
            self.has.set()
            self.may_end.wait(PATIENCE)

    def end(self) -> None:
        self.may_end.set()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def waiting(turns: Turns, count: int) -> None:
    """Until so many wait for a turn."""
    with turns._changed:
        assert turns._changed.wait_for(lambda: len(turns._waiting) == count, PATIENCE)


def test_the_lowest_place_is_next_and_no_more_run_than_there_are_turns() -> None:
    turns, order = Turns(1), []
    holder = Work(turns, 50, order)
    assert holder.has.wait(PATIENCE)
    others = {}
    for number, place in enumerate((7, 3, 9, 1, 8, 2, 6, 4, 0, 5), 1):  # so many are in order by no chance
        others[place] = Work(turns, place, order)
        waiting(turns, number)
    for place in range(10):
        assert not others[place].has.is_set()
        (others[place - 1] if place else holder).end()
        assert others[place].has.wait(PATIENCE)
    others[9].end()
    assert order == [50, *range(10)]


def test_of_one_place_who_came_first_is_first() -> None:
    turns, order = Turns(1), []
    holder = Work(turns, 0, order)
    assert holder.has.wait(PATIENCE)
    first = Work(turns, 1, order)
    waiting(turns, 1)
    second = Work(turns, 1, order)
    waiting(turns, 2)
    holder.end()
    assert first.has.wait(PATIENCE) and not second.has.is_set()
    first.end()
    second.end()


def test_two_turns_are_two_at_once() -> None:
    turns, order = Turns(2), []
    works = [Work(turns, n, order) for n in range(3)]
    assert works[0].has.wait(PATIENCE) and works[1].has.wait(PATIENCE)
    waiting(turns, 1)
    assert not works[2].has.is_set()
    for work in works:
        work.end()


def test_who_waits_is_told_when_all_is_over_and_leaves_no_trace() -> None:
    turns, over, said = Turns(1), threading.Event(), []
    holder = Work(turns, 0, [])
    assert holder.has.wait(PATIENCE)

    def wait() -> None:
        try:
            with turns.take(1, over.is_set):
                said.append("has a turn")
        except Stopped:
            said.append("stopped")

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    waiting(turns, 1)
    over.set()
    thread.join(PATIENCE)
    assert said == ["stopped"]
    holder.end()
    with pytest.raises(Stopped), turns.take(0, over.is_set):
        pytest.fail("a turn after the end")
    with turns.take(9, never):
        assert turns._waiting == [] and turns._free == 0
    assert turns._free == 1


def test_an_error_gives_the_turn_back() -> None:
    turns = Turns(1)
    with pytest.raises(ValueError), turns.take(0, never):
        raise ValueError
    with turns.take(0, never):
        pass


def test_base_and_patched_always_run_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    for processors, turns in ((1, 2), (2, 2), (3, 3), (64, 4)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=processors: set(range(n)))
        assert turns_here() == turns


def test_who_was_stopped_does_not_hide_why() -> None:
    def after(event: threading.Event, error: Exception) -> None:
        event.wait(PATIENCE)
        raise error

    go = threading.Event()
    stopped: Future[None] = Future()
    stopped.set_exception(Stopped())
    with ThreadPoolExecutor(1) as pool:
        cause = pool.submit(after, go, ValueError("the cause"))
        go.set()
        with pytest.raises(ValueError, match="the cause"):
            flavours._await([stopped, cause])
