# SPDX-License-Identifier: GPL-2.0-or-later
"""What a series asks of the hypervisor that its base does not, told from the files that it touches."""

from __future__ import annotations

from collections.abc import Iterable

from lab.model.surface import Addition, State
from lab.surface.derive import Read, Use, derive
from lab.surface.kinds import WORDS
from lab.surface.listing import Surface

HEADERS = "include/hyperv/"
_ELSEWHERE = ("tools/", "samples/", "Documentation/", "scripts/")
_SITES_SHOWN = 2


def relevant(path: str) -> bool:
    """Whether a file can hold a call that a root on x86 makes."""
    if path.startswith("arch/") and not path.startswith("arch/x86/"):
        return False
    return path.endswith((".c", ".h")) and not path.startswith(_ELSEWHERE)


def additions(
    before: Read, after: Read, touched: Iterable[str], headers: Iterable[str], surface: Surface
) -> tuple[Addition, ...]:
    """Uses in ``touched`` files that are in ``after`` and not in ``before``, the doubtful ones first.

    A use is told by what is used and by the function: code that moves between files is nothing new.
    ``headers`` are the interface's own, of both trees.
    """
    files = [f for f in touched if relevant(f)]
    if not files:
        return ()
    known = list(headers)
    old, new = derive(before, files, known), derive(after, files, known)
    seen = {_identity(u) for u in old.uses}
    fresh: dict[tuple[str, int | str], list[Use]] = {}
    for use in new.uses:
        if _identity(use) not in seen:
            fresh.setdefault((use.kind, use.name if use.number is None else use.number), []).append(use)
    found = [_addition(uses, surface) for uses in fresh.values()]
    passed_on = {(u.function, u.file) for u in old.dynamic}
    for use in new.dynamic:
        if (use.function, use.file) not in passed_on and use.site not in surface.dynamic:
            found.append(_passed_on(use))
    return tuple(sorted(found, key=lambda a: (not a.counts, a.kind, a.number or 0, a.name)))


def _identity(use: Use) -> tuple[str, int | str, str]:
    return (use.kind, use.name if use.number is None else use.number, use.function)


def _addition(uses: list[Use], surface: Surface) -> Addition:
    entry = surface.find(uses[0])
    name = next((u.name for u in uses if u.name), "") or (entry.name if entry and entry.count == 1 else "")
    sites = tuple(dict.fromkeys(u.site for u in uses))
    kind, number = uses[0].kind, uses[0].number
    state, answer, why = (entry.state, entry.answer, entry.why) if entry else (State.UNKNOWN, "", "")
    what = _what(kind, name, number)
    text = f"the series {_verb(kind)} {what} in {_places(sites)}{_consequence(kind, state, answer, why)}"
    return Addition(kind, name, number, sites, state, answer, why, text)


def _passed_on(use: Use) -> Addition:
    text = (
        f"the series makes a hypercall in {use.site} whose code is no constant of its source: whether the "
        "stand-in implements it shows only when a scenario reaches it"
    )
    return Addition("hypercall", "", None, (use.site,), State.UNKNOWN, text=text)


def _what(kind: str, name: str, number: int | None) -> str:
    code = "" if number is None else f"{number:#06x}"
    one = {"vp_state": "VP state type", "msr": "MSR", "cpuid": "CPUID leaf"}.get(kind, kind.replace("_", " "))
    if not name:
        return f"{one} {code}"
    return f"{name} ({code or f'a {one} without a known number'})"


def _verb(kind: str) -> str:
    return "handles" if kind == "message" else "issues" if kind == "hypercall" else "uses"


def _places(sites: tuple[str, ...]) -> str:
    more = len(sites) - _SITES_SHOWN
    return ", ".join(sites[:_SITES_SHOWN]) + (f" and {more} more places" if more > 0 else "")


def _consequence(kind: str, state: State, answer: str, why: str) -> str:
    if state is State.IMPLEMENTED:
        return ", which the stand-in implements"
    because = f" ({why})" if why else ""
    doubt = ": scenarios that reach it are inconclusive"
    if state is State.IGNORED:
        return f", which the stand-in accepts without effect{because}{doubt}"
    if state is State.UNKNOWN:
        return f", which the stand-in does not implement{doubt}"
    if answer == "never sent":
        return f", which the stand-in never sends{because}: no scenario can reach that code"
    if kind in ("msr", "cpuid"):
        gets = {"#GP": "answers with #GP", "zeros": "leaves at zeros"}.get(answer, f"answers with {answer}")
        return f", which the stand-in {gets}{because}{doubt}"
    return f", which the stand-in refuses with {answer}{because}{doubt}"


def summary(found: Iterable[Addition]) -> str:
    """One line for all that the stand-in implements; empty when there is none."""
    good = [a for a in found if not a.counts]
    kinds = dict.fromkeys(a.kind for a in good)
    parts = [
        f"{sum(a.kind == kind for a in good)} {WORDS[kind]} ("
        + ", ".join(a.name or f"{a.number or 0:#x}" for a in good if a.kind == kind)
        + ")"
        for kind in kinds
    ]
    return "new uses that the stand-in implements: " + "; ".join(parts) if parts else ""
