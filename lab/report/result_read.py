# SPDX-License-Identifier: GPL-2.0-or-later
"""``result.json`` read back, as far as claims are judged by it: kernels and what their scenarios said."""

from __future__ import annotations

from typing import Any

from lab.model.result import DetectorProof, KernelRun, ScenarioOutcome
from lab.model.verdict import Verdict
from lab.report.result_json import SCHEMA


def kernels(values: dict[str, Any]) -> list[tuple[str, tuple[KernelRun, ...]]]:
    """Base and patched kernel with their names and their runs, one for each flavour.

    ``values`` is what ``result_json.as_dict`` gives. Raises ValueError, KeyError or TypeError for what is no
    such thing.
    """
    if values["schema"] != SCHEMA:
        raise ValueError(f"schema {values['schema']!r} is not {SCHEMA}")
    names = (("base", str(values["base_version"])), ("patched", str(values["series"]["name"])))
    return [(name, tuple(_runs(values, side))) for side, name in names]


def _runs(values: dict[str, Any], side: str) -> list[KernelRun]:
    found = []
    for flavour, run in values["kernels"][side]["flavours"].items():
        outcomes = [
            _outcome(scenario, side) for scenario in values["scenarios"] if scenario["flavour"] == flavour
        ]
        found.append(
            KernelRun(
                side=side,
                release=run["release"],
                flavour=flavour,
                key=run["key"],
                verdict=Verdict(run["verdict"]),
                reasons=tuple(run["reasons"]),
                outcomes=tuple(o for o in outcomes if o is not None),
                detectors=tuple(DetectorProof(p["name"], p["fired"], p["detail"]) for p in run["detectors"]),
                failed_phase=run["failed_phase"],
                splats=tuple(run["splats"]),
                warnings=tuple(run.get("warnings", ())),
            )
        )
    return found


def _outcome(scenario: dict[str, Any], side: str) -> ScenarioOutcome | None:
    said = scenario[side]
    name, claims = str(scenario["id"]), tuple(scenario["claims"])
    if said is None:
        why = str(scenario[f"{side}_reason"])
        return ScenarioOutcome(name, claims, None, (why,)) if why else None
    return ScenarioOutcome(
        name,
        claims,
        verdict=Verdict(said["verdict"]),
        reasons=tuple(said["reasons"]),
        evidence=tuple(said["evidence"]),
        observations=dict(said["observations"]),
        splats=tuple(said["splats"]),
        unobserved=tuple(said["unobserved"]),
        seconds=float(said["seconds"]),
    )
