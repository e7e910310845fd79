# SPDX-License-Identifier: GPL-2.0-or-later
"""How many compilers a build may run: a number of its own, or what is left of a pool that builds share."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lab.model.errors import LabUnavailable

_TICK = 0.2
_TOKEN = b"+"


class JobPool:
    """GNU make's job server for several kernels at once: together they run ``tokens`` compilers.

    Each make holds one token from its start to its end and takes further ones for each compiler, so that
    the last build gets what the others have given back. ``stop`` ends the builds that use the pool.
    """

    def __init__(self, tokens: int) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)  # as make itself has it: what was there may be taken by another
        os.write(self._write, _TOKEN * max(1, tokens))
        self.stopped = threading.Event()

    @property
    def fds(self) -> tuple[int, int]:
        """What make must inherit."""
        return self._read, self._write

    @property
    def makeflags(self) -> str:
        """Value of MAKEFLAGS for a make that joins in."""
        return f" -j --jobserver-auth={self._read},{self._write}"

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold the token that a make has for itself. LabUnavailable when the pool is stopped meanwhile."""
        while not select.select([self._read], [], [], _TICK)[0] or not self._take():
            if self.stopped.is_set():
                raise LabUnavailable("the builds were stopped")
        try:
            yield
        finally:
            os.write(self._write, _TOKEN)

    def _take(self) -> bool:
        try:
            return bool(os.read(self._read, 1))
        except BlockingIOError:
            return False

    def stop(self) -> None:
        """End all builds of the pool soon."""
        self.stopped.set()

    def close(self) -> None:
        """Give the pipe back; no build may use the pool any more."""
        os.close(self._read)
        os.close(self._write)


Jobs = int | JobPool
