# SPDX-License-Identifier: GPL-2.0-or-later
"""The history of a kernel's git repository, as far as the search for a base looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.hashing import digest
from lab.model.errors import BadInput, LabUnavailable
from lab.model.kernel import KernelSource, SourceLock
from lab.model.series import KernelVersion
from lab.source.command import Done, run
from lab.source.git import borrowed, own_env, resolve_commit, tags

COMMITS = 60
"""Commits touching a series' files that are looked at, newest first; they are what makes a difference."""

TAGS = 30
_FILES = 300
_BUDGET = 120.0


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit and its name for people."""

    id: str
    name: str
    time: int


@dataclass(frozen=True, slots=True)
class History:
    """The repository ``repo``, read through ``own``, which borrows its objects."""

    repo: Path
    own: Path

    @classmethod
    @contextmanager
    def of(cls, repo: Path) -> Iterator[History]:
        """The history of the repository in a folder; BadInput when there is none."""
        if not repo.is_dir():
            raise BadInput("no such folder", where=str(repo), hint="give a git tree of the kernel")
        resolve_commit(repo, "HEAD")
        with borrowed(repo) as own:
            yield cls(repo, own)

    def has(self, commit: str) -> bool:
        """Whether the repository holds a commit."""
        return self._git("cat-file", "-e", f"{commit}^{{commit}}", check=False).code == 0

    def spec(self, commit: str) -> str:
        """What ``--tree`` takes."""
        return f"{self.repo}@{commit}"

    def candidates(self, files: Sequence[str]) -> list[Commit]:
        """HEAD, then the last commits that touched ``files`` and the newest tags, newest first."""
        head = resolve_commit(self.repo, "HEAD")
        found = {head: Commit(head, "HEAD", 0)}
        others = [
            Commit(commit, f"tag {name}", time)
            for name, commit, time in tags(self.repo, TAGS)
            if self.has(commit)
        ]
        paths = [f":(literal){f}" for f in files[:_FILES]]
        try:
            log = self._git("log", f"--max-count={COMMITS}", "--format=%H %ct", head, "--", *paths).out
        except LabUnavailable:
            log = ""  # a history too long to walk: what HEAD and the tags have must do
        for line in log.splitlines():
            commit, _, time = line.partition(" ")
            others.append(Commit(commit, f"commit {commit[:12]}", int(time)))
        for other in sorted(others, key=lambda c: -c.time):
            found.setdefault(other.id, other)
        return list(found.values())

    def blobs(self, commit: str, files: Sequence[str]) -> dict[str, str]:
        """{path: blob} of those of ``files`` that a commit has."""
        found: dict[str, str] = {}
        for at in range(0, len(files), _FILES):
            listed = self._git("ls-tree", "-r", "-z", "--full-tree", commit, "--", *files[at : at + _FILES])
            for row in listed.out.split("\0"):
                said, _, path = row.partition("\t")
                words = said.split()
                if len(words) == 3 and words[1] == "blob":
                    found[path] = words[2]
        return found

    def part(self, commit: str, files: Sequence[str], into: Path) -> KernelSource:
        """A source that holds only ``files`` of a commit, below the folder ``into``: enough to try a series
        on. Its version is unknown (0.0)."""
        into.mkdir(parents=True)
        names = list(self.blobs(commit, files))
        if names:
            self._git("read-tree", commit)
            ask = "".join(f"{name}\0" for name in names).encode("utf-8", "surrogateescape")
            self._git("checkout-index", "--force", "-z", "--stdin", f"--prefix={into}/", stdin=ask)
        lock = SourceLock("git", str(self.repo), commit, "")
        return KernelSource(KernelVersion(0, 0), into, digest("part", commit, *files), lock)

    def _git(self, *args: str, stdin: bytes | None = None, check: bool = True) -> Done:
        return run(
            ["git", *args],
            what=f"git {args[0]}",
            timeout=_BUDGET,
            cwd=self.own,
            env=own_env(self.own),
            stdin=stdin,
            check=check,
        )
