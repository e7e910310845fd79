# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading a series: from every kind of place, in order, and never what cannot be trusted."""

from __future__ import annotations

import base64
import gzip
import io
import os
import quopri
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab.model.errors import BadInput
from lab.model.series import Series, VersionRange
from lab.series import load, range_base
from lab.series.limits import MAX_MAIL
from lab.series.patches import parse_subject, sender

SUBJECTS = ("hv: set a5", "hv: add new.c", "hv: remove old.c")


class NeverRead(io.BytesIO):
    """Standard input that must not be touched."""

    def read(self, *args: Any) -> bytes:
        raise AssertionError("standard input was read")


def read(path: Path | str, tree: str | None = None, **kw: Any) -> Series:
    return load(str(path), tree, NeverRead(), **kw)


def mails_of(mbox: bytes) -> list[bytes]:
    return [m for m in re.split(rb"(?m)^(?=From [0-9a-f]{40} )", mbox) if m]


def subjects(series: Series) -> tuple[str, ...]:
    return tuple(p.subject for p in series.patches)


def test_an_mbox_a_folder_a_maildir_a_range_and_a_stream_give_the_same_series(
    tiny: Any, tmp_path: Path
) -> None:
    mbox = tiny.mbox("-n")
    (tmp_path / "s.mbox").write_bytes(mbox)
    (tmp_path / "s.mbox.gz").write_bytes(gzip.compress(mbox))
    (tmp_path / "crlf.mbox").write_bytes(mbox.replace(b"\n", b"\r\n"))
    folder = tmp_path / "folder"
    tiny.git("format-patch", "-q", "-o", str(folder), f"{tiny.base}..HEAD")
    (folder / "README").write_text("not a patch")
    maildir = tmp_path / "maildir"
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True)
    for n, mail in enumerate(mails_of(mbox)):
        (maildir / ("cur" if n else "new") / f"{9 - n}.host").write_bytes(mail.split(b"\n", 1)[1])
    found = [
        read(tmp_path / "s.mbox"),
        read(tmp_path / "s.mbox.gz"),
        read(tmp_path / "crlf.mbox"),
        read(folder),
        read(maildir),
        read(f"{tiny.base}..main", tree=str(tiny.path)),
        load("-", None, io.BytesIO(mbox)),
    ]
    assert [subjects(s) for s in found] == [SUBJECTS] * len(found)
    assert len({s.key for s in found}) == 1
    assert found[0].files == ("drivers/hv/a.c", "drivers/hv/new.c", "drivers/hv/old.c")
    assert found[0].patches[0].author == "Ann Author <ann@example.org>"


def test_patches_come_in_the_order_of_their_numbers(tiny: Any, tmp_path: Path) -> None:
    mails = mails_of(tiny.mbox("-n"))
    (tmp_path / "s.mbox").write_bytes(mails[2] + mails[0] + mails[1])
    assert subjects(read(tmp_path / "s.mbox")) == SUBJECTS


def test_cover_letter_names_the_series_and_replies_and_copies_are_left_out(tiny: Any, tmp_path: Path) -> None:
    mails = mails_of(tiny.mbox("-n", "--thread"))
    cover = (
        b"From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\nFrom: A <a@x.org>\n"
        b"Subject: [PATCH 0/3] hv: make things right\n\nHello.\n\n"
    )
    reply = cover.replace(b"[PATCH 0/3]", b"Re: [PATCH 1/3]") + b"> -int a5;\nNack, use this:\n\n" + mails[0]
    reply = (
        reply[: reply.rindex(b"From 0")] + b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n\n"
    )
    (tmp_path / "s.mbox").write_bytes(cover + mails[0] + reply + mails[0] + mails[1] + mails[2])
    series = read(tmp_path / "s.mbox")
    assert (subjects(series), series.name) == (SUBJECTS, "hv: make things right")


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_an_encoded_mail_is_checked_as_git_decodes_it(tiny: Any, tmp_path: Path, encoding: str) -> None:
    def encoded(mail: bytes) -> bytes:
        head, body = mail.split(b"\n\n", 1)
        coded = base64.encodebytes(body) if encoding == "base64" else quopri.encodestring(body)
        extra = f"MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: {encoding}"
        return head + b"\n" + extra.encode() + b"\n\n" + coded

    mail = mails_of(tiny.mbox("-n"))[0].replace(b"1/3", b"1/1")
    (tmp_path / "good.mbox").write_bytes(encoded(mail))
    assert read(tmp_path / "good.mbox").files == ("drivers/hv/a.c",)
    evil = mail.replace(b"b/drivers/hv/a.c", b"b/../../etc/passwd").replace(
        b"a/drivers/hv/a.c", b"a/../../etc/passwd"
    )
    (tmp_path / "evil.mbox").write_bytes(encoded(evil))
    assert b"passwd" not in encoded(evil) or encoding == "quoted-printable"
    with pytest.raises(BadInput, match="leaves the tree"):
        read(tmp_path / "evil.mbox")


def patch_file(tmp_path: Path, diff: str, subject: str = "[PATCH] x") -> Path:
    path = tmp_path / "x.patch"
    path.write_text(
        f"From: A <a@x.org>\nSubject: {subject}\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n\n---\n{diff}"
    )
    return path


def change(name: str, other: str | None = None) -> str:
    return (
        f"diff --git a/{name} b/{other or name}\n--- a/{name}\n+++ b/{other or name}\n@@ -1 +1 @@\n-a\n+b\n"
    )


REFUSED = {
    "parent folder": (change("../../x"), "leaves the tree"),
    "parent folder inside": (change("drivers/../../x"), "leaves the tree"),
    "absolute": ("--- /etc/passwd\n+++ /etc/passwd\n@@ -1 +1 @@\n-a\n+b\n", "is absolute"),
    "git folder": (change(".git/hooks/post-commit"), "git's own folder"),
    "git folder, other case": (change("x/.GIT/config"), "git's own folder"),
    "quoted": ('--- "a/x\\056./../../y"\n+++ "b/x\\056./../../y"\n@@ -1 +1 @@\n-a\n+b\n', "leaves the tree"),
    "rename out": (
        "diff --git a/x b/../../y\nsimilarity index 100%\nrename from x\nrename to ../../y\n",
        "leaves the tree",
    ),
    "symlink": (
        "diff --git a/l b/l\nnew file mode 120000\nindex 0000000..1234567\n--- /dev/null\n+++ b/l\n"
        "@@ -0,0 +1 @@\n+/etc\n\\ No newline at end of file\n",
        "symbolic link",
    ),
    "symlink changed": (
        "diff --git a/l b/l\nindex 1234567..1234568 120000\n--- a/l\n+++ b/l\n@@ -1 +1 @@\n-/a\n+/etc\n",
        "symbolic link",
    ),
    "submodule": (
        "diff --git a/m b/m\nnew file mode 160000\nindex 0000000..1234567\n--- /dev/null\n+++ b/m\n"
        "@@ -0,0 +1 @@\n+Subproject commit 1234567123456712345671234567123456712345\n",
        "submodule",
    ),
    "binary": ("diff --git a/f b/f\nindex 1..2 100644\nGIT binary patch\nliteral 1\nIcmZ\n\n", "binary"),
    "binary named": ("diff --git a/f b/f\nindex 1..2 100644\nBinary files a/f and b/f differ\n", "binary"),
    "no diff": ("Just words.\n", "no diff"),
    "hunk cut short": (change("x").replace("@@ -1 +1 @@", "@@ -1,9 +1,9 @@"), "damaged or cut short"),
    "line cut short": (change("x")[:-1], "last line is cut off"),
    "file missing": (
        " x | 2 +-\n y | 2 +-\n 2 files changed, 2 insertions(+)\n\n" + change("x"),
        "counts 2 files",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_place_and_the_reason(tmp_path: Path, name: str) -> None:
    diff, reason = REFUSED[name]
    path = patch_file(tmp_path, diff)
    with pytest.raises(BadInput, match=reason) as caught:
        read(path)
    assert str(path) in caught.value.where
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.patch"]


def test_a_header_inside_a_hunk_is_only_text(tmp_path: Path) -> None:
    hunk = " --- a/x\n--- /etc/passwd\n+++ /etc/shadow\n new file mode 120000\n"
    diff = f"--- a/doc\n+++ b/doc\n@@ -1,3 +1,3 @@\n{hunk}"
    assert read(patch_file(tmp_path, diff)).files == ("doc",)


def test_a_diff_that_git_reads_differently_is_refused(tmp_path: Path) -> None:
    # git takes a unified diff's name with its timestamp cut off by a tab; both must see one name.
    diff = "--- a/x\t2026-01-01\n+++ b/x\t2026-01-01\n@@ -1 +1 @@\n-a\n+b\n"
    assert read(patch_file(tmp_path, diff)).files == ("x",)


def test_mixed_versions_missing_and_double_patches_are_refused(tiny: Any, tmp_path: Path) -> None:
    one = mails_of(tiny.mbox("-n"))
    two = mails_of(tiny.mbox("-n", "-v2"))
    path = tmp_path / "s.mbox"
    for content, reason in (
        (b"".join(one + two), "v1, v2 are mixed"),
        (b"".join(two[:2]), r"patch 3/3 is missing"),
        (one[0] + one[1] + one[1] + one[2], "2/3 is there twice"),
        (one[0] + one[1] + one[2].replace(b"3/3", b"3/4"), "two series are mixed"),
        (b"".join(one) + one[0].replace(b"[PATCH 1/3]", b"[PATCH]"), "has no number"),
    ):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=reason):
            read(path)


def test_a_truncated_mailbox_is_refused(tiny: Any, tmp_path: Path) -> None:
    mbox = tiny.mbox("-n")
    end = mbox.rindex(b"\n-int old;")
    for cut in (end - 40, end + 3, len(mbox) // 2):
        (tmp_path / "s.mbox").write_bytes(mbox[:cut])
        with pytest.raises(BadInput):
            read(tmp_path / "s.mbox")
    (tmp_path / "s.mbox.gz").write_bytes(gzip.compress(mbox)[:-30])
    with pytest.raises(BadInput, match="cut short"):
        read(tmp_path / "s.mbox.gz")


def test_too_big_empty_and_html_mails_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mbox"
    path.write_bytes(b"From: a@x.org\nSubject: big\n\n" + b"x" * MAX_MAIL)
    with pytest.raises(BadInput, match="a mail of"):
        read(path)
    path.write_bytes(gzip.compress(bytes(80 << 20)))
    with pytest.raises(BadInput, match="more than 64 MiB"):
        read(path)
    path.write_bytes(b"\n\n")
    with pytest.raises(BadInput, match="empty"):
        read(path)
    path.write_text("From: a@x.org\nSubject: [PATCH] x\nContent-Type: text/html\n\n<p>--- a/x</p>\n")
    with pytest.raises(BadInput, match="HTML") as caught:
        read(path)
    assert "plain text" in caught.value.hint


def test_a_quilt_series_file_says_the_order_and_stays_in_its_folder(tmp_path: Path) -> None:
    for name, at in (("b.patch", "x"), ("a.patch", "y")):
        (tmp_path / name).write_text(f"Description: about {at}\nAuthor: Q <q@x.org>\n\n{change(at)}")
    (tmp_path / "series").write_text("# first\nb.patch -p1\na.patch\n")
    series = read(tmp_path)
    assert subjects(series) == ("about x", "about y")
    (tmp_path / "series").write_text("../a.patch\n")
    with pytest.raises(BadInput, match="leaves the folder"):
        read(tmp_path)
    (tmp_path / "series").write_text("gone.patch\n")
    with pytest.raises(BadInput, match="no such patch") as caught:
        read(tmp_path)
    assert caught.value.where.endswith("series:1")


def test_the_claims_file_beside_a_folder_or_an_mbox(tiny: Any, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    tiny.git("format-patch", "-q", "-o", str(folder), f"{tiny.base}..HEAD")
    (folder / "claims.toml").write_text(
        'fits = "7.3-7.4"\nfixes = ["C16"]\nguards = ["C4"]\nchanged = ["x"]\n'
    )
    series = read(folder)
    assert series.fits == VersionRange((7, 3), (7, 4))
    assert (series.fixes, series.guards, series.expects_changed) == (("C16",), ("C4",), ("x",))
    (tmp_path / "t.mbox").write_bytes(tiny.mbox("-n"))
    (tmp_path / "t.claims.toml").write_text('fixes = ["C17"]\n')
    assert read(tmp_path / "t.mbox").fixes == ("C17",)
    assert read(tmp_path / "t.mbox", claims=folder / "claims.toml").fixes == ("C16",)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('fits = "7.3"\nfixs = ["C16"]\n', 2, "did you mean fixes"),
        ('\nfixes = "C16"\n', 2, "list of strings"),
        ('fits = "new"\n', 1, "not a kernel version range"),
    ],
)
def test_a_wrong_claims_file_is_refused_with_file_and_line(
    tmp_path: Path, text: str, line: int, says: str
) -> None:
    patch_file(tmp_path, change("x"))
    (tmp_path / "claims.toml").write_text(text)
    with pytest.raises(BadInput) as caught:
        read(tmp_path)
    assert caught.value.where == f"{tmp_path / 'claims.toml'}:{line}"
    assert says in str(caught.value)


def test_what_names_no_series_is_refused(tmp_path: Path, tiny: Any) -> None:
    (tmp_path / "empty").mkdir()
    for text, tree, says in (
        ("nothing-here", None, "no such series"),
        ("a..b", None, "which repository"),
        (str(tmp_path / "empty"), None, "no patches in this folder"),
        ("nope..main", str(tiny.path), "no commit 'nope'"),
        ("main..main", str(tiny.path), "no commits in"),
        ("--output=x..main", str(tiny.path), "no commit"),
    ):
        with pytest.raises(BadInput, match=says):
            read(text, tree=tree)


def test_the_base_of_a_range_is_its_first_commit(tiny: Any) -> None:
    assert range_base("main~3..main", str(tiny.path)) == f"{tiny.path}@{tiny.base}"
    assert range_base("main~3..main", f"{tiny.path}@main~2") == f"{tiny.path}@main~2"
    assert range_base("main~3..main", None) is None
    assert range_base("s.mbox", str(tiny.path)) is None


def test_reading_is_independent_of_the_users_git_settings(tiny: Any, tmp_path: Path) -> None:
    config = tmp_path / "gitconfig"
    config.write_text(
        "[diff]\n\tnoprefix = true\n\tmnemonicPrefix = true\n[format]\n\tattach = true\n\tnumbered=true\n"
    )
    plain = read(f"{tiny.base}..main", tree=str(tiny.path))
    os.environ["GIT_CONFIG_GLOBAL"] = str(config)
    try:
        assert read(f"{tiny.base}..main", tree=str(tiny.path)).key == plain.key
    finally:
        del os.environ["GIT_CONFIG_GLOBAL"]


@pytest.mark.parametrize(
    ("subject", "tag"),
    [
        ("[PATCH] a: b", ("a: b", 1, 0, 0, False)),
        ("[PATCH v3 02/11] a: b", ("a: b", 3, 2, 11, False)),
        ("[RFC PATCH v2 0/2] a", ("a", 2, 0, 2, False)),
        ("[PATCH hyperv-next V2 1/2] [mshv] a", ("a", 2, 1, 2, False)),
        ("Re: [PATCH 1/2] a", ("a", 1, 1, 2, True)),
        ("[EXT] Re: [PATCH v2] a", ("a", 2, 0, 0, True)),
        ("[PATCH] wg: a", ("wg: a", 1, 0, 0, False)),
        ("[PATCHv4 1/1] a", ("a", 4, 1, 1, False)),
        ("[PATCH] fix 1/2 of v5", ("fix 1/2 of v5", 1, 0, 0, False)),
        ("[v3,1/2] a", ("a", 3, 1, 2, False)),
        ("[hyperv-next,v8] a", ("a", 8, 0, 0, False)),
        ("[RFCv2 PATCH 1/2] a", ("a", 2, 1, 2, False)),
        ("[PATCH RFC-v4] a", ("a", 4, 0, 0, False)),
        ("[PATCH 1/2] [v14] a", ("a", 14, 1, 2, False)),
        ("[PATCH 5.10/5.15 1/2] a", ("a", 1, 1, 2, False)),
        ("[PATCH 6.1/6.6] a", ("a", 1, 0, 0, False)),
        ("[PATCH v5 1 of 2] a", ("a", 5, 1, 2, False)),
    ],
)
def test_subject_tags(subject: str, tag: tuple[Any, ...]) -> None:
    found = parse_subject(subject)
    assert (found.subject, found.version, found.number, found.total, found.reply) == tag


@pytest.mark.parametrize(
    ("value", "author", "address"),
    [
        ("Ann Author <Ann@Example.org>", "Ann Author <Ann@Example.org>", "ann@example.org"),
        ("ann@example.org (Ann)", "Ann <ann@example.org>", "ann@example.org"),
        ('"Author, Ann" <ann@example.org>', "Author, Ann <ann@example.org>", "ann@example.org"),
        ("Author, Ann <ann@example.org>", "Author, Ann <ann@example.org>", "ann@example.org"),
        ("=?utf-8?q?J=C3=B6rg?= <j@example.org>", "J\u00f6rg <j@example.org>", "j@example.org"),
        (
            "=?utf-8?q?eve=40x_=3Ceve=40x=3E=2C?= <a@example.org>",
            "eve@x eve@x, <a@example.org>",
            "a@example.org",
        ),
        ("Nobody", "Nobody", "nobody"),
    ],
)
def test_who_a_header_names(value: str, author: str, address: str) -> None:
    assert sender(value) == (author, address)


def test_nothing_is_executed_or_written_in_the_current_folder(tiny: Any, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "s.mbox").write_bytes(tiny.mbox("-n"))
    before = subprocess.run(
        ["git", "status", "--porcelain"], cwd=tiny.path, capture_output=True, check=True
    ).stdout
    old = Path.cwd()
    os.chdir(here)
    try:
        read(tmp_path / "s.mbox")
    finally:
        os.chdir(old)
    assert list(here.iterdir()) == []
    after = subprocess.run(
        ["git", "status", "--porcelain"], cwd=tiny.path, capture_output=True, check=True
    ).stdout
    assert before == after
