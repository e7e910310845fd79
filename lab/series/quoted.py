# SPDX-License-Identifier: GPL-2.0-or-later
"""A patch out of a reply that quotes it. Pure, in linear time.

Mail programs wrap quoted lines and eat blanks; reviewers write in between and snip. The counts in a
hunk's header decide whether the hunk is whole, and the diffstat whether all hunks are there. Where
neither can tell, the patch is a problem: a patch that was never sent must not be judged.

What cannot be seen: blanks that were eaten at the end of a changed line, and how many blanks stood where
a line was wrapped (one is put there). A line without a quote mark, right between two quoted ones, counts
as the rest of a wrapped line if it would not have fit into the line above and no quoted line is longer
than that; if the line above is short or others are longer, it is a remark. If all that a mail program
wrapped is one line, and that before a ">", the rest looks as if it were quoted and the ">" is lost; if it
is one line before a "+" or "-", and just as many such lines are missing, the rest looks like one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from lab.series.limits import MAX_LINE

_START = re.compile(r"^(?:> ?){1,40}(?=diff --git \S)")
_ANY_QUOTE = re.compile(r"^(?:> ?){0,40}")
_HUNK = re.compile(r"^@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@", re.ASCII)
_BLOBS = re.compile(r"\s*[0-9a-f]{7,64}\.\.[0-9a-f]{7,64}(?: [0-7]{6})?\s*$")
_INDEX = re.compile(r"index [0-9a-f]{7,64}\.\.[0-9a-f]{7,64}$")
_MODE = re.compile(r"\s*[0-7]{6}\s*$")
_HEADER = re.compile(
    r"^(?:index\b|--- |\+\+\+ |new file |deleted file |old mode |new mode |(?:dis)?similarity |rename |copy )"
)
_NO_HUNKS = re.compile(r"^(?:new file |deleted file |old mode |rename |copy )")
_SECOND_NAME = re.compile(r'^"?b/\S')
_STAT = re.compile(
    r"^ ?(\d{1,9}) files? changed(?:, (\d{1,9}) insertions?\(\+\))?(?:, (\d{1,9}) deletions?\(-\))?\s*$",
    re.ASCII,
)
_ADDRESS = re.compile(r"([^<>]{0,200})<([^<>\s]{1,200}@[^<>\s]{1,200})>")
_SIGNED = re.compile(r"^Signed-off-by: ([^<>\n]{1,200}) <([^<>\s]{1,200}@[^<>\s]{1,200})>", re.MULTILINE)
_WHEN = re.compile(r"^.*(?:\bAM|\bPM|\d{4}|\d:\d\d)\b[,\s]+")
_WIDTHS = (65, 80)
"""Columns at which mail programs wrap."""

_NEVER = 50
"""Columns before which nobody wraps."""

_NO_REST = re.compile(r"^(?:\+[^\s+]|.(?:$|\t| ?\*|/|[#{}]))")
_TRAILER = re.compile(r"^(?:base-commit|change-id|prerequisite-[a-z-]+): ")


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a reply quotes of a patch: its message, and its diff from the first ``diff --git`` on.

    ``author`` is who is said to have written the quoted mail, "" if nobody is; ``depth`` how often it is
    quoted (1: the mail answers the patch itself).
    ``repairs`` are (``FILE:LINE`` of a hunk in the old file, what was mended). ``problem`` says what is
    not whole, naming the hunk; "" when the diff is the one that was sent.
    """

    message: str
    diff: str
    repairs: tuple[tuple[str, str], ...]
    problem: str
    author: str
    depth: int


@dataclass(slots=True)
class _Line:
    """A line of the mail. ``quoted``: at the depth of the patch; ``text`` is without quote marks, ``size``
    how long the mail's line is (of the last one, after joining). ``marked``: it begins with other quote
    marks, if that is what they are."""

    text: str
    quoted: bool
    size: int
    marked: bool = False

    @property
    def blank(self) -> bool:
        return not self.text.strip()

    @property
    def counts(self) -> tuple[int, int]:
        """Old and new lines that this is in a hunk, if it is one of a hunk's."""
        if not self.quoted or self.text[:1] not in (" ", "+", "-", ""):
            return 0, 0
        return int(self.text[:1] != "+"), int(self.text[:1] != "-")

    @property
    def odd(self) -> bool:
        """Quoted, and no line that a hunk can have: the rest of the line above."""
        return self.quoted and self.text[:1] not in (" ", "+", "-", "", "\\")


@dataclass(slots=True)
class _Diff:
    """What is recovered so far. ``widest``: the longest quoted line that could have been wrapped; ``depth``:
    characters of the quote marks; ``signed``: the patch's own signature ends it."""

    widest: int
    depth: int
    signed: bool
    out: list[str] = field(default_factory=list)
    repairs: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    rests: set[bool] = field(default_factory=set)
    """Whether the rest of a wrapped line is quoted itself."""
    suspects: list[str] = field(default_factory=list)
    """Hunks with a changed line that may be the rest of the one above, if lines are wrapped at all."""
    files: int = 0
    added: int = 0
    removed: int = 0

    def continues(self, above: _Line, line: _Line) -> bool | None:
        """Whether a mail program that wraps has made these two lines of one; None: nobody can tell."""
        words = line.text.split(maxsplit=1)
        if not words or not above.quoted or above.blank or len(above.text) > MAX_LINE:
            return False
        room = above.size + len(words[0])
        if room < max(self.widest, _NEVER):
            return False
        first, last = _WIDTHS
        likely = max(self.widest, first) <= min(last + self.depth * line.quoted, room)
        return (likely and not line.marked) or None


def likely(raw: bytes) -> bool:
    """Whether it is worth to look for a quoted diff in a mail: what is encoded cannot be told."""
    lowered = raw[: 1 << 16].lower()
    return b"diff --git " in raw or b"base64" in lowered or b"quoted-printable" in lowered


def recover(text: str) -> Recovered | None:
    """The patch that the text of a mail quotes; None when it quotes no diff."""
    lines = text.replace("\r\n", "\n").split("\n")
    begin = next((i for i, line in enumerate(lines) if _START.match(line[:MAX_LINE])), None)
    if begin is None:
        return None
    found = _START.match(lines[begin])
    prefix = found[0] if found else ""
    items = [_item(line, prefix) for line in lines]
    widest = max((m.size for m in items if m.quoted and " " in m.text.strip()), default=0)
    end, signed = _end(items, begin)
    diff = _Diff(widest, len(prefix), signed)
    _read(items[begin:end], diff)
    before = [m.text.rstrip() for m in items[:begin] if m.quoted]
    if len(diff.rests) > 1:
        # Then "> b" may be the rest of "a > b", or "b" the quoted rest of "a b".
        diff.problems.append("lines are wrapped in two ways")
    if True in diff.rests:
        diff.problems += [f"hunk {w}: a line may be the rest of the one above" for w in diff.suspects]
    _compare_with_stat(before, diff)
    cut = before.index("---") if "---" in before else len(before)
    message = "\n".join(before[:cut]).strip("\n")
    return Recovered(
        message=message,
        diff="\n".join(diff.out) + "\n",
        repairs=tuple(diff.repairs),
        problem="; ".join(diff.problems[:3]),
        author=_author(items[:begin], message),
        depth=prefix.count(">"),
    )


def _item(line: str, prefix: str) -> _Line:
    if line.startswith(prefix):
        return _Line(line[len(prefix) :], True, len(line))
    if line.rstrip() == prefix.rstrip():
        return _Line("", True, len(line))
    found = _ANY_QUOTE.match(line)
    start = found.end() if found else 0
    return _Line(line[start:], False, len(line), start > 0)


def _end(items: list[_Line], begin: int) -> tuple[int, bool]:
    """Where the patch ends: at its signature (True), else with the last quoted line."""
    quoted = [i for i in range(begin, len(items)) if items[i].quoted and not items[i].blank]
    end = 0
    for at, (one, two) in enumerate(pairwise(quoted)):
        if two == one + 1 and items[one].text.rstrip() == "--" and re.match(r"\d", items[two].text):
            quoted, end = quoted[:at], one
            break
    while quoted and _TRAILER.match(items[quoted[-1]].text):
        end = quoted.pop()
    if end:
        return end, True
    end = quoted[-1] + 1
    rest = end < len(items) and not items[end].quoted
    while end < len(items) and items[end].quoted != rest and items[end].blank != rest:
        end += 1
    return end, False


def _author(before: list[_Line], message: str) -> str:
    """The author that the line above the quote names ("On ..., A <a@b> wrote:"), else the first to sign."""
    first = next((i for i, m in enumerate(before) if m.quoted), 0)
    said = _ADDRESS.search(" ".join(m.text.strip() for m in before[max(0, first - 3) : first])[:MAX_LINE])
    signed = [(name.strip(), address) for name, address in _SIGNED.findall(message)]
    if said is None:
        return f"{signed[0][0]} <{signed[0][1]}>" if signed else ""
    names = [name for name, address in signed if address.lower() == said[2].lower()]
    name = names[0] if names else _WHEN.sub("", said[1]).strip(' "')
    return f"{name or said[2]} <{said[2]}>"


def _read(items: list[_Line], diff: _Diff) -> None:
    """Files and hunks, one after the other."""
    name, shift, hunks, bare = "", 0, 0, True
    at = 0
    while at < len(items):
        line = items[at]
        at += 1
        if name and not hunks and _rest_of_index(diff.out[-1], line.text):
            diff.out[-1] += f" {line.text.strip()}"
            continue
        if not line.quoted or line.blank:
            continue
        if line.text.startswith("diff --git "):
            if diff.files and not hunks and not bare:
                diff.problems.append(f"the hunks of {name} are missing")
            while at < len(items) and _SECOND_NAME.match(items[at].text) and " b/" not in line.text:
                line.text += f" {items[at].text.strip()}"
                at += 1
            name, shift, hunks, bare = line.text.rpartition(" b/")[2].strip(), 0, 0, False
            diff.files += 1
            diff.out.append(line.text.rstrip())
        elif (header := _HUNK.match(line.text)) and name:
            stop = next((i for i in range(at, len(items)) if _begins(items[i])), len(items))
            if not hunks and [t[:4] for t in diff.out[-2:]] != ["--- ", "+++ "]:
                diff.problems.append(f"the names above the first hunk of {name} are missing")
            followed = diff.signed or stop < len(items)
            shift = _hunk(line, header, items[at:stop], followed, diff, name, shift)
            hunks += 1
            at = stop
        elif name and not hunks and _HEADER.match(line.text):
            bare = bare or bool(_NO_HUNKS.match(line.text))
            diff.out.append(line.text.rstrip())
        else:
            diff.problems.append(f"a line that belongs to nothing: {line.text.strip()[:60]!r}")
    if diff.files and not hunks and not bare:
        diff.problems.append(f"the hunks of {name} are missing")


def _rest_of_index(above: str, text: str) -> bool:
    """Whether a line is the rest of an ``index`` line: those with full ids are always wrapped."""
    return bool(_BLOBS.match(text) if above == "index" else _INDEX.match(above) and _MODE.match(text))


def _begins(line: _Line) -> bool:
    return line.quoted and line.text.startswith(("@@ -", "diff --git "))


def _hunk(
    head: _Line,
    header: re.Match[str],
    body: list[_Line],
    followed: bool,
    diff: _Diff,
    name: str,
    shift: int,
) -> int:
    """One hunk; ``followed``: a quoted line comes after it. Returns by how many lines the file below it has
    moved."""
    old, new = (int(header[n]) if header[n] else 1 for n in (2, 4))
    where = f"{name}:{header[1]}"
    mended: list[str] = []
    if old and new and int(header[3]) - int(header[1]) != shift:
        diff.problems.append(f"hunks above {where} are missing")
    lines, doubts = _without_remarks(head, body, followed, diff, mended)
    diff.problems += [f"hunk {where} is not whole: {doubt}" for doubt in doubts]
    excess = _sum(lines, old, new)
    if excess != (0, 0):
        lines, excess = _fitted(lines, excess, diff, mended)
    elif any(_like_a_rest(b) and diff.continues(a, b) for a, b in pairwise(lines)):
        diff.suspects.append(where)
    if excess != (0, 0):
        kind = "lines are missing" if max(excess) <= 0 else "lines are wrapped or added, or some are missing"
        diff.problems.append(f"hunk {where} is not whole: {kind}")
    empty = sum(1 for m in lines if m.quoted and not m.text)
    if empty:
        mended.append(_count(empty, "empty line got its blank back", "empty lines got their blanks back"))
    diff.out.append(head.text.rstrip())
    kept = [m.text or " " for m in lines if m.quoted]
    diff.out += kept
    diff.added += sum(1 for t in kept if t[0] == "+")
    diff.removed += sum(1 for t in kept if t[0] == "-")
    if mended:
        diff.repairs.append((where, ", ".join(mended)))
    return int(header[3]) - int(header[1]) + new - old if old and new else shift + new - old


def _like_a_rest(line: _Line) -> bool:
    """Whether a changed line may as well be the rest of an expression, ``+ b`` or ``-EINVAL``: not one that
    is indented with a tab, part of a comment, a directive or a brace."""
    return line.quoted and line.text[:1] in ("+", "-") and not _NO_REST.match(line.text)


def _without_remarks(
    head: _Line, body: list[_Line], followed: bool, diff: _Diff, mended: list[str]
) -> tuple[list[_Line], list[str]]:
    """The quoted lines of a hunk, the rest of wrapped ones joined, and single blank lines between two of
    them; and what nobody can tell."""
    lines: list[_Line] = []
    doubts: list[str] = []
    rejoined = 0
    for run in _runs(body):
        above = lines[-1] if lines else head
        first = run[0]
        if first.quoted and not first.odd:
            lines.append(first)
            continue
        if first.blank:
            lines += run if len(run) == 1 else []
            continue
        fits = diff.continues(above, first)
        if not first.quoted:
            if fits is False:
                continue
            glued = (followed or run[-1] is not body[-1]) and not any(m.blank for m in run)
            fits = fits and glued and _all_continue(run, diff)
        if not fits:
            doubts.append(f"{first.text.strip()[:40]!r} is a remark or the rest of a line")
            continue
        for line in run:
            _join(above, line)
        rejoined += len(run)
        diff.rests.add(first.quoted)
    if rejoined:
        mended.append(_count(rejoined, "wrapped line rejoined", "wrapped lines rejoined"))
    while lines and not lines[-1].quoted:
        lines.pop()
    return lines, doubts


def _runs(body: list[_Line]) -> Iterator[list[_Line]]:
    """Single quoted lines, and runs of lines that are not quoted."""
    run: list[_Line] = []
    for line in body:
        if not line.quoted:
            run.append(line)
            continue
        if run:
            yield run
            run = []
        yield [line]
    if run:
        yield run


def _all_continue(run: list[_Line], diff: _Diff) -> bool:
    return all(diff.continues(_Line(a.text, True, a.size), b) for a, b in pairwise(run))


def _join(above: _Line, line: _Line) -> None:
    glue = "" if above.text.endswith(" ") or line.text.startswith(" ") else " "
    above.text += glue + line.text.rstrip()
    above.size = line.size


def _sum(lines: list[_Line], old: int, new: int) -> tuple[int, int]:
    """Old and new lines beyond what the header says."""
    counts = [m.counts for m in lines]
    return sum(c[0] for c in counts) - old, sum(c[1] for c in counts) - new


def _fitted(
    lines: list[_Line], excess: tuple[int, int], diff: _Diff, mended: list[str]
) -> tuple[list[_Line], tuple[int, int]]:
    """Make the counts fit, if there is one way to do it."""
    if excess[0] == excess[1] > 0:
        ending = 0
        while ending < min(excess[0], len(lines)) and not lines[-1 - ending].text:
            ending += 1
        lines = lines[: len(lines) - ending]
        excess = (excess[0] - ending, excess[1] - ending)
    gaps = [m for m in lines if not m.quoted]
    if excess[0] == excess[1] == -len(gaps) < 0:
        for gap in gaps:
            gap.quoted, gap.text = True, ""
        return lines, (0, 0)
    if max(excess) > 0:
        rests = [
            i
            for i in range(1, len(lines))
            if lines[i].quoted and not lines[i].blank and diff.continues(lines[i - 1], lines[i])
        ]
        sums = [lines[i].counts for i in rests]
        if (sum(s[0] for s in sums), sum(s[1] for s in sums)) == excess:
            chosen = set(rests)
            diff.rests.add(True)
            kept: list[_Line] = []
            for i, line in enumerate(lines):
                if i in chosen:
                    _join(kept[-1], line)
                else:
                    kept.append(line)
            mended.append(_count(len(rests), "wrapped line rejoined", "wrapped lines rejoined"))
            return kept, (0, 0)
    return lines, excess


def _compare_with_stat(before: list[str], diff: _Diff) -> None:
    stats = [found for line in before if (found := _STAT.match(line))]
    if not stats:
        diff.problems.append("no diffstat is quoted, so hunks may be missing")
        return
    said = tuple(int(stats[-1][n] or 0) for n in (1, 2, 3))
    have = (diff.files, diff.added, diff.removed)
    if said != have:
        counted = "{} files, {} lines added, {} removed"
        diff.problems.append(
            f"the diffstat counts {counted.format(*said)}; quoted are {counted.format(*have)}"
        )


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
