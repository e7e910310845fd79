# SPDX-License-Identifier: GPL-2.0-or-later
"""Apply a series to a source, each patch as a commit of its own.

The commits are made by ``git am -3`` in a small repository that holds, of the base, only the files
that the series touches: that is all git needs, and it takes milliseconds where a repository of the
whole tree takes a minute. A base out of a git repository lends its objects, so that ``-3`` finds
the versions that a patch was made against.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from lab.cache import Cache
from lab.hashing import digest
from lab.model.errors import BadInput, LabUnavailable, SeriesDoesNotApply
from lab.model.kernel import AppliedSeries, KernelSource
from lab.model.series import Patch, Series
from lab.progress import Progress
from lab.series.diff import FILE_MODES, added_lines
from lab.series.patches import QUOTED_CR
from lab.source.command import Done, run, tool_env
from lab.source.git import objects_dir

KIND = "applied"
_RECIPE = "1"
_BUDGET = 120.0
_SHOWN = 12
_HUNK_FAILED = re.compile(r"^error: patch failed: (.+):(\d+)$", re.MULTILINE)
_OTHER = re.compile(r"^error: (.+)$", re.MULTILINE)
_SAID_ALREADY = re.compile(r"patch failed:|patch does not apply|while searching for:")
_REJECTED = re.compile(r"^Rejected hunk #(\d+)\.$")
_CHECKING = re.compile(r"^Checking patch (.+)\.\.\.$")


def apply(source: KernelSource, series: Series, cache: Cache, progress: Progress) -> AppliedSeries:
    """Apply ``series`` to ``source``; what is already in the cache is taken from there.

    SeriesDoesNotApply names the patch, the file and the hunks that do not fit, and the base.
    """
    key = digest(KIND, _RECIPE, source.key, series.key)

    def produce(entry: Path) -> None:
        _apply(source, series, entry)

    entry = cache.publish(KIND, key, produce, about={"series": series.name, "base": source.key})
    said = json.loads((entry / "applied.json").read_text())
    return AppliedSeries(
        key=said["key"],
        overlay=entry / "overlay",
        repo=entry / "repo",
        files=tuple(said["files"]),
        deleted=tuple(said["deleted"]),
        last_patch=dict(said["last_patch"]),
    )


def changed_lines(applied: AppliedSeries) -> dict[str, tuple[int, ...]]:
    """{path: numbers of the lines that the series added or changed}, of the patched files."""
    repo = Repo(applied.repo)
    base = repo.git("rev-list", "--max-parents=0", "HEAD").out.split()[-1]
    options = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--text", "-U0")
    return added_lines(repo.git("diff", *options, base, "HEAD").out)


def _apply(source: KernelSource, series: Series, entry: Path) -> None:
    repo = Repo(entry / "repo")
    repo.begin(source, series.files)
    base = repo.head()
    last_patch: dict[str, str] = {}
    for number, patch in enumerate(series.patches, 1):
        where = f"patch {number}/{len(series.patches)} ({patch.subject})"
        before = repo.head()
        repo.am(patch, where, source)
        for name in repo.changed(before):
            last_patch[name] = patch.subject
    repo.only_files(base)
    changes = repo.changes(base)
    files = sorted(name for name, status in changes.items() if status != "D")
    deleted = sorted(name for name, status in changes.items() if status == "D")
    overlay = entry / "overlay"
    overlay.mkdir()
    for name in files:
        (overlay / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(repo.path / name, overlay / name, follow_symlinks=False)
    said = {
        # The same result has the same key, whichever mails it came from.
        "key": digest(source.key, *_contents(overlay, files), "deleted", *deleted),
        "files": files,
        "deleted": deleted,
        "last_patch": last_patch,
    }
    (entry / "applied.json").write_text(json.dumps(said, indent=1) + "\n")


def _contents(overlay: Path, files: Iterable[str]) -> list[str | Path]:
    parts: list[str | Path] = []
    for name in files:
        executable = (overlay / name).stat().st_mode & 0o100
        parts += [name, "x" if executable else "-", overlay / name]
    return parts


class Repo:
    """The small repository at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, source: KernelSource, files: Iterable[str]) -> None:
        """A first commit with what the base has of ``files``."""
        self.path.mkdir()
        self.git("init", "--quiet", "--initial-branch=series")
        for key, value in _SETTINGS.items():
            self.git("config", key, value)
        if source.lock.kind == "git" and Path(source.lock.name).is_dir():
            lent = objects_dir(Path(source.lock.name))
            (self.path / ".git" / "objects" / "info" / "alternates").write_text(f"{lent}\n")
        for name in files:
            original = source.tree / name
            for parent in (source.tree / p for p in Path(name).parents):
                if parent.is_symlink():
                    linked = parent.relative_to(source.tree)
                    raise BadInput(f"{name} lies beyond the symbolic link {linked}", where="series")
                if parent.exists() and not parent.is_dir():
                    raise BadInput(f"{name} lies beyond the file {parent.name}", where="series")
            if original.is_dir():
                raise BadInput(f"{name} is a folder in the base", where="series")
            if original.is_file() and not original.is_symlink():
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(original, self.path / name)
        self.git("add", "--all", "--force", ".")
        self.git("commit", "--quiet", "--allow-empty", "--message", f"Linux {source.version}")

    def am(self, patch: Patch, where: str, source: KernelSource) -> None:
        """Commit one patch; SeriesDoesNotApply if it does not fit."""
        mail = self.path / ".git" / "hvlab-mail"
        # Without a separator above it, git takes the file for one mail, whatever its message quotes.
        mail.write_bytes(patch.raw)
        done = self.git(*_AM, str(mail), check=False)
        mail.unlink()
        if done.code == 0:
            return
        base = f"{source.lock.name} {source.lock.version}".strip()
        failed = self.path / ".git" / "rebase-apply" / "patch"
        detail = self._rejected(failed) if failed.is_file() else []
        if not detail:
            detail = _OTHER.findall(done.err)[:_SHOWN] or done.err.strip().splitlines()[-3:]
        place = _HUNK_FAILED.findall(done.err)
        at = f" at {place[0][0]}:{place[0][1]}" if place else ""
        raise SeriesDoesNotApply(
            f"does not apply{at} to Linux {source.version} ({base})",
            where=where,
            hint="rebase the series, or choose the base it was made for with --base or --tree",
            detail="\n".join(detail),
        )

    def _rejected(self, diff: Path) -> list[str]:
        """Which hunks of which files do not fit: git tries each on its own and says so."""
        self.git("reset", "--quiet", "--hard", check=False)
        done = self.git("apply", "--reject", "--verbose", str(diff), check=False)
        self.git("reset", "--quiet", "--hard", check=False)
        lines: list[str] = []
        name = ""
        hunks = _hunk_headers(diff.read_text(errors="replace"))
        for line in done.err.splitlines():
            if found := _CHECKING.match(line):
                name = found[1].split(" => ")[-1]
            elif found := re.match(r"^Applying patch (.+) with \d+ rejects?\.\.\.$", line):
                name = found[1]
            elif found := _REJECTED.match(line):
                number = int(found[1])
                known = hunks.get(name, [])
                header = known[number - 1] if number <= len(known) else ""
                lines.append(f"{name}: hunk {number} of {len(known)} does not fit: {header}")
            elif (found := _OTHER.match(line)) and not _SAID_ALREADY.search(line):
                lines.append(found[1])
        return list(dict.fromkeys(lines))[:_SHOWN]

    def head(self) -> str:
        """Id of the last commit."""
        return self.git("rev-parse", "HEAD").out.strip()

    def changed(self, since: str) -> list[str]:
        """Paths that differ from a commit."""
        return list(self.changes(since))

    def changes(self, since: str) -> dict[str, str]:
        """{path: A, M, D or T} between a commit and the last one; a rename is a D and an A."""
        words = self.git("diff-tree", "-r", "-z", "--no-renames", "--name-status", since, "HEAD").out.split(
            "\0"
        )
        return dict(zip(words[1::2], words[0::2], strict=False))

    def only_files(self, since: str) -> None:
        """BadInput if git has made anything but a plain file since a commit, whatever the mails said."""
        words = self.git("diff-tree", "-r", "-z", "--no-renames", "--raw", since, "HEAD").out.split("\0")
        for said, name in zip(words[0::2], words[1::2], strict=False):
            mode = said.split()[1]
            if mode not in (*FILE_MODES, _GONE):
                raise BadInput(f"{name} becomes something else than a file (mode {mode})", where="series")

    def git(self, *args: str, check: bool = True) -> Done:
        """Run git here, without the user's settings, identity or hooks."""
        done = run(
            ["git", *args],
            what=f"git {args[0]}",
            timeout=_BUDGET,
            cwd=self.path,
            env=tool_env(_ENV),
            check=False,
        )
        if check and done.code != 0:
            raise LabUnavailable(f"git {args[0]} failed", where=str(self.path), detail=done.err.strip())
        return done


def _hunk_headers(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith(("+++ ", "--- ")) and "/dev/null" not in line:
            name = line[4:].split("\t")[0].partition("/")[2]
        elif line.startswith("@@ -"):
            found.setdefault(name, []).append(line)
    return found


_GONE = "000000"
_AM = (
    *("am", "--3way", "--keep-non-patch", "--quiet", "--no-gpg-sign", "--committer-date-is-author-date"),
    *("--patch-format=mbox", QUOTED_CR),
)
_SETTINGS = {
    "core.autocrlf": "false",
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.compression": "0",
    "gc.auto": "0",
    "commit.gpgSign": "false",
}
_ENV = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_COMMITTER_NAME": "hvlab",
    "GIT_COMMITTER_EMAIL": "hvlab@localhost",
    "GIT_AUTHOR_NAME": "hvlab",
    "GIT_AUTHOR_EMAIL": "hvlab@localhost",
    "GIT_AUTHOR_DATE": "2000-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2000-01-01T00:00:00Z",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_EDITOR": "true",
}
