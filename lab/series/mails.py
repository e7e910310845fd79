# SPDX-License-Identifier: GPL-2.0-or-later
"""Mails out of whatever they are kept in: mailbox, maildir, folder of patches, git range, stream."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lab.model.errors import BadInput
from lab.series.limits import MAX_MAIL, MAX_MAILS, MAX_TOTAL
from lab.series.mbox import Piece, bounded, pieces, separates
from lab.source.command import run
from lab.source.git import borrowed, own_env, resolve_commit, split_spec

PATCH_SUFFIXES = (".patch", ".diff", ".eml", ".mbox", ".mail")
RANGE = re.compile(r"(?P<first>[^\s.][^\s]*?)\.\.(?P<last>[^\s.][^\s]*)")
_GIT_BUDGET = 120.0
# Whatever the user's git settings say, the result is what git am reads.
_FORMAT_PATCH = (
    *("-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false", "format-patch", "--stdout"),
    *("--no-signature", "--full-index", "--no-attach", "--no-cover-letter", "--no-base", "--no-thread"),
    *("--no-ext-diff", "--no-color", "--no-numbered"),
)


@dataclass(frozen=True, slots=True)
class RawMail:
    """A mail with LF line ends and without its mbox separator; ``where`` says where it came from."""

    raw: bytes
    where: str


@dataclass(frozen=True, slots=True)
class Collected:
    """All mails of an input. ``ordered``: the input itself says the order (a ``series`` file)."""

    mails: tuple[RawMail, ...]
    name: str
    ordered: bool = False


def collect(text: str, tree: str | None, stdin: BinaryIO) -> Collected:
    """Read the SERIES argument; BadInput when it names nothing that can be read."""
    path = Path(text)
    if text == "-":
        return Collected(tuple(split_mbox(bounded(stdin, "standard input"), "standard input")), "stdin")
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        with path.open("rb") as f:
            data = bounded(f, text)
        return Collected(tuple(split_mbox(data, text)), path.name.split(".")[0])
    if found := RANGE.fullmatch(text):
        if tree is None:
            raise BadInput(f"range {text} of which repository?", hint="give it with --tree DIR")
        return _git_range(found["first"], found["last"], tree)
    raise BadInput(
        "no such series",
        where=text,
        hint="give an mbox, a maildir, a folder of patches, A..B with --tree DIR, or - for standard input",
    )


def split_mbox(data: bytes, where: str) -> Iterator[RawMail]:
    """Mails of an mbox, or the one mail that a file without separator lines is."""
    found = list(pieces(io.BytesIO(data)))
    if len(found) > MAX_MAILS:
        raise BadInput(f"more than {MAX_MAILS} mails", where=where)
    if len(found) > 1 and not found[0].line and found[0].raw.strip():
        raise BadInput("text before the first mail", where=f"{where}:1", hint="is it really an mbox?")
    for piece in found:
        if piece.line or len(found) == 1:
            yield taken(piece, where)


def taken(piece: Piece, where: str) -> RawMail:
    """A mail of an mbox; BadInput when it is larger than the lab reads."""
    at = f"{where}:{piece.line}" if piece.line else where
    if piece.size > MAX_MAIL:
        raise too_large(piece.size, at)
    return RawMail(piece.raw, at)


def range_base(text: str, tree: str | None) -> str | None:
    """For a series ``A..B`` of ``--tree DIR``: ``DIR@A``, the base that it was made on; else None."""
    found = RANGE.fullmatch(text)
    if tree is None or found is None or Path(text).exists():
        return None
    place, rev = split_spec(tree)
    return f"{place}@{rev or resolve_commit(place, found['first'])}"


def sized(mail: RawMail) -> RawMail:
    """The mail itself; BadInput when it is larger than the lab reads."""
    if len(mail.raw) > MAX_MAIL:
        raise too_large(len(mail.raw), mail.where)
    return mail


def too_large(size: int, where: str) -> BadInput:
    """What is said of a mail of so many bytes."""
    return BadInput(f"a mail of {size >> 20} MiB (limit {MAX_MAIL >> 20})", where=where)


def _read(path: Path) -> RawMail:
    if path.is_symlink() and not path.exists():
        raise BadInput("dangling symbolic link", where=str(path))
    if not path.is_file():
        raise BadInput("not a file", where=str(path))
    with path.open("rb") as f:
        data = f.read(MAX_MAIL + 1).replace(b"\r\n", b"\n")
    if separates(data.split(b"\n", 1)[0]):
        data = data.split(b"\n", 1)[1]
    return sized(RawMail(data, str(path)))


def _folder(path: Path) -> Collected:
    name = path.resolve().name
    if (path / "cur").is_dir() and (path / "new").is_dir():
        files = sorted(p for d in ("new", "cur") for p in (path / d).iterdir() if not p.name.startswith("."))
        ordered = False
    elif (path / "series").is_file():
        files, ordered = _quilt(path), True
    else:
        files = sorted(p for p in path.iterdir() if p.suffix in PATCH_SUFFIXES and not p.name.startswith("."))
        ordered = False
    if not files:
        raise BadInput(
            "no patches in this folder", where=str(path), hint=f"patches end in {', '.join(PATCH_SUFFIXES)}"
        )
    if len(files) > MAX_MAILS:
        raise BadInput(f"more than {MAX_MAILS} files", where=str(path))
    mails = []
    total = 0
    for file in files:
        mails.append(_read(file))
        total += len(mails[-1].raw)
        if total > MAX_TOTAL:
            raise BadInput(f"more than {MAX_TOTAL >> 20} MiB", where=str(path))
    return Collected(tuple(mails), name, ordered)


def _quilt(path: Path) -> list[Path]:
    """Files in the order of a quilt ``series`` file (``name [-p1]``, ``#`` comments)."""
    files = []
    for number, line in enumerate((path / "series").read_text(errors="replace").splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        where = f"{path}/series:{number}"
        if words[1:] not in ([], ["-p1"]):
            raise BadInput(f"only -p1 patches are taken, not {' '.join(words[1:])}", where=where)
        file = path / words[0]
        if not file.resolve().is_relative_to(path.resolve()):
            raise BadInput(f"{words[0]} leaves the folder", where=where)
        if not file.is_file():
            raise BadInput(f"no such patch: {words[0]}", where=where)
        files.append(file)
    return files


def _git_range(first: str, last: str, tree: str) -> Collected:
    repo, _rev = split_spec(tree)
    if not repo.is_dir():
        raise BadInput("no such folder", where=tree)
    ends = [resolve_commit(repo, rev) for rev in (first, last)]
    with borrowed(repo) as own:
        done = run(
            ["git", *_FORMAT_PATCH, f"{ends[0]}..{ends[1]}"],
            what="git format-patch",
            timeout=_GIT_BUDGET,
            cwd=own,
            env=own_env(own),
        )
    data = done.out.encode("utf-8", "surrogateescape")
    if not data.strip():
        raise BadInput(f"no commits in {first}..{last}", where=str(repo))
    if len(data) > MAX_TOTAL:
        raise BadInput(f"more than {MAX_TOTAL >> 20} MiB", where=f"{first}..{last}")
    mails = tuple(split_mbox(data, f"{first}..{last}"))
    return Collected(mails, f"{first}..{last}", ordered=True)
