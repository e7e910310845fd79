# SPDX-License-Identifier: GPL-2.0-or-later
"""How long work tells what it is doing, and what each phase cost."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Protocol, TextIO

from lab.model.result import PhaseTime
from lab.printable import printable
from lab.usage import cpu_seconds


class Phase:
    """A running phase. ``cpu_extra`` adds CPU seconds of processes that are not our children."""

    def __init__(self) -> None:
        self.cpu_extra = 0.0
        self.note = ""


class Progress(Protocol):
    """What the rooms call while they work. ``phases`` are the finished ones, in order of their end."""

    phases: list[PhaseTime]

    def phase(self, name: str, side: str = "") -> AbstractContextManager[Phase]:
        """Time a phase: wall seconds, and CPU seconds of this process and its ended children."""
        ...

    def record(self, done: PhaseTime) -> None:
        """Take in a phase that was measured elsewhere (in another process)."""
        ...

    def elapsed(self) -> float:
        """Wall seconds since this progress began."""
        ...

    def note(self, text: str) -> None:
        """One line that the user should see once."""
        ...

    def step(self, done: int, total: int | None, text: str) -> None:
        """Progress inside a phase; cheap to call often."""
        ...


class _Recorder:
    """Shared book-keeping of phases; safe to use from several threads."""

    def __init__(self) -> None:
        self.phases: list[PhaseTime] = []
        self._lock = threading.Lock()
        self._started = time.monotonic()

    def elapsed(self) -> float:
        return time.monotonic() - self._started

    @contextmanager
    def phase(self, name: str, side: str = "") -> Iterator[Phase]:
        started, cpu, phase = time.monotonic(), cpu_seconds(), Phase()
        begun = self.elapsed()
        self._enter(name, side)
        try:
            yield phase
        finally:
            wall = time.monotonic() - started
            spent = cpu_seconds() - cpu + phase.cpu_extra
            done = PhaseTime(name, side, wall, spent, phase.note, begun)
            with self._lock:
                self.phases.append(done)
            self._leave(done)

    def record(self, done: PhaseTime) -> None:
        """Take in a phase that was measured elsewhere (in another process) and has just ended."""
        if done.start is None:
            done = replace(done, start=max(0.0, self.elapsed() - done.wall))
        with self._lock:
            self.phases.append(done)
        self._leave(done)

    def _enter(self, name: str, side: str) -> None: ...

    def _leave(self, done: PhaseTime) -> None: ...

    def note(self, text: str) -> None: ...

    def step(self, done: int, total: int | None, text: str) -> None: ...


class NullProgress(_Recorder):
    """Records phases and says nothing."""


class Together:
    """One progress for works that go on side by side: their steps are told in one line."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._steps: dict[str, tuple[int, int | None]] = {}

    def part(self, name: str) -> Progress:
        """The progress for one of them."""
        return _Part(self, self._progress, name)

    def step(self, name: str, done: int, total: int | None, text: str) -> None:
        """Take in a step of one part and tell where all of them are."""
        with self._lock:
            self._steps[name] = (done, total)
            told = ", ".join(f"{n} {_share(d, t)}" for n, (d, t) in self._steps.items())
            whole = sum(d for d, _ in self._steps.values())
        self._progress.step(whole, None, f"{told}: {text}")


class _Part:
    """What one of the works that go on side by side calls."""

    def __init__(self, together: Together, progress: Progress, name: str) -> None:
        self._together = together
        self._progress = progress
        self._name = name
        self.phases = progress.phases

    @contextmanager
    def phase(self, name: str, side: str = "") -> Iterator[Phase]:
        with self._progress.phase(name, side) as phase:
            try:
                yield phase
            finally:
                phase.note = self._named(phase.note)

    def record(self, done: PhaseTime) -> None:
        self._progress.record(replace(done, note=self._named(done.note)))

    def elapsed(self) -> float:
        return self._progress.elapsed()

    def note(self, text: str) -> None:
        self._progress.note(text)

    def _named(self, note: str) -> str:
        return f"{self._name}: {note}" if note else self._name

    def step(self, done: int, total: int | None, text: str) -> None:
        self._together.step(self._name, done, total, text)


def _share(done: int, total: int | None) -> str:
    return f"{min(100, 100 * done // total)}%" if total else f"step {done}"


class TextProgress(_Recorder):
    """Writes lines to a stream; on a terminal steps overwrite one line, elsewhere one line per 15 s."""

    def __init__(self, stream: TextIO | None = None, quiet: bool = False) -> None:
        super().__init__()
        self._out = stream if stream is not None else sys.stderr
        self._tty = self._out.isatty()
        self._quiet = quiet
        self._last = 0.0
        self._open_line = False

    def _write(self, text: str, transient: bool = False) -> None:
        text = printable(text)  # what make or a guest said may hold terminal sequences
        with self._lock:
            if self._open_line:
                self._out.write("\r\x1b[K")
                self._open_line = False
            self._out.write(text if transient else text + "\n")
            self._open_line = transient
            self._out.flush()

    def _clock(self) -> str:
        return f"{self.elapsed():6.1f}s"

    def _enter(self, name: str, side: str) -> None:
        if not self._quiet:
            self._write(f"{self._clock()}  {name} {side}".rstrip() + " ...")

    def _leave(self, done: PhaseTime) -> None:
        if not self._quiet:
            label = f"{done.name} {done.side}".rstrip()
            extra = f" ({done.note})" if done.note else ""
            self._write(f"{self._clock()}  {label}: {done.wall:.1f} s wall, {done.cpu:.1f} s CPU{extra}")

    def note(self, text: str) -> None:
        self._write(f"{self._clock()}  {text}")

    def step(self, done: int, total: int | None, text: str) -> None:
        now = time.monotonic()
        if self._quiet or now - self._last < (0.2 if self._tty else 15.0):
            return
        self._last = now
        share = f"{100 * done // total:3d}% " if total else ""
        width = os.get_terminal_size(self._out.fileno()).columns if self._tty else 200
        self._write(f"{self._clock()}  {share}{text}"[: width - 1], transient=self._tty)
