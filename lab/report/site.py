# SPDX-License-Identifier: GPL-2.0-or-later
"""The site of a nightly run: plain files that need neither network nor server nor scripts."""

from __future__ import annotations

import os
from pathlib import Path

from lab import whole
from lab.model.errors import BadInput, LabUnavailable
from lab.model.nightly import NightlyReport
from lab.paths import templates_dir
from lab.report import site_pages
from lab.report.site_history import SiteHistory
from lab.report.site_places import INDEX, SITE

MARK = ".hvlab-site"
"""Says that a folder is a site of ours, in which pages that are no longer told of may be removed."""
SCRIPT = "filter.js"


def write_site(report: NightlyReport, out: Path, history: SiteHistory | None = None) -> list[Path]:
    """Write the site into ``out/site`` and return its files, the first page first.

    ``out`` is the nightly's output folder: the variants' folders are relative to it, and evidence is linked
    where it is there. Each file is replaced as a whole, the first page last, so that a reader always finds a
    site; pages of series that are gone are removed then. BadInput where the folder holds something else,
    LabUnavailable where it cannot be written.
    """
    site = out / SITE
    _claim(site)
    script = (templates_dir() / site_pages.FOLDER / SCRIPT).read_text()
    written = [site / MARK]
    try:
        for name, text in ((SCRIPT, script), *site_pages.pages(report, out, history or SiteHistory())):
            whole.write(site / name, text)
            written.append(site / name)
        _remove_others(site, set(written))
    except OSError as e:
        raise LabUnavailable(
            f"cannot write the site: {e.strerror}", where=str(e.filename or site), hint="is the disk full?"
        ) from e
    first = site / INDEX
    return [first, *(path for path in written if path not in (first, site / MARK))]


def _claim(site: Path) -> None:
    """Make the folder ours. BadInput when it is somebody else's."""
    if site.is_symlink():
        raise BadInput("is a symbolic link", where=str(site), hint="remove it: the site is written there")
    try:
        site.mkdir(parents=True, exist_ok=True)
        if not (site / MARK).is_file() and any(site.iterdir()):
            raise BadInput(
                "holds something that is no site of a nightly run",
                where=str(site),
                hint="give another --out, or move it away",
            )
        (site / MARK).touch()
    except (FileExistsError, NotADirectoryError) as e:
        raise BadInput("is not a folder", where=str(e.filename or site), hint="give another --out") from e
    except OSError as e:
        raise LabUnavailable(f"cannot write the site: {e.strerror}", where=str(e.filename or site)) from e


def _remove_others(site: Path, kept: set[Path]) -> None:
    for folder, _, names in os.walk(site, topdown=False):
        here = Path(folder)
        for name in names:
            if here / name not in kept:
                (here / name).unlink(missing_ok=True)
        if here != site and not any(here.iterdir()):
            here.rmdir()
