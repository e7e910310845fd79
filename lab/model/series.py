# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches, series and kernel versions."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class KernelVersion:
    """``major.minor[.patch]``; compares numerically. ``str()`` gives ``7.3.4``."""

    major: int
    minor: int
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> KernelVersion:
        """Read the leading version of ``text`` (``7.3.4-1~bpo13+1``); ValueError if there is none."""
        m = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
        if m is None:
            raise ValueError(f"no kernel version in {text!r}")
        return cls(int(m[1]), int(m[2]), int(m[3] or 0))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True, slots=True)
class VersionRange:
    """Inclusive range of minor versions, written ``7.3`` or ``7.2-7.4`` (a ``Fits:`` line)."""

    first: tuple[int, int]
    last: tuple[int, int]

    @classmethod
    def parse(cls, text: str) -> VersionRange:
        """ValueError unless ``text`` is ``A.B`` or ``A.B-C.D`` (hyphen or en dash)."""
        m = re.fullmatch(r"\s*(\d+)\.(\d+)(?:\s*[-\u2013]\s*(\d+)\.(\d+))?\s*", text)
        if m is None:
            raise ValueError(f"not a kernel version range: {text!r}")
        first = (int(m[1]), int(m[2]))
        last = (int(m[3]), int(m[4])) if m[3] else first
        if last < first:
            raise ValueError(f"kernel version range runs backwards: {text!r}")
        return cls(first, last)

    def __contains__(self, v: KernelVersion) -> bool:
        return self.first <= (v.major, v.minor) <= self.last

    def __str__(self) -> str:
        a, b = self.first, self.last
        return f"{a[0]}.{a[1]}" + ("" if a == b else f"\u2013{b[0]}.{b[1]}")


@dataclass(frozen=True, slots=True)
class Patch:
    """One patch mail. ``raw`` is the mail as ``git am`` takes it, ``files`` the paths it touches."""

    subject: str
    author: str
    message_id: str
    raw: bytes
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """Ordered patches. ``claims`` come from the claims file beside the series, if there is one."""

    name: str
    patches: tuple[Patch, ...]
    fits: VersionRange | None = None
    fixes: tuple[str, ...] = ()
    expects_changed: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()
    key: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """All touched paths, sorted, without duplicates."""
        return tuple(sorted({f for p in self.patches for f in p.files}))
