# SPDX-License-Identifier: GPL-2.0-or-later
"""Detectors that must have been tripped on purpose before a pass counts.

Each detector is tripped on the very kernel under test in a throw-away boot; the proof says whether it
was then reported. A detector without proof may be dead, and a lab with a dead detector passes anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lab.model.result import DetectorProof
from lab.model.splat import SplatClass


@dataclass(frozen=True, slots=True)
class Detector:
    """One detector: how it is tripped and what must then be reported.

    ``splat`` is the class that the kernel log must show, or None for the lab's own oracles.
    ``flavours`` limits it to kernels of those flavours; None means every flavour.
    """

    name: str
    trip: str
    proof: str
    splat: SplatClass | None = None
    flavours: frozenset[str] | None = None


DETECTORS: tuple[Detector, ...] = (
    Detector(
        "warn",
        trip="a WARN raised on purpose in the root",
        proof="the log parser reports a splat of class warning",
        splat=SplatClass.WARNING,
    ),
    Detector(
        "panic",
        trip="a crash asked for through sysrq in the root",
        proof="the log parser reports a panic and the watch ends the wait",
        splat=SplatClass.PANIC,
    ),
    Detector(
        "hung-task",
        trip="a task kept in uninterruptible sleep beyond the shortened timeout",
        proof="the log parser reports a hung task",
        splat=SplatClass.HUNG_TASK,
    ),
    Detector(
        "ledger-leak",
        trip="a mapping left behind while its region is removed",
        proof="the ledger expectation reports a map without its unmap",
    ),
    Detector(
        "slat-leak",
        trip="a SLAT entry that no live region explains",
        proof="the SLAT audit reports the entry",
    ),
)


def required(flavour: str) -> tuple[str, ...]:
    """Names of the detectors that a kernel of ``flavour`` must prove."""
    return tuple(d.name for d in DETECTORS if d.flavours is None or flavour in d.flavours)


def lacking(flavour: str, wanted: Iterable[str]) -> list[str]:
    """Those of ``wanted`` that a kernel of ``flavour`` does not have, in their order."""
    have = set(required(flavour))
    return [name for name in dict.fromkeys(wanted) if name not in have]


def unarmed(proofs: Iterable[DetectorProof], required: Iterable[str]) -> list[str]:
    """Why a pass does not count: one line per required detector without a proof that it fires.

    A detector that was tripped several times must have fired every time.
    """
    by_name: dict[str, list[DetectorProof]] = {}
    for proof in proofs:
        by_name.setdefault(proof.name, []).append(proof)
    problems = []
    for name in dict.fromkeys(required):
        found = by_name.get(name, [])
        silent = [proof for proof in found if not proof.fired]
        if not found:
            problems.append(f"detector {name} was not tripped on this kernel")
        elif silent:
            detail = f" ({silent[0].detail})" if silent[0].detail else ""
            problems.append(f"detector {name} stayed silent when tripped{detail}")
    return problems
