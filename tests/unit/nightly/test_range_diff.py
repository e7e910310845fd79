# SPDX-License-Identifier: GPL-2.0-or-later
"""git's range-diff of two versions on one base, or the reason why there is none."""

from __future__ import annotations

import difflib
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import sample

from lab.model.errors import LabUnavailable
from lab.model.kernel import KernelSource, SourceLock
from lab.model.nightly import InboxSeries
from lab.model.series import KernelVersion, Patch
from lab.nightly import delta
from lab.nightly.range_diff import range_diff
from lab.series.applying import Repo
from lab.source.command import Done

FILE = "drivers/hv/a.c"
BASE = "".join(f"int a{i};\n" for i in range(40))


def patch(number: int, subject: str, before: str, after: str) -> Patch:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{FILE}", f"b/{FILE}"
    )
    raw = (
        f"From: Ada Root <ada@example.org>\nDate: Tue, 1 Dec 2026 10:0{number}:00 +0000\n"
        f"Subject: [PATCH {number}/2] {subject}\nMessage-ID: <{number}@example.org>\n\n"
        f"Because.\n---\ndiff --git a/{FILE} b/{FILE}\n{''.join(lines)}-- \n2.47.0\n"
    )
    return Patch(subject, "Ada Root <ada@example.org>", f"<{number}@example.org>", raw.encode(), (FILE,))


def series(version: int, *values: int) -> InboxSeries:
    """Patch N sets variable ``a(10 * N)`` to its value."""
    patches, text = [], BASE
    for number, value in enumerate(values, 1):
        after = text.replace(f"int a{number * 10};", f"int a{number * 10} = {value};")
        patches.append(patch(number, f"hv: Set a{number * 10}", text, after))
        text = after
    return replace(sample.MMIO_1, version=version, patches=tuple(patches))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> KernelSource:
    tree = tmp_path_factory.mktemp("range") / "tree"
    (tree / FILE).parent.mkdir(parents=True)
    (tree / FILE).write_text(BASE)
    return KernelSource(KernelVersion(7, 3, 4), tree, "k", SourceLock("tarball", "t.tar", "", "0"))


@pytest.fixture(autouse=True)
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_changed_patch_shows_how_it_changed(source: KernelSource, temp: Path) -> None:
    text, why = range_diff(series(1, 1, 2), series(2, 1, 7, 3), source)
    assert why == ""
    lines = text.splitlines()
    marks = [(line.split()[2], line.rpartition(": ")[2]) for line in lines if line[0] in "-123456789"]
    assert marks == [("=", "Set a10"), ("!", "Set a20"), (">", "Set a30")]
    assert "    -+int a20 = 2;" in lines and "    ++int a20 = 7;" in lines
    assert list(temp.iterdir()) == []


def test_a_version_that_does_not_apply_gives_the_reason(source: KernelSource, temp: Path) -> None:
    wrong = replace(series(1, 1), patches=(patch(1, "hv: Nothing", "int b;\n", "int c;\n"),))
    text, why = range_diff(wrong, series(2, 1), source)
    assert text == ""
    assert why.startswith("patch 1/1 of v1: does not apply") and "Linux 7.3.4" in why
    assert range_diff(series(1, 1), replace(wrong, version=2), source)[1].startswith("patch 1/1 of v2:")
    assert list(temp.iterdir()) == []


def test_a_version_that_is_not_whole_is_not_tried(source: KernelSource) -> None:
    broken = replace(series(2, 1), problem="patch 2/2 is missing")
    assert range_diff(series(1, 1), broken, source) == ("", "v2 is not whole: patch 2/2 is missing")
    assert range_diff(series(1), series(2, 1), source) == ("", "v1 is not whole: it has no patches")


def test_a_file_beyond_a_link_is_not_followed(source: KernelSource, tmp_path: Path, temp: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "drivers").symlink_to(source.tree / "drivers")
    text, why = range_diff(series(1, 1), series(2, 1), replace(source, tree=tmp_path / "tree"))
    assert (text, "symbolic link" in why) == ("", True)
    assert list(temp.iterdir()) == []


def test_that_git_does_not_end_is_a_reason_and_not_the_end(
    source: KernelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Repo.git

    def git(self: Repo, *args: str, check: bool = True) -> Done:
        if args[0] == "range-diff":
            raise LabUnavailable("git range-diff: no end after 120 s")
        return real(self, *args, check=check)

    monkeypatch.setattr(Repo, "git", git)
    assert range_diff(series(1, 1), series(2, 2), source) == ("", "git range-diff: no end after 120 s")


def test_it_is_the_same_every_time_whatever_the_users_git_settings_are(
    source: KernelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = range_diff(series(1, 1), series(2, 2), source)
    config = tmp_path / "config"
    subprocess.run(["git", "config", "--file", config, "color.ui", "always"], check=True)
    subprocess.run(["git", "config", "--file", config, "diff.context", "0"], check=True)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    assert range_diff(series(1, 1), series(2, 2), source) == before


def test_a_delta_has_both_and_says_what_is_missing(source: KernelSource) -> None:
    before = replace(sample.MMIO_V1, series=series(1, 1))
    now = replace(sample.MMIO_V2, series=series(2, 2))
    found = delta.between(before, now, source)
    assert found.range_diff.startswith("1:  ") and found.before == 1
    assert found.note == delta.compare(before, now).note
    broken = replace(sample.IRQFD_V2, series=replace(series(2, 1), problem="x"))
    assert "there is no range-diff: v2 is not whole: x" in delta.between(before, broken, source).note
    assert delta.between(before, now, None) == delta.compare(before, now)
