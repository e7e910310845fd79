# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of a validation as a nightly tells it: one variant, its scenarios, what they say."""

from __future__ import annotations

from lab.model.claim import Standing
from lab.model.nightly import ClaimState, Scenario, Timing, Variant, VariantResult
from lab.model.result import ScenarioPair, ValidateResult
from lab.report import view

EVIDENCE = 40
"""Lines of evidence of one scenario or phase; the files beside have them all."""


def from_result(
    result: ValidateResult,
    variant: Variant,
    *,
    wall: float = 0.0,
    cpu: float = 0.0,
    host: str = "",
    folder: str = "",
) -> VariantResult:
    """``result``, which is of ``variant`` alone. ``wall`` and ``cpu`` in seconds, children included."""
    patched = next(iter(view.runs_of(result, "patched")), None)
    counted = result.coverage
    return VariantResult(
        variant=variant,
        verdict=result.verdict,
        reasons=result.reasons,
        base_version=result.base_version,
        release=patched.release if patched else "",
        scenarios=tuple(scenario_of(result, pair) for pair in result.scenarios),
        claims=_claims(result),
        timings=tuple(Timing(p.name, p.side, p.wall, p.cpu) for p in result.phases),
        changed_lines=(counted.run, counted.total) if counted else None,
        failed_phase=patched.failed_phase if patched else "",
        evidence=patched.evidence[:EVIDENCE] if patched and patched.failed_phase else (),
        splats=patched.splats if patched else (),
        detectors=tuple((d.name, d.fired) for d in patched.detectors) if patched else (),
        execution=result.execution,
        reproduce=result.reproduce,
        notes=result.notes,
        wall=wall,
        cpu=cpu,
        host=host,
        folder=folder,
    )


def scenario_of(result: ValidateResult, pair: ScenarioPair) -> Scenario:
    """One scenario on both sides, told by the outcome on the patched kernel if there is one, else on base."""
    side = "patched" if pair.patched is not None else "base"
    told = pair.patched or pair.base
    return Scenario(
        id=pair.id,
        claims=pair.claims,
        base=pair.base.verdict if pair.base else None,
        patched=pair.patched.verdict if pair.patched else None,
        change=str(pair.change),
        counts=view.counts_as(result, pair),
        reasons=told.reasons if told else (),
        evidence=told.evidence[:EVIDENCE] if told else (),
        files=view.files(result, pair, side),
        splats=told.splats if told else (),
        seconds=told.seconds if told else 0.0,
    )


def _claims(result: ValidateResult) -> tuple[ClaimState, ...]:
    """First kernel of the table is the base, the last one the series'."""
    if result.claims is None:
        return ()
    unknown = Standing.NOT_DECIDED
    return tuple(
        ClaimState(
            row.id,
            row.title,
            str(row.findings[0].standing if row.findings else unknown),
            str(row.findings[-1].standing if row.findings else unknown),
        )
        for row in result.claims.rows
    )
