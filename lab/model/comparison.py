# SPDX-License-Identifier: GPL-2.0-or-later
"""The same scenarios on several machines, side by side."""

from __future__ import annotations

from dataclasses import dataclass

from lab.model.machine import Hypervisor
from lab.model.result import KernelRun, PhaseTime, ScenarioOutcome

RUNNING = "running"
"""The side of a machine that the lab does not boot: the kernel that runs there."""


@dataclass(frozen=True, slots=True)
class MachineRuns:
    """One machine with its kernels, in the order in which they are shown. ``notes`` limit what its results
    say (detectors that were not tripped, a machine that could not be reached)."""

    machine: str
    hypervisor: Hypervisor
    runs: tuple[KernelRun, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """One scenario on one machine with one kernel. ``outcome`` is settled; None when it was not run."""

    machine: str
    side: str
    outcome: ScenarioOutcome | None


@dataclass(frozen=True, slots=True)
class ComparedScenario:
    """One scenario everywhere. ``differs`` names the sides on which one machine passes and another fails,
    ``compared`` those on which at least two machines judged it."""

    id: str
    claims: tuple[str, ...]
    cells: tuple[Cell, ...]
    compared: tuple[str, ...]
    differs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of ``hvlab compare``."""

    series_name: str
    base_version: str
    machines: tuple[MachineRuns, ...]
    scenarios: tuple[ComparedScenario, ...]
    exit_code: int
    reasons: tuple[str, ...]
    phases: tuple[PhaseTime, ...] = ()
    started: str = ""
