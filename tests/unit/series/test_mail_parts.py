# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches as mail programs send them: encoded, attached, with HTML along, with more below; and two in one."""

from __future__ import annotations

import base64
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lab.cache import Cache
from lab.model.kernel import KernelSource, SourceLock
from lab.model.nightly import Inbox
from lab.model.series import KernelVersion, Series
from lab.progress import TextProgress
from lab.series import apply
from lab.series.inbox import read_inbox

sys.path.insert(0, str(Path(__file__).parent))
from mailing import ANN, change, mail, mbox, patch, series


def made(name: str) -> str:
    """A diff of a line and one of context that begins with a blank."""
    return change(name).replace("@@ -1 +1 @@\n", "@@ -1,2 +1,2 @@\n").replace("+b\n", "+b\n  c\n")


BODY = f"Because.\n---\n{made('drivers/hv/a.c')}-- \n2.47.0\n"
PLAIN = mail("[PATCH] hv: one", BODY, id="1@x")


def multipart(kind: str, *parts: tuple[str, str, str], subject: str = "[PATCH] hv: one") -> bytes:
    """A mail of parts: (type with parameters, encoding or "", content)."""
    body = ""
    for what, coding, content in parts:
        text = base64.encodebytes(content.encode()).decode() if coding == "base64" else content
        body += f"--XX\nContent-Type: {what}\n" + (f"Content-Transfer-Encoding: {coding}\n" if coding else "")
        body += f"\n{text}\n"
    head = f'MIME-Version: 1.0\nContent-Type: multipart/{kind}; boundary="XX"'
    return mail(subject, body + "--XX--\n", id="1@x", head=head)


def encoded(content: bytes, end: bytes = b"\n", head: str = "") -> bytes:
    """The same mail in base64."""
    above, _, body = content.partition(b"\n\n")
    kind = head or "Content-Type: text/plain; charset=UTF-8"
    above += f"\nMIME-Version: 1.0\n{kind}\nContent-Transfer-Encoding: base64\n\n".encode()
    return above + base64.encodebytes(body.replace(b"\n", end))


def read(tmp_path: Path, *mails: bytes) -> Inbox:
    return read_inbox(mbox(tmp_path / "m", *mails))


def applied(tmp_path: Path, found: Inbox) -> dict[str, bytes]:
    """What the only series makes of a tree in which every file is "a" and " c"."""
    assert len(found.series) == 1 and not found.series[0].problem, found
    one = found.series[0]
    for name in one.patches[0].files:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text("a\n c\n")
    source = KernelSource(KernelVersion(7, 3, 4), tmp_path / "tree", "k", SourceLock("tarball", "t", "", ""))
    done = apply(source, Series("x", one.patches, key=one.key), Cache(tmp_path / "c"), TextProgress())
    return {name: (done.overlay / name).read_bytes() for name in done.files}


ATTACHED = f"From: {ANN}\nSubject: inner\n\n{BODY}"
PARTS: dict[str, Any] = {
    "HTML along": lambda: multipart(
        "alternative",
        ("text/plain", "", BODY),
        ("text/html", "base64", f"<html><pre>\n{BODY}</pre></html>"),
    ),
    "HTML along, attached": lambda: multipart(
        "mixed", ("text/plain", "", "Hi\n"), ("text/html", "", "<b>Hi</b>\n"), ("text/x-patch", "", BODY)
    ),
    "flowed, HTML along": lambda: multipart(
        "alternative",
        ("text/plain; format=flowed", "", BODY.replace("\n ", "\n  ")),
        ("text/html", "", "<b>Hi</b>\n"),
    ),
    "octets": lambda: multipart(
        "mixed", ("text/plain", "", "See it.\n"), ("application/octet-stream; name=a", "base64", ATTACHED)
    ),
    "octets without a tag": lambda: multipart(
        "mixed", ("application/octet-stream", "base64", ATTACHED), subject="hv: one"
    ),
    "in the text and attached": lambda: multipart(
        "mixed", ("text/plain", "", BODY), ("text/x-patch", "base64", BODY)
    ),
    "signed": lambda: multipart(
        "signed", ("text/plain", "", BODY), ("application/pgp-signature", "", "-----BEGIN PGP-----\n")
    ),
    "base64 with CR LF": lambda: encoded(PLAIN, b"\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
def test_a_patch_is_taken_out_of_what_a_mail_program_made_of_it(tmp_path: Path, name: str) -> None:
    found = read(tmp_path, PARTS[name]())
    assert applied(tmp_path, found) == {"drivers/hv/a.c": b"b\n c\n"} and not found.problems


def test_coding_and_what_a_list_puts_below_make_no_other_patch(tmp_path: Path) -> None:
    footer = b"\n______________\nhyperv mailing list\nhttp://lists.example.org/hyperv\n"
    ways = [
        PLAIN,
        encoded(PLAIN),
        encoded(PLAIN, b"\r\n"),
        PLAIN + footer,
        PLAIN + b"\nbase-commit: " + b"a" * 40,
    ]
    assert len({read(tmp_path, way).series[0].key for way in ways}) == 1
    assert read(tmp_path, PLAIN.replace(b"+b", b"+c")).series[0].key != read(tmp_path, PLAIN).series[0].key


REFUSED = {
    "HTML only": (
        mail("[PATCH] z", f"<pre>\n{BODY}".replace("+b", "+&lt;"), id="z@x", head="Content-Type: text/html"),
        "HTML mail",
    ),
    "HTML only, in parts": (multipart("alternative", ("text/html", "", f"<pre>\n{BODY}")), "HTML mail"),
    "cut in base64": (
        encoded(mail("[PATCH] hv: one", BODY.partition("\n-- \n")[0], id="1@x")),
        "cut off",
    ),
    "NUL in base64": (encoded(PLAIN.replace(b"+b", b"+b\0")), "NUL"),
    "NUL in a message": (encoded(PLAIN.replace(b"Because", b"B\0")), "NUL"),
    "unknown charset": (
        encoded(PLAIN, head="Content-Type: text/plain; charset=y"),
        "cannot convert from y to UTF-8",
    ),
    "two mails": (PLAIN + patch("[PATCH] hv: two", "drivers/hv/b.c", id="2@x"), "two mails in one"),
    "two kinds": (
        multipart("mixed", ("text/plain", "", BODY), ("text/x-patch", "", BODY.replace("+b", "+bb"))),
        "'b/drivers/hv/a.c' twice",
    ),
    "number": (patch("[PATCH 4/3] hv: afterthought", id="4@x"), "4/3 comes after the last one"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_not_be_what_was_meant_is_in_doubt(tmp_path: Path, name: str) -> None:
    content, reason = REFUSED[name]
    found = read(tmp_path, content)
    assert [(s.key, reason in s.problem) for s in found.series] == [("", True)], found


def test_a_mail_that_quotes_a_separator_is_applied_as_the_one_patch_that_was_checked(tmp_path: Path) -> None:
    hidden = f"From  12:34:56 2001\nFrom: Eve <eve@example.org>\nSubject: x\n\n{made('drivers/hv/b.c')}"
    (tmp_path / "f").mkdir()
    (tmp_path / "f/1.eml").write_bytes(PLAIN.replace(b"Because.\n", f"See:\n{hidden}\n".encode()))
    found = read_inbox(str(tmp_path / "f"))
    done = applied(tmp_path, found)
    assert sorted(done) == sorted(found.series[0].patches[0].files)


def test_an_afterthought_does_not_change_the_series(tmp_path: Path) -> None:
    whole = series("hv: Map lazily", 2, id="one")
    more = patch("[PATCH 3/2] hv: Map lazily, more", "drivers/hv/3.c", id="more@x", to="one.0@x")
    found = read(tmp_path, *whole, more)
    assert [(s.topic, len(s.patches), bool(s.problem)) for s in found.series] == [
        ("hv-map-lazily", 2, False),
        ("hv-map-lazily-more", 1, True),
    ]


@pytest.mark.parametrize("what", ["tags", "parameters", "parameters of a part", "links"])
def test_a_mail_written_to_take_long_does_not(tmp_path: Path, what: str) -> None:
    long = 'a="' + ';"x";"' * 60_000
    content = {
        "tags": mail("hello", "<>" * 300_000, id="a@x", head="Content-Type: text/html"),
        "parameters": mail("[PATCH] x", BODY, id="a@x", head=f"Content-Type: text/plain; {long}"),
        "parameters of a part": multipart("mixed", (f"text/plain; {long}", "", BODY)),
        "links": mail("[PATCH 0/1] x", ("https://a/" + "b" * 190) * 15_000, id="a@x"),
    }[what]
    begin = time.process_time()
    read(tmp_path, content)
    assert time.process_time() - begin < 5
