# SPDX-License-Identifier: GPL-2.0-or-later
"""One kernel log out of two readings of it: the serial console and dmesg (or /dev/kmsg).

The serial console survives a dead kernel but leaves out what the console level hides, and carries the
output of user space too; dmesg is complete but needs a living kernel and may have lost its beginning.
Nothing is ever cleared; who wants to know what a scenario caused remembers a position.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from lab.judge.splats.prefix import LogLine, split

_Key = tuple[int, str]
"""A message: microseconds and text. The console and dmesg print the same of both."""


class MergedLog:
    """Grows by lines from both sides; ``since`` tells what came after a position, each message once."""

    def __init__(self) -> None:
        self._serial: list[LogLine] = []
        self._dmesg: list[LogLine] = []
        self._marks: list[tuple[int, int]] = [(0, 0)]

    def add_serial(self, lines: Iterable[str]) -> None:
        """Lines of the serial console that are new since the last call."""
        self._serial += _read(lines, len(self._serial))

    def add_dmesg(self, lines: Iterable[str]) -> None:
        """Lines of dmesg or /dev/kmsg that are new since the last call."""
        self._dmesg += _read(lines, len(self._dmesg))

    def position(self) -> int:
        """Where the log stands now; 0 is its beginning. Positions stay valid as the log grows."""
        mark = (len(self._serial), len(self._dmesg))
        if self._marks[-1] != mark:
            self._marks.append(mark)
        return len(self._marks) - 1

    def since(self, position: int = 0) -> list[str]:
        """Merged lines after ``position``: kernel messages in order of time, each once.

        A message that one side has shown before the position is not new because the other side shows
        it later. Lines of user space stay behind the kernel message that they followed. ValueError
        for a position that was never given out.
        """
        serial, dmesg = self._mark(position)
        before = Counter(_keys(self._serial[:serial])) | Counter(_keys(self._dmesg[:dmesg]))
        new_serial = _without(self._serial[serial:], before - Counter(_keys(self._serial[:serial])))
        new_dmesg = _without(self._dmesg[dmesg:], before - Counter(_keys(self._dmesg[:dmesg])))
        return [_print(line) for line in merge(new_serial, new_dmesg)]

    def serial_since(self, position: int = 0) -> list[str]:
        """Lines of the serial console alone after ``position``, as they came."""
        return [_print(line) for line in self._serial[self._mark(position)[0] :]]

    def _mark(self, position: int) -> tuple[int, int]:
        if not 0 <= position < len(self._marks):
            raise ValueError(f"no such position in the kernel log: {position}")
        return self._marks[position]


def merge(serial: Iterable[LogLine], dmesg: Iterable[LogLine]) -> list[LogLine]:
    """Both readings as one: what only dmesg has is put among the serial lines by its time."""
    console = list(serial)
    extra = _without(list(dmesg), Counter(_keys(console)))
    merged: list[LogLine] = []
    at = 0
    for line in console:
        while line.time is not None and at < len(extra) and (extra[at].time or 0.0) < line.time:
            merged.append(extra[at])
            at += 1
        merged.append(line)
    return merged + extra[at:]


def _read(lines: Iterable[str], start: int) -> list[LogLine]:
    return [part for number, raw in enumerate(lines, start) for part in split(number, raw)]


def _key(line: LogLine) -> _Key | None:
    return None if line.time is None else (round(line.time * 1e6), line.text)


def _keys(lines: Iterable[LogLine]) -> list[_Key]:
    return [key for line in lines if (key := _key(line)) is not None]


def _without(lines: list[LogLine], known: Counter[_Key]) -> list[LogLine]:
    """``lines`` minus known messages, each as often as it is known."""
    left = Counter(known)
    kept = []
    for line in lines:
        key = _key(line)
        if key is not None and left[key] > 0:
            left[key] -= 1
        else:
            kept.append(line)
    return kept


def _print(line: LogLine) -> str:
    """One form for both sides, so that the splat parser sees one stream per caller."""
    if line.time is None:
        return line.raw
    caller = f"[{line.caller:>6}]" if line.caller else ""
    return f"[{line.time:12.6f}]{caller} {line.text}"
