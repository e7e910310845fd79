# SPDX-License-Identifier: GPL-2.0-or-later
"""A patch out of a reply: the one that was sent, or a problem; never another one."""

from __future__ import annotations

import difflib
import io
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

from lab.model.nightly import Repair
from lab.series import load
from lab.series.inbox import read_inbox, write_mbox
from lab.series.quoted import Recovered, recover

sys.path.insert(0, str(Path(__file__).parent))
from mailing import DAY, mail, mbox, series

SERIES = Path(__file__).parents[2] / "series"

WORD = st.text(st.sampled_from('abcxyz_()*;+->&"@'), min_size=1, max_size=12)
CODE = st.builds(
    lambda tabs, words: "\t" * tabs + " ".join(words), st.integers(0, 3), st.lists(WORD, max_size=9)
).map(str.rstrip)


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[list[str], list[str]]]:
    """Old and new lines of one or two files."""
    files = []
    for _ in range(draw(st.integers(1, 2))):
        old = draw(st.lists(CODE, min_size=8, max_size=16))
        new = list(old)
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, len(new) - 1))
            kind = draw(st.sampled_from("adr"))
            if kind == "a":
                new[at:at] = draw(st.lists(CODE, min_size=1, max_size=4))
            elif kind == "d":
                del new[at : at + draw(st.integers(1, 3))]
            else:
                new[at] = draw(CODE)
            if not new:
                break
        if old != new:
            files.append((old, new))
    return files


def diff_of(files: Iterable[tuple[list[str], list[str]]]) -> list[str]:
    lines = []
    for n, (old, new) in enumerate(files):
        name = f"drivers/hv/file_with_a_name_{n}.c"
        lines += [f"diff --git a/{name} b/{name}", "index 1234567..89abcde 100644"]
        lines += difflib.unified_diff(old, new, f"a/{name}", f"b/{name}", lineterm="")
    return lines


def stat_of(diff: list[str]) -> str:
    files = sum(line.startswith("diff --git ") for line in diff)
    hunks = [line for line in diff if not line.startswith(("--- a/", "+++ b/"))]
    added, removed = (sum(line.startswith(c) for line in hunks) for c in "+-")
    return f" {files} files changed, {added} insertions(+), {removed} deletions(-)"


@dataclass(frozen=True)
class Mangle:
    """What mail programs and reviewers do to a quoted patch. ``width`` 0: nothing is wrapped."""

    prefix: str = "> "
    width: int = 0
    rest_quoted: bool = True
    stripped: bool = False
    signature: bool = True
    remarks: tuple[tuple[int, bool], ...] = ()
    lost: tuple[int, ...] = ()
    snip: tuple[int, int] = (0, 0)
    gaps: bool = False


def wrapped(line: str, how: Mangle) -> list[str]:
    """As a mail program wraps: at the last blank that fits (but where the rest looks like
    something else, see ``lab.series.quoted``)."""
    pieces = []
    rest, lead = line, len(how.prefix) + 1
    while how.width and len(rest) > how.width:
        inner = len(rest) - len(rest[lead:].lstrip("\t ")) if not pieces else 1
        at = rest.rfind(" ", inner + 1, how.width + 1)
        if at < 0:
            at = rest.find(" ", max(inner + 1, how.width))
        unseen = ("+", "-") if how.lost or how.snip[1] else ()
        unseen = unseen if how.rest_quoted else (">", *unseen)
        if at < 0:
            break
        if rest[at + 1 :].startswith(unseen):
            reject()
        pieces.append(rest[:at])
        rest = (how.prefix if how.rest_quoted else "") + rest[at + 1 :]
        lead = len(how.prefix) if how.rest_quoted else 0
    return [*pieces, rest]


def quote(message: list[str], diff: list[str], how: Mangle) -> str:
    """A reply that quotes a patch."""
    cut = [line for i, line in enumerate(diff) if not how.snip[0] <= i < how.snip[0] + how.snip[1]]
    cut = [line for i, line in enumerate(cut) if i not in how.lost]
    tail = ["-- ", "2.47.0", ""] if how.signature else []
    out = ["On Mon, Jan 5, 2026 at 10:00 AM Ann Author <ann@example.org> wrote:"]
    body = [*message, "---", stat_of(diff), "", *cut, *tail]
    for i, line in enumerate(body):
        quoted = how.prefix + line
        if how.stripped:
            quoted = quoted.rstrip()
        if how.gaps and line == " ":
            quoted = ""
        out += wrapped(quoted, how)
        for at, glued in how.remarks:
            if at % max(1, len(cut)) == i - len(message) - 3:
                if glued and len(out[-1]) < 20:
                    out += ["Really?"]
                elif not glued:
                    out += ["", "Why is that so? I do not see it, please say.", ""]
    return "\n".join([*out, ""])


MESSAGE = ["Because of something.", "", "Signed-off-by: Ann Author <ann@example.org>"]


def without_index(diff: list[str]) -> list[str]:
    """A reviewer may well snip the names of blobs."""
    return [line for line in diff if not line.startswith("index ")]


def check(files: list[tuple[list[str], list[str]]], how: Mangle) -> Recovered:
    diff = diff_of(files)
    found = recover(quote(MESSAGE, diff, how))
    if found is None:
        assert (how.snip[0] == 0 and how.snip[1]) or 0 in how.lost, (
            "without its first line nobody sees a diff"
        )
        return Recovered("", "", (), "no diff", "", 0)
    if not found.problem:
        assert without_index(found.diff.split("\n")[:-1]) == without_index(diff)
    return found


GENTLE = st.builds(
    Mangle,
    prefix=st.sampled_from(["> ", "> > ", ">> ", ">"]),
    stripped=st.booleans(),
    remarks=st.lists(st.tuples(st.integers(0, 80), st.booleans()), max_size=4).map(tuple),
)
ROUGH = st.builds(
    Mangle,
    prefix=st.sampled_from(["> ", "> > ", ">> ", ">"]),
    width=st.sampled_from([0, 66, 72, 76, 78, 80]),
    rest_quoted=st.booleans(),
    stripped=st.booleans(),
    signature=st.booleans(),
    remarks=st.lists(st.tuples(st.integers(0, 80), st.booleans()), max_size=3).map(tuple),
    lost=st.lists(st.integers(4, 60), max_size=2).map(tuple),
    snip=st.tuples(st.integers(0, 60), st.sampled_from([0, 0, 0, 1, 5, 12])),
    gaps=st.booleans(),
)
QUICK = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


@QUICK
@given(changes().filter(bool), GENTLE)
def test_remarks_and_eaten_blanks_hide_nothing(files: list[tuple[list[str], list[str]]], how: Mangle) -> None:
    found = check(files, how)
    assert not found.problem
    assert found.author == "Ann Author <ann@example.org>" and found.depth == how.prefix.count(">")
    assert found.message.split("\n") == MESSAGE


@QUICK
@given(changes().filter(bool), ROUGH)
def test_what_comes_out_is_what_was_sent_or_a_problem(
    files: list[tuple[list[str], list[str]]], how: Mangle
) -> None:
    check(files, how)


def real(name: str) -> tuple[list[str], list[str]]:
    """Message and diff of one of the lab's own patches."""
    path = next(iter(sorted((SERIES / name).glob("0001*.patch"))))
    head, _, diff = path.read_text().partition("\ndiff --git ")
    message = head.partition("\n\n")[2].partition("\n---\n")[0]
    return message.split("\n"), f"diff --git {diff.split(chr(10) + '-- ')[0]}".rstrip("\n").split("\n")


@pytest.mark.parametrize("rest_quoted", [True, False])
@pytest.mark.parametrize("width", [72, 76, 80])
@pytest.mark.parametrize("name", ["mmio-on-demand", "vp-lifetime"])
def test_a_wrapped_patch_of_ours_is_recovered_and_its_repairs_are_told(
    name: str, width: int, rest_quoted: bool
) -> None:
    message, diff = real(name)
    how = Mangle(width=width, rest_quoted=rest_quoted, stripped=True)
    text = quote(message, diff, how)
    assert len(text.split("\n")) > len(quote(message, diff, Mangle()).split("\n")), "something is wrapped"
    found = recover(text)
    assert found is not None and not found.problem
    assert found.diff.rstrip("\n").split("\n") == diff
    assert any("rejoined" in what for _hunk, what in found.repairs)
    assert all(hunk.startswith("drivers/hv/") for hunk, _what in found.repairs)


OLD = [f"line {n};" for n in range(40)]
NEW = [*OLD[:3], "added;", *OLD[3:20], *OLD[21:35], "changed;", *OLD[36:]]


@pytest.mark.parametrize(
    ("lost", "snip", "problem"),
    [
        ((8,), (0, 0), r"hunk drivers/hv/file_with_a_name_0.c:1 is not whole: lines are missing"),
        ((), (11, 8), r"drivers/hv/file_with_a_name_0.c.*missing|diffstat"),
        ((), (4, 60), r"hunks of drivers/hv/file_with_a_name_0.c are missing"),
    ],
)
def test_what_was_snipped_is_named(lost: tuple[int, ...], snip: tuple[int, int], problem: str) -> None:
    found = check([(OLD, NEW)], Mangle(lost=lost, snip=snip))
    assert re.search(problem, found.problem)


def test_without_a_diffstat_nobody_knows_that_all_hunks_are_there() -> None:
    text = "\n".join(f"> {line}" for line in diff_of([(OLD, NEW)]))
    found = recover(text)
    assert found is not None and "no diffstat" in found.problem


def test_a_line_that_may_be_a_remark_or_the_rest_of_one_is_a_problem() -> None:
    long = "\tif (a_condition_that_is_rather_long && another_one_of_the_kind)"
    diff = [line.replace("drivers/hv/file_with_a_name_0", "x") for line in diff_of([(OLD, [long, *OLD])])]
    lines = quote([], diff, Mangle()).split("\n")
    at = lines.index(f"> +{long}")
    lines[at + 1 : at + 1] = ["NAK to this", "", "And why?", ""]
    found = recover("\n".join(lines))
    assert found is not None and "'NAK to this' is a remark or the rest of a line" in found.problem


def test_an_answer_without_a_diff_quotes_no_patch() -> None:
    assert recover("On Monday, A wrote:\n> +foo();\nNak.\n") is None


def test_a_huge_mail_takes_linear_time() -> None:
    begun = time.monotonic()
    head = "> diff --git a/x b/x\n> --- a/x\n> +++ b/x\n> @@ -1,9 +1,9 @@\n"
    for body in ("> x y\n" * 20_000, "> +" + "a " * 34 + "\n" + "rest of it\n" * 20_000, "\n" * 40_000):
        assert recover(head + body) is not None
    assert recover("> " * 200_000) is None
    assert time.monotonic() - begun < 5


def without(mails: list[bytes], number: str) -> list[bytes]:
    return [m for m in mails if f" {number}] ".encode() not in m]


def reply(mails: list[bytes], number: str, mangle: str = "> ") -> bytes:
    """An answer to a patch, which quotes all of it."""
    whole = next(m for m in mails if f" {number}] ".encode() in m)
    body = whole.partition(b"\n\n")[2].decode()
    quoted = "".join(f"{mangle}{line}".rstrip() + "\n" for line in body.split("\n")[:-1])
    subject = whole.split(b"Subject: ")[1].split(b"\n")[0].decode()
    sent = whole.split(b"Message-ID: <")[1].split(b">")[0].decode()
    refs = f"In-Reply-To: <{sent}>\nReferences: <one.0@x>\n <{sent}>"
    text = f"On Monday, Ann Author <ann@example.org> wrote:\n{quoted}\nFine.\n"
    return mail(f"Re: {subject}", text, id=f"re-{sent}", author="R <r@example.org>", date=DAY * 2, head=refs)


def test_a_patch_that_only_a_reply_has_completes_its_series(tmp_path: Path) -> None:
    mails = series("hv: Map lazily", 3, id="one")
    first = read_inbox(mbox(tmp_path / "a", *mails)).series[0]
    found = read_inbox(mbox(tmp_path / "b", *without(mails, "2/3"), reply(mails, "2/3"))).series
    assert [(s.id, s.problem, s.key) for s in found] == [(first.id, "", first.key)]
    assert found[0].patches[1].message_id == "<one.2@x>"
    quoted = Repair(2, "all of it", "known from a quote by R <r@example.org> only")
    assert found[0].repairs == (quoted,), "whoever quotes it may have changed it"
    write_mbox(found[0], tmp_path / "s.mbox")
    assert load(str(tmp_path / "s.mbox"), None, io.BytesIO()).key == first.key


def test_a_quote_that_answers_nothing_known_is_marked_too(tmp_path: Path) -> None:
    answer = reply(series("hv: Map lazily", 1, id="one"), "1/1").replace(b" 1/1]", b"]")
    answer = re.sub(rb"In-Reply-To:.*\nReferences:.*\n .*\n", b"", answer)
    (found,) = read_inbox(mbox(tmp_path / "m", answer)).series
    assert len(found.patches) == 1 and [r.hunk for r in found.repairs] == ["all of it"]


def test_a_patch_that_is_there_is_never_taken_from_a_reply(tmp_path: Path) -> None:
    mails = series("hv: Map lazily", 3, id="one")
    spoiled = reply(mails, "2/3").replace(b"> +b", b"> +evil")
    found = read_inbox(mbox(tmp_path / "b", *mails, spoiled))
    assert all(b"evil" not in p.raw for s in found.series for p in s.patches) and len(found.series) == 1


def test_a_reply_that_snips_makes_the_series_say_so(tmp_path: Path) -> None:
    mails = series("hv: Map lazily", 3, id="one")
    snipped = reply(mails, "2/3").replace(b"> +b\n", b"")
    found = read_inbox(mbox(tmp_path / "b", *without(mails, "2/3"), snipped)).series
    assert len(found) == 1 and not found[0].key
    assert "patch 2/3 is known from a quote only: hunk drivers/hv/2.c:1 is not whole" in found[0].problem
