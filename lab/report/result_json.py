# SPDX-License-Identifier: GPL-2.0-or-later
"""``result.json``: the result for programs. docs/result-schema.md describes it, schema/ checks it."""

from __future__ import annotations

import json
from collections.abc import Collection
from importlib import resources
from typing import Any

from lab.model.coverage import Coverage
from lab.model.result import KernelRun, ScenarioOutcome, ScenarioPair, ValidateResult
from lab.report import claims, view

SCHEMA = 1
"""Raised when a reader of the old form could go wrong; new keys alone do not raise it."""


def dumps(result: ValidateResult) -> str:
    """The text of result.json, without a final line break."""
    return json.dumps(as_dict(result), indent=1, ensure_ascii=True)


def lock(result: ValidateResult) -> str:
    """The text of the lock file that ``--base lock:FILE`` takes, without a final line break."""
    return json.dumps(result.base_lock, indent=1)


def schema() -> dict[str, Any]:
    """The JSON schema of what ``dumps`` writes."""
    text = resources.files("lab.report").joinpath(f"schema/result-{SCHEMA}.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def as_dict(result: ValidateResult) -> dict[str, Any]:
    """The result as JSON values."""
    return {
        "schema": SCHEMA,
        "verdict": result.verdict.value,
        "exit_code": int(result.exit_code),
        "reasons": list(result.reasons),
        "started": result.started,
        "series": {
            "name": result.series_name,
            "patches": list(result.patches),
            "fixes": list(result.fixes),
        },
        "base_version": result.base_version,
        "lock": dict(result.base_lock),
        "scenarios": [_scenario(result, pair) for pair in result.scenarios],
        "kernels": {side: _kernel(view.runs_of(result, side)) for side in view.SIDES},
        "phases": [
            {
                "name": phase.name,
                "side": phase.side,
                "wall": round(phase.wall, 3),
                "cpu": round(phase.cpu, 3),
                "start": None if phase.start is None else round(phase.start, 3),
                "note": phase.note,
            }
            for phase in result.phases
        ],
        "notes": list(result.notes),
        "execution": result.execution,
        "surface": [
            {
                "kind": a.kind,
                "name": a.name,
                "number": a.number,
                "sites": list(a.sites),
                "state": str(a.state),
                "answer": a.answer,
                "why": a.why,
                "text": a.text,
                "reached": list(view.reached(result, a)),
            }
            for a in result.additions
        ],
        "claims": claims.as_dict(result.claims) if result.claims else [],
        "coverage": _coverage(result.coverage),
        "not_exercised": view.not_exercised(result),
        "reproduce": list(result.reproduce),
    }


def _coverage(found: Coverage | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "scope": found.scope,
        "flavour": found.flavour,
        "run": found.run,
        "total": found.total,
        "scenarios": found.scenarios,
        "guests": found.guests,
        "lost": list(found.lost),
        "notes": list(found.notes),
        "files": [
            {
                "path": f.path,
                "run": list(f.run),
                "not_run": list(f.not_run),
                "half": list(f.half),
                "without_code": f.without_code,
                "unmeasured": f.unmeasured,
                "functions": list(f.functions),
            }
            for f in found.files
        ],
    }


def _scenario(result: ValidateResult, pair: ScenarioPair) -> dict[str, Any]:
    return {
        "id": pair.id,
        "claims": list(pair.claims),
        "flavour": pair.flavour,
        "change": str(pair.change),
        "expected": pair.expected,
        "base": _outcome(pair.base, view.files(result, pair, "base")),
        "base_reason": pair.base_reason,
        "patched": _outcome(pair.patched, view.files(result, pair, "patched")),
        "patched_reason": _why_none(pair.patched),
    }


def _outcome(outcome: ScenarioOutcome | None, files: Collection[str]) -> dict[str, Any] | None:
    if outcome is None or outcome.verdict is None:
        return None
    return {
        "verdict": outcome.verdict.value,
        "reasons": list(outcome.reasons),
        "evidence": list(outcome.evidence),
        "observations": outcome.observations,
        "splats": list(outcome.splats),
        "unobserved": list(outcome.unobserved),
        "files": list(files),
        "seconds": round(outcome.seconds, 3),
    }


def _why_none(outcome: ScenarioOutcome | None) -> str:
    if outcome is None:
        return "the scenario was not run on the patched kernel"
    return "; ".join(outcome.reasons) if outcome.verdict is None else ""


def _kernel(runs: Collection[KernelRun]) -> dict[str, Any]:
    return {
        "verdict": view.kernel_verdict(runs).value,
        "reasons": [reason for run in runs for reason in run.reasons]
        if runs
        else ["this kernel was not run"],
        "flavours": {run.flavour: _run(run) for run in runs},
    }


def _run(run: KernelRun) -> dict[str, Any]:
    return {
        "verdict": run.verdict.value,
        "reasons": list(run.reasons),
        "release": run.release,
        "fixes": list(run.fixes),
        "warnings": list(run.warnings),
        "key": run.key,
        "cached": run.cached,
        "failed_phase": run.failed_phase,
        "splats": list(run.splats),
        "evidence": list(run.evidence),
        "abilities": dict(run.abilities),
        "detectors": [{"name": p.name, "fired": p.fired, "detail": p.detail} for p in run.detectors],
    }
