# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict of a series once more, when more is known of some of its failures than one run can show."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from lab.judge.verdict import CUT_SHORT, kernel_verdict, series_verdict
from lab.model.result import KernelRun, ScenarioOutcome, ValidateResult
from lab.model.verdict import Judgement, Verdict


def rejudge(
    result: ValidateResult,
    guards: Collection[str],
    *,
    doubtful: Mapping[str, str],
    ignored: Mapping[str, str],
) -> Judgement:
    """The judgement on ``result`` when the scenarios in ``doubtful`` are in doubt and those in ``ignored``
    do not count. Both map a scenario's id to the reason. ``guards`` are the series' own.

    What the kernel complained of in such a scenario goes with it.
    """
    if not doubtful and not ignored:
        return Judgement(result.verdict, result.reasons)

    def seen(outcome: ScenarioOutcome | None) -> ScenarioOutcome | None:
        if outcome is None or outcome.id not in doubtful or outcome.verdict is not Verdict.FAIL:
            return outcome
        why = (doubtful[outcome.id], *outcome.reasons)
        return replace(outcome, verdict=Verdict.INCONCLUSIVE, reasons=why, splats=())

    def whole(run: KernelRun) -> KernelRun:
        kept = [o for o in run.outcomes if o.id not in ignored]
        if run.side == "patched":
            kept = [o for o in (seen(o) for o in kept) if o is not None]
        if run.failed_phase or tuple(kept) == run.outcomes:
            return run
        own = kernel_verdict(kept, run.detectors, flavour=run.flavour, splats=run.splats)
        cut = tuple(r for r in run.reasons if r.startswith(CUT_SHORT))
        verdict = Verdict.INCONCLUSIVE if cut and own.verdict is Verdict.PASS else own.verdict
        return replace(run, outcomes=tuple(kept), verdict=verdict, reasons=(*cut, *own.reasons))

    runs = [whole(run) for run in result.runs]
    pairs = [replace(p, patched=seen(p.patched)) for p in result.scenarios if p.id not in ignored]
    judged = series_verdict(
        pairs,
        [r for r in runs if r.side == "patched"],
        [r for r in runs if r.side == "base"],
        result.fixes,
        guards=guards,
    )
    told = tuple(f"{name}: its failure does not count: {why}" for name, why in ignored.items())
    return replace(judged, reasons=(*judged.reasons, *told))
