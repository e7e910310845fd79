# SPDX-License-Identifier: GPL-2.0-or-later
"""A version of a series against the one before it: what is better, what is worse, what cannot be said.

Only what ran on both sides is compared. What is missing on one side is told in the note and is never taken
for fixed; neither is a failure that came and went by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from lab.model.claim import Standing
from lab.model.kernel import KernelSource
from lab.model.nightly import (
    CheckResult,
    Delta,
    Difference,
    MutantFate,
    Scenario,
    VariantResult,
    VersionReport,
)
from lab.model.verdict import Verdict
from lab.nightly.range_diff import range_diff
from lab.report import said

NOISE_SHARE = 0.25
NOISE_SECONDS = 10.0
"""A phase took another time where it differs by more than both: this share of what it took before, and these
seconds. Two runs of one kernel on a busy host differ by less."""
REACHED = "reaches the scenarios"
"""Id of the difference that says whether a variant's kernel got as far as its scenarios."""
_NOT_RUN = "not run"
_NOT_MADE = "not made"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a review claim. ``answer`` is ``addressed``, ``not addressed``, ``came back``,
    ``not reproduced`` (neither before nor now) or ``not decided``; ``variants`` are those that say so."""

    id: str
    title: str
    answer: str
    variants: tuple[str, ...]


def between(before: VersionReport, now: VersionReport, source: KernelSource | None) -> Delta:
    """Everything that changed, with git's range-diff over ``source`` (None: without one)."""
    found = compare(before, now)
    if source is None:
        return found
    diff, why = range_diff(before.series, now.series, source)
    note = "; ".join(filter(None, (found.note, f"there is no range-diff: {why}" if why else "")))
    return replace(found, range_diff=diff, note=note)


def compare(before: VersionReport, now: VersionReport) -> Delta:
    """What differs between two versions, variant by variant, then the static checks. No range-diff."""
    old = {v.variant.id: v for v in before.variants}
    new = {v.variant.id: v for v in now.variants}
    differences: list[Difference] = []
    notes = _not_judged(before, "before") + _not_judged(now, "now")
    for name in dict.fromkeys((*new, *old)):
        missing = _missing(name, old.get(name), "before") + _missing(name, new.get(name), "now")
        if missing:
            notes += missing
        else:
            found, told = _variant(name, old[name], new[name])
            differences += found
            notes += told
    differences += _checks(before, now)
    return Delta(before.series.version, tuple(differences), note="; ".join(notes))


def answers(before: VersionReport, now: VersionReport) -> tuple[Answer, ...]:
    """Was that comment addressed? One answer for each claim that either version speaks of.

    A claim is addressed when every variant that reproduced it before now decides otherwise, and none
    reproduces it.
    """
    old, new = _claims(before), _claims(now)
    titles = {c.id: c.title for v in (*before.variants, *now.variants) for c in v.claims}
    return tuple(_answer(id, title, old.get(id, {}), new.get(id, {})) for id, title in titles.items())


def _answer(id: str, title: str, old: dict[str, str], new: dict[str, str]) -> Answer:
    had = tuple(v for v, standing in old.items() if standing == Standing.REPRODUCED)
    has = tuple(v for v, standing in new.items() if standing == Standing.REPRODUCED)
    rid = tuple(v for v, standing in new.items() if standing == Standing.NOT_REPRODUCED)
    if has:
        decided = had or not any(standing == Standing.NOT_REPRODUCED for standing in old.values())
        return Answer(id, title, "not addressed" if decided else "came back", has)
    if rid and set(had) <= set(rid):
        return Answer(id, title, "addressed" if had else "not reproduced", rid)
    return Answer(id, title, "not decided", tuple(v for v in had if v not in rid))


def _claims(report: VersionReport) -> dict[str, dict[str, str]]:
    """{claim: {variant: its standing on the patched kernel}}."""
    found: dict[str, dict[str, str]] = {}
    for variant in report.variants:
        for claim in () if variant.lost else variant.claims:
            found.setdefault(claim.id, {})[variant.variant.id] = claim.patched
    return found


def _not_judged(report: VersionReport, when: str) -> list[str]:
    if report.series.problem:
        return [f"v{report.series.version} ({when}) cannot be judged: {report.series.problem}"]
    return []


def _missing(name: str, found: VariantResult | None, when: str) -> list[str]:
    if found is None:
        return [f"{name} was not run {when}"]
    return [f"{name} has no result {when}: {found.lost}"] if found.lost else []


def _variant(name: str, old: VariantResult, new: VariantResult) -> tuple[list[Difference], list[str]]:
    """Differences of one variant, and what must be said besides."""
    claims = _claim_states(name, old, new)
    ended = [(v.failed_phase, when) for v, when in ((old, "before"), (new, "now")) if v.failed_phase]
    if ended:
        notes = [f"{name} ended in {phase} {when}" for phase, when in ended]
        return _reached(name, old, new) + claims, notes
    found = _scenarios(name, old, new) + claims + _splats(name, old, new) + _coverage(name, old, new)
    found += _mutants(name, old, new)
    notes = []
    if (old.changed_lines is None) is not (new.changed_lines is None):
        notes.append(f"{name}: coverage was measured only {'before' if old.changed_lines else 'now'}")
    if (old.host, old.execution) != (new.host, new.execution):
        notes.append(f"{name}: times are not compared, it ran elsewhere or in another way before")
    else:
        found += _times(name, old, new)
    return found, notes


def _reached(name: str, old: VariantResult, new: VariantResult) -> list[Difference]:
    if old.failed_phase == new.failed_phase:
        return []
    before, now = (f"ended in {v.failed_phase}" if v.failed_phase else "yes" for v in (old, new))
    better = None if old.failed_phase and new.failed_phase else not new.failed_phase
    return [Difference("scenario", REACHED, name, before, now, better)]


def _scenarios(name: str, old: VariantResult, new: VariantResult) -> list[Difference]:
    had, has = {s.id: s for s in old.scenarios}, {s.id: s for s in new.scenarios}
    found = []
    for id in dict.fromkeys((*has, *had)):
        before, now = had.get(id), has.get(id)
        if _word(before) != _word(now):
            found.append(Difference("scenario", id, name, _word(before), _word(now), _better(before, now)))
    return found


def _word(found: Scenario | None) -> str:
    """A verdict, with what takes weight from it."""
    if found is None or found.patched is None:
        return _NOT_RUN
    if found.patched is not Verdict.FAIL:
        return str(found.patched)
    less = ["in quarantine"] if found.quarantined else []
    less += ["now and then"] if said.flaky(found) else []
    return f"fail ({', '.join(less)})" if less else "fail"


def _better(before: Scenario | None, now: Scenario | None) -> bool | None:
    """True for a firm failure that is gone, False for a failure of what ran before and did not fail."""
    if any(s is not None and s.quarantined for s in (before, now)):
        return None
    if before is None or now is None or before.patched is None:
        return None
    if now.patched is Verdict.FAIL:
        return None if before.patched is Verdict.FAIL else False
    gone = before.patched is Verdict.FAIL and now.patched is Verdict.PASS
    return True if gone and not said.flaky(before) else None


def _claim_states(name: str, old: VariantResult, new: VariantResult) -> list[Difference]:
    had, has = {c.id: c.patched for c in old.claims}, {c.id: c.patched for c in new.claims}
    found = []
    for id in dict.fromkeys((*has, *had)):
        before, now = had.get(id, Standing.NOT_DECIDED), has.get(id, Standing.NOT_DECIDED)
        if before == now:
            continue
        better: bool | None = None
        if now == Standing.REPRODUCED:
            better = False
        elif (before, now) == (Standing.REPRODUCED, Standing.NOT_REPRODUCED):
            better = True
        found.append(Difference("claim", id, name, before, now, better))
    return found


def _splats(name: str, old: VariantResult, new: VariantResult) -> list[Difference]:
    had, has = _splat_places(old), _splat_places(new)
    found = []
    for id in dict.fromkeys((*had, *has)):
        if id in had and id not in has:
            better = True if _ran(new, had[id]) else None
            found.append(Difference("splat", id, name, "seen", "not seen", better))
        elif id in has and id not in had:
            better = False if _ran(old, has[id]) else None
            found.append(Difference("splat", id, name, "not seen", "seen", better))
    return found


def _splat_places(found: VariantResult) -> dict[str, set[str]]:
    """{splat: scenarios that saw it, "" for outside of them}."""
    places: dict[str, set[str]] = {}
    for splat in found.splats:
        places.setdefault(splat, set()).add("")
    for scenario in found.scenarios:
        for splat in scenario.splats:
            places.setdefault(splat, set()).add(scenario.id)
    return places


def _ran(found: VariantResult, places: Iterable[str]) -> bool:
    """Whether a splat of these places would have been seen: each of them was run to its end."""
    ended = {s.id for s in found.scenarios if s.patched not in (None, Verdict.INCONCLUSIVE)}
    return all(place in ended if place else bool(ended) for place in places)


def _coverage(name: str, old: VariantResult, new: VariantResult) -> list[Difference]:
    if old.changed_lines is None or new.changed_lines is None or old.changed_lines == new.changed_lines:
        return []
    (ran, total), (runs, of) = old.changed_lines, new.changed_lines
    better = None if ran * of == runs * total else runs * total > ran * of
    before, now = f"{ran} of {total}", f"{runs} of {of}"
    return [Difference("coverage", "changed lines run", name, before, now, better)]


def _mutants(name: str, old: VariantResult, new: VariantResult) -> list[Difference]:
    """Mutants that were tried behind both versions. Who notices first may change with the order."""
    had = {m.id: m for m in old.mutants}
    found = []
    for mutant in new.mutants:
        before = had.get(mutant.id)
        if before is None or before.fate is mutant.fate:
            continue
        better = {
            (MutantFate.SURVIVED, MutantFate.KILLED): True,
            (MutantFate.KILLED, MutantFate.SURVIVED): False,
        }.get((before.fate, mutant.fate))
        words = said.mutant(before), said.mutant(mutant)
        found.append(Difference("mutant", mutant.id, name, *words, better))
    return found


def _times(name: str, old: VariantResult, new: VariantResult) -> list[Difference]:
    """Phases of the patched kernel: base's do not depend on the series."""
    had = {t.name: t.wall for t in old.timings if t.side == "patched"}
    found = []
    for timing in new.timings:
        before = had.get(timing.name)
        if timing.side != "patched" or before is None:
            continue
        off = timing.wall - before
        if abs(off) > NOISE_SECONDS and abs(off) > NOISE_SHARE * before:
            id = f"{timing.name} (patched)"
            found.append(Difference("time", id, name, f"{before:.1f} s", f"{timing.wall:.1f} s", off < 0))
    return found


def _checks(before: VersionReport, now: VersionReport) -> list[Difference]:
    """Checks of the same patch: of the same subject, else of the same number. The id has the number of now.

    A patch that is gone is no matter of this version; one that is new is told where a check fails.
    """
    number = _numbers(before, now)
    had = {(c.name, number(c.patch)): c for c in before.checks}
    found = []
    for check in now.checks:
        old = had.get((check.name, check.patch))
        was, is_ = _check_word(old), _check_word(check)
        if was == is_ or (old is None and check.verdict is not Verdict.FAIL):
            continue
        found.append(Difference("check", said.check_name(check), "", was, is_, _check_better(old, check)))
    return found


def _numbers(before: VersionReport, now: VersionReport) -> Callable[[int], int]:
    """From a patch's number before to its number now; 0 for one that is gone."""
    old = [p.subject for p in before.series.patches]
    new = [p.subject for p in now.series.patches]
    unique = {s: n for n, s in enumerate(new, 1) if new.count(s) == 1 and old.count(s) == 1}

    def number(was: int) -> int:
        subject = old[was - 1] if 0 < was <= len(old) else ""
        if subject in unique:
            return unique[subject]
        taken = was <= len(new) and new[was - 1] in unique
        return 0 if taken or was > len(new) else was

    return number


def _check_word(found: CheckResult | None) -> str:
    if found is None:
        return _NOT_MADE
    if found.verdict is Verdict.PASS:
        return "pass"
    word = "not decided" if found.verdict is Verdict.INCONCLUSIVE else "fail"
    lines = len(found.lines)
    return f"{word}, {lines} line{'s' if lines != 1 else ''}" if lines else word


def _check_better(old: CheckResult | None, new: CheckResult) -> bool | None:
    if new.verdict is Verdict.FAIL:
        if old is not None and old.verdict is Verdict.FAIL:
            return len(new.lines) < len(old.lines)
        return False
    if old is not None and (old.verdict, new.verdict) == (Verdict.FAIL, Verdict.PASS):
        return True
    return None
