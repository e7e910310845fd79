# SPDX-License-Identifier: GPL-2.0-or-later
"""Mails out of a whole inbox: maildir, mbox, folder of mails, public-inbox repository.

One mail that cannot be read is a problem of its own and stops no other. Of a large inbox only the
newest mails are looked at.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lab.model.errors import BadInput
from lab.model.nightly import MailProblem
from lab.printable import printable
from lab.series.limits import MAX_INBOX, MAX_INBOX_MAILS, MAX_LINE, MAX_MAIL
from lab.series.mails import PATCH_SUFFIXES, RawMail, sized, taken, too_large
from lab.series.mbox import Piece, bounded, lines_of, opened, pieces, separates
from lab.source.command import run
from lab.source.git import borrowed, own_env, resolve_commit

_GIT_BUDGET = 300.0
_BATCH = 8 << 20
"""Bytes of mails that git is asked for at a time."""

_NAMED = 4
"""Files that are named where more are passed over."""

_ID_LINE = re.compile(rb"^message-id: *<", re.IGNORECASE | re.MULTILINE)
_SUBJECT_LINE = re.compile(rb"^subject: ", re.IGNORECASE | re.MULTILINE)
_EPOCH = re.compile(r"(\d{1,6})\.git")
# Version 1 keeps a mail as xx/38 digits, version 2 as m; d is a mail that was taken back.
_PATHS = ("m", "d", ":(glob)??/??????????????????????????????????????")
_CHANGE = re.compile(r"^:\d+ \d+ [0-9a-f]+ ([0-9a-f]+) ([A-Z])\d*\t(.+)$")


@dataclass(slots=True)
class Gathered:
    """Mails are handed out one by one; ``problems`` fills up meanwhile."""

    problems: list[MailProblem] = field(default_factory=list)

    def problem(self, error: BadInput, where: str) -> None:
        """Take note of a mail, or a file of them, that is no use."""
        at = printable(error.where or where)
        self.problems.append(MailProblem(at, printable(error.what), printable(error.hint)))

    def left_out(self, count: int, where: str) -> None:
        """Take note of mails beyond the limit."""
        if count > 0:
            hint = "what is older was judged before, or goes into an inbox of its own"
            self.problem(BadInput(f"{count} older mails are left out", hint=hint), where)


def gather(text: str, found: Gathered) -> Iterator[RawMail]:
    """All mails of the inbox ``text``. BadInput when it is none, or holds nothing that could be a mail."""
    try:
        return _gather(Path(text), text, found)
    except OSError as e:
        raise BadInput(f"cannot read: {e.strerror}", where=text) from e


def _gather(path: Path, text: str, found: Gathered) -> Iterator[RawMail]:
    if path.is_dir():
        if _is_maildir(path):
            return _files(_maildir(path, found), found, text)
        if epochs := _epochs(path) or _epochs(path / "git"):
            return _epochs_mails(epochs, found)
        if files := _folder(path, found):
            return _files(files, found, text)
        if _is_repository(path):
            return _epochs_mails([path], found)
        hint = f"mails end in {', '.join(PATCH_SUFFIXES)}"
        if inner := next((p for p in sorted(path.iterdir()) if p.is_dir() and _is_maildir(p)), None):
            hint = f"{inner.name} in it is a maildir: give that"
        raise BadInput("no mails in this folder", where=text, hint=hint)
    if path.is_file():
        return _mbox(path, found)
    raise BadInput(
        "no such inbox",
        where=text,
        hint="give a maildir, an mbox, a folder of mails or a public-inbox git repository",
    )


def _is_maildir(path: Path) -> bool:
    return (path / "cur").is_dir() or (path / "new").is_dir()


def _maildir(path: Path, found: Gathered) -> list[Path]:
    parts = [path / name for name in ("new", "cur")]
    files = [p for part in parts if part.is_dir() for p in part.iterdir()]
    others = [p for p in path.iterdir() if p.name not in ("new", "cur", "tmp")]
    _passed_over([p for p in [*others, *files] if p.is_dir()], "folders", path, found)
    return [p for p in files if not p.name.startswith(".") and not p.is_dir()]


def _folder(path: Path, found: Gathered) -> list[Path]:
    """Files that look like mails: by suffix, or the numbers that MH gives them."""
    names = (*PATCH_SUFFIXES, *(f"{suffix}.gz" for suffix in PATCH_SUFFIXES))
    there = [p for p in path.iterdir() if not p.name.startswith(".")]
    files = [p for p in there if (p.name.lower().endswith(names) or p.name.isdecimal()) and not p.is_dir()]
    if files:
        chosen = set(files)
        others = [p for p in there if p not in chosen and p.name not in ("series", "claims.toml")]
        _passed_over(others, "other files and folders", path, found)
    return files


def _passed_over(paths: list[Path], kind: str, where: Path, found: Gathered) -> None:
    """Take note of what lies beside the mails: it may have been meant."""
    if paths:
        names = ", ".join(sorted(p.name for p in paths)[:_NAMED]) + ", ..." * (len(paths) > _NAMED)
        hint = f"give a folder of its own with --inbox; mails in files end in {', '.join(PATCH_SUFFIXES)}"
        found.problem(
            BadInput(f"{len(paths)} {kind} in it are not looked at: {names}", hint=hint), str(where)
        )


def _files(files: list[Path], found: Gathered, where: str) -> Iterator[RawMail]:
    if len(files) > MAX_INBOX_MAILS:
        found.left_out(len(files) - MAX_INBOX_MAILS, where)
        files = sorted(files, key=lambda p: (p.lstat().st_mtime_ns, p.name))[-MAX_INBOX_MAILS:]
    for file in sorted(files):
        try:
            if file.is_symlink() and not file.exists():
                raise BadInput("dangling symbolic link")
            if not file.is_file():
                raise BadInput("not a file")
            yield from _mbox(file, found, single=True)
        except BadInput as e:
            found.problem(e, str(file))


def _mbox(file: Path, found: Gathered, *, single: bool = False) -> Iterator[RawMail]:
    """Mails of a file that is an mbox or one mail, the newest if there are too many; ``single``: an mbox only
    if its first line says so."""
    where = str(file)
    if single:
        with opened(file) as stream:
            if not separates(next(lines_of(stream, where), b"")[:MAX_LINE].rstrip(b"\n")):
                stream.seek(0)
                yield sized(RawMail(bounded(stream, where).replace(b"\r\n", b"\n"), where))
                return
    mails = _newest(_pieces(file, found), found, where)
    if not mails:
        raise BadInput("no patches: the input is empty", where=where)
    for piece in mails:
        try:
            yield taken(piece, where)
        except BadInput as e:
            found.problem(e, where)


def _pieces(file: Path, found: Gathered) -> Iterator[Piece]:
    """The mails of an mbox. Damage ends them, and is told if anything came before it."""
    where = str(file)
    before: Piece | None = None
    count = 0
    try:
        with opened(file) as stream:
            for piece in pieces(lines_of(stream, where)):
                if not piece.line:
                    before = piece
                    continue
                count += 1
                yield piece
    except BadInput as e:
        if not count:
            raise
        found.problem(BadInput(f"{e.what}: the rest is left out", hint=e.hint), e.where or where)
        return
    if before is not None and before.raw.strip():
        if not count:
            if len(_ID_LINE.findall(before.raw)) > 1 and len(_SUBJECT_LINE.findall(before.raw)) > 1:
                what = "there may be several mails in it, but nothing separates them"
                found.problem(BadInput(what, hint="is it an mbox? fetch it again"), where)
            yield before
            return
        found.problem(BadInput("text before the first mail", hint="is it really an mbox?"), f"{where}:1")


def _newest(mails: Iterable[Piece], found: Gathered, where: str) -> list[Piece]:
    """As many of the last mails as the lab looks at."""
    kept: deque[Piece] = deque()
    size = left_out = 0
    for piece in mails:
        kept.append(piece)
        size += len(piece.raw)
        while len(kept) > MAX_INBOX_MAILS or size > MAX_INBOX:
            size -= len(kept.popleft().raw)
            left_out += 1
    found.left_out(left_out, where)
    return list(kept)


def _is_repository(path: Path) -> bool:
    return any((p / "HEAD").is_file() and (p / "objects").is_dir() for p in (path, path / ".git"))


def _epochs(path: Path) -> list[Path]:
    """Repositories ``N.git`` of a public-inbox of version 2, newest first."""
    if not path.is_dir():
        return []
    numbered = [(int(m[1]), p) for p in path.iterdir() if (m := _EPOCH.fullmatch(p.name))]
    return [p for _number, p in sorted(numbered, reverse=True) if _is_repository(p)]


def _epochs_mails(repos: list[Path], found: Gathered) -> Iterator[RawMail]:
    left = MAX_INBOX_MAILS
    for repo in repos:
        if left <= 0:
            found.left_out(1, str(repo))
            return
        with borrowed(repo) as own:
            blobs = _blobs(own, _head(repo), left)
            left -= len(blobs)
            yield from _contents(own, blobs, repo, found)


def _head(repo: Path) -> str:
    try:
        return resolve_commit(repo, "HEAD")
    except BadInput:
        return resolve_commit(repo, "refs/heads/master")


def _blobs(own: Path, head: str, limit: int) -> dict[str, str]:
    """{blob: commit that brought it} of the last ``limit`` commits, without mails taken back since."""
    log = _git(
        own,
        *("log", "--raw", "--no-abbrev", "--no-renames", "--no-color", "--root", "--format=%H"),
        *(f"--max-count={limit}", head, "--", *_PATHS),
    )
    blobs: dict[str, str] = {}
    gone: set[str] = set()
    commit = ""
    for line in log.split("\n"):
        if change := _CHANGE.match(line):
            blob, status, name = change.groups()
            if status == "D" and name not in ("m", "d"):
                gone.add(name)
            elif status != "D" and name == "d":
                gone.add(blob)
            elif status != "D" and not gone & {name, blob}:
                blobs.setdefault(blob, commit)
        elif line:
            commit = line
    return blobs


def _contents(own: Path, blobs: dict[str, str], repo: Path, found: Gathered) -> Iterator[RawMail]:
    ask = "".join(f"{blob}\n" for blob in blobs).encode()
    batch: list[str] = []
    size = lost = 0
    for line in _git(own, "cat-file", "--batch-check", stdin=ask).splitlines():
        words = line.split()
        if len(words) != 3 or words[1] != "blob":
            lost += 1
            continue
        where = f"{repo}:{blobs[words[0]][:12]}"
        if int(words[2]) > MAX_MAIL:
            found.problem(too_large(int(words[2]), where), where)
            continue
        if size + int(words[2]) > _BATCH and batch:
            yield from _read_batch(own, batch, blobs, repo)
            batch, size = [], 0
        batch.append(words[0])
        size += int(words[2])
    if batch:
        yield from _read_batch(own, batch, blobs, repo)
    if lost:
        hint = "fetch it whole: a partial clone has not all mails"
        found.problem(BadInput(f"{lost} mails are missing in the repository", hint=hint), str(repo))


def _read_batch(own: Path, batch: list[str], blobs: dict[str, str], repo: Path) -> Iterator[RawMail]:
    ask = "".join(f"{blob}\n" for blob in batch).encode()
    data = _git(own, "cat-file", "--batch", stdin=ask).encode("utf-8", "surrogateescape")
    at = 0
    for blob in batch:
        end = data.index(b"\n", at)
        size = int(data[at:end].split()[2])
        raw = data[end + 1 : end + 1 + size].replace(b"\r\n", b"\n")
        at = end + 1 + size + 1
        if separates(raw.split(b"\n", 1)[0]):
            raw = raw.split(b"\n", 1)[1]
        yield RawMail(raw, f"{repo}:{blobs[blob][:12]}")


def _git(own: Path, *args: str, stdin: bytes | None = None) -> str:
    return run(
        ["git", *args], what=f"git {args[0]}", timeout=_GIT_BUDGET, cwd=own, env=own_env(own), stdin=stdin
    ).out
