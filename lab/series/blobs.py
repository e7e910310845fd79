# SPDX-License-Identifier: GPL-2.0-or-later
"""Git's names of the files that a series was made against: they tell which base it was made on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from lab.model.series import Patch
from lab.series.diff import changes
from lab.series.patches import diff_of


def old_blobs(patches: Iterable[Patch]) -> dict[str, str]:
    """{path: (shortened) blob id before the series} of what a series changes or removes, as far as its
    ``index`` lines say. What an earlier patch of the series has touched says nothing about the base."""
    found: dict[str, str] = {}
    made: set[str] = set()
    for patch in patches:
        for change in changes(diff_of(patch)):
            if change.old_path and change.old_blob and change.old_path not in made:
                found[change.old_path] = change.old_blob
            made |= {change.old_path, change.new_path}
    return found


def new_blobs(patches: Iterable[Patch]) -> dict[str, str]:
    """{path: (shortened) blob id after the series} of what it leaves, as far as its ``index`` lines say."""
    found: dict[str, str] = {}
    for patch in patches:
        for change in changes(diff_of(patch)):
            found.pop(change.old_path, None)
            found.pop(change.new_path, None)
            if change.new_path and change.new_blob:
                found[change.new_path] = change.new_blob
    return found


def git_blob(file: Path) -> str:
    """The id that git gives a file's content (SHA-1); "" where there is no plain file."""
    if file.is_symlink() or not file.is_file():
        return ""
    data = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def matching(wanted: Mapping[str, str], have: Mapping[str, str]) -> int:
    """How many of the (shortened) blob ids ``wanted`` are those in ``have``."""
    return sum(1 for path, blob in wanted.items() if have.get(path, "").startswith(blob))
