# SPDX-License-Identifier: GPL-2.0-or-later
"""The summary at the end of ``hvlab validate``: scenario × {base, patched}, phases, verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab.model.claim import Standing
from lab.model.result import PhaseTime, ScenarioPair, ValidateResult
from lab.model.verdict import Change, Verdict
from lab.report import claims as claim_text
from lab.report import view

WIDTH = 100
EVIDENCE = 24
"""Lines shown of how a phase failed: the end of a console says most."""
EVIDENCE_LINES = 4
"""Lines of evidence under a scenario, per side; the rest is in the report."""

Paint = Callable[[str, str], str]

_GREEN, _RED, _YELLOW = "32", "1;31", "33"
_COLOURS = {
    "pass": _GREEN,
    "FAIL": _RED,
    "doubt": _YELLOW,
    Change.FIXED: _GREEN,
    Change.REGRESSED: _RED,
    Change.CHANGED: _YELLOW,
    Change.UNDECIDED: _YELLOW,
    Verdict.PASS: _GREEN,
    Verdict.FAIL: _RED,
    Verdict.INCONCLUSIVE: _YELLOW,
    Standing.REPRODUCED: _RED,
    Standing.NOT_REPRODUCED: _GREEN,
    Standing.NOT_DECIDED: _YELLOW,
}


def table(result: ValidateResult, colour: bool = False, out: Path | None = None) -> str:
    """The whole summary as text, at most WIDTH columns wide, without a final line break.

    ``colour`` is for terminals only; ``out`` is the output folder as the user named it.
    """
    paint: Paint = _paint if colour else _plain
    lines = _head(result)
    if result.scenarios:
        lines += ["", *_scenarios(result, paint)]
    lines += _evidence(result)
    if result.claims and result.claims.rows:
        lines += ["", *claim_text.lines(result.claims, WIDTH, paint, whole=False)]
    if result.phases:
        lines += ["", *_phases(result.phases)]
    lines += ["", *_verdict(result, paint)]
    if out is not None:
        lines.append(f"report   {out}/report.html, {out}/result.json")
        if result.claims and result.claims.rows:
            lines.append(f"claims   hvlab claims --from {out}/result.json says why")
    return "\n".join(lines)


def _paint(text: str, key: str) -> str:
    code = _COLOURS.get(key, "")
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def _plain(text: str, key: str) -> str:
    return text


def _head(result: ValidateResult) -> list[str]:
    count = len(result.patches)
    lines = view.wrap(f"{result.series_name} ({count} patch{'' if count == 1 else 'es'})", WIDTH, "series   ")
    lines += view.wrap(view.source_words(result), WIDTH, "source   ")
    for run in result.runs:
        words = [f"{run.release} {run.flavour}".strip() + (" (cached)" if run.cached else "")]
        if run.failed_phase:
            words.append(f"ended in phase {run.failed_phase}")
        else:
            fired = sum(proof.fired for proof in run.detectors)
            words.append(f"{fired} of {len(run.detectors)} detectors fired")
        lines += view.wrap(", ".join(words), WIDTH, f"{run.side:<9}")
    if result.execution:
        lines += view.wrap(result.execution, WIDTH, "machine  ")
    for note in result.notes:
        lines += view.wrap(note, WIDTH, "note     ")
    for sentence in view.doubtful(result):
        lines += view.wrap(sentence, WIDTH, "surface  ")
    for sentence in view.coverage(result):
        lines += view.wrap(sentence, WIDTH, "coverage ")
    return lines


def _scenarios(result: ValidateResult, paint: Paint) -> list[str]:
    many = len(view.flavours(result)) > 1
    named = [(_name(pair, many), ",".join(pair.claims), pair) for pair in result.scenarios]
    name_width = min(40, max([8, *(len(name) for name, _, _ in named)]))
    claims_width = min(14, max([6, *(len(claims) for _, claims, _ in named)]))
    path_width = WIDTH - name_width - claims_width - len("  base    patched  still-failing    ")
    head = (
        f"{'scenario':<{name_width}}  {'base':<6}  {'patched':<7}  {'change':<13}  {'claims':<{claims_width}}"
    )
    lines = [f"{head}  evidence", "-" * WIDTH]
    for name, claims, pair in named:
        base, patched = view.word(pair.base), view.word(pair.patched)
        path = view.clip_left(view.evidence_path(result, pair), path_width)
        cells = (
            f"{view.clip(name, name_width):<{name_width}}",
            paint(f"{view.starred(pair.base):<6}", base),
            paint(f"{view.starred(pair.patched):<7}", patched),
            paint(f"{pair.change:<13}", pair.change),
            f"{view.clip(claims, claims_width):<{claims_width}}",
            path,
        )
        lines.append("  ".join(cells).rstrip())
    return lines + (view.wrap(view.stars(result), WIDTH) if view.stars(result) else [])


def _name(pair: ScenarioPair, with_flavour: bool) -> str:
    return view.clean(f"{pair.id} [{pair.flavour}]" if with_flavour else pair.id)


def _evidence(result: ValidateResult) -> list[str]:
    """What was seen where base and patched do not both pass."""
    many = len(view.flavours(result)) > 1
    lines = []
    for pair in view.notable(result.scenarios):
        lines += ["", f"{_name(pair, many)}: {pair.change}" + (", expected" if pair.expected else "")]
        if pair.base is None and pair.base_reason:
            lines += view.wrap(pair.base_reason, WIDTH, "  base     ")
        for side, outcome in view.sides(pair):
            shown = view.seen(outcome)
            for number, text in enumerate(shown[:EVIDENCE_LINES]):
                lines += view.wrap(text, WIDTH, f"  {side:<9}" if number == 0 else " " * 11)
            if len(shown) > EVIDENCE_LINES:
                lines.append(f"{'':<11}… {len(shown) - EVIDENCE_LINES} more lines in the report")
        path = view.evidence_path(result, pair)
        lines += view.wrap(path, WIDTH, "  files    ") if path else []
    return lines


def _phases(phases: tuple[PhaseTime, ...]) -> list[str]:
    lines = [f"{'phase':<12}  {'side':<8}  {'wall s':>8}  {'CPU s':>8}"]
    for phase in phases:
        row = f"{view.clip(phase.name, 12):<12}  {view.clip(phase.side, 8):<8}"
        row += f"  {view.seconds(phase.wall):>8}  {view.seconds(phase.cpu):>8}"
        lines.append(view.clip(f"{row}  {view.clean(phase.note)}".rstrip(), WIDTH))
    total = sum(phase.cpu for phase in phases)
    lines.append(f"{'all':<12}  {'':<8}  {'':>8}  {view.seconds(total):>8}")
    return lines


def _verdict(result: ValidateResult, paint: Paint) -> list[str]:
    lines = [f"verdict  {paint(result.verdict.upper(), result.verdict)} (exit code {result.exit_code})"]
    for reason in result.reasons:
        lines += view.wrap(reason, WIDTH, "       - ")
    for sentence in view.not_exercised(result):
        lines += [paint(line, Verdict.INCONCLUSIVE) for line in view.wrap(sentence, WIDTH, "       ! ")]
    for run in result.runs:
        lines += [f"       | {view.clip(view.clean(line), WIDTH - 9)}" for line in run.evidence[-EVIDENCE:]]
    return lines
