# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that others read of a nightly: files beside each version, the history, the site."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lab import whole
from lab.model.nightly import NightlyReport, VersionReport
from lab.nightly import history, store
from lab.nightly.b4_check import REPORT
from lab.nightly.places import Out
from lab.progress import Progress
from lab.report import junit, kcidb, ktap, site
from lab.report.reply import write_reply
from lab.report.site_history import PastRun, SiteHistory

VOICES = ("result.ktap", "kcidb.json", "junit.xml", "reply.txt", "reply.eml")
"""Files in the folder of each version."""


def publish(report: NightlyReport, out: Out, progress: Progress) -> None:
    """Write the voices of what was judged, record the run, and write the site anew.

    ``nightly.json``, ``kcidb.json`` and ``junit.xml`` of the whole go to the output folder itself; a copy of
    the first stays in the folder of the run.
    """
    for version in report.versions:
        if version.series.id in report.judged or _missing(out, version):
            _voices(report, version, out)
    with history.opened(out.history) as past:
        past.record(report)
        remarks = tuple(str(slower) for slower in past.slower())
        before = SiteHistory(
            runs=tuple(PastRun(r.started, r.passed, r.failed, r.inconclusive, r.wall) for r in past.runs()),
            first_seen={seen.id: seen.first for seen in past.splats()},
            trends=past.trends(),
            remarks=remarks,
        )
    for remark in remarks:
        progress.note(f"slower than before: {remark}")
    store.save(out.run(report.started) / "run.json", report)
    whole.write(out.root / "kcidb.json", kcidb.dumps(report))
    whole.write(out.root / "junit.xml", junit.night(report))
    site.write_site(report, out.root, before)
    store.save(out.root / REPORT, report)


def incomplete(out: Out, reports: Iterable[VersionReport]) -> bool:
    """Whether something of what is known was never published (a nightly that was killed)."""
    return not (out.root / REPORT).is_file() or any(_missing(out, report) for report in reports)


def _missing(out: Out, version: VersionReport) -> bool:
    place = out.version(version.series.id)
    return not all(place.voice(name).is_file() for name in VOICES)


def _voices(report: NightlyReport, version: VersionReport, out: Out) -> None:
    place = out.version(version.series.id)
    alone = replace(report, versions=(version,), judged=(version.series.id,), skipped=(), problems=())
    texts = {
        "result.ktap": ktap.text(version),
        "kcidb.json": kcidb.dumps(alone),
        "junit.xml": junit.night(alone),
    }
    for name, text in texts.items():
        whole.write(place.voice(name), text)
    write_reply(version, place.folder, report.lab)
