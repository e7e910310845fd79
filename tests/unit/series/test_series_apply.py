# SPDX-License-Identifier: GPL-2.0-or-later
"""Applying a series: a commit per patch, or a refusal that says which hunk of which file."""

from __future__ import annotations

import io
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.cache import Cache
from lab.model.errors import BadInput, SeriesDoesNotApply
from lab.model.kernel import KernelSource, SourceLock
from lab.model.series import KernelVersion, Series
from lab.progress import NullProgress
from lab.series import apply, load


@pytest.fixture(scope="module")
def source(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> KernelSource:
    found: KernelSource = tiny.source(tmp_path_factory.mktemp("source"))
    return found


def series_of(mbox: bytes) -> Series:
    return load("-", None, io.BytesIO(mbox))


def log(repo: Path, form: str) -> list[str]:
    argv = ["git", "log", "--reverse", f"--format={form}"]
    return subprocess.run(argv, cwd=repo, capture_output=True, text=True, check=True).stdout.splitlines()


def test_each_patch_is_a_commit_with_its_author_and_message(
    tiny: Any, source: KernelSource, tmp_path: Path
) -> None:
    done = apply(source, series_of(tiny.mbox("-n")), Cache(tmp_path), NullProgress())
    subjects = ["Linux 7.3.4", "hv: set a5", "hv: add new.c", "hv: remove old.c"]
    assert log(done.repo, "%s") == subjects
    assert (
        log(done.repo, "%an <%ae> %ad")[1:]
        == ["Ann Author <ann@example.org> Fri Jan 2 03:04:05 2026 +0000"] * 3
    )
    assert "Because it must be five." in log(done.repo, "%B")
    assert done.files == ("drivers/hv/a.c", "drivers/hv/new.c")
    assert done.deleted == ("drivers/hv/old.c",)
    assert (done.overlay / "drivers/hv/a.c").read_text() == (tiny.path / "drivers/hv/a.c").read_text()
    assert (done.overlay / "drivers/hv/new.c").read_text() == "int fresh;\n"
    assert done.last_patch == {
        "drivers/hv/a.c": "hv: remove old.c",
        "drivers/hv/new.c": "hv: add new.c",
        "drivers/hv/old.c": "hv: remove old.c",
    }


def test_the_pristine_source_stays_as_it_is(tiny: Any, source: KernelSource, tmp_path: Path) -> None:
    before = (source.tree / "drivers/hv/a.c").read_bytes()
    apply(source, series_of(tiny.mbox("-n")), Cache(tmp_path), NullProgress())
    assert (source.tree / "drivers/hv/a.c").read_bytes() == before
    assert sorted(p.name for p in (source.tree / "drivers/hv").iterdir()) == ["a.c", "old.c"]


def test_the_same_result_has_the_same_key_and_another_one_another(
    tiny: Any, source: KernelSource, tmp_path: Path
) -> None:
    cache = Cache(tmp_path)
    mbox = tiny.mbox("-n")
    one = apply(source, series_of(mbox), cache, NullProgress())
    again = apply(source, series_of(mbox.replace(b"must be five", b"shall be five")), cache, NullProgress())
    other = apply(source, series_of(mbox.replace(b"int fresh", b"int stale")), cache, NullProgress())
    assert one.key == again.key != other.key
    assert one.repo != again.repo


def test_a_patch_that_does_not_fit_names_patch_file_hunk_and_base(
    tiny: Any, source: KernelSource, tmp_path: Path
) -> None:
    broken = tiny.mbox("-n").replace(b" int a18;", b" int was_a18;")
    with pytest.raises(SeriesDoesNotApply) as caught:
        apply(source, series_of(broken), Cache(tmp_path), NullProgress())
    text = str(caught.value)
    assert "patch 2/3 (hv: add new.c)" in text
    assert "drivers/hv/a.c: hunk 1 of 1 does not fit: @@ -18,7 +18,7 @@" in text
    assert "Linux 7.3.4 (tiny.tar)" in text
    assert list((tmp_path / "applied").iterdir()) == []


def test_only_the_hunks_that_do_not_fit_are_named(source: KernelSource, tmp_path: Path) -> None:
    diff = (
        "--- a/drivers/hv/a.c\n+++ b/drivers/hv/a.c\n"
        "@@ -1,3 +1,3 @@\n int a0;\n-int a1;\n+int a1 = 1;\n int a2;\n"
        "@@ -10,3 +10,3 @@\n int a9;\n-int nowhere;\n+int a10 = 1;\n int a11;\n"
    )
    mail = f"From: A <a@x.org>\nSubject: [PATCH] two hunks\n\n---\n{diff}".encode()
    with pytest.raises(SeriesDoesNotApply) as caught:
        apply(source, series_of(mail), Cache(tmp_path), NullProgress())
    assert caught.value.detail.splitlines() == ["drivers/hv/a.c: hunk 2 of 2 does not fit: @@ -10,3 +10,3 @@"]


def test_a_patch_for_a_file_that_base_lacks_says_so(source: KernelSource, tmp_path: Path) -> None:
    diff = "--- a/drivers/hv/gone.c\n+++ b/drivers/hv/gone.c\n@@ -1 +1 @@\n-a\n+b\n"
    mail = f"From: A <a@x.org>\nSubject: [PATCH] x\n\n---\n{diff}".encode()
    with pytest.raises(SeriesDoesNotApply, match=r"drivers/hv/gone.c: (does not exist|No such file)"):
        apply(source, series_of(mail), Cache(tmp_path), NullProgress())


def test_three_way_merge_finds_the_versions_of_a_git_base(
    tiny: Any, source: KernelSource, tmp_path: Path
) -> None:
    """The patch was made on a commit whose context reads otherwise, and which git knows."""
    made_on = tiny.git("rev-parse", f"{tiny.base}:drivers/hv/a.c").strip()
    text = tiny.git("show", f"{tiny.base}:drivers/hv/a.c").replace("int a7;", "int a7 = 7;")
    argv = ["git", "hash-object", "--stdin"]
    new = subprocess.run(argv, input=text, cwd=tiny.path, capture_output=True, text=True, check=True).stdout
    diff = (
        f"diff --git a/drivers/hv/a.c b/drivers/hv/a.c\nindex {made_on}..{new.strip()} 100644\n"
        "--- a/drivers/hv/a.c\n+++ b/drivers/hv/a.c\n"
        "@@ -5,7 +5,7 @@\n int a4;\n int a5;\n int a6;\n-int a7;\n+int a7 = 7;\n"
        " int a8;\n int a9;\n int a10;\n"
    )
    series = series_of(f"From: A <a@x.org>\nSubject: set a7\n\n---\n{diff}".encode())
    tree = tmp_path / "tree" / "drivers" / "hv"
    tree.mkdir(parents=True)
    (tree / "a.c").write_text(tiny.git("show", "main:drivers/hv/a.c"))
    plain = KernelSource(KernelVersion(7, 3), tmp_path / "tree", "other", source.lock)
    with pytest.raises(SeriesDoesNotApply):
        apply(plain, series, Cache(tmp_path / "a"), NullProgress())
    from_git = replace(plain, lock=SourceLock("git", str(tiny.path), tiny.base, "x"))
    done = apply(from_git, series, Cache(tmp_path / "b"), NullProgress())
    merged = (done.overlay / "drivers/hv/a.c").read_text()
    assert "int a5 = 55;" in merged and "int a7 = 7;" in merged


def test_a_file_behind_a_symbolic_link_is_refused(tiny: Any, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_text("a\n")
    (tree / "link").symlink_to(tmp_path / "outside")
    lock = SourceLock("tarball", "t.tar", "", "1")
    mail = b"From: A <a@x.org>\nSubject: x\n\n--- a/link/f\n+++ b/link/f\n@@ -1 +1 @@\n-a\n+b\n"
    with pytest.raises(BadInput, match="beyond the symbolic link"):
        apply(
            KernelSource(KernelVersion(7, 3), tree, "k", lock),
            series_of(mail),
            Cache(tmp_path / "c"),
            NullProgress(),
        )
    assert (tmp_path / "outside" / "f").read_text() == "a\n"
