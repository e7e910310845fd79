# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts of a scenario, a kernel and a series. A series is judged relative to its base.

The series fails when a patch does not apply, build or boot, when a scenario that base passes fails on
the patched kernel, when a splat is new, when the compiler warns of something new, when a claim that the
series is said to fix (or a scenario it guards) still fails, and when a scenario that base has no ability
for fails. What fails on both sides
alike is listed and not held against the series; what fails on both sides differently is doubt, unless
the claims file expects it. Doubt on the patched kernel, or about a claim to be fixed, is never a pass.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from lab.judge.armed import required, unarmed
from lab.judge.warnings import new_warnings
from lab.model.errors import ExitCode
from lab.model.result import DetectorProof, KernelRun, ScenarioOutcome, ScenarioPair
from lab.model.verdict import Change, Judgement, Verdict, worst

Runs = KernelRun | Sequence[KernelRun] | None


def settle(outcome: ScenarioOutcome, detectors: Iterable[DetectorProof], flavour: str) -> ScenarioOutcome:
    """``outcome`` as it counts on a kernel with these detector proofs. Idempotent.

    A pass with an unexpected splat is a fail; a pass whose detectors are not armed is inconclusive;
    whatever is not a pass says why.
    """
    if outcome.verdict is None:
        return outcome if outcome.reasons else replace(outcome, reasons=("the kernel lacks the ability",))
    if outcome.verdict is Verdict.PASS and outcome.splats:
        reasons = tuple(f"unexpected splat {splat}" for splat in outcome.splats)
        return replace(outcome, verdict=Verdict.FAIL, reasons=outcome.reasons + reasons)
    if outcome.verdict is Verdict.PASS:
        silent = unarmed(detectors, outcome.detectors or required(flavour))
        if silent:
            reasons = outcome.reasons + tuple(silent)
            return replace(outcome, verdict=Verdict.INCONCLUSIVE, reasons=reasons)
    elif not outcome.reasons:
        return replace(outcome, reasons=(f"{outcome.verdict} without a recorded reason",))
    return outcome


def kernel_verdict(
    outcomes: Iterable[ScenarioOutcome],
    detectors: Iterable[DetectorProof],
    *,
    flavour: str = "plain",
    splats: Iterable[str] = (),
) -> Judgement:
    """A kernel's own verdict: the worst of its scenarios and of ``splats`` outside every scenario."""
    proofs = tuple(detectors)
    judged = [o for o in (settle(o, proofs, flavour) for o in outcomes) if o.verdict is not None]
    outside = [f"splat {splat} outside every scenario" for splat in splats]
    verdicts = [o.verdict for o in judged if o.verdict is not None] + [Verdict.FAIL] * len(outside)
    reasons = outside + [f"{o.id}: {r}" for o in judged if o.verdict is not Verdict.PASS for r in o.reasons]
    if not verdicts:
        reasons.append("no scenario was judged on this kernel")
    return Judgement(worst(verdicts), tuple(reasons))


def compare_runs(
    base: KernelRun | None,
    patched: KernelRun,
    *,
    fixes: Collection[str],
    expects_changed: Collection[str],
    flavour: str,
) -> tuple[ScenarioPair, ...]:
    """Pair the scenarios of one flavour, in the order of the patched run, then what only base has.

    ``expects_changed`` names claims or scenario ids. ``fixes`` adds the claims to a pair's order only:
    scenarios of a claim to be fixed come first. ValueError if a run names a scenario twice.
    """
    before = _by_id(base, flavour)
    after = _by_id(patched, flavour)
    ids = list(after) + [i for i in before if i not in after]
    pairs = [_pair(i, before.get(i), after.get(i), base, expects_changed, flavour) for i in ids]
    pairs.sort(key=lambda pair: not set(pair.claims) & set(fixes))
    return tuple(pairs)


def series_verdict(
    pairs: Iterable[ScenarioPair],
    patched_run: Runs,
    base_run: Runs,
    fixes: Collection[str],
    *,
    guards: Collection[str] = (),
) -> Judgement:
    """The verdict of a series over all its ``pairs`` (any number of flavours) and runs.

    ``guards`` are claims that the patched kernel must hold whatever base does. The reasons of a pass
    say what was fixed and what still fails.
    """
    pairs = tuple(pairs)
    patched, base = _as_runs(patched_run), _as_runs(base_run)
    found = _Findings()
    for run in patched:
        _judge_run(run, base, found)
        _judge_warnings(run, base, found)
    # Without a base nothing is relative: only a patch that does not apply is the series' own failure.
    if not base_ran(base_run):
        found.fails = [r for r in found.fails if r.startswith(_APPLY)]
        found.doubts.append(_dead_base(base))
        return found.judgement()
    ended_early = {run.flavour for run in patched if run.failed_phase}
    for pair in pairs:
        if pair.patched is not None or pair.flavour not in ended_early:
            _judge_pair(pair, found, guards)
    if patched and all(run.failed_phase for run in patched):
        return found.judgement()
    for claim in fixes:
        _judge_claim(claim, pairs, found)
    _judge_splats(pairs, patched, base, found)
    if not any(pair.patched and pair.patched.verdict for pair in pairs):
        found.doubts.append("no scenario was judged on the patched kernel")
    return found.judgement()


def base_ran(base_run: Runs) -> bool:
    """Did base build and boot in every flavour?"""
    base = _as_runs(base_run)
    return bool(base) and not any(run.failed_phase for run in base)


def exit_code(judgement: Judgement, base_run: Runs) -> ExitCode:
    """The process exit code: any fail 1, else a base that did not run 4, else doubt 3, else 0."""
    if judgement.verdict is Verdict.FAIL:
        return ExitCode.FAIL
    if not base_ran(base_run):
        return ExitCode.LAB_UNAVAILABLE
    return ExitCode.PASS if judgement.verdict is Verdict.PASS else ExitCode.INCONCLUSIVE


CUT_SHORT = "the scenario run ended early"
"""How a run's reason begins when not all of its scenarios had their turn."""
_APPLY = "the series does not apply"
_FIXED = "fixed by the series"
_STILL = "still failing, as on base"
_OTHERWISE = "fails otherwise than on base, as the claims file expects"
FIXED_SHOWN = 4
"""Fixed scenarios named in the reasons; the table has them all."""


@dataclass(slots=True)
class _Findings:
    """Reasons collected so far, by what they lead to."""

    fails: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    fixed: list[ScenarioPair] = field(default_factory=list)

    def judgement(self) -> Judgement:
        if self.fixed:
            claims = sorted({c for pair in self.fixed for c in pair.claims}, key=lambda c: (len(c), c))
            of = f" (claims {', '.join(claims)})" if claims else ""
            shown = ", ".join(_label(pair) for pair in self.fixed[:FIXED_SHOWN])
            more = f" and {len(self.fixed) - FIXED_SHOWN} more" if len(self.fixed) > FIXED_SHOWN else ""
            self.facts.insert(0, f"{_FIXED}{of}: {shown}{more}")
        if self.fails:
            return Judgement(Verdict.FAIL, _unique(self.fails + self.doubts + self.facts))
        if self.doubts:
            return Judgement(Verdict.INCONCLUSIVE, _unique(self.doubts + self.facts))
        return Judgement(Verdict.PASS, _unique(self.facts))


def is_fact(reason: str) -> bool:
    """Whether one of a judgement's reasons counts neither against the series nor as doubt."""
    return reason.startswith(_FIXED) or reason.endswith((_STILL, _OTHERWISE))


def _unique(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(lines))


def _as_runs(runs: Runs) -> tuple[KernelRun, ...]:
    if runs is None:
        return ()
    return (runs,) if isinstance(runs, KernelRun) else tuple(runs)


def _by_id(run: KernelRun | None, flavour: str) -> dict[str, ScenarioOutcome]:
    found: dict[str, ScenarioOutcome] = {}
    if run is None:
        return found
    for outcome in run.outcomes:
        if outcome.id in found:
            raise ValueError(f"scenario {outcome.id} has two outcomes on the {run.side} kernel")
        found[outcome.id] = settle(outcome, run.detectors, flavour)
    return found


def _pair(
    scenario: str,
    before: ScenarioOutcome | None,
    after: ScenarioOutcome | None,
    base: KernelRun | None,
    expects_changed: Collection[str],
    flavour: str,
) -> ScenarioPair:
    claims = tuple(dict.fromkeys((after.claims if after else ()) + (before.claims if before else ())))
    base_reason = ""
    if before is None:
        base_reason = _why_not_on_base(base)
    elif before.verdict is None:
        base_reason = "; ".join(before.reasons)
    return ScenarioPair(
        id=scenario,
        claims=claims,
        flavour=flavour,
        base=before if before and before.verdict is not None else None,
        patched=after,
        change=_change(before, after),
        base_reason=base_reason,
        expected=scenario in expects_changed or bool(set(claims) & set(expects_changed)),
    )


def _why_not_on_base(base: KernelRun | None) -> str:
    if base is None:
        return "base was not run"
    if base.failed_phase:
        return f"base ended in phase {base.failed_phase}"
    return "the scenario was not run on base"


def _change(before: ScenarioOutcome | None, after: ScenarioOutcome | None) -> Change:
    b = before.verdict if before else None
    p = after.verdict if after else None
    if p is None:
        return Change.NOT_APPLICABLE
    if b is None:
        return Change.NEW
    if Verdict.INCONCLUSIVE in (b, p):
        return Change.UNDECIDED
    if p is Verdict.PASS:
        return Change.SAME if b is Verdict.PASS else Change.FIXED
    if b is Verdict.PASS:
        return Change.REGRESSED
    assert before is not None and after is not None
    seen = _fingerprint(before)
    return Change.STILL_FAILING if seen and seen == _fingerprint(after) else Change.CHANGED


def _fingerprint(outcome: ScenarioOutcome) -> str:
    """What was observed, comparable between two kernels; empty when nothing was."""
    if not outcome.observations and not outcome.splats:
        return ""
    return json.dumps([outcome.observations, sorted(outcome.splats)], sort_keys=True, default=str)


def _judge_run(run: KernelRun, base: tuple[KernelRun, ...], found: _Findings) -> None:
    """What a kernel run says beside its scenarios: it ended early, or is doubtful as a whole."""
    why = "; ".join(run.reasons) or "no reason recorded"
    if run.failed_phase == "apply" and run.verdict is Verdict.FAIL:
        found.fails.append(f"{_APPLY}: {why}")
    elif run.failed_phase:
        text = f"the patched kernel ({run.flavour}) ended in phase {run.failed_phase}: {why}"
        (found.fails if run.verdict is Verdict.FAIL else found.doubts).append(text)
    elif run.verdict is not Verdict.PASS:
        cut = [reason for reason in run.reasons if reason.startswith(CUT_SHORT)]
        found.doubts += [f"the patched kernel ({run.flavour}): {reason}" for reason in cut]
        settled = [settle(o, run.detectors, run.flavour) for o in run.outcomes]
        explained = bool(run.splats) or any(o.verdict not in (None, Verdict.PASS) for o in settled)
        others = [reason for reason in run.reasons if reason not in cut]
        if explained or (not others and (cut or not run.outcomes)):
            return
        sound = all(b.verdict is Verdict.PASS for b in base if b.flavour == run.flavour)
        text = f"the patched kernel ({run.flavour}) as a whole: {'; '.join(others) or 'no reason recorded'}"
        (found.fails if run.verdict is Verdict.FAIL and sound else found.doubts).append(text)


def _judge_warnings(run: KernelRun, base: tuple[KernelRun, ...], found: _Findings) -> None:
    """A warning that the base has too is not the series' own."""
    known = [w for b in base if b.flavour == run.flavour for w in b.warnings]
    found.fails += [f"the compiler warns of {warning}" for warning in new_warnings(run.warnings, known)]


def _dead_base(base: tuple[KernelRun, ...]) -> str:
    for run in base:
        if run.failed_phase:
            why = "; ".join(run.reasons) or "no reason recorded"
            return f"base ({run.flavour}) ended in phase {run.failed_phase}: {why}"
    return "base was not run, so nothing is relative to it"


def _why(outcome: ScenarioOutcome | None) -> str:
    return "; ".join(outcome.reasons) if outcome and outcome.reasons else "no reason recorded"


def _judge_pair(pair: ScenarioPair, found: _Findings, guards: Collection[str]) -> None:
    name = _label(pair)
    patched = pair.patched
    verdict = patched.verdict if patched else None
    if verdict is None:
        if pair.base is not None and not pair.expected:
            found.doubts.append(f"{name}: ran on base but not on the patched kernel: {_why(patched)}")
        return
    assert patched is not None
    guarded = patched.guards or bool(set(pair.claims) & set(guards))
    if verdict is Verdict.INCONCLUSIVE:
        found.doubts.append(f"{name}: inconclusive: {_why(patched)}")
    elif verdict is Verdict.PASS:
        if pair.change == Change.FIXED:
            found.fixed.append(pair)
    elif guarded:
        found.fails.append(f"{name}: guarded by the series, but fails: {_why(patched)}")
    elif pair.change == Change.REGRESSED:
        found.fails.append(f"{name}: passes on base, fails on the patched kernel: {_why(patched)}")
    elif pair.change == Change.NEW:
        reason = pair.base_reason or "base has no outcome"
        found.fails.append(f"{name}: fails on the patched kernel, judged alone ({reason}): {_why(patched)}")
    elif pair.change == Change.STILL_FAILING:
        found.facts.append(f"{name}: {_STILL}")
    elif pair.change == Change.CHANGED and pair.expected:
        found.facts.append(f"{name}: {_OTHERWISE}")
    elif pair.change == Change.CHANGED:
        found.doubts.append(f"{name}: fails on both kernels, with different observations: {_why(patched)}")
    else:
        found.doubts.append(f"{name}: fails, and base is inconclusive: {_why(pair.base)}")


def _judge_claim(claim: str, pairs: Iterable[ScenarioPair], found: _Findings) -> None:
    """A claim said to be fixed: shown on base (or base lacks the ability), gone on the patched kernel."""
    mine = [pair for pair in pairs if claim in pair.claims]
    ran = [pair for pair in mine if pair.patched and pair.patched.verdict]
    if not ran:
        found.doubts.append(f"claim {claim} is to be fixed, but no scenario of it ran on the patched kernel")
        return
    for pair in ran:
        assert pair.patched is not None
        if pair.patched.verdict is Verdict.FAIL:
            found.fails.append(
                f"claim {claim} is said to be fixed, but {_label(pair)} fails: {_why(pair.patched)}"
            )
        elif pair.patched.verdict is Verdict.INCONCLUSIVE:
            found.doubts.append(f"claim {claim} is to be fixed, but {_label(pair)} is inconclusive")
        elif pair.base and pair.base.verdict is Verdict.INCONCLUSIVE:
            found.doubts.append(
                f"claim {claim} is to be fixed, but {_label(pair)} is inconclusive on base: {_why(pair.base)}"
            )
    if all(pair.base and pair.base.verdict is Verdict.PASS for pair in ran):
        found.doubts.append(f"claim {claim} is to be fixed, but base does not show it")


def _judge_splats(
    pairs: Iterable[ScenarioPair],
    patched: Iterable[KernelRun],
    base: Iterable[KernelRun],
    found: _Findings,
) -> None:
    """A splat is new when base, in the same flavour, shows it nowhere."""
    pairs = tuple(pairs)
    known = known_splats(pairs, base)
    for flavour, where, splat in _splats_seen(pairs, patched):
        if splat not in known.get(flavour, set()):
            found.fails.append(f"{where}: new splat {splat}")


def known_splats(pairs: Iterable[ScenarioPair], base: Iterable[KernelRun]) -> dict[str, set[str]]:
    """The splats that base shows, by flavour: in a scenario, outside all, or in one side of ``pairs``."""
    known: dict[str, set[str]] = {}
    for run in base:
        seen = known.setdefault(run.flavour, set())
        seen.update(run.splats)
        seen.update(splat for outcome in run.outcomes for splat in outcome.splats)
    for pair in pairs:
        known.setdefault(pair.flavour, set()).update(pair.base.splats if pair.base else ())
    return known


def _splats_seen(
    pairs: Iterable[ScenarioPair], patched: Iterable[KernelRun]
) -> Iterator[tuple[str, str, str]]:
    for pair in pairs:
        for splat in pair.patched.splats if pair.patched else ():
            yield pair.flavour, _label(pair), splat
    for run in patched:
        for splat in run.splats:
            yield run.flavour, f"the patched kernel ({run.flavour}) outside every scenario", splat


def _label(pair: ScenarioPair) -> str:
    return f"{pair.id} [{pair.flavour}]"
