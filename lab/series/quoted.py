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
from dataclasses import dataclass
from itertools import pairwise

from lab.series.hunks import Diff, Line, read_hunk
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
    diff = Diff(widest, len(prefix), signed)
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


def _item(line: str, prefix: str) -> Line:
    if line.startswith(prefix):
        return Line(line[len(prefix) :], True, len(line))
    if line.rstrip() == prefix.rstrip():
        return Line("", True, len(line))
    found = _ANY_QUOTE.match(line)
    start = found.end() if found else 0
    return Line(line[start:], False, len(line), start > 0)


def _end(items: list[Line], begin: int) -> tuple[int, bool]:
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


def _author(before: list[Line], message: str) -> str:
    """The author that the line above the quote names ("On ..., A <a@b> wrote:"), else the first to sign."""
    first = next((i for i, m in enumerate(before) if m.quoted), 0)
    said = _ADDRESS.search(" ".join(m.text.strip() for m in before[max(0, first - 3) : first])[:MAX_LINE])
    signed = [(name.strip(), address) for name, address in _SIGNED.findall(message)]
    if said is None:
        return f"{signed[0][0]} <{signed[0][1]}>" if signed else ""
    names = [name for name, address in signed if address.lower() == said[2].lower()]
    name = names[0] if names else _WHEN.sub("", said[1]).strip(' "')
    return f"{name or said[2]} <{said[2]}>"


def _read(items: list[Line], diff: Diff) -> None:
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
            shift = read_hunk(line, header, items[at:stop], followed, diff, name, shift)
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


def _begins(line: Line) -> bool:
    return line.quoted and line.text.startswith(("@@ -", "diff --git "))


def _compare_with_stat(before: list[str], diff: Diff) -> None:
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
