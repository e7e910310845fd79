# SPDX-License-Identifier: GPL-2.0-or-later
"""The SERIES argument to a checked series."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from lab.model.series import Series
from lab.paths import tests_dir
from lab.series import claims as claims_file
from lab.series.mails import collect
from lab.series.patches import assemble

EMBEDDED = "mmio-on-demand"
"""The lab's own series, used when none is given."""


def load(text: str | None, tree: str | None, stdin: BinaryIO, claims: Path | None = None) -> Series:
    """Read and check a series.

    ``text``: mbox (also gzipped), maildir, folder of patches (with a quilt ``series`` file or
    sorted by name), one patch, ``A..B`` of the git tree ``tree``, or ``-`` for ``stdin``, which is
    read in that case only; None is the embedded series. ``claims`` names a claims file other than
    the one beside the series. BadInput for whatever cannot be taken; nothing is written anywhere.
    """
    where = text if text is not None else str(tests_dir() / "series" / EMBEDDED)
    assembled = assemble(collected := collect(where, tree, stdin))
    found = claims if claims is not None else claims_file.beside(where)
    said = claims_file.load(found) if found is not None else claims_file.Claims()
    return Series(
        name=assembled.title
        or (assembled.patches[0].subject if len(assembled.patches) == 1 else collected.name),
        patches=assembled.patches,
        fits=said.fits,
        fixes=said.fixes,
        guards=said.guards,
        expects_changed=said.changed,
        key=assembled.key,
    )
