# SPDX-License-Identifier: GPL-2.0-or-later
"""From an inbox to series: whatever it is kept in, in whatever order, and whatever else is in it."""

from __future__ import annotations

import gzip
import io
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.model.errors import BadInput
from lab.model.nightly import Inbox, InboxSeries
from lab.series import load
from lab.series.inbox import read_inbox, write_mbox
from lab.series.limits import MAX_MAIL

sys.path.insert(0, str(Path(__file__).parent))
from mailing import ANN, DAY, FROM, change, mail, mbox, patch, series

ENV = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "I",
    "GIT_AUTHOR_EMAIL": "i@example.org",
    "GIT_COMMITTER_NAME": "I",
    "GIT_COMMITTER_EMAIL": "i@example.org",
}


def said(inbox: Inbox) -> list[tuple[str, str, int, str]]:
    return [(s.id, s.title, len(s.patches), s.problem) for s in inbox.series]


def bare(inbox: Inbox) -> list[tuple[Any, ...]]:
    """All but where it came from."""
    return [
        (s.id, s.title, s.author, s.date, s.message_id, s.key, s.linked, s.problem, s.change_id)
        for s in inbox.series
    ]


TWO = [*series("hv: Map lazily", 2, 1, id="one"), *series("hv: Map lazily", 2, 2, id="two", line="c")]


def git(path: Path, *args: str, stdin: bytes | None = None) -> str:
    done = subprocess.run(
        ["git", *args], cwd=path, env=ENV, check=True, capture_output=True, input=stdin, timeout=60
    )
    return done.stdout.decode()


def public_inbox(path: Path, names: list[str], mails: list[bytes]) -> Path:
    """A bare repository with one commit for each mail, as public-inbox writes it."""
    path.mkdir(parents=True)
    stream = b""
    for n, (name, content) in enumerate(zip(names, mails, strict=True)):
        stream += b"commit refs/heads/master\ncommitter I <i@example.org> %d +0000\ndata 1\nx\n" % (DAY + n)
        if name == "m":
            stream += b"deleteall\n"
        stream += f"M 100644 inline {name}\ndata {len(content)}\n".encode() + content + b"\n"
    git(path, "init", "-q", "--bare", "--initial-branch=master", ".")
    git(path, "fast-import", "--quiet", stdin=stream)
    return path


def test_every_kind_of_inbox_gives_the_same_series(tmp_path: Path) -> None:
    box = mbox(tmp_path / "all.mbox", *TWO)
    (tmp_path / "all.mbox.gz").write_bytes(gzip.compress(Path(box).read_bytes()))
    maildir, folder = tmp_path / "maildir", tmp_path / "folder"
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True)
    folder.mkdir()
    for n, content in enumerate(TWO):
        (maildir / ("cur" if n % 2 else "new") / f"{9 - n}.host:2,S").write_bytes(content)
        (folder / f"{n}.eml").write_bytes(content)
    one = public_inbox(tmp_path / "v1", [f"{n:02}/{n:038}" for n in range(len(TWO))], TWO)
    epochs = tmp_path / "v2" / "git"
    public_inbox(epochs / "0.git", ["m"] * 3, TWO[:3])
    public_inbox(epochs / "1.git", ["m"] * 3, TWO[3:])
    found = [
        read_inbox(str(p))
        for p in (box, tmp_path / "all.mbox.gz", maildir, folder, one, epochs, epochs.parent)
    ]
    assert [s.id for s in found[0].series] == ["hv-map-lazily/v1", "hv-map-lazily/v2"]
    assert all(bare(f) == bare(found[0]) and not f.problems for f in found)
    single = read_inbox(str(epochs / "0.git"))
    assert [s.id for s in single.series] == ["hv-map-lazily/v1"]


def test_a_mail_taken_back_from_a_public_inbox_is_gone(tmp_path: Path) -> None:
    spam, good = patch("[PATCH] hv: spam", id="s@x"), patch("[PATCH] hv: good", id="g@x")
    two = public_inbox(tmp_path / "0.git", ["m", "m", "d"], [spam, good, spam])
    assert [s.title for s in read_inbox(str(two)).series] == ["hv: good"]


def test_the_result_does_not_depend_on_the_order_of_mails(tmp_path: Path) -> None:
    mails = [
        *TWO,
        *series("hv: Map lazily", 1, 1, id="other", author="Bob <bob@example.org>"),
        *series("hv: Change its name", 2, 3, id="three", to="two.0@x", line="d"),
        *(patch(f"[PATCH {n}/3] hv: loose {n}", f"{n}.c", id=f"l{n}@x") for n in (1, 2, 3)),
    ]
    first = read_inbox(mbox(tmp_path / "a.mbox", *mails))
    assert [s.id for s in first.series if s.topic == "hv-map-lazily"] == [
        "hv-map-lazily/v1",
        "hv-map-lazily/v2",
        "hv-map-lazily/v3",
    ]
    assert "hv-loose-1/v1" in [s.id for s in first.series]
    assert len({s.topic for s in first.series}) == 3 and not any(s.problem for s in first.series)
    for seed in range(2):
        random.Random(seed).shuffle(mails)
        assert bare(read_inbox(mbox(tmp_path / f"{seed}.mbox", *mails))) == bare(first)


def test_versions_are_tied_by_change_id_whatever_their_titles(tmp_path: Path) -> None:
    body = "Hi.\n\n---\nbase-commit: " + "a" * 40 + "\nchange-id: 20260101-hv-lazy-0123456789ab\n"
    mails = [
        *series("hv: One thing", id="one", body=body),
        *series("hv: Quite another", version=2, id="two", body=body, line="c"),
    ]
    found = read_inbox(mbox(tmp_path / "m", *mails)).series
    assert [(s.id, s.linked) for s in found] == [("hv-lazy/v1", "change-id"), ("hv-lazy/v2", "change-id")]
    assert found[0].base_commit == "a" * 40 and "base-commit" in found[0].cover
    alone = read_inbox(mbox(tmp_path / "n", *mails[3:])).series
    assert [s.id for s in alone] == ["hv-lazy/v2"], "the name does not change when older versions turn up"


def test_versions_are_tied_by_replies_links_and_titles(tmp_path: Path) -> None:
    link = "- Link to v1: https://lore.kernel.org/r/one.0@x\n"
    for how, second in (
        ("in-reply-to", series("hv: Quite another", version=2, id="two", to="one.0@x")),
        ("in-reply-to", series("hv: Quite another", version=2, id="two", body=link)),
        ("subject", series("HV:  map lazily", version=2, id="two")),
        ("subject", series("hv: Map lazily now", version=2, id="two")),
    ):
        found = read_inbox(mbox(tmp_path / "m", *series("hv: Map lazily", id="one"), *second)).series
        assert [(s.id, s.linked) for s in found] == [("hv-map-lazily/v1", how), ("hv-map-lazily/v2", how)]


def test_what_only_looks_alike_is_not_tied(tmp_path: Path) -> None:
    def one(version: int, title: str, name: str, **more: Any) -> bytes:
        return patch(f"[PATCH v{version}] {title}", name, id=f"{title}{version}@x".replace(" ", ""), **more)

    found = read_inbox(
        mbox(
            tmp_path / "m",
            one(1, "hv: Fix a leak in x", "x.c"),
            one(2, "hv: Fix a leak in y", "y.c"),
            one(2, "hv: Fix a leak in x", "x.c", author="Bob <bob@example.org>"),
        )
    )
    assert len({s.topic for s in found.series}) == 3


def test_a_series_sent_as_an_answer_to_another_is_one_of_its_own(tmp_path: Path) -> None:
    mails = [
        *series("hv: First", id="one"),
        *series("hv: Second", id="two", to="one.0@x"),
        *series("hv: Second", version=2, id="three", to="two.0@x", line="c"),
        *series("hv: By somebody else", id="four", to="one.0@x", author="Bob <bob@example.org>"),
    ]
    ids = [s.id for s in read_inbox(mbox(tmp_path / "m", *mails)).series]
    assert ids == ["hv-by-somebody-else/v1", "hv-first/v1", "hv-second/v1", "hv-second/v2"]


def test_series_without_threading_are_told_apart_by_when_they_were_sent(tmp_path: Path) -> None:
    def lot(line: str, at: int) -> list[bytes]:
        return [
            patch(f"[PATCH {n}/2] hv: {line} {n}", f"{n}.c", line, id=f"{line}{n}@x", date=at + n)
            for n in (1, 2)
        ]

    found = read_inbox(mbox(tmp_path / "m", *lot("one", DAY), *lot("two", DAY + 100)))
    assert said(found) == [("hv-one-1/v1", "hv: one 1", 2, ""), ("hv-two-1/v1", "hv: two 1", 2, "")]


def test_patches_as_git_writes_them_without_ever_sending_them_are_a_series(tiny: Any, tmp_path: Path) -> None:
    tiny.git("format-patch", "-q", "-n", "-v3", "-o", str(tmp_path / "f"), f"{tiny.base}..HEAD")
    found = read_inbox(str(tmp_path / "f")).series
    assert [(s.id, len(s.patches), s.problem) for s in found] == [("hv-set-a5/v3", 3, "")]
    assert found[0].key == load(str(tmp_path / "f"), None, io.BytesIO()).key


def test_copies_and_what_is_sent_again_are_one(tmp_path: Path) -> None:
    footer = [m + b"_______\nlist mailing list\n" for m in TWO[:3]]
    again = series("hv: Map lazily", id="again", date=DAY + 10**6)
    again = [m.replace(b"[PATCH ", b"[PATCH RESEND ") for m in again]
    first = read_inbox(mbox(tmp_path / "a", *TWO[:3]))
    found = read_inbox(mbox(tmp_path / "b", *footer, *TWO[:3], *again))
    assert said(found) == said(first) and found.series[0].key == first.series[0].key
    assert found.series[0].message_id == "<one.0@x>"


def test_of_a_version_sent_twice_with_other_content_the_later_counts_and_that_is_said(tmp_path: Path) -> None:
    again = series("hv: Map lazily", id="again", line="x", date=DAY + 10**6)
    found = read_inbox(mbox(tmp_path / "b", *again, *TWO[:3]))
    assert [(s.id, s.message_id) for s in found.series] == [("hv-map-lazily/v1", "<again.0@x>")]
    assert ["sent again with other content" in p.what for p in found.problems] == [True]


def test_what_is_no_patch_is_left_out_quietly(tmp_path: Path) -> None:
    mails = [
        mail("[ANNOUNCE] hvlab 1.0", "It is out.\n", id="a@x"),
        mail("Re: [PATCH 1/2] hv: Map lazily, part 1", "> +b\nNak.\n", id="r@x", to="one.1@x"),
        mail("Re: something", change("y.c"), id="q@x", to="one.1@x"),
        mail("[GIT PULL] hyperv", "The following changes...\n", id="p@x"),
        mail("[RFC] What if?", "Hm.\n", id="f@x", head="Content-Transfer-Encoding: quoted-printable"),
        mail("Question", "\0\0", id="n@x"),
    ]
    found = read_inbox(mbox(tmp_path / "m", *mails, *TWO[:3]))
    assert said(found) == [("hv-map-lazily/v1", "hv: Map lazily", 2, "")] and not found.problems


DIFF = change("z.c")
BROKEN = {
    "cut": (lambda: patch("[PATCH] hv: cut", id="z@x").split(b"+b")[0] + b"+", "cut off"),
    "cut hunk": (lambda: mail("[PATCH] z", DIFF.replace("-1 +1", "-1,9 +1,9"), id="z@x"), "damaged"),
    "huge": (lambda: mail("[PATCH] z", DIFF + "#" * MAX_MAIL, id="z@x"), "MiB"),
    "NUL": (lambda: mail("[PATCH] z", DIFF.replace("+b", "+b\0"), id="z@x"), "NUL"),
    "binary": (
        lambda: mail("[PATCH] z", "diff --git a/f b/f\nindex 1..2 100644\nBinary files a/f and b/f differ\n"),
        "binary",
    ),
    "escape": (lambda: mail("[PATCH] z", change("../../etc/passwd"), id="z@x"), "leaves the tree"),
    "no mail": (lambda: b"\x89PNG\r\n\x1a\n" * 9, "not a mail"),
    "long subject": (lambda: mail("[PATCH] " + "z" * 9000, DIFF, id="z@x"), "longer than"),
    "HTML": (
        lambda: mail("[PATCH] z", "<html><pre>diff --git a/x b/x\n", head="Content-Type: text/html"),
        "HTML mail",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_one_bad_mail_is_told_and_stops_no_other(tmp_path: Path, name: str) -> None:
    make, reason = BROKEN[name]
    folder = tmp_path / "f"
    folder.mkdir()
    for n, content in enumerate([TWO[0], make(), *TWO[1:3]]):
        (folder / f"{n}.eml").write_bytes(content)
    found = read_inbox(str(folder))
    assert [(s.id, s.problem) for s in found.series if not s.problem] == [("hv-map-lazily/v1", "")]
    assert len(found.problems) == 1
    assert re.search(reason, found.problems[0].what) and str(folder / "1.eml") in found.problems[0].where
    for broken in found.series:
        assert broken.topic == "hv-map-lazily" or (broken.problem and not broken.key)


def test_a_series_that_is_not_whole_says_what_it_lacks(tmp_path: Path) -> None:
    whole = series("hv: Big", 4, id="big")
    for left, problem in (
        (whole[:2] + whole[3:], "patch 2/4 is missing"),
        (whole[2:], "patch 1/4 is missing"),
        (whole[:1], "patch 1/4, 2/4, 3/4, 4/4 is missing"),
        ([m.replace(b"4/4]", b"4/5]") for m in whole], "two series are mixed"),
        ([m.replace(b"+b\n", b"") if b"3/4]" in m else m for m in whole], "patch 3/4 is no use: .*damaged"),
    ):
        found = read_inbox(mbox(tmp_path / "m", *left))
        assert len(found.series) == 1
        assert re.search(problem, found.series[0].problem) and not found.series[0].key


def test_a_number_without_end_takes_no_time(tmp_path: Path) -> None:
    found = read_inbox(mbox(tmp_path / "m", patch("[PATCH 1/9999] hv: x", id="x@x")))
    assert "and 9992 more" in found.series[0].problem


@pytest.mark.parametrize("what", ["nothing", "empty folder", "empty file", "git without mails"])
def test_what_is_no_inbox_is_refused(tmp_path: Path, what: str) -> None:
    place = tmp_path / "p"
    if what == "empty folder":
        place.mkdir()
    elif what == "empty file":
        place.write_text("")
    elif what == "git without mails":
        place.mkdir()
        git(place, "init", "-q", "--bare", ".")
    with pytest.raises(BadInput):
        read_inbox(str(place))


def whole(found: Inbox) -> InboxSeries:
    assert len(found.series) == 1 and not found.series[0].problem
    return found.series[0]


@pytest.mark.parametrize("body", ["plain", "mbox line"])
def test_a_written_mbox_reads_back_to_the_same_key(tmp_path: Path, body: str) -> None:
    mails = series("hv: Map lazily", 3, id="one")
    if body == "mbox line":
        mails[2] = mails[2].replace(b"Because.\n", b"Because.\n\nFrom me Mon Sep 17 00:00:00 2001\n")
    for n, content in enumerate(mails):
        (tmp_path / f"{n}.eml").write_bytes(content)
    one = whole(read_inbox(str(tmp_path)))
    write_mbox(one, tmp_path / "out" / "s.mbox")
    back = load(str(tmp_path / "out" / "s.mbox"), None, io.BytesIO())
    assert (back.key, [p.subject for p in back.patches]) == (one.key, [p.subject for p in one.patches])
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["s.mbox"]


def test_a_version_without_patches_cannot_be_written(tmp_path: Path) -> None:
    found = read_inbox(mbox(tmp_path / "m", *series("hv: x", id="x")[:1])).series[0]
    with pytest.raises(BadInput, match="no patches"):
        write_mbox(found, tmp_path / "s.mbox")
    assert not (tmp_path / "s.mbox").exists()


def test_a_title_without_letters_still_names_a_folder(tmp_path: Path) -> None:
    found = read_inbox(mbox(tmp_path / "m", patch("[PATCH] =?utf-8?b?5Lit5paH?=", id="x@x"))).series[0]
    assert found.title == "\u4e2d\u6587" and found.topic.startswith("series-") and found.author == ANN


def test_text_before_the_first_mail_is_told(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"hello\n\n" + FROM + TWO[1].replace(b"1/2", b"1/1"))
    found = read_inbox(str(tmp_path / "m"))
    assert len(found.series) == 1 and found.problems[0].where == f"{tmp_path / 'm'}:1"
