# SPDX-License-Identifier: GPL-2.0-or-later
"""Which lines the scenarios ran, and which they did not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CoveredFile:
    """The looked-at lines of one file of the tree, as line numbers of the patched file.

    ``half`` are lines among ``run`` of which a branch was never taken or a part never run. ``without_code``
    counts lines that the compiler made no code of: comments, declarations, what the configuration leaves
    out. ``unmeasured`` says why there is no count at all; the line lists are then empty and
    ``without_code`` is the number of lines that nobody knows about. ``text`` has the lines not run,
    ``functions`` the names of functions of which nothing ran.
    """

    path: str
    run: tuple[int, ...] = ()
    not_run: tuple[int, ...] = ()
    half: tuple[int, ...] = ()
    without_code: int = 0
    unmeasured: str = ""
    text: dict[int, str] = field(default_factory=dict)
    functions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was measured on one profiled kernel. ``scope`` is ``changed lines`` or ``lines of PATH``.

    ``scenarios`` and ``guests`` say how much ran; ``lost`` names scenarios whose counts (since the one
    before) died with their guest, so that a line counted as not run may have been run there. ``notes``
    are other doubts.
    """

    scope: str
    flavour: str
    files: tuple[CoveredFile, ...]
    scenarios: int
    guests: int
    lost: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def run(self) -> int:
        """Lines run."""
        return sum(len(f.run) for f in self.files)

    @property
    def total(self) -> int:
        """Lines that have code."""
        return self.run + sum(len(f.not_run) for f in self.files)


def ranges(lines: Iterable[int]) -> str:
    """Line numbers as people write them: ``3, 7-9``."""
    parts: list[list[int]] = []
    for line in sorted(set(lines)):
        if parts and line == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], line]
        else:
            parts.append([line])
    return ", ".join("-".join(map(str, part)) for part in parts)
