# SPDX-License-Identifier: GPL-2.0-or-later
"""Which base a series was made on."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lab.cache import Cache
from lab.model.errors import BadInput, LabUnavailable
from lab.model.kernel import KernelSource, SourceLock
from lab.model.nightly import BaseFound, BaseGuess, InboxSeries, Repair
from lab.nightly import bases
from lab.nightly.bases import guess
from lab.nightly.commits import History
from lab.progress import NullProgress
from lab.series.inbox import read_inbox
from lab.source import lockfile
from lab.source.archive import Candidate
from lab.source.specs import cached

ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ann Author",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Carl",
    "GIT_COMMITTER_EMAIL": "carl@example.org",
}
A, B, OTHER = "drivers/hv/a.c", "drivers/hv/b.c", "README"


class Kernel:
    """A repository whose commits have times of their own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.time = 1_760_000_000
        (path / "drivers/hv").mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *args: str) -> str:
        when = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"{self.time} +0000")
        done = subprocess.run(
            ["git", *args], cwd=self.path, env=ENV | when, check=True, capture_output=True, timeout=60
        )
        return done.stdout.decode().strip()

    def commit(self, **files: str) -> str:
        for name, content in files.items():
            (self.path / {"a": A, "b": B, "other": OTHER, "make": "Makefile"}[name]).write_text(content)
        self.time += 3600
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"change {', '.join(files)}")
        return self.git("rev-parse", "HEAD")

    def export(self, commit: str, into: Path) -> None:
        into.mkdir(parents=True)
        self.git("--work-tree", str(into), "checkout", "-q", "-f", commit, "--", ".")
        self.git("checkout", "-q", "-f", "main")

    def series(self, tmp: Path, *options: str, since: str, until: str) -> InboxSeries:
        folder = tmp / f"series-{len(list(tmp.iterdir()))}"
        self.git("format-patch", "-q", "-o", str(folder), *options, f"{since}..{until}")
        found = read_inbox(str(folder))
        assert len(found.series) == 1 and not found.series[0].problem
        return found.series[0]


def text(**lines: str) -> str:
    """A file of 40 lines, some of them replaced (``l7="new"``)."""
    return "".join(lines.get(f"l{n}", f"line {n}") + "\n" for n in range(40))


MAKE = "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\n"


class Lab:
    """History: one, then two (touches a), three (touches a and b), then a series on two, then HEAD."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kernel = kernel = Kernel(path / "linux")
        self.one = kernel.commit(a=text(), b=text(), make=MAKE)
        self.two = kernel.commit(a=text(l3="two"))
        kernel.git("checkout", "-q", "-b", "topic")
        kernel.commit(a=text(l3="two", l10="first"), b=text(l10="first"))
        self.topic = kernel.commit(a=text(l3="two", l10="first", l30="second"))
        kernel.git("checkout", "-q", "main")
        self.three = kernel.commit(a=text(l3="three", l20="three"), b=text(l20="three"))
        self.head = kernel.commit(other="hello\n")
        self.series = kernel.series(path, since=self.two, until="topic")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("bases"))


def ask(series: InboxSeries, base: str | None, tree: object, cache: Path) -> BaseGuess:
    return guess(series, base, str(tree) if tree else None, Cache(cache), NullProgress(), fetch=0)


def kept(cache: Path, kernel: Kernel, versions: Sequence[tuple[str, str]]) -> Path:
    """A cache with Debian sources ``(version, commit)``."""
    for version, commit in versions:
        entry = cache / "source" / version.replace(".", "").replace("-", "")
        kernel.export(commit, entry / "tree")
        numbers = dict(
            zip(("VERSION", "PATCHLEVEL", "SUBLEVEL"), version.split("-")[0].split("."), strict=True)
        )
        (entry / "tree" / "Kbuild").touch()
        (entry / "tree" / "Makefile").write_text("".join(f"{k} = {v}\n" for k, v in numbers.items()))
        lock = SourceLock("debian", f"linux-source-{version[:3]}", version, version, "sid")
        meta = {"kind": "source", "key": entry.name, "created": 1.0, "size": 1}
        (entry / "meta.json").write_text(json.dumps({**meta, "about": {"lock": lockfile.dumps(lock)}}))
    return cache


def test_what_the_user_gave_is_taken(lab: Lab, tmp_path: Path) -> None:
    assert ask(lab.series, "debian:7.3", None, tmp_path).found is BaseFound.GIVEN
    found = ask(lab.series, None, f"{lab.kernel.path}@{lab.one}", tmp_path)
    assert (found.found, found.tree) == (BaseFound.GIVEN, f"{lab.kernel.path}@{lab.one}")
    with pytest.raises(BadInput, match="exclude each other"):
        ask(lab.series, "debian", lab.kernel.path, tmp_path)


def test_a_tree_that_is_none_is_refused(lab: Lab, tmp_path: Path) -> None:
    for place in (tmp_path / "nothing", tmp_path):
        with pytest.raises(BadInput):
            ask(lab.series, None, place, tmp_path / "cache")


def test_a_base_commit_of_the_tree_is_the_base(lab: Lab, tmp_path: Path) -> None:
    series = lab.kernel.series(tmp_path, f"--base={lab.two}", since=lab.two, until="topic")
    found = ask(series, None, lab.kernel.path, tmp_path / "cache")
    assert (found.found, found.tree) == (BaseFound.BASE_COMMIT, f"{lab.kernel.path}@{lab.two}")
    assert "2 of 2 old blobs are those of it" in found.how


def test_the_commit_that_has_the_old_blobs_is_the_base(lab: Lab, tmp_path: Path) -> None:
    """The series' second patch changes what the first one made: its old blob is in no commit of main."""
    found = ask(lab.series, None, lab.kernel.path, tmp_path / "cache")
    assert (found.found, found.tree) == (BaseFound.BLOBS, f"{lab.kernel.path}@{lab.two}")
    assert found.how == f"2 of 2 old blobs are those of commit {lab.two[:12]}"
    assert not found.base and not (tmp_path / "cache").exists()


def test_head_and_tags_are_named_as_people_know_them(lab: Lab, tmp_path: Path) -> None:
    kernel = Kernel(tmp_path / "linux")
    first = kernel.commit(a=text(), b=text())
    kernel.git("tag", "-m", "x", "v7.3")
    kernel.commit(a=text(l3="two"))
    kernel.git("checkout", "-q", "-b", "topic", "v7.3")
    kernel.commit(a=text(l10="x"))
    kernel.git("checkout", "-q", "main")
    series = kernel.series(tmp_path, since="v7.3", until="topic")
    found = ask(series, None, kernel.path, tmp_path / "cache")
    assert found.how == "1 of 1 old blobs are those of tag v7.3" and found.tree.endswith(f"@{first}")


def test_without_its_blobs_the_newest_commit_that_takes_it_is_the_base(lab: Lab, tmp_path: Path) -> None:
    kernel = Kernel(tmp_path / "linux")
    start = kernel.commit(a=text(), b=text())
    kernel.git("checkout", "-q", "-b", "topic")
    kernel.commit(a=text(l1="elsewhere"))
    hidden = kernel.git("rev-parse", "HEAD")
    kernel.commit(a=text(l1="elsewhere", l30="x"))
    series = kernel.series(tmp_path, since=hidden, until="topic")
    kernel.git("checkout", "-q", "main")
    kernel.git("branch", "-q", "-D", "topic")
    takes = kernel.commit(a=text(l15="moved on"))
    kernel.commit(a=text(l15="moved on", l29="conflict", l30="conflict", l31="conflict"))
    found = ask(series, None, kernel.path, tmp_path / "cache")
    assert (found.found, found.tree) == (BaseFound.APPLIES, f"{kernel.path}@{takes}")
    assert start != takes and "0 of its 1 old blobs" in found.how


def test_when_nothing_fits_each_reason_is_told(lab: Lab, tmp_path: Path) -> None:
    cache = kept(tmp_path / "cache", lab.kernel, [("7.2.1-1", lab.one), ("7.3.4-1", lab.head)])
    kernel = Kernel(tmp_path / "linux")
    kernel.commit(a="quite\nanother\n")
    start = kernel.git("rev-parse", "HEAD")
    kernel.commit(a="quite\nother\n")
    series = kernel.series(tmp_path, since=start, until="main")
    found = ask(series, None, None, cache)
    assert (found.found, found.base, found.tree) == (BaseFound.NONE, "", "")
    assert found.how.count("does not apply") == 2
    assert found.how.index("linux-source-7.3 7.3.4-1") < found.how.index("linux-source-7.2 7.2.1-1")


def test_the_source_in_the_cache_that_has_the_old_blobs_is_the_base(lab: Lab, tmp_path: Path) -> None:
    cache = kept(
        tmp_path / "cache", lab.kernel, [("7.2.9-1", lab.one), ("7.3.4-1", lab.two), ("7.3.5-1", lab.head)]
    )
    found = ask(lab.series, None, None, cache)
    assert (found.found, found.base, found.tree) == (BaseFound.BLOBS, "debian:7.3.4-1", "")
    assert found.how == "2 of 2 old blobs are those of linux-source-7.3 7.3.4-1"


def test_the_newest_source_in_the_cache_that_takes_a_series_is_the_base(lab: Lab, tmp_path: Path) -> None:
    cache = kept(tmp_path / "cache", lab.kernel, [("7.2.9-1", lab.one), ("7.3.5-1", lab.head)])
    found = ask(lab.series, None, None, cache)
    assert found.found is BaseFound.APPLIES and found.base == "debian:7.2.9-1"
    assert "1 of its 2 old blobs" in found.how


def test_without_cache_and_mirror_that_is_the_reason(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unreachable:
        def __init__(self, *_: object) -> None: ...

        def candidates(self) -> list[object]:
            raise LabUnavailable("no network")

    monkeypatch.setattr(bases, "Archive", Unreachable)
    found = guess(lab.series, None, None, Cache(tmp_path / "cache"), NullProgress())
    assert (found.found, found.how) == (BaseFound.NONE, "Debian's mirror was not asked: no network")


def test_the_blobs_that_come_out_prove_a_recovered_patch_or_refute_it(lab: Lab, tmp_path: Path) -> None:
    mended = replace(lab.series, repairs=(Repair(1, f"{A}:8", "1 wrapped line rejoined"),))
    found = ask(mended, None, lab.kernel.path, tmp_path / "cache")
    assert (found.found, found.tree) == (BaseFound.BLOBS, f"{lab.kernel.path}@{lab.two}")
    for old, new, reason in (
        (b"+second", b"+second NAK", f"{A} becomes blob"),
        (b" line 29", b" line 29 really", "does not apply"),
    ):
        last = mended.patches[1]
        assert old in last.raw
        wrong = (mended.patches[0], replace(last, raw=last.raw.replace(old, new)))
        found = ask(replace(mended, patches=wrong), None, lab.kernel.path, tmp_path / "cache")
        assert found.found is BaseFound.NONE and not found.tree
        assert "recovered wrongly" in found.how and reason in found.how


@pytest.mark.parametrize("broken", [False, True])
def test_what_the_cache_lacks_is_fetched_the_newest_of_each_kernel(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    cache = Cache(kept(tmp_path / "cache", lab.kernel, [("7.3.5-1", lab.head)]))
    (cached(cache)[0].tree / A).write_text("quite another\n")
    there = Cache(kept(tmp_path / "mirror", lab.kernel, [("7.2.9-1", lab.two)]))
    offers = ("7.3.5-1", "7.3.4-1", "7.2.9-1", "7.2.8-1", "6.12.1-1", "6.1.9-1")

    class Mirror:
        def __init__(self, *_: object) -> None: ...

        def candidates(self) -> list[Candidate]:
            return [Candidate(f"linux-source-{v.rpartition('.')[0]}", v, v, "sid") for v in offers]

    asked: list[str] = []

    def fetched(spec: str, *_: object) -> KernelSource:
        asked.append(spec)
        if broken or spec != "debian:7.2.9-1":
            raise LabUnavailable("the download broke off")
        return cached(there)[0]

    monkeypatch.setattr(bases, "Archive", Mirror)
    monkeypatch.setattr(bases, "resolve", fetched)
    found = guess(lab.series, None, None, cache, NullProgress(), fetch=2)
    assert asked == ["debian:7.2.9-1", "debian:6.12.1-1"]
    if not broken:
        assert (found.found, found.base) == (BaseFound.BLOBS, "debian:7.2.9-1")
        return
    assert found.found is BaseFound.NONE and found.how.count("was not tried: the download broke off") == 2
    assert "linux-source-7.3 7.3.5-1" in found.how and "does not apply" in found.how


def test_a_series_without_patches_has_no_base(lab: Lab, tmp_path: Path) -> None:
    empty = InboxSeries("x", 1, "x", "", "", "", (), "", problem="patch 1/1 is missing")
    assert ask(empty, None, None, tmp_path).found is BaseFound.NONE


def test_a_part_of_a_commit_holds_the_files_asked_for_only(lab: Lab, tmp_path: Path) -> None:
    with History.of(lab.kernel.path) as history:
        source = history.part(lab.two, (A, "drivers/hv/none.c"), tmp_path / "part")
    assert [str(p.relative_to(source.tree)) for p in source.tree.rglob("*") if p.is_file()] == [A]
    assert (source.tree / A).read_text() == text(l3="two")
