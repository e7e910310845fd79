# SPDX-License-Identifier: GPL-2.0-or-later
"""What earlier nights add to the site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PastRun:
    """One earlier run: verdicts of the versions it judged, wall time in seconds."""

    started: str
    passed: int
    failed: int
    inconclusive: int
    wall: float


@dataclass(frozen=True, slots=True)
class SiteHistory:
    """``runs`` newest first. ``first_seen`` maps ids of splats to the time they were first seen.

    ``trends`` maps a scenario's id, as ``TOPIC/SCENARIO``, to what it said in its last judgements, oldest
    first (``pass``, ``fail``, ``inconclusive``). ``remarks`` are sentences, such as about a lab that became
    slower.
    """

    runs: tuple[PastRun, ...] = ()
    first_seen: Mapping[str, str] = field(default_factory=dict)
    trends: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
