# SPDX-License-Identifier: GPL-2.0-or-later
"""Mails that somebody wrote in order to break out, to hang the reader or to crash it."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Any

import pytest

from lab.cache import Cache
from lab.model.errors import BadInput
from lab.model.kernel import KernelSource, SourceLock
from lab.model.series import KernelVersion, Patch, Series
from lab.progress import NullProgress
from lab.series import apply, load
from lab.source.specs import resolve

HEAD = b"From: A <a@x.org>\nSubject: [PATCH] x\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n\n---\n"


def made(name: str, mode: str = "100644", content: str = "x", quoted: bool = False) -> bytes:
    a, b = (f'"a/{name}"', f'"b/{name}"') if quoted else (f"a/{name}", f"b/{name}")
    return (
        f"diff --git {a} {b}\nnew file mode {mode}\nindex 0000000..1234567\n--- /dev/null\n+++ {b}\n"
        f"@@ -0,0 +1 @@\n+{content}\n\\ No newline at end of file\n"
    ).encode("utf-8", "surrogateescape")


def series_of(mail: bytes) -> Series:
    return load("-", None, io.BytesIO(mail))


def source_in(tmp_path: Path) -> KernelSource:
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "Makefile").write_text("a\n")
    return KernelSource(KernelVersion(7, 3), tree, "k", SourceLock("tarball", "t.tar", "", "0"))


@pytest.mark.parametrize("mode", ["0120000", "120000 ", "120000\tx", "00000120000", "160000", "0160000"])
def test_a_link_or_submodule_is_refused_however_its_mode_is_written(mode: str) -> None:
    """git reads a mode with strtoul; a link to a file of the host would be built into the kernel."""
    with pytest.raises(BadInput, match=r"symbolic link|submodule"):
        series_of(HEAD + made("l", mode, "/etc/shadow"))


@pytest.mark.parametrize("mode", ["104755", "040000", "100777", "8"])
def test_a_mode_that_no_file_of_a_kernel_has_is_refused(mode: str) -> None:
    with pytest.raises(BadInput, match=r"file mode|damaged"):
        series_of(HEAD + made("f", mode))


def test_what_git_makes_of_a_patch_is_checked_even_if_its_headers_were_believed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("password")
    raw = HEAD + made("l", "120000", str(secret))
    believed = Series("s", (Patch("x", "A <a@x.org>", "", raw, ("l",)),), None, (), (), (), "key")
    with pytest.raises(BadInput, match="something else than a file"):
        apply(source_in(tmp_path), believed, Cache(tmp_path / "cache"), NullProgress())
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and b"password" in p.read_bytes()]


def test_headers_behind_a_false_hunk_are_still_read() -> None:
    """Arabic digits are digits for Python and not for git."""
    hidden = "diff --git a/l b/l\n@@ -\u0661,\u0669 +\u0661,\u0669 @@\n".encode() + made(
        "l", "120000", "/etc"
    )
    with pytest.raises(BadInput, match="symbolic link"):
        series_of(HEAD + hidden)


@pytest.mark.parametrize(
    "name", ["n\\nm", "n\\001m", "n\\x41", "n\\ud800", "n\\N{DIGIT ONE}", "n\\377", "n\\"]
)
def test_a_quoted_name_of_any_kind_is_refused_and_crashes_nothing(name: str) -> None:
    with pytest.raises(BadInput):
        series_of(HEAD + made(name, quoted=True))


def test_a_quoted_name_is_read_as_git_reads_it() -> None:
    assert series_of(HEAD + made("d\\303\\244", quoted=True)).files == ("d\u00e4",)


def test_a_name_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(BadInput, match="not UTF-8"):
        series_of(HEAD + made("\udcff\udcfe"))


@pytest.mark.parametrize(
    ("what", "mail"),
    [
        ("tags in the subject", HEAD.replace(b"[PATCH]", b"[a]" * 300_000) + made("f")),
        ("encoded words", HEAD.replace(b"[PATCH] x", b"=?utf-8?q?a?= " * 200_000) + made("f")),
        ("author", HEAD.replace(b"A <a", b"(" * 1_000_000 + b" <a") + made("f")),
        ("blanks behind the signature", HEAD + made("f") + b"-- \n" + b" " * 1_000_000 + b"\nx\n"),
        ("words in a binary line", HEAD + made("f") + b"Binary file x" + b" and " * 300_000 + b"\n"),
        ("nested parts", HEAD[:-5] + b"".join(
            b'--b%d\nContent-Type: multipart/mixed; boundary="b%d"\n\n' % (i, i + 1) for i in range(2000)
        )),
    ],
)  # fmt: skip
def test_a_mail_is_read_in_bounded_time(what: str, mail: bytes) -> None:
    begun = time.monotonic()
    try:
        series_of(mail)
    except BadInput:
        pass
    assert time.monotonic() - begun < 3, what


def test_an_author_in_an_unknown_encoding_can_be_written_as_utf_8() -> None:
    found = series_of(HEAD.replace(b"A <a", b"\xff\x1b[31m\xfe <a") + made("f")).patches[0]
    found.author.encode()
    assert "\x1b" not in found.author


def test_a_file_in_place_of_a_folder_and_below_a_file_is_refused(tmp_path: Path) -> None:
    source = source_in(tmp_path)
    for name, reason in (("Makefile/x", "beyond the file"), ("d", "is a folder")):
        with pytest.raises(BadInput, match=reason):
            apply(source, series_of(HEAD + made(name)), Cache(tmp_path / "cache"), NullProgress())


def armed(tiny: Any, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the tree whose owner made every git command in it run something; where that leaves marks."""
    marks = tmp_path / "marks"
    marks.mkdir()
    repo = tmp_path / "repo"
    tiny.git("clone", "-q", str(tiny.path), str(repo))
    script = repo / ".git" / "script"
    script.write_text(f'#!/bin/sh\ntouch "{marks}/$(basename "$0")-$1"\ncat\n')
    script.chmod(0o755)
    with (repo / ".git" / "config").open("a") as config:
        for key in ("clean", "smudge", "process"):
            config.write(f'[filter "evil"]\n\t{key} = {script} {key}\n')
        config.write(f'[diff "evil"]\n\tcommand = {script} diff\n\ttextconv = {script} textconv\n')
        config.write(f"[diff]\n\texternal = {script} external\n[core]\n\tfsmonitor = {script}\n")
        config.write(f"[gpg]\n\tprogram = {script}\n[log]\n\tshowSignature = true\n")
    for hook in ("post-index-change", "post-checkout", "reference-transaction", "pre-auto-gc"):
        (repo / ".git" / "hooks" / hook).symlink_to(script)
    (repo / ".gitattributes").write_text("*.c filter=evil diff=evil\n")
    (repo / "drivers/hv/a.c").write_text("int changed;\n")
    return repo, marks


def test_a_git_tree_runs_none_of_its_owners_filters_and_hooks(tiny: Any, tmp_path: Path) -> None:
    repo, marks = armed(tiny, tmp_path)
    cache = Cache(tmp_path / "cache")
    load(f"{tiny.base}..HEAD", str(repo), io.BytesIO())
    resolve(None, f"{repo}@HEAD", None, cache, NullProgress())
    found = resolve(None, str(repo), None, cache, NullProgress())
    assert (found.tree / "drivers/hv/a.c").read_text() == "int changed;\n"
    assert list(marks.iterdir()) == []


def test_a_git_tree_with_a_submodule_is_refused(tiny: Any, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    tiny.git("clone", "-q", str(tiny.path), str(repo))
    tiny.git("-C", str(repo), "update-index", "--add", "--cacheinfo", f"160000,{tiny.base},sub")
    with pytest.raises(BadInput, match="submodules"):
        resolve(None, str(repo), None, Cache(tmp_path / "cache"), NullProgress())


def test_the_callers_git_directory_is_not_ours(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a git hook, which has GIT_DIR set."""
    mine = tmp_path / "mine"
    tiny.git("init", "-q", str(mine))
    before = sorted((str(p), p.stat().st_mtime_ns) for p in (mine / ".git").rglob("*"))
    monkeypatch.setenv("GIT_DIR", str(mine / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(mine))
    monkeypatch.setenv("GIT_INDEX_FILE", str(mine / ".git" / "index"))
    apply(source_in(tmp_path), series_of(HEAD + made("f")), Cache(tmp_path / "cache"), NullProgress())
    assert sorted((str(p), p.stat().st_mtime_ns) for p in (mine / ".git").rglob("*")) == before
    assert os.environ["GIT_DIR"] == str(mine / ".git")
