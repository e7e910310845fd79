# SPDX-License-Identifier: GPL-2.0-or-later
"""What the voices share: words for verdicts, where evidence lies, text that is safe to print."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterable

from lab.judge.verdict import known_splats
from lab.model.coverage import ranges
from lab.model.result import KernelRun, ScenarioOutcome, ScenarioPair, ValidateResult
from lab.model.surface import Addition
from lab.model.verdict import Change, Verdict, worst
from lab.printable import printable

SIDES = ("base", "patched")
_LISTED = 800
"""Characters of lines not run in one sentence: of a whole driver they fill pages, which result.json has."""
NOT_MEASURED = "coverage was not measured"
_NOT_MODELLED = "the stand-in does not model"
"""How the judge begins such a reason (lab/judge/ledger.py)."""


def clean(text: str) -> str:
    """``text`` without control characters: a guest's console may hold terminal sequences."""
    return printable(text).expandtabs(8)


def clip(text: str, width: int) -> str:
    """``text`` on at most ``width`` columns, its end cut."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def clip_left(text: str, width: int) -> str:
    """``text`` on at most ``width`` columns, its beginning cut: of a path the end tells more."""
    return text if len(text) <= width else "…" + text[len(text) - width + 1 :]


def wrap(text: str, width: int, first: str = "", rest: str | None = None) -> list[str]:
    """``text`` cleaned and wrapped to ``width`` columns behind the given indents."""
    return textwrap.wrap(
        clean(text),
        width,
        initial_indent=first,
        subsequent_indent=" " * len(first) if rest is None else rest,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def word(outcome: ScenarioOutcome | None) -> str:
    """``pass``, ``FAIL``, ``doubt`` or ``-`` for a table cell."""
    verdict = outcome.verdict if outcome else None
    if verdict is None:
        return "-"
    return {Verdict.PASS: "pass", Verdict.FAIL: "FAIL", Verdict.INCONCLUSIVE: "doubt"}[verdict]


def starred(outcome: ScenarioOutcome | None) -> str:
    """The word, with a star where the machine did not show all that the scenario looks at."""
    return word(outcome) + ("*" if outcome is not None and outcome.unobserved else "")


def stars(result: ValidateResult) -> str:
    """What a star in the table means; empty when there is none."""
    cells = [outcome for pair in result.scenarios for _, outcome in sides(pair)]
    missing = dict.fromkeys(what for outcome in cells for what in outcome.unobserved)
    return f"*: judged without what this machine does not show: {', '.join(missing)}" if missing else ""


def runs_of(result: ValidateResult, side: str) -> tuple[KernelRun, ...]:
    """The kernel runs of one side, one per flavour."""
    return tuple(run for run in result.runs if run.side == side)


def kernel_verdict(runs: Collection[KernelRun]) -> Verdict:
    """A side's own verdict over its flavours; inconclusive when it did not run."""
    return worst(run.verdict for run in runs)


def flavours(result: ValidateResult) -> tuple[str, ...]:
    """Flavours in the order in which they ran."""
    return tuple(dict.fromkeys(run.flavour for run in result.runs))


def folder(result: ValidateResult, side: str, flavour: str) -> str:
    """The folder of a run inside the output folder."""
    return side if len(flavours(result)) <= 1 else f"{side}-{flavour}"


def files(result: ValidateResult, pair: ScenarioPair, side: str) -> tuple[str, ...]:
    """Evidence files of one side of a scenario, relative to the output folder."""
    outcome = pair.base if side == "base" else pair.patched
    return tuple(
        f"{folder(result, side, pair.flavour)}/{name}" for name in (outcome.files if outcome else ())
    )


def evidence_path(result: ValidateResult, pair: ScenarioPair) -> str:
    """Where to look first: the folder of the patched kernel's evidence, else of base's."""
    for side in ("patched", "base"):
        found = files(result, pair, side)
        if found:
            return found[0].rpartition("/")[0] + "/"
    return ""


def new_splats(result: ValidateResult, pair: ScenarioPair) -> tuple[str, ...]:
    """The splats of a scenario on the patched kernel that base, in that flavour, shows nowhere."""
    known = known_splats(result.scenarios, runs_of(result, "base")).get(pair.flavour, set())
    return tuple(s for s in (pair.patched.splats if pair.patched else ()) if s not in known)


def counts_as(result: ValidateResult, pair: ScenarioPair) -> Verdict | None:
    """What a scenario says about the series: None where it says nothing (not run, still failing).

    The verdict of the series may know more: its guards, and splats outside every scenario.
    """
    verdict = pair.patched.verdict if pair.patched else None
    if pair.patched is None or verdict is None:
        return Verdict.INCONCLUSIVE if pair.base is not None and not pair.expected else None
    if verdict is not Verdict.FAIL:
        return verdict
    held = pair.patched.guards or bool(set(pair.claims) & set(result.fixes))
    if held or pair.change in (Change.REGRESSED, Change.NEW) or new_splats(result, pair):
        return Verdict.FAIL
    if pair.change == Change.STILL_FAILING or (pair.change == Change.CHANGED and pair.expected):
        return None
    return Verdict.INCONCLUSIVE


def notable(pairs: Iterable[ScenarioPair]) -> list[ScenarioPair]:
    """Scenarios whose evidence a reader wants to see: everything but "passes on both"."""
    return [pair for pair in pairs if pair.change not in (Change.SAME, Change.NOT_APPLICABLE)]


def sides(pair: ScenarioPair) -> list[tuple[str, ScenarioOutcome]]:
    """The outcomes of a pair with the names of their sides."""
    both = (("base", pair.base), ("patched", pair.patched))
    return [(side, outcome) for side, outcome in both if outcome is not None]


def seen(outcome: ScenarioOutcome) -> tuple[str, ...]:
    """What was seen, in lines: the reasons of a verdict that is no pass, then the evidence."""
    return tuple(dict.fromkeys(outcome.reasons + outcome.evidence))


def source_words(result: ValidateResult) -> str:
    """Which kernel source, as people say it."""
    lock = result.base_lock
    package = " ".join(filter(None, (lock.get("name"), lock.get("version"))))
    suite = f", {lock['suite']}" if lock.get("suite") else ""
    return f"Linux {result.base_version}" + (f" ({package}{suite})" if package else "")


def reached(result: ValidateResult, addition: Addition) -> tuple[str, ...]:
    """Scenarios in doubt on the patched kernel because they reached what the stand-in does not model."""
    if addition.number is None or not addition.counts:
        return ()
    number = re.compile(rf"\b0x0*{addition.number:x}\b")
    return tuple(
        dict.fromkeys(
            pair.id
            for pair in result.scenarios
            if pair.patched
            and any(_NOT_MODELLED in reason and number.search(reason) for reason in pair.patched.reasons)
        )
    )


def not_exercised(result: ValidateResult) -> list[str]:
    """What the series asks for, the stand-in does not have, and no scenario is known to have reached.

    Such code was built and never ran: the verdict, whatever it is, says nothing of it. Empty when no
    scenario ran.
    """
    if not result.scenarios:
        return []
    return [
        f"not exercised: {_called(a)} in {', '.join(a.sites)}: no scenario is known to have reached it, "
        "so the verdict says nothing of that code"
        for a in result.additions
        if a.counts and not reached(result, a)
    ]


def _called(addition: Addition) -> str:
    number = "" if addition.number is None else f"{addition.number:#06x}"
    if addition.name:
        return addition.name + (f" ({number})" if number else "")
    return f"{addition.kind.replace('_', ' ')} {number or 'whose code is no constant'}"


def doubtful(result: ValidateResult) -> list[str]:
    """A sentence for each thing that the series asks for and the stand-in does not have."""
    lines = []
    for addition in result.additions:
        if addition.counts:
            ids = reached(result, addition)
            lines.append(addition.text + (f"; {len(ids)} did" if ids else ""))
    return lines


def coverage(result: ValidateResult) -> list[str]:
    """Sentences on what the scenarios ran, the first one the sum; how to get it where nobody asked."""
    found = result.coverage
    if found is None:
        asked = any(note.startswith(NOT_MEASURED) for note in result.notes)
        quiet = asked or not result.scenarios
        return [] if quiet else [f"{NOT_MEASURED}: hvlab validate --coverage says which changed lines ran"]
    first = f"{found.scope} run: {found.run} of {found.total}"
    missed = [f"{f.path}:{ranges(f.not_run)}" for f in found.files if f.not_run]
    listed = clip("; ".join(missed), _LISTED)
    sentences = [first + (f"; not run: {listed}" if missed else "")]
    if unknown := [f"{f.path} ({f.unmeasured})" for f in found.files if f.unmeasured]:
        sentences.append(f"coverage is not known of {', '.join(unknown)}")
    if found.lost:
        lost = "; ".join(found.lost)
        sentences.append(f"counts lost with a guest, so some of these lines may have run: {lost}")
    return sentences + list(found.notes)


def seconds(value: float) -> str:
    """``12.3`` or ``4:05``: seconds, or minutes from ten minutes on."""
    if value < 600:
        return f"{value:.1f}"
    return f"{int(value) // 60}:{int(value) % 60:02}"
