# SPDX-License-Identifier: GPL-2.0-or-later
"""Outcomes: of a scenario on one kernel, of a kernel, of a whole validation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lab.model.claim import ClaimTable
from lab.model.coverage import Coverage
from lab.model.surface import Addition
from lab.model.verdict import Verdict


@dataclass(frozen=True, slots=True)
class ScenarioOutcome:
    """One scenario on one kernel.

    ``verdict`` is None when the kernel lacks the ability that the scenario needs, or the machine cannot
    show what it asks for; ``reasons`` then says which. ``unobserved`` is what a scenario did without on
    this machine, judged by what is left. ``observations`` are the facts compared between base and patched
    (JSON values, free of anything that differs between two boots of one kernel). ``evidence`` are lines
    for people; ``files`` names evidence files relative to the run's output folder.
    """

    id: str
    claims: tuple[str, ...]
    verdict: Verdict | None
    reasons: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    observations: dict[str, Any] = field(default_factory=dict)
    splats: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    seconds: float = 0.0
    quick: bool = False
    guards: bool = False
    detectors: tuple[str, ...] = ()
    unobserved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DetectorProof:
    """One detector tripped on purpose on this very kernel. ``fired`` False disarms every pass."""

    name: str
    fired: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """Wall and CPU seconds (children included) of one phase on one side.

    ``start`` in seconds after the walk began, None where nobody measured it.
    """

    name: str
    side: str
    wall: float
    cpu: float
    note: str = ""
    start: float | None = None


@dataclass(frozen=True, slots=True)
class KernelRun:
    """Everything judged on one kernel in one flavour.

    ``failed_phase`` names the phase (``apply``, ``build``, ``image``, ``boot``...) in which the kernel
    ended before any scenario could run; empty when it got to the scenarios. ``splats`` are ids of
    splats outside every scenario (boot, shutdown); ``evidence`` are lines that show how a phase failed
    (compiler output, console tail).
    """

    side: str
    release: str
    flavour: str
    key: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    outcomes: tuple[ScenarioOutcome, ...] = ()
    detectors: tuple[DetectorProof, ...] = ()
    cached: bool = False
    abilities: dict[str, bool] = field(default_factory=dict)
    failed_phase: str = ""
    splats: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    fixes: tuple[str, ...] = ()
    """The lab's own base fixes in this kernel."""
    warnings: tuple[str, ...] = ()
    """What the compiler warned of when it was built, ``FILE:LINE: TEXT``."""


@dataclass(frozen=True, slots=True)
class ScenarioPair:
    """A scenario on both sides. ``change`` is a ``lab.model.verdict.Change``; ``expected`` says that
    the claims file beside the series expects it. Outcomes are settled (``lab.judge.verdict.settle``).
    """

    id: str
    claims: tuple[str, ...]
    flavour: str
    base: ScenarioOutcome | None
    patched: ScenarioOutcome | None
    change: str
    base_reason: str = ""
    expected: bool = False


@dataclass(frozen=True, slots=True)
class ValidateResult:
    """The result of one ``hvlab validate``; report/ turns it into every voice.

    ``fixes`` are the claims that the series is said to fix, ``reproduce`` the commands that lead to
    this result again, ``started`` an ISO 8601 time.
    """

    verdict: Verdict
    exit_code: int
    reasons: tuple[str, ...]
    series_name: str
    patches: tuple[str, ...]
    base_version: str
    base_lock: dict[str, str]
    runs: tuple[KernelRun, ...]
    scenarios: tuple[ScenarioPair, ...]
    phases: tuple[PhaseTime, ...]
    notes: tuple[str, ...] = ()
    fixes: tuple[str, ...] = ()
    reproduce: tuple[str, ...] = ()
    started: str = ""
    execution: str = ""
    """Which QEMU executed the guests in which mode, and why in that one."""
    additions: tuple[Addition, ...] = ()
    """What the series asks of the hypervisor and its base does not."""
    coverage: Coverage | None = None
    """Which lines the scenarios ran; None where nobody asked for it or it could not be measured."""
    claims: ClaimTable | None = None
    """What the runs say about review claims: those that they touch, or that were asked for."""
