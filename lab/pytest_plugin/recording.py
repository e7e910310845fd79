# SPDX-License-Identifier: GPL-2.0-or-later
"""What one scenario did and saw, and the verdict that follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from lab.model.errors import ExitCode, GuestDied, LabError, NotObservable
from lab.model.result import ScenarioOutcome
from lab.model.verdict import Verdict
from lab.pytest_plugin.scenario import ScenarioMark

INFRASTRUCTURE = ("tripwire", "ssh")
"""Deaths that say nothing about the kernel: a QEMU defect, and a connection that broke while the
guest lives (a guest that died is found out by its watch first)."""


class AbilityMissing(Exception):
    """The kernel under test lacks what the scenario needs; there is nothing to judge."""


class Recording:
    """Collects evidence while a scenario runs; :meth:`outcome` judges it afterwards."""

    def __init__(self, scenario: str, mark: ScenarioMark) -> None:
        self.scenario = scenario
        self.mark = mark
        self.evidence: list[str] = []
        self.observations: dict[str, Any] = {}
        self.files: list[str] = []
        self.splats: list[str] = []
        self.allowed: list[tuple[str, str]] = []
        """Splats that the allow-list explains: name of the entry, title."""
        self.failures: list[str] = []
        self.doubts: list[str] = []
        self.infrastructure: list[str] = []
        self.missing: list[str] = []
        self.unobserved: list[str] = []
        self.detectors: tuple[str, ...] = ()
        self.texts: list[tuple[str, str]] = []
        self.seconds = 0.0
        self.called = False

    def phase(self, call: pytest.CallInfo[None]) -> None:
        """Take in one of setup, call, teardown."""
        self.seconds += call.duration
        if call.when == "call" and call.excinfo is None:
            self.called = True
        if call.excinfo is not None:
            self.error(call.excinfo.value)

    def error(self, e: BaseException) -> None:
        """Sort an exception: the kernel's fault, the lab's, or a missing ability."""
        if isinstance(e, AbilityMissing):
            self.missing.append(str(e))
        elif isinstance(e, NotObservable):
            self.missing.append(f"not observable here: {e.what}")
        elif isinstance(e, GuestDied) and e.kind in INFRASTRUCTURE:
            self.infrastructure.append(f"infrastructure: {e.what}")
            if e.__cause__ is not None:
                self.evidence.append(f"cause: {e.__cause__!r}")
        elif isinstance(e, GuestDied):
            self.failures.append(f"{e.kind} in {e.phase}: {e.what}")
            self.observations.setdefault("died", e.kind)
            if e.detail:
                self.texts.append(("last words", e.detail))
        elif isinstance(e, LabError) and e.exit_code is ExitCode.FAIL:
            self.failures.append(str(e).splitlines()[0])
        elif isinstance(e, LabError):
            self.doubts.append(f"lab: {str(e).splitlines()[0]}")
        elif isinstance(e, pytest.skip.Exception):
            self.missing.append(str(e))
        elif isinstance(e, AssertionError | pytest.fail.Exception):
            self.failures.append(first_line(e))
        else:
            self.doubts.append(f"lab: {type(e).__name__}: {first_line(e)}")

    def against_a_pass(self) -> str:
        """What keeps a scenario whose own code ended well from a pass; "" when nothing does."""
        if not self.called:
            return ""
        return next(iter((*self.failures, *self.infrastructure, *self.doubts)), "")

    def sections(self) -> list[tuple[str, str]]:
        """Evidence as pytest report sections."""
        lines = "\n".join(self.evidence)
        return ([("evidence", lines)] if lines else []) + self.texts

    def outcome(self) -> ScenarioOutcome:
        """The judged outcome. Failure beats doubt; a pass needs a call phase that ended well."""
        verdict: Verdict | None
        observations = dict(self.observations)
        if self.failures:
            # What base and patched are compared by when both fail: scenarios word it free of anything
            # that differs between two boots.
            observations["failed with"] = self.failures[0]
            verdict, reasons = Verdict.FAIL, [*self.failures, *self.doubts]
        elif self.infrastructure or self.doubts:
            verdict, reasons = Verdict.INCONCLUSIVE, [*self.infrastructure, *self.doubts]
        elif self.missing:
            verdict, reasons = None, self.missing
        elif self.called:
            verdict, reasons = Verdict.PASS, []
        else:
            verdict, reasons = Verdict.INCONCLUSIVE, ["lab: the scenario did not run"]
        return ScenarioOutcome(
            id=self.scenario,
            claims=self.mark.claims,
            verdict=verdict,
            reasons=tuple(dict.fromkeys(reasons)),
            evidence=tuple(self.evidence),
            observations=observations,
            splats=tuple(self.splats),
            files=tuple(self.files),
            unobserved=tuple(dict.fromkeys(self.unobserved)),
            detectors=self.detectors,
            seconds=round(self.seconds, 3),
            quick=self.mark.quick,
        )


def first_line(e: BaseException) -> str:
    """What an exception says, in one line."""
    text = str(e).strip()
    return text.splitlines()[0] if text else type(e).__name__
