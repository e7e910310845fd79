# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things lie in the output folder of a nightly. docs/nightly.md shows the same as a tree."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.cache import try_lock
from lab.model.errors import LabUnavailable
from lab.model.nightly import Variant


@dataclass(frozen=True, slots=True)
class Out:
    """The output folder."""

    root: Path

    @property
    def series(self) -> Path:
        """A folder for each topic, in it one for each version."""
        return self.root / "series"

    @property
    def site(self) -> Path:
        """The pages to read."""
        return self.root / "site"

    @property
    def history(self) -> Path:
        """The database of all runs."""
        return self.root / "history.sqlite"

    def version(self, id: str) -> Place:
        """Where one version (``TOPIC/vN``) is kept."""
        return Place(self.series / id)

    def run(self, started: str) -> Path:
        """The folder of one nightly; ``started`` is an ISO 8601 time."""
        return self.root / "runs" / "".join(c for c in started if c.isalnum())

    def versions(self) -> list[Place]:
        """All versions with a report, in the order of their names."""
        return [Place(file.parent) for file in sorted(self.series.glob("*/v*/version.json"))]


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one version of one series."""

    folder: Path

    @property
    def mbox(self) -> Path:
        """Its patches."""
        return self.folder / "series.mbox"

    @property
    def report(self) -> Path:
        """A ``lab.model.nightly.VersionReport``."""
        return self.folder / "version.json"

    def task(self, variant: Variant) -> Path:
        """A ``lab.model.nightly.VariantTask``; its result lies in :meth:`variant`."""
        return self.folder / f"task-{variant.id}.json"

    def variant(self, variant: Variant) -> Path:
        """Result, reports and evidence of one variant."""
        return self.folder / "variants" / variant.id

    def voice(self, name: str) -> Path:
        """One of the files for other programs, or for mail."""
        return self.folder / name


@contextmanager
def locked(out: Path) -> Iterator[Out]:
    """Own the output folder. LabUnavailable when another nightly has it, or nobody may write there.

    The kernel drops the lock with its holder, so a killed nightly blocks nobody.
    """
    file = out / "lock"
    try:
        handle = try_lock(file)
        holder = "" if handle is not None else file.read_text(errors="replace").strip()
    except OSError as e:
        raise LabUnavailable(
            f"cannot write to the output folder: {e.strerror}", where=str(out), hint="name another with --out"
        ) from e
    if handle is None:
        raise LabUnavailable(
            f"another nightly (process {holder or '?'}) writes there",
            where=str(out),
            hint="wait for it, or name another folder with --out",
        )
    try:
        yield Out(out)
    finally:
        file.unlink(missing_ok=True)
        os.close(handle)
