# SPDX-License-Identifier: GPL-2.0-or-later
"""What a diff would do to a tree, and whether the lab lets it.

The text checked here is the one that git applies: ``git mailinfo`` has decoded the mail, and
``git apply --numstat`` has named the files; what our own reading of the headers finds must agree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from lab.model.errors import BadInput
from lab.series.limits import MAX_FILES, MAX_LINE, MAX_PATH

SYMLINK_MODE = "120000"
GITLINK_MODE = "160000"
FILE_MODES = ("100644", "100755")
"""The only modes that a kernel tree's files have; git knows three more, none of them for us."""

_HUNK = re.compile(r"^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@", re.ASCII)
_NEW_LINES = re.compile(r"^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@", re.ASCII)
# git reads a mode with strtoul: zeros in front and anything behind a blank are fine with it.
_MODE = re.compile(r"^(?:new file|deleted file|old|new) mode\s*([^\s,]+)")
_INDEX_MODE = re.compile(r"^index [^.]*\.\.\S* +(\S+)")
_MOVED = re.compile(r"^(?:rename|copy) (?:from|to) (.+)$")
_SIDE = re.compile(r"^(?:---|\+\+\+) (.+?)(?:\t.*)?$")
_GIT = re.compile(r"^diff --git (.+)$")
_STAT = re.compile(
    r"^ (\d+) files? changed(?:, \d+ insertions?\(\+\))?(?:, \d+ deletions?\(-\))?\s*$", re.ASCII
)
_BLOBS = re.compile(r"^index ([0-9a-f]{7,64})\.\.([0-9a-f]{7,64})(?: |$)")
_BINARY = re.compile(r"^(?:GIT binary patch|(?:Binary files?|Files) .* differ)$")
_HEADING = re.compile(
    r"^(?:diff --git |--- \S|\+\+\+ \S|old mode |new mode |new file |deleted file |rename |copy |"
    r"similarity |dissimilarity |GIT binary |Binary |\\)"
)
_INDEX = re.compile(r"^index [0-9a-f]+\.\.[0-9a-f]+")
_MAIL = re.compile(r"^(From|Subject|Message-ID|Date): \S", re.IGNORECASE)
_NULL = "/dev/null"
_ESCAPE = re.compile(rb"\\([0-3][0-7]{2}|.)", re.DOTALL)
_NAMED_ESCAPES = dict(
    zip((b'a b f n r t v \\ "').split(), (bytes([c]) for c in b'\a\b\f\n\r\t\v\\"'), strict=True)
)


@dataclass(frozen=True, slots=True)
class Touched:
    """What the headers of a diff say. ``paths`` as in the tree (one leading folder stripped)."""

    paths: frozenset[str]
    modes: frozenset[str]
    binary: bool
    stat_files: int | None
    """Files that the diffstat counts, if the mail has one."""
    twice: str = ""
    """What comes two times in ``diff --git``."""
    glued: bool = False
    """A mail's headers stand between two files."""


def read_headers(text: str) -> Touched:
    """Read the headers of a (possibly empty) diff; hunks are skipped by their line counts."""
    paths: set[str] = set()
    modes: set[str] = set()
    named: set[str] = set()
    mail: set[str] = set()
    binary, stat, twice, glued = False, None, "", False
    old = new = 0
    for line in text.split("\n"):
        if old > 0 or new > 0:
            # Inside a hunk everything is content, however much it looks like a header.
            if line[:1] in (" ", "-", ""):
                old -= 1
            if line[:1] in (" ", "+", ""):
                new -= 1
            continue
        line = line[: MAX_LINE + 1].rstrip("\r")
        if found := _HUNK.match(line):
            old, new = int(found[1] or 1), int(found[2] or 1)
        elif found := _MODE.match(line) or _INDEX_MODE.match(line):
            modes.add(_mode(found[1]))
        elif found := _MOVED.match(line):
            paths.add(_unquote(found[1]))
        elif found := _GIT.match(line):
            paths |= _git_names(found[1])
            twice = twice or (found[1] if found[1] in named else "")
            glued = glued or len(mail) > 1
            named.add(found[1])
        elif named and (found := _MAIL.match(line)):
            mail.add(found[1].lower())
        elif (found := _SIDE.match(line)) and _unquote(found[1]) != _NULL:
            paths.add(_strip(_unquote(found[1])))
        elif _BINARY.match(line):
            binary = True
        elif found := _STAT.match(line):
            stat = int(found[1])
    return Touched(frozenset(p for p in paths if p), frozenset(modes), binary, stat, twice, glued)


def holds_headers(message: str) -> bool:
    """Whether a message holds the headers of another mail: git takes From, Subject and Date at its beginning
    for those of the patch, and nobody writes a Message-ID beside them."""
    names = {found[1].lower() for line in message.split("\n") if (found := _MAIL.match(line[:MAX_LINE]))}
    return names >= {"from", "subject", "message-id"}


def essence(text: str) -> str:
    """What of a diff changes something: without notes and diffstat above, what a list or a program put below,
    and the names of blobs."""
    kept: list[str] = []
    old = new = 0
    for line in text.split("\n"):
        if old > 0 or new > 0:
            old -= line[:1] in (" ", "-", "")
            new -= line[:1] in (" ", "+", "")
        elif hunk := _HUNK.match(line):
            old, new = int(hunk[1] or 1), int(hunk[2] or 1)
        elif _INDEX.match(line):
            line = _INDEX.sub("index", line)
        elif not _HEADING.match(line):
            continue
        kept.append(line)
    return "\n".join(kept)


@dataclass(frozen=True, slots=True)
class Change:
    """One file of a diff: its path and blob before and after, as the headers have them. A path is "" for a
    file that is made or removed, a blob "" where the diff does not name it."""

    old_path: str
    new_path: str
    old_blob: str
    new_blob: str


def changes(text: str) -> list[Change]:
    """The files of a diff with their blobs, in its order."""
    found: list[Change] = []
    old = new = 0
    for line in text.split("\n"):
        if old > 0 or new > 0:
            old -= line[:1] in (" ", "-", "")
            new -= line[:1] in (" ", "+", "")
            continue
        line = line[: MAX_LINE + 1].rstrip("\r")
        if hunk := _HUNK.match(line):
            old, new = int(hunk[1] or 1), int(hunk[2] or 1)
        elif line.startswith("diff --git "):
            names = _git_names(line[len("diff --git ") :])
            name = next(iter(names)) if len(names) == 1 else ""
            found.append(Change(name, name, "", ""))
        elif not found:
            continue
        elif blobs := _BLOBS.match(line):
            before, after = (b if b.strip("0") else "" for b in blobs.groups())
            found[-1] = replace(found[-1], old_blob=before, new_blob=after)
        elif (moved := _MOVED.match(line)) and " from " in line[:12]:
            found[-1] = replace(found[-1], old_path=_unquote(moved[1]))
        elif moved:
            found[-1] = replace(found[-1], new_path=_unquote(moved[1]))
        elif line.startswith(("new file ", "deleted file ")):
            side = "old_path" if line.startswith("new") else "new_path"
            found[-1] = replace(found[-1], **{side: ""})
    return found


def added_lines(text: str) -> dict[str, tuple[int, ...]]:
    """{path: numbers of its new or changed lines} from a diff that git made without context (``-U0``)."""
    found: dict[str, list[int]] = {}
    name, new = "", 0
    for line in text.split("\n"):
        if new > 0 and line[:1] in ("+", "-", "\\"):
            new -= line[:1] == "+"
        elif hunk := _NEW_LINES.match(line):
            start, new = int(hunk[1]), int(hunk[2] or 1)
            if name:
                found.setdefault(name, []).extend(range(start, start + new))
        elif line.startswith("+++ ") and (side := _SIDE.match(line)):
            path = _unquote(side[1])
            name = "" if path == _NULL else _strip(path)
    return {path: tuple(lines) for path, lines in found.items()}


def refuse(touched: Touched, where: str) -> None:
    """BadInput if the lab does not take a patch whose headers say this."""
    for path in sorted(touched.paths):
        problem = path_problem(path)
        if problem:
            raise BadInput(f"path {path!r} {problem}", where=where, hint="do not trust this series")
    if touched.binary:
        raise BadInput("binary patch", where=where, hint="the lab takes text patches only")
    if SYMLINK_MODE in touched.modes:
        raise BadInput("makes or changes a symbolic link", where=where, hint="the lab does not take that")
    if GITLINK_MODE in touched.modes:
        raise BadInput("makes or changes a git submodule", where=where, hint="the lab does not take that")
    if odd := sorted(touched.modes.difference(FILE_MODES)):
        raise BadInput(
            f"file mode {odd[0]!r}", where=where, hint=f"a kernel's files have {' or '.join(FILE_MODES)}"
        )
    if touched.glued:
        hint = "a lost separator of an mbox, or several patches attached to one mail"
        raise BadInput("there are two mails in one", where=where, hint=hint)
    if touched.twice:
        hint = "is the patch in the text and attached, too?"
        raise BadInput(f"the diff has {touched.twice.split(' ')[-1]!r} twice", where=where, hint=hint)
    if len(touched.paths) > MAX_FILES:
        raise BadInput(f"touches more than {MAX_FILES} files", where=where)


def agree(touched: Touched, named: list[str], where: str) -> tuple[str, ...]:
    """The paths that a patch touches, sorted. ``named`` are the files that git itself names for this
    diff; BadInput when they are not those of the headers, or fewer than the diffstat counts."""
    stray = sorted(set(named) - touched.paths)
    if stray:
        raise BadInput(f"git reads {stray[0]!r} in the diff where its headers do not say so", where=where)
    if any("\udc80" <= c <= "\udcff" for name in named for c in name):
        raise BadInput("a path is not UTF-8", where=where, hint="a kernel's paths are")
    if touched.stat_files is not None and len(named) < touched.stat_files:
        raise BadInput(
            f"the diffstat counts {touched.stat_files} files, the diff has {len(named)}",
            where=where,
            hint="the mail is cut short or was edited; fetch it again",
        )
    return tuple(sorted(touched.paths))


def path_problem(path: str) -> str:
    """Why a path may not be touched, or ""."""
    parts = PurePosixPath(path).parts
    if path.startswith("/"):
        return "is absolute"
    if ".." in parts:
        return "leaves the tree"
    if any(p.lower().rstrip(". ") == ".git" or p.lower().startswith(".git:") for p in parts):
        return "is inside git's own folder"
    if "\\" in path or any(ord(c) < 0x20 or ord(c) == 0x7F for c in path):
        return "has control characters or backslashes"
    if len(path) > MAX_PATH:
        return f"is longer than {MAX_PATH} characters"
    return ""


def _mode(text: str) -> str:
    """A mode as git keeps it, six octal digits; what is no number stays, so that it is refused."""
    return f"{int(text, 8):06o}" if re.fullmatch(r"[0-7]{1,12}", text) else text


def _strip(path: str) -> str:
    """Without the first component (``-p1``); an absolute path stays, so that it is refused."""
    if path.startswith("/"):
        return path
    _first, slash, rest = path.partition("/")
    return rest if slash else path


def _git_names(rest: str) -> set[str]:
    """Names of ``diff --git a/x b/y``; none where they cannot be told apart: other headers name them."""
    if rest.startswith('"'):
        quoted = re.findall(r'"(?:[^"\\]|\\.)*"|\S+', rest)
        return {_strip(_unquote(q)) for q in quoted}
    words = rest.split(" ")
    if len(words) == 2:
        return {_strip(w) for w in words}
    middle = len(rest) // 2
    left, right = rest[:middle], rest[middle + 1 :]
    return {_strip(left)} if _strip(left) == _strip(right) else set()


def _unquote(name: str) -> str:
    if not (name.startswith('"') and name.endswith('"') and len(name) > 1):
        return name
    # git knows octal bytes and the escapes of C; what it does not know makes it read no name at all.
    raw = _ESCAPE.sub(_unescape, name[1:-1].encode("utf-8", "surrogateescape"))
    return raw.decode("utf-8", "surrogateescape")


def _unescape(found: re.Match[bytes]) -> bytes:
    word = found[1]
    return bytes([int(word, 8) & 0xFF]) if word[:1].isdigit() else _NAMED_ESCAPES.get(word, found[0])
