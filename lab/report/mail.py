# SPDX-License-Identifier: GPL-2.0-or-later
"""The summary as plain text for a reply on a mailing list: 72 columns, no attachment needed."""

from __future__ import annotations

from lab.model.result import ScenarioPair, ValidateResult
from lab.model.verdict import Change
from lab.report import view

WIDTH = 72
EVIDENCE = 24
"""Lines shown of how a phase failed."""
EVIDENCE_LINES = 6
"""Lines of evidence per side of a scenario; a reader asks for more."""

_ABOUT = (
    "The kernel ran as root partition of a stand-in hypervisor under QEMU, which "
    "speaks the Hyper-V interface; base and patched kernel ran the same scenarios."
)


def text(result: ValidateResult) -> str:
    """The summary, ending in a line break. Only commands to repeat it may be longer than WIDTH."""
    lines = view.wrap(_ABOUT, WIDTH)
    lines += ["", *_what(result), ""]
    lines += view.wrap(f"{result.verdict.upper()}", WIDTH, "Verdict:   ")
    for reason in result.reasons:
        lines += view.wrap(reason, WIDTH, "  - ")
    for sentence in view.not_exercised(result):
        lines += view.wrap(sentence, WIDTH, "  ! ")
    for run in result.runs:
        lines += [f"    | {view.clip(view.clean(line), WIDTH - 6)}" for line in run.evidence[-EVIDENCE:]]
    if result.scenarios:
        lines += ["", *_table(result)]
    lines += _evidence(result)
    if result.reproduce:
        lines += ["", "To repeat it:", ""]
        lines += [f"  {view.clean(command)}" for command in result.reproduce]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _what(result: ValidateResult) -> list[str]:
    lines = view.wrap(result.series_name, WIDTH, "Series:    ")
    for number, subject in enumerate(result.patches, 1):
        lines += view.wrap(subject, WIDTH, f"  {number:>2}. ")
    lines += view.wrap(view.source_words(result), WIDTH, "Base:      ")
    lines += view.wrap(", ".join(view.flavours(result)) or "none", WIDTH, "Flavours:  ")
    if result.fixes:
        lines += view.wrap(", ".join(result.fixes), WIDTH, "Fixes:     ")
    if result.execution:
        lines += view.wrap(result.execution, WIDTH, "Machine:   ")
    for sentence in view.doubtful(result):
        lines += view.wrap(sentence, WIDTH, "Surface:   ")
    for sentence in view.coverage(result):
        lines += view.wrap(sentence, WIDTH, "Coverage:  ")
    for side in view.SIDES:
        for run in view.runs_of(result, side):
            silent = [proof.name for proof in run.detectors if not proof.fired]
            if silent:
                told = f"{side} kernel ({run.flavour}): silent when tripped: {', '.join(silent)}"
                lines += view.wrap(told, WIDTH, "Detectors: ")
    return lines


def _table(result: ValidateResult) -> list[str]:
    many = len(view.flavours(result)) > 1
    width = WIDTH - len("  base   patched  still-failing") - 2
    lines = [f"  {'scenario':<{width}}{'base':<7}{'patched':<9}change", "  " + "-" * (WIDTH - 2)]
    for pair in result.scenarios:
        name = _name(pair, many, width - 2)
        row = f"  {name:<{width}}{view.starred(pair.base):<7}{view.starred(pair.patched):<9}{pair.change}"
        lines.append(row)
    return lines + (view.wrap(view.stars(result), WIDTH, "  ") if view.stars(result) else [])


def _name(pair: ScenarioPair, with_flavour: bool, width: int = WIDTH) -> str:
    """Name and claims on ``width`` columns; the claims stay whole, they are what people talk about."""
    claims = view.clip(f" ({', '.join(pair.claims)})" if pair.claims else "", width // 2)
    name = view.clean(pair.id + (f" [{pair.flavour}]" if with_flavour else ""))
    return view.clip(name, width - len(claims)) + view.clean(claims)


def _evidence(result: ValidateResult) -> list[str]:
    pairs = view.notable(result.scenarios)
    if not pairs:
        return []
    lines = ["", "What was seen where not both kernels pass:"]
    for pair in pairs:
        lines += ["", *view.wrap(f"{_name(pair, True)}: {pair.change}", WIDTH, "* ")]
        if pair.change == Change.NEW:
            lines += view.wrap(pair.base_reason, WIDTH, "  base:    ")
        for side, outcome in view.sides(pair):
            shown = view.seen(outcome) or ("no evidence recorded",)
            for number, line in enumerate(shown[:EVIDENCE_LINES]):
                lines += view.wrap(line, WIDTH, f"  {side + ':':<9}" if number == 0 else " " * 11)
            if len(shown) > EVIDENCE_LINES:
                lines.append(f"{'':<11}({len(shown) - EVIDENCE_LINES} more lines)")
    return lines
