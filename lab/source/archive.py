# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's archive through a private apt root.

The root has its own sources, lists and state below the cache; it takes from the host the mirror
that the host uses itself, its proxy settings and Debian's keyring. apt verifies the signed index
and the hash of what it downloads. The host's own apt configuration and state stay untouched, and no
privileges are needed.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.cache import Cache
from lab.model.errors import LabUnavailable
from lab.model.kernel import SourceLock
from lab.model.series import KernelVersion
from lab.progress import Progress
from lab.source.command import run, tool_env

SUITES = ("bookworm", "bookworm-backports", "trixie", "trixie-backports", "forky", "forky-backports", "sid")
"""Suites that are asked for kernel sources; one that the mirror does not have is left out."""

REFRESH_AFTER = 6 * 3600.0
"""Seconds for which a fetched index is good enough."""

_KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)
_UPDATE_BUDGET = 150.0
_DOWNLOAD_BUDGET = 1800.0
_QUERY_BUDGET = 60.0
_NO_SUITE = re.compile(r"The repository '\S+ (\S+) \S+' (?:does not have|no longer has) a Release file")


INDEX_SPACE = 600 << 20
"""Bytes of package lists and of the two caches that apt makes of them, with room to spare."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One ``linux-source-*`` package that the mirror offers."""

    package: str
    version: str
    sha256: str
    suite: str

    @property
    def kernel(self) -> KernelVersion:
        """The kernel's version (``7.3.4`` of ``7.3.4-1~bpo13+1``)."""
        return KernelVersion.parse(self.version)

    def lock(self) -> SourceLock:
        """What pins this package."""
        return SourceLock("debian", self.package, self.version, self.sha256, self.suite)


class Archive:
    """The private apt root in ``cache.root/apt``. ``notes`` collects what the user should know."""

    def __init__(self, cache: Cache, progress: Progress) -> None:
        self._cache = cache
        self._progress = progress
        self._dir = cache.root / "apt"
        self._index = self._dir / "candidates.json"
        self.notes: list[str] = []

    def candidates(self, *, refresh: bool = False) -> list[Candidate]:
        """All kernel sources on offer, newest first.

        The index is fetched when it is older than six hours (or on ``refresh``). When the mirror
        cannot be reached, the last index is used and a note says so. LabUnavailable when there is
        neither a mirror nor an index.
        """
        with self._cache.locked("apt", "root", self._progress, _UPDATE_BUDGET + 60):
            known = self._read_index(max_age=None if refresh else REFRESH_AFTER)
            if known:
                return known
            try:
                # apt-get update tries for minutes on a full disk before it says so.
                self._cache.require_space(INDEX_SPACE, "the package index")
                found = self._update()
            except LabUnavailable as e:
                old = self._read_index(max_age=float("inf"))
                if not old:
                    raise
                age = (time.time() - self._index.stat().st_mtime) / 3600
                self.notes.append(f"package index is {age:.0f} h old: {e.what}")
                return old
            self._index.write_text(json.dumps([asdict(c) for c in found], indent=1) + "\n")
            return found

    def download(self, candidate: Candidate, into: Path) -> Path:
        """Fetch the package into a folder; apt checks it against the signed index.

        LabUnavailable when the mirror does not answer or no longer has that version.
        """
        with self._cache.locked("apt", "root", self._progress, _DOWNLOAD_BUDGET + 60):
            self._configure(self._suites())
            done = self._apt(
                "apt-get",
                "download",
                f"{candidate.package}={candidate.version}",
                what=f"downloading {candidate.package} {candidate.version}",
                timeout=_DOWNLOAD_BUDGET,
                cwd=into,
            )
        found = sorted(into.glob(f"{candidate.package}_*.deb"))
        if len(found) != 1:
            raise LabUnavailable(
                f"apt fetched no package {candidate.package} {candidate.version}", detail=done
            )
        return found[0]

    def _read_index(self, max_age: float | None) -> list[Candidate]:
        try:
            if max_age is None or time.time() - self._index.stat().st_mtime > max_age:
                return []
            return [Candidate(**c) for c in json.loads(self._index.read_text())]
        except (OSError, ValueError, TypeError):
            return []

    def _update(self) -> list[Candidate]:
        suites = list(SUITES)
        self._configure(suites)
        self._progress.note("fetching the package index of the machine's Debian mirror")
        # A suite that the mirror lacks makes apt fail as a whole: leave it out and ask again.
        for _attempt in SUITES:
            done = self._apt_try("apt-get", "-q", "update", timeout=_UPDATE_BUDGET)
            missing = set(_NO_SUITE.findall(done)) & set(suites)
            if not missing or len(missing) == len(suites):
                break
            suites = [s for s in suites if s not in missing]
            self._configure(suites)
        problems = [line for line in done.splitlines() if line.startswith(("E:", "W:", "Err:"))]
        if problems:
            raise LabUnavailable(
                "the package index could not be fetched from the machine's Debian mirror",
                hint="check the network and `apt-get update`; or give --base FILE.tar.xz or --tree DIR",
                detail="\n".join(problems[:8]),
            )
        return self._list()

    def _list(self) -> list[Candidate]:
        names = self._query("apt-cache", "pkgnames", "linux-source-").split()
        names = [n for n in names if re.fullmatch(r"linux-source-\d+\.\d+", n)]
        if not names:
            raise LabUnavailable("the machine's Debian mirror offers no linux-source package")
        hashes = parse_stanzas(self._query("apt-cache", "show", *names))
        suites = parse_madison(self._query("apt-cache", "madison", *names))
        found = [
            Candidate(package, version, sha, suites[package, version])
            for (package, version), sha in hashes.items()
            if (package, version) in suites
        ]
        # Stable sort: apt lists equal kernel versions with the newest Debian revision first.
        return sorted(found, key=lambda c: c.kernel, reverse=True)

    def _suites(self) -> list[str]:
        known = self._read_index(max_age=float("inf"))
        wanted = {c.suite for c in known}
        return [s for s in SUITES if s in wanted] or list(SUITES)

    def _configure(self, suites: list[str]) -> None:
        configure_apt_root(self._dir, suites)

    def _apt(self, *argv: str, what: str, timeout: float, cwd: Path | None = None) -> str:
        env = tool_env({"APT_CONFIG": str(self._dir / "apt.conf")})
        return run(argv, what=what, timeout=timeout, cwd=cwd, env=env).out

    def _apt_try(self, *argv: str, timeout: float) -> str:
        env = tool_env({"APT_CONFIG": str(self._dir / "apt.conf")})
        done = run(argv, what="fetching the package index", timeout=timeout, env=env, check=False)
        return done.out + done.err + ("" if done.code == 0 else f"\nE: exit {done.code}\n")

    def _query(self, *argv: str) -> str:
        return self._apt(*argv, what="reading the package index", timeout=_QUERY_BUDGET)


def configure_apt_root(root: Path, suites: Sequence[str]) -> None:
    """Make ``root`` a private apt root that knows ``suites`` of the machine's Debian mirror.

    LabUnavailable without a keyring or a mirror.
    """
    keyring = next((k for k in _KEYRINGS if k.is_file()), None)
    if keyring is None:
        raise LabUnavailable("Debian's archive keyring is missing", hint="install debian-archive-keyring")
    for part in ("etc", "lists/partial", "archives/partial", "state"):
        (root / part).mkdir(parents=True, exist_ok=True)
    (root / "state" / "status").touch()
    stanza = {
        "Types": "deb",
        "URIs": host_mirror(),
        "Suites": " ".join(suites),
        "Components": "main",
        "Signed-By": str(keyring),
    }
    text = "".join(f"{key}: {value}\n" for key, value in stanza.items())
    (root / "etc" / "debian.sources").write_text(text)
    (root / "apt.conf").write_text(apt_configuration(root, _host_acquire_settings()))


def apt_configuration(root: Path, acquire: str) -> str:
    """apt.conf of a private root at ``root``; ``acquire`` are the host's download settings."""
    # Dir::Etc::parts and main are emptied so that no hook of the host (docker-clean, ...) runs.
    settings = {
        "Dir::State": root / "state",
        "Dir::State::lists": root / "lists",
        "Dir::State::status": root / "state" / "status",
        "Dir::Cache": root,
        "Dir::Cache::archives": root / "archives",
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": "/dev/null",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": root / "etc",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::Log": root / "state",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
        "Acquire::Retries": "1",
        "Acquire::http::Timeout": "15",
        "Acquire::https::Timeout": "15",
    }
    return acquire + "".join(f'{k} "{v}";\n' for k, v in settings.items())


def parse_stanzas(text: str) -> dict[tuple[str, str], str]:
    """``apt-cache show`` output to {(package, version): sha256}, in order."""
    found = {}
    for stanza in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|SHA256): *(\S+)", stanza, re.MULTILINE))
        if len(fields) == 3:
            found[fields["Package"], fields["Version"]] = fields["SHA256"]
    return found


def parse_madison(text: str) -> dict[tuple[str, str], str]:
    """``apt-cache madison`` output to {(package, version): suite}; the first suite listed wins."""
    found: dict[tuple[str, str], str] = {}
    for line in text.splitlines():
        columns = [c.strip() for c in line.split("|")]
        if len(columns) == 3 and columns[2].endswith("Packages"):
            suite = columns[2].split()[1].split("/")[0]
            found.setdefault((columns[0], columns[1]), suite)
    return found


def host_mirror() -> str:
    """URI of the Debian mirror that this machine uses; LabUnavailable on a machine that is not Debian."""
    query = ("apt-get", "indextargets", "--format")
    fields = "$(CREATED_BY)|$(COMPONENT)|$(ORIGIN)|$(LABEL)|$(RELEASE)|$(REPO_URI)"
    listed = run([*query, fields], what="reading apt's sources", timeout=_QUERY_BUDGET, check=False).out
    mirror = pick_mirror(listed, _host_codename())
    if mirror is None:
        # A machine that never fetched an index lists nothing unless told not to look at it.
        listed = run(
            [*query, fields, "--no-release-info"],
            what="reading apt's sources",
            timeout=_QUERY_BUDGET,
            check=False,
        ).out
        mirror = pick_mirror(listed, _host_codename())
    if mirror is None:
        raise LabUnavailable(
            "this machine has no Debian mirror among its apt sources",
            hint="give a kernel with --base FILE.tar.xz or --tree DIR",
        )
    return mirror


def pick_mirror(listed: str, codename: str) -> str | None:
    """The mirror among ``apt-get indextargets`` lines: by its signed origin, else by suite name."""
    rows = [row.split("|") for row in listed.splitlines()]
    rows = [r for r in rows if len(r) == 6 and r[0] == "Packages" and r[1] == "main"]
    for _created, _component, origin, label, _release, uri in rows:
        if (origin, label) == ("Debian", "Debian") and not uri.startswith("cdrom:"):
            return uri
    unread = [r for r in rows if r[2] in ("", "$(ORIGIN)") and r[4] == codename]
    unread.sort(key=lambda r: not r[5].rstrip("/").endswith("debian"))
    return next((r[5] for r in unread if not r[5].startswith("cdrom:")), None)


def _host_codename() -> str:
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        return ""
    found = re.search(r'^VERSION_CODENAME="?([\w-]+)', text, re.MULTILINE)
    return found[1] if found else ""


def _host_acquire_settings() -> str:
    """The host's proxy and download settings, as apt.conf lines."""
    dump = run(["apt-config", "dump", "Acquire"], what="reading apt's settings", timeout=_QUERY_BUDGET).out
    return "".join(
        f"{line}\n"
        for line in dump.splitlines()
        if re.match(r"Acquire::(http|https|ftp|tor|Force\w+|Check-Valid-Until|By-Hash)\b", line)
    )
