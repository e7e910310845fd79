# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab surface``: what a kernel can ask of the hypervisor, and what the stand-in does then."""

from __future__ import annotations

import argparse
import json
from typing import Any

from lab.cli.selectors import add_source
from lab.model.errors import ExitCode
from lab.model.surface import State
from lab.progress import NullProgress
from lab.surface import listing, sites
from lab.surface.derive import Derived, Use, derive_tree
from lab.surface.kinds import WORDS
from lab.surface.listing import Surface
from lab.validate.kernels import Selectors, fetch, open_cache

_STATES = (State.IMPLEMENTED, State.REFUSED, State.IGNORED)


def add_verbs(verbs: Any) -> None:
    """Register the verb."""
    parser = verbs.add_parser(
        "surface",
        help="what a kernel can ask of the hypervisor, and what the stand-in does then",
        description="Hypercalls, MSRs, CPUID leaves, registers, properties and messages that a kernel and "
        "QEMU can use: how many the stand-in implements, refuses with the defined answer, or ignores.",
        epilog="exit codes: 0 the list knows all that this kernel can issue, 1 it does not, 2 bad input",
    )
    add_source(parser)
    parser.add_argument(
        "--list", metavar="STATE", choices=[str(s) for s in _STATES], help="also list these entries"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--sites", action="store_true", help="print sites.toml for this kernel, nothing else")
    parser.set_defaults(run=run_surface)


def run_surface(args: argparse.Namespace) -> ExitCode:
    """Counts per kind, and what this kernel can issue that the list does not know (then FAIL)."""
    source = fetch(Selectors(base=args.base, tree=args.tree), None, open_cache(), NullProgress())
    derived = derive_tree(source.tree)
    surface = listing.load()
    if args.sites:
        print(sites.text(derived, surface, str(source.version)), end="")
        return ExitCode.PASS
    missing = listing.missing(derived, surface)
    if args.json:
        print(json.dumps(_json(str(source.version), derived, surface, missing), indent=1))
    else:
        print("\n".join(_lines(str(source.version), derived, surface, missing)))
        for entry in surface:
            if str(entry.state) == args.list:
                answer = f" with {entry.answer}" if entry.answer else ""
                print(
                    f"{entry.kind} {entry.name} ({entry.number:#x}): {entry.state}{answer}"
                    + _because(entry.why)
                )
    return ExitCode.FAIL if missing else ExitCode.PASS


def _because(why: str) -> str:
    return f": {why}" if why else ""


def _lines(version: str, derived: Derived, surface: Surface, missing: list[Use]) -> list[str]:
    lines = [f"{f'Linux {version} and QEMU can use':<28}" + "".join(f"{s:>13}" for s in _STATES)]
    total = dict.fromkeys(_STATES, 0)
    for kind, counter in surface.counts().items():
        lines.append(f"{WORDS[kind]:<28}" + "".join(f"{counter[s]:>13}" for s in _STATES))
        for state in _STATES:
            total[state] += counter[state]
    lines.append(f"{'all':<28}" + "".join(f"{total[s]:>13}" for s in _STATES))
    lines.append(f"{len(derived.uses)} places of the kernel's source; {len(missing)} missing in the list")
    lines += [f"missing: {describe(use)}" for use in missing]
    return lines


def describe(use: Use) -> str:
    """A use for people."""
    number = f" ({use.number:#x})" if use.number is not None and use.name else f"{use.number or 0:#x}"
    return f"{use.kind} {use.name}{number if use.number is not None else ''} by {use.site}"


def _json(version: str, derived: Derived, surface: Surface, missing: list[Use]) -> dict[str, Any]:
    return {
        "kernel": version,
        "counts": {kind: {str(s): c[s] for s in _STATES} for kind, c in surface.counts().items()},
        "missing": [
            {"kind": u.kind, "name": u.name, "number": u.number, "site": u.site, "line": u.line}
            for u in missing
        ],
        "entries": [
            {
                "kind": e.kind,
                "name": e.name,
                "number": e.number,
                "count": e.count,
                "state": str(e.state),
                "answer": e.answer,
                "why": e.why,
                "l1vh": e.l1vh,
                "child": e.child,
                "by": [e.by] if e.by else [],
                "sites": sorted({u.site for u in derived.uses if surface.find(u) is e}),
            }
            for e in surface
        ],
    }
