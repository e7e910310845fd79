# SPDX-License-Identifier: GPL-2.0-or-later
"""git's own range-diff between two versions of a series.

It is made in a throw-away repository of the files that they touch, both versions on the same base.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from lab.model.errors import LabError
from lab.model.kernel import KernelSource
from lab.model.nightly import InboxSeries
from lab.printable import printable
from lab.series.applying import Repo

CREATION_FACTOR = 60
"""Per cent, as git's own default: patches that differ by more are a removed and a new one."""
LONGEST = 200_000
"""Characters; a range-diff of more is cut and says so."""


def range_diff(before: InboxSeries, now: InboxSeries, source: KernelSource) -> tuple[str, str]:
    """(git's range-diff, why there is none); one of the two is "".

    Both versions must apply to ``source``. It is something to look at, so that git does not end or is missing
    is a reason too.
    """
    for series in (before, now):
        if series.problem or not series.patches:
            return "", f"v{series.version} is not whole: {series.problem or 'it has no patches'}"
    with tempfile.TemporaryDirectory(prefix="hvlab-range-") as temp:
        repo = Repo(Path(temp) / "repo")
        files = sorted({name for series in (before, now) for patch in series.patches for name in patch.files})
        try:
            repo.begin(source, files)
            base = repo.head()
            tips = []
            for series in (before, now):
                repo.git("reset", "--quiet", "--hard", base)
                tips.append(_apply(repo, series, source))
            ranges = [f"{base}..{tip}" for tip in tips]
            options = (f"--creation-factor={CREATION_FACTOR}", "--no-color", "--no-ext-diff", "--no-textconv")
            text = printable(repo.git("range-diff", *options, *ranges).out)
        except LabError as e:
            return "", f"{e.where}: {e.what}" if e.where else e.what
    if len(text) > LONGEST:
        kept = text[:LONGEST].rpartition("\n")[0]
        text = f"{kept}\n(cut here: {len(text) - len(kept)} more characters)\n"
    return text, ""


def _apply(repo: Repo, series: InboxSeries, source: KernelSource) -> str:
    """Id of the last commit of a series on top of where the repository is."""
    for number, patch in enumerate(series.patches, 1):
        repo.am(patch, f"patch {number}/{len(series.patches)} of v{series.version}", source)
    return repo.head()
