# SPDX-License-Identifier: GPL-2.0-or-later
"""Processors for works that go on side by side: a few take turns, those with the lower place first.

The flavours of one validation share them. As soon as the last scenarios of one need a single processor, the
next flavour gets the other.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from lab.progress import Progress

MAX_TURNS = 4
"""Guests at once, however many processors there are: each takes more than 1 GiB of memory."""
TURNS = 2
"""Base and patched kernel side by side, however few."""
_TICK = 0.2


def turns_here() -> int:
    """How many guests may run at once on this machine."""
    return max(TURNS, min(MAX_TURNS, len(os.sched_getaffinity(0))))


class Stopped(Exception):
    """Somebody ended all works while this one waited for its turn. Whoever did so tells why."""


class Turns:
    """At most ``count`` hold a turn. One that becomes free goes to the lowest place that waits, and there to
    who came first."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int]] = []
        self._number = itertools.count()

    @contextmanager
    def take(self, place: int, stopped: Callable[[], bool]) -> Iterator[None]:
        """Wait for a turn and hold it. Raises Stopped as soon as ``stopped`` says so."""
        self._wait(place, stopped)
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()

    def _wait(self, place: int, stopped: Callable[[], bool]) -> None:
        with self._changed:
            mine = (place, next(self._number))
            heapq.heappush(self._waiting, mine)
            try:
                while not (self._free and self._waiting[0] == mine):
                    if stopped():
                        raise Stopped
                    self._changed.wait(_TICK)
                if stopped():
                    raise Stopped
                self._free -= 1
            finally:
                self._waiting.remove(mine)
                heapq.heapify(self._waiting)
                self._changed.notify_all()  # the next one may have been waiting for the place


@dataclass(frozen=True, slots=True)
class Lane:
    """How one of several works goes on: where it tells of itself, and how it gets a turn."""

    progress: Progress
    turn: Callable[[], AbstractContextManager[None]] = nullcontext
    shared: bool = False
    """Others wait for turns too."""
