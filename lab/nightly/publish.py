# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that others read of a nightly: files beside each version, the history, the site."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lab.model.nightly import NightlyReport, VersionReport
from lab.nightly import store
from lab.nightly.history import History
from lab.nightly.places import Out
from lab.progress import Progress
from lab.report import b4_ci, kcidb, ktap, reply, site

_VOICES = ("result.ktap", "kcidb.json", "b4-ci.json", "reply.txt", "reply.eml")


def publish(report: NightlyReport, out: Out, progress: Progress) -> None:
    """Write the voices of what was judged, record the run, and write the site anew."""
    for version in report.versions:
        if version.series.id in report.judged or _missing(out, version):
            _voices(version, out)
    run = out.run(report.started)
    store.save(run / "run.json", report)
    _write(run / "kcidb.json", kcidb.dumps(report))
    with History(out.history) as history:
        history.record(report)
        for line in history.regressions():
            progress.note(f"slower than before: {line}")
    site.write_site(report, out.site)


def incomplete(out: Out, reports: Iterable[VersionReport]) -> bool:
    """Whether something of what is known was never published (a nightly that was killed)."""
    return not (out.site / "index.html").is_file() or any(_missing(out, report) for report in reports)


def _missing(out: Out, version: VersionReport) -> bool:
    place = out.version(version.series.id)
    return not all(place.voice(name).is_file() for name in _VOICES)


def _voices(version: VersionReport, out: Out) -> None:
    place = out.version(version.series.id)
    texts = {
        "result.ktap": ktap.text(version),
        "kcidb.json": kcidb.dumps_version(version),
        "b4-ci.json": b4_ci.dumps(version),
        "reply.txt": reply.text(version),
        "reply.eml": reply.eml(version),
    }
    for name in _VOICES:
        _write(place.voice(name), texts[name])


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temp.write_text(text)
        temp.replace(path)
    finally:
        temp.unlink(missing_ok=True)
