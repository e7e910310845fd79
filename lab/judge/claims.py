# SPDX-License-Identifier: GPL-2.0-or-later
"""What running says about review claims: reproduced, not reproduced, or not decided and why.

A claim is reproduced on a kernel when a scenario that decides it fails there *for the claim's own reason*.
It is not reproduced when every scenario that decides it was judged and passed. Everything else is not
decided, and says so: a scenario that could not run, that is in doubt, or that failed for another reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lab.model.claim import Claim, ClaimRow, ClaimTable, Decider, Finding, Standing
from lab.model.result import KernelRun, ScenarioOutcome
from lab.model.verdict import Verdict

EVIDENCE = 3
"""Lines of evidence kept with a finding; the report has all of them."""

_FOREIGN = re.compile(
    r"unexpected splat |kernel splat \(|left behind after|SLAT at the end"
    r"|(?:qemu-exit|panic|hypervisor-panic|triple-fault|tripwire|boot-hang|driver-hang|ssh|child-exit) in "
)
"""Reasons that any scenario may fail with: by themselves they say nothing about a claim."""

_Judged = tuple[str, ScenarioOutcome]
"""Flavour and outcome."""


def table(claims: Iterable[Claim], kernels: Sequence[tuple[str, Sequence[KernelRun]]]) -> ClaimTable:
    """Every claim on every kernel; a kernel is its name and its runs, one for each flavour."""
    rows = tuple(
        ClaimRow(claim.id, claim.title, claim.cls, tuple(find(claim, runs) for _, runs in kernels))
        for claim in claims
    )
    return ClaimTable(tuple(name for name, _ in kernels), rows)


def touched(
    claims: Iterable[Claim], runs: Sequence[KernelRun], named: Iterable[str] = ()
) -> tuple[Claim, ...]:
    """The claims of which a deciding scenario was judged in ``runs``, and those that are ``named``."""
    judged = {base_name(o.id) for run in runs for o in run.outcomes if o.verdict is not None}
    wanted = set(named)
    return tuple(
        claim
        for claim in claims
        if claim.id in wanted or any(judged & set(decider.scenarios) for decider in claim.deciders)
    )


def base_name(scenario: str) -> str:
    """A scenario's name without its parameters."""
    return scenario.partition("[")[0]


def find(claim: Claim, runs: Sequence[KernelRun]) -> Finding:
    """What ``runs`` of one kernel say about ``claim``. Outcomes must be settled (lab.judge.verdict)."""
    if not claim.deciders:
        return Finding(Standing.NOT_DECIDED, _with_recipe(claim, claim.undecided or "nothing decides it"))
    found = [_judge(decider, runs) for decider in claim.deciders]
    for finding in found:
        if finding.standing is Standing.REPRODUCED:
            return finding
    for finding in found:
        if finding.standing is Standing.NOT_DECIDED:
            return finding
    count = sum(len(_passed(decider, runs)) for decider in claim.deciders)
    blunt = [f for f, d in zip(found, claim.deciders, strict=True) if not d.refutes]
    if blunt or claim.undecided:
        why = claim.undecided or "a pass does not show that there is no defect"
        first = (blunt or found)[0]
        text = f"{_passes(count)}, but {why}"
        return Finding(Standing.NOT_DECIDED, _with_recipe(claim, text), first.scenario, first.flavour)
    return Finding(
        Standing.NOT_REPRODUCED,
        _passes(count),
        found[0].scenario,
        ", ".join(dict.fromkeys(f.flavour for f in found)),
        tuple(dict.fromkeys(line for f in found for line in f.evidence))[:EVIDENCE],
    )


def _judge(decider: Decider, runs: Sequence[KernelRun]) -> Finding:
    outcomes = _deciding(decider, runs)
    for flavour, outcome in outcomes:
        if outcome.verdict is Verdict.FAIL and (why := _own_reason(decider, outcome)):
            return _finding(Standing.REPRODUCED, why, flavour, outcome)
    dead = None if outcomes else _dead(runs)
    return dead or _without_failure(decider, outcomes)


def _deciding(decider: Decider, runs: Sequence[KernelRun]) -> list[_Judged]:
    return [
        (run.flavour, outcome)
        for run in runs
        if not decider.flavours or run.flavour in decider.flavours
        for outcome in run.outcomes
        if base_name(outcome.id) in decider.scenarios
    ]


def _passed(decider: Decider, runs: Sequence[KernelRun]) -> set[str]:
    """Ids of deciding scenarios that passed, in whatever flavour."""
    return {outcome.id for _, outcome in _deciding(decider, runs) if outcome.verdict is Verdict.PASS}


def _without_failure(decider: Decider, outcomes: list[_Judged]) -> Finding:
    """No outcome shows the defect: either all of them pass, or something stands in the way."""
    for verdict, words in ((Verdict.FAIL, "fails for another reason"), (Verdict.INCONCLUSIVE, "in doubt")):
        for flavour, outcome in outcomes:
            if outcome.verdict is verdict:
                return _finding(Standing.NOT_DECIDED, f"{words}: {_why(outcome)}", flavour, outcome)
    by_id: dict[str, list[_Judged]] = {}
    for flavour, outcome in outcomes:
        by_id.setdefault(outcome.id, []).append((flavour, outcome))
    for judged in by_id.values():
        if all(outcome.verdict is None for _, outcome in judged):
            # Another flavour may say more of what is missing than the first: the last one to run is named.
            flavour, outcome = judged[-1]
            return _finding(Standing.NOT_DECIDED, f"not applicable: {_why(outcome)}", flavour, outcome)
    for name in decider.scenarios:
        if not any(base_name(i) == name for i in by_id):
            on = f" on {' or '.join(decider.flavours)}" if decider.flavours else ""
            return Finding(Standing.NOT_DECIDED, f"not run{on}", name)
    passed = [(flavour, o) for flavour, o in outcomes if o.verdict is Verdict.PASS]
    evidence = tuple(dict.fromkeys(line for _, o in passed for line in o.evidence))
    flavours = ", ".join(dict.fromkeys(flavour for flavour, _ in passed))
    names = ", ".join(decider.scenarios)
    return Finding(Standing.NOT_REPRODUCED, "passed", names, flavours, evidence[:EVIDENCE])


def _own_reason(decider: Decider, outcome: ScenarioOutcome) -> str:
    """The reason of a failure that is the claim's own; empty when it failed for others."""
    if decider.fails_with:
        pattern = re.compile(decider.fails_with)
        said = [text for text in (*outcome.reasons, *outcome.splats) if pattern.search(text)]
    else:
        said = [text for text in outcome.reasons if not _FOREIGN.match(text)]
    # A reason without a word stands for nothing, and must not hide one that comes after it.
    return next((text for text in said if text.strip()), "")


def _finding(standing: Standing, why: str, flavour: str, outcome: ScenarioOutcome) -> Finding:
    evidence = tuple(line for line in outcome.evidence if line != why)[:EVIDENCE]
    return Finding(standing, why, outcome.id, flavour, evidence)


def _dead(runs: Sequence[KernelRun]) -> Finding | None:
    for run in runs:
        if run.failed_phase:
            why = "; ".join(run.reasons) or "no reason recorded"
            text = f"the kernel ended in phase {run.failed_phase}: {why}"
            return Finding(Standing.NOT_DECIDED, text, flavour=run.flavour)
    if not any(run.outcomes for run in runs):
        reasons = [reason for run in runs for reason in run.reasons]
        return Finding(Standing.NOT_DECIDED, "; ".join(reasons) or "no scenario ran on this kernel")
    return None


def _passes(count: int) -> str:
    return f"{count} deciding scenario{'' if count == 1 else 's'} passed"


def _why(outcome: ScenarioOutcome) -> str:
    return "; ".join(outcome.reasons) or "no reason recorded"


def _with_recipe(claim: Claim, why: str) -> str:
    return f"{why} (race recipe to come: {claim.recipe})" if claim.recipe else why
