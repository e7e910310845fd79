# SPDX-License-Identifier: GPL-2.0-or-later
"""The site of the sample with its evidence, and text that no page may let through."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import sample

from lab.model.nightly import NightlyReport
from lab.report.site_history import PastRun, SiteHistory

EVIL = (
    '</pre></td></title></style><script>x</script>&<img src=x onerror=y>"\' style="x'
    "\x1b]0;t\x07\x1b[2J\x9b31m\x00"
    "\r\nBcc: evil@example.com\r\n\u202eevil\u2066\ud800]]>{{ 7*7 }}z\u0300\u0301\u0302\u0303\u0304\u0305"
)
FORBIDDEN = "\x1b\x07\x9b\x00\r\u202e\u2066\ud800"
HISTORY = SiteHistory(
    runs=(
        PastRun("2026-12-01T10:30:00+00:00", 1, 2, 0, 8120.0),
        PastRun("2026-11-30T10:30:00+00:00", 0, 1, 1, 5400.0),
    ),
    first_seen={sample.SLEEP: "2026-12-02T11:00:00+00:00"},
    trends={"mmio-on-demand/unmapped_gpa_reaches_the_vmm": ("pass", "pass", "fail")},
    remarks=("build (patched) of debug takes 240 s, 95 s before",),
)


def lay_out(report: NightlyReport, out: Path) -> None:
    """The files that a nightly leaves beside its site."""
    for version in report.versions:
        for result in version.variants:
            names = [name for scenario in result.scenarios for name in scenario.files]
            if not result.lost:
                names += ["report.html", "result.json"]
            for name in names:
                path = out / result.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("evidence\n")


def poison(value: Any) -> Any:
    """The same records with EVIL behind every text that is there; verdicts and the like stay."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value) if f.init]
        return dataclasses.replace(value, **{n: poison(getattr(value, n)) for n in names})
    if type(value) is str:
        # Scenarios of these changes have a table of their own.
        return value if value in ("", "same", "n/a") else value + EVIL
    if isinstance(value, tuple):
        return tuple(poison(v) for v in value)
    if isinstance(value, dict):
        return {poison(k): poison(v) for k, v in value.items()}
    return value
