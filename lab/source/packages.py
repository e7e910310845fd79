# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages for file systems of guests: a private apt root resolves and fetches them.

Nothing is installed and no maintainer script runs: packages are unpacked, and what is needed of them
is taken. The root knows one release and its backports, and pretends that nothing is installed, so that
apt itself names everything that a package depends on.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache
from lab.hashing import digest
from lab.model.errors import LabUnavailable
from lab.progress import Progress
from lab.source.archive import INDEX_SPACE, configure_apt_root
from lab.source.command import run, tool_env

RELEASE = "trixie"
SUITES = (RELEASE, f"{RELEASE}-backports")
REFRESH_AFTER = 7 * 24 * 3600.0
"""Seconds for which a resolved set of packages is good enough: they are tools, not what is tested."""

_UPDATE_BUDGET = 150.0
_DOWNLOAD_BUDGET = 900.0
_QUERY_BUDGET = 60.0
_UNPACK_BUDGET = 120.0
_URI = re.compile(r"^'[^']+' (\S+\.deb) (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class PackageSet:
    """``files`` are the package files with everything that they depend on, in apt's order; the names
    tell the versions. ``request`` is what was asked for."""

    request: tuple[str, ...]
    suite: str
    files: tuple[str, ...]

    @property
    def key(self) -> str:
        """The same as long as no package changes."""
        return digest(self.suite, *self.request, *self.files)


class Packages:
    """The private apt root in ``cache.root/apt-guest``. ``notes`` collects what the user should know."""

    def __init__(self, cache: Cache, progress: Progress) -> None:
        self._cache = cache
        self._progress = progress
        self._dir = cache.root / "apt-guest"
        self.notes: list[str] = []

    def resolve(self, names: tuple[str, ...], *, backports: bool = False) -> PackageSet:
        """Packages ``names`` with their dependencies, from the release or preferably its backports.

        The answer is kept for a week, and longer when the mirror cannot be reached. LabUnavailable when
        there is neither.
        """
        suite = SUITES[1] if backports else SUITES[0]
        place = self._dir / f"set-{digest(suite, *names)[:16]}.json"
        with self._cache.locked("apt-guest", "root", self._progress, _UPDATE_BUDGET + 60):
            known, age = self._read(place, names, suite)
            if known is not None and age < REFRESH_AFTER:
                return known
            try:
                self._cache.require_space(INDEX_SPACE, "the package index")
                configure_apt_root(self._dir, SUITES)
                self._progress.note(f"fetching the package index of {RELEASE}")
                self._apt("-q", "update", what="fetching the package index", timeout=_UPDATE_BUDGET)
                text = self._install(names, suite, "--print-uris", timeout=_QUERY_BUDGET)
            except LabUnavailable as e:
                if known is None:
                    raise
                self.notes.append(f"packages of the guests are {age / 86400:.0f} days old: {e.what}")
                return known
            files = tuple(name for name, _size in _URI.findall(text))
            if not files:
                raise LabUnavailable("apt names no package to fetch", where=" ".join(names), detail=text)
            found = PackageSet(names, suite, files)
            place.write_text(json.dumps({"request": names, "suite": suite, "files": files}, indent=1) + "\n")
            return found

    def unpack(self, wanted: PackageSet, into: Path) -> None:
        """Unpack all of a set into a folder. LabUnavailable when a package cannot be had any more."""
        with self._cache.locked("apt-guest", "root", self._progress, _DOWNLOAD_BUDGET + 60):
            configure_apt_root(self._dir, SUITES)
            self._install(wanted.request, wanted.suite, "--download-only", timeout=_DOWNLOAD_BUDGET)
            archives = self._dir / "archives"
            missing = [name for name in wanted.files if not (archives / name).is_file()]
            if missing:
                raise LabUnavailable(
                    f"the mirror no longer has {missing[0]}",
                    hint=f"remove {self._dir} from the cache: the packages are resolved anew then",
                )
            # base-files has the links /bin -> usr/bin and so on: files must not come before them.
            for name in sorted(wanted.files, key=lambda n: not n.startswith("base-files_")):
                run(
                    ["dpkg-deb", "-x", archives / name, into],
                    what=f"unpacking {name}",
                    timeout=_UNPACK_BUDGET,
                )
            for name in wanted.files:
                (archives / name).unlink(missing_ok=True)

    def _read(self, place: Path, names: tuple[str, ...], suite: str) -> tuple[PackageSet | None, float]:
        try:
            data = json.loads(place.read_text())
            if tuple(data["request"]) != names or data["suite"] != suite:
                return None, 0.0
            return PackageSet(names, suite, tuple(data["files"])), time.time() - place.stat().st_mtime
        except (OSError, ValueError, TypeError, KeyError):
            return None, 0.0

    def _install(self, names: tuple[str, ...], suite: str, how: str, *, timeout: float) -> str:
        return self._apt(
            "-qq",
            "-y",
            how,
            "--no-install-recommends",
            f"--target-release={suite}",
            "install",
            *names,
            what=f"finding {names[0]} and what it needs",
            timeout=timeout,
        )

    def _apt(self, *argv: str, what: str, timeout: float) -> str:
        env = tool_env({"APT_CONFIG": str(self._dir / "apt.conf")})
        return run(["apt-get", *argv], what=what, timeout=timeout, env=env).out
