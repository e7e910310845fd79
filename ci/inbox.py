# SPDX-License-Identifier: GPL-2.0-or-later
"""Hold a nightly of the example inbox against tests/series/inbox.toml, which says what is planted there.

    hvlab nightly --inbox tests/series/inbox --out OUT
    python ci/inbox.py OUT

Prints a line for each planted defect (was it reported, on the right patch of the right version?), for each
verdict, for the quoted patch and for the broken mail. Variants and scenarios that the nightly did not run are
left out, and counted. Exit 0 when all that ran is as it should be.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import paths
from lab.model.errors import LabError
from lab.model.nightly import NightlyReport, VariantResult, VersionReport
from lab.model.verdict import Verdict
from lab.nightly import store
from lab.nightly.b4_check import REPORT

TRUTH = Path("series") / "inbox.toml"


@dataclass(frozen=True)
class Line:
    """One thing that was held against the truth; ``good`` None: the nightly did not run it."""

    good: bool | None
    text: str


def judged(report: NightlyReport, truth: dict[str, Any]) -> Iterator[Line]:
    """Everything that the truth names."""
    by_mail = {v.series.message_id: v for v in report.versions}
    for series in truth["series"]:
        for version in series["versions"]:
            name = f"{series['name']}/v{version['version']}"
            found = by_mail.get(version.get("cover", version["mails"][0]))
            if found is None:
                yield Line(False, f"{name}: not there")
                continue
            yield from _verdicts(name, found, version.get("verdict", {}))
            for defect in version.get("defects", ()):
                yield from _defect(f"{name}, patch {defect['patch']}, {defect['kind']}", found, defect)
            yield from _fixed(name, found, version.get("fixed", ()))
    for quoted in truth["quoted"]:
        found = by_mail.get(quoted["original"])
        whole = found is not None and not found.series.problem and bool(found.series.repairs)
        yield Line(whole, f"quoted patch {quoted['title']!r}: recovered, its repairs named")
        if found is not None:
            yield from _verdicts("quoted patch", found, quoted["verdict"])
            yield from _fixed("quoted patch", found, quoted["fixed"])
    for mail in truth["unusable"]:
        told = [p for p in report.problems if mail["what"] in p.what]
        yield Line(bool(told), f"broken mail: {mail['what']}")


def _verdicts(name: str, found: VersionReport, wanted: dict[str, str]) -> Iterator[Line]:
    for flavour, verdict in wanted.items():
        ran = [v for v in found.variants if v.variant.flavour == flavour]
        if not ran:
            yield Line(None, f"{name}: {flavour} was not run")
        for v in ran:
            yield Line(v.verdict == verdict, f"{name}: {v.variant.id} is {v.verdict}, should be {verdict}")


def _defect(name: str, found: VersionReport, defect: dict[str, Any]) -> Iterator[Line]:
    for check in defect["checks"]:
        told = [c for c in found.checks if c.name == check and c.verdict is not Verdict.PASS]
        patches = sorted({c.patch for c in told})
        yield Line(patches == [defect["patch"]], f"{name}: {check} complains of patch {_list(patches)}")
    for flavour in defect["flavours"]:
        for v in (v for v in found.variants if v.variant.flavour == flavour):
            seen = _scenarios(v, defect["scenarios"])
            if not seen:
                yield Line(None, f"{name}: {v.variant.id} ran none of its scenarios")
                continue
            failed = [s for s in seen if s.patched is Verdict.FAIL and s.counts is Verdict.FAIL]
            patches = sorted({s.culprit for s in failed})
            text = f"{name}: {v.variant.id}: {len(failed)} scenarios fail, put down to patch {_list(patches)}"
            yield Line(bool(failed) and patches == [defect["patch"]], text)


def _fixed(name: str, found: VersionReport, wanted: Iterable[str]) -> Iterator[Line]:
    # On other flavours a mended scenario may still meet another defect of the base.
    for v in (v for v in found.variants if v.variant.flavour == "plain"):
        seen = [s for s in _scenarios(v, wanted) if s.patched is not None]
        bad = [s.id for s in seen if s.patched is not Verdict.PASS]
        if seen:
            yield Line(not bad, f"{name}: {v.variant.id}: {len(seen)} mended scenarios pass" + _but(bad))


def _scenarios(result: VariantResult, names: Iterable[str]) -> list[Any]:
    wanted = set(names)
    return [s for s in result.scenarios if s.id.partition("[")[0] in wanted]


def _but(bad: list[str]) -> str:
    return f", but not {', '.join(bad)}" if bad else ""


def _list(patches: list[int]) -> str:
    return ", ".join(map(str, patches)) or "none"


def main() -> int:
    """Exit 0 when all is as planted, 1 when something is not, 2 for an output that is none."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="output folder of the nightly")
    args = parser.parse_args()
    try:
        report = store.load(args.out / REPORT, NightlyReport)
    except LabError as e:
        print(e, file=sys.stderr)
        return 2
    truth = tomllib.loads((paths.tests_dir() / TRUTH).read_text())
    lines = list(judged(report, truth))
    for line in lines:
        word = {True: "ok", False: "WRONG", None: "not run"}[line.good]
        print(f"{word:<8}{line.text}")
    wrong, idle = (sum(line.good is what for line in lines) for what in (False, None))
    print(f"{len(lines) - wrong - idle} as planted, {wrong} not, {idle} not run")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
