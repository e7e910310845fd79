# SPDX-License-Identifier: GPL-2.0-or-later
"""From SPEC and --tree to a source in the cache, and back again by its lock."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from lab.cache import Cache
from lab.model.errors import BadInput, LabUnavailable
from lab.model.kernel import KernelSource, SourceLock
from lab.model.series import KernelVersion, VersionRange
from lab.progress import NullProgress
from lab.source import lockfile, resolve, specs
from lab.source.archive import Candidate

MAKEFILE = "# SPDX\nVERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\nEXTRAVERSION =\n"
GIT_ENV = {
    "PATH": os.environ["PATH"],
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@x.org",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@x.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


def kernel_tree(path: Path) -> Path:
    (path / "drivers/hv").mkdir(parents=True)
    (path / "Makefile").write_text(MAKEFILE)
    (path / "Kbuild").write_text("")
    (path / "drivers/hv/a.c").write_text("int a;\n")
    return path


def tarball(tmp_path: Path, name: str = "linux-7.3.4.tar.xz") -> Path:
    tree = kernel_tree(tmp_path / "linux-7.3.4")
    with tarfile.open(tmp_path / name, "w:xz") as tar:
        tar.add(tree, arcname="linux-7.3.4")
    shutil.rmtree(tree)
    return tmp_path / name


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def get(
    cache: Cache, spec: str | None = None, tree: str | None = None, fits: VersionRange | None = None
) -> KernelSource:
    return resolve(spec, tree, fits, cache, NullProgress())


def test_a_tarball_is_unpacked_once_and_its_lock_gives_the_same_tree(cache: Cache, tmp_path: Path) -> None:
    tar = tarball(tmp_path)
    source = get(cache, str(tar))
    assert source.version == KernelVersion(7, 3, 4)
    assert (source.tree / "drivers/hv/a.c").read_text() == "int a;\n"
    assert source.lock.kind == "tarball" and len(source.lock.sha256) == 64
    lock = tmp_path / "base.lock"
    lock.write_text(lockfile.dumps(source.lock))
    tar.unlink()
    again = get(cache, f"lock:{lock}")
    assert (again.tree, again.key, again.lock) == (source.tree, source.key, source.lock)
    shutil.rmtree(source.tree.parent)
    with pytest.raises(LabUnavailable, match="is gone, and it is not in the cache"):
        get(cache, f"lock:{lock}")


def test_a_changed_tarball_does_not_pass_for_the_locked_one(cache: Cache, tmp_path: Path) -> None:
    tar = tarball(tmp_path)
    lock = tmp_path / "base.lock"
    lock.write_text(lockfile.dumps(SourceLock("tarball", str(tar), "", "0" * 64)))
    with pytest.raises(LabUnavailable, match="the tarball has changed"):
        get(cache, f"lock:{lock}")


@pytest.mark.parametrize("content", ["garbage", "no kernel"])
def test_what_is_no_kernel_tarball_is_refused_and_leaves_nothing(
    cache: Cache, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "x.tar.xz"
    if content == "garbage":
        path.write_bytes(b"garbage" * 100)
    else:
        (tmp_path / "f").write_text("x")
        with tarfile.open(path, "w:xz") as tar:
            tar.add(tmp_path / "f", arcname="dir/f")
    with pytest.raises(BadInput) as caught:
        get(cache, str(path))
    assert str(path) in caught.value.where
    assert list((cache.root / "source").iterdir()) == []


def test_a_tarball_cannot_write_outside_the_cache(cache: Cache, tmp_path: Path) -> None:
    tree = kernel_tree(tmp_path / "t")
    (tmp_path / "evil").write_text("evil")
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(tree, arcname="linux")
        tar.add(tmp_path / "evil", arcname="linux/../../../../escaped")
    with pytest.raises((BadInput, LabUnavailable)):
        get(cache, str(path))
    assert list(tmp_path.rglob("escaped")) == []


def git(repo: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=repo, env=GIT_ENV, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    path = kernel_tree(tmp_path / "repo")
    git(path, "init", "-q", "-b", "main")
    (path / ".gitignore").write_text("*.o\n")
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", "one")
    git(path, "tag", "v1")
    (path / "drivers/hv/a.c").write_text("int two;\n")
    git(path, "commit", "-q", "-a", "-m", "two")
    return path


def test_a_revision_of_a_git_tree(cache: Cache, repo: Path) -> None:
    source = get(cache, tree=f"{repo}@v1")
    assert (source.tree / "drivers/hv/a.c").read_text() == "int a;\n"
    assert source.lock.version == git(repo, "rev-parse", "v1").strip()
    assert source.notes == ()
    assert get(cache, tree=f"{repo}@main~1").tree == source.tree, "one content, one entry"
    assert get(cache, tree=str(repo)).key != source.key


def test_a_working_tree_brings_its_changes_and_stays_untouched(cache: Cache, repo: Path) -> None:
    (repo / "drivers/hv/a.c").write_text("int three;\n")
    (repo / "drivers/hv/new.c").write_text("int fresh;\n")
    (repo / "junk.o").write_text("junk")
    git(repo, "add", "drivers/hv/a.c")
    before = git(repo, "status", "--porcelain"), sorted(p.name for p in (repo / ".git").rglob("*"))
    source = get(cache, tree=str(repo))
    assert (source.tree / "drivers/hv/a.c").read_text() == "int three;\n"
    assert (source.tree / "drivers/hv/new.c").is_file()
    assert not (source.tree / "junk.o").exists() and not (source.tree / ".git").exists()
    assert "working tree changes included: 2 files" in source.notes[0]
    assert source.lock.version.endswith("+changes")
    assert (git(repo, "status", "--porcelain"), sorted(p.name for p in (repo / ".git").rglob("*"))) == before


def test_a_git_lock_is_made_again_from_the_repository_or_refused(
    cache: Cache, repo: Path, tmp_path: Path
) -> None:
    lock = tmp_path / "lock"
    source = get(cache, tree=f"{repo}@v1")
    lock.write_text(lockfile.dumps(source.lock))
    shutil.rmtree(cache.root)
    assert get(cache, f"lock:{lock}").key == source.key
    (repo / "drivers/hv/a.c").write_text("int changed;\n")
    lock.write_text(lockfile.dumps(get(cache, tree=str(repo)).lock))
    assert (get(cache, f"lock:{lock}").tree / "drivers/hv/a.c").read_text() == "int changed;\n"
    shutil.rmtree(cache.root)
    with pytest.raises(LabUnavailable, match="cannot be made again"):
        get(cache, f"lock:{lock}")


def test_what_names_no_source_is_refused(cache: Cache, tmp_path: Path, repo: Path) -> None:
    (tmp_path / "bad.lock").write_text('{"kind": "debian", "wrong": 1}')
    for spec, tree, says in (
        ("nothing.tar.xz", None, "no such base"),
        ("debain", None, "no such base"),
        (f"lock:{tmp_path}/none", None, "no such lock file"),
        (f"lock:{tmp_path}/bad.lock", None, "unknown keys \\['wrong'\\]"),
        (None, str(tmp_path), "not a git working tree"),
        (None, str(tmp_path / "none"), "not a git working tree"),
        (None, f"{repo}@v9", "no commit 'v9'"),
        ("debian", str(repo), "exclude each other"),
    ):
        with pytest.raises(BadInput, match=says):
            get(cache, spec, tree)


def offer(version: str) -> Candidate:
    minor = ".".join(version.split(".")[:2])
    return Candidate(f"linux-source-{minor}", version, version.ljust(64, "0"), "sid")


OFFERS = [offer(v) for v in ("7.4.1-1", "7.3.4-1", "7.3.4-1~bpo13+1", "7.2.13-1")]


def test_the_newest_kernel_inside_the_range_is_chosen() -> None:
    assert specs.choose(OFFERS, VersionRange.parse("7.2-7.3"))[0].version == "7.3.4-1"
    assert specs.choose(OFFERS, None) == (OFFERS[0], ())
    chosen, notes = specs.choose(OFFERS, VersionRange.parse("6.15-7.0"))
    assert chosen.version == "7.4.1-1" and "no kernel source 6.15–7.0" in notes[0]


class FakeArchive:
    """What Debian offers; ``reachable`` False is a machine without network."""

    reachable = True

    def __init__(self, cache: Cache, progress: object) -> None:
        self.notes: list[str] = []

    def candidates(self, *, refresh: bool = False) -> list[Candidate]:
        if not self.reachable:
            raise LabUnavailable("no network")
        return OFFERS


@pytest.fixture
def debian(monkeypatch: pytest.MonkeyPatch, cache: Cache) -> type[FakeArchive]:
    """An archive, and 7.3.4-1 of it in the cache."""
    monkeypatch.setattr(specs, "Archive", FakeArchive)
    monkeypatch.setattr(FakeArchive, "reachable", True)
    lock = OFFERS[1].lock()
    about = {"lock": lockfile.dumps(lock)}
    cache.publish("source", specs._key(lock), lambda d: kernel_tree(d / "tree") and None, about=about)
    return FakeArchive


def test_debian_versions_by_minor_and_by_full_version(cache: Cache, debian: type[FakeArchive]) -> None:
    for spec in ("debian:7.3", "debian:7.3.4", "debian:7.3.4-1"):
        assert get(cache, spec).lock.version == "7.3.4-1"
    assert get(cache, fits=VersionRange.parse("7.3")).lock.version == "7.3.4-1"
    with pytest.raises(BadInput, match=r"no linux-source 7\.30") as caught:
        get(cache, "debian:7.30")
    assert "7.2.13-1" in caught.value.hint


def test_without_network_the_cached_package_is_used_and_said_so(
    cache: Cache, debian: type[FakeArchive]
) -> None:
    debian.reachable = False
    for source in (get(cache), get(cache, fits=VersionRange.parse("7.3")), get(cache, "debian:7.3")):
        assert source.lock.version == "7.3.4-1"
        assert "no network" in source.notes[0] and "from the cache" in source.notes[0]
    with pytest.raises(LabUnavailable, match="no network"):
        get(cache, fits=VersionRange.parse("7.2"))
    with pytest.raises(LabUnavailable, match="no network"):
        get(cache, "debian:7.2")


def test_a_locked_package_comes_from_the_cache_or_is_named_as_gone(
    cache: Cache, debian: type[FakeArchive], tmp_path: Path
) -> None:
    lock = tmp_path / "lock"
    lock.write_text(lockfile.dumps(OFFERS[1].lock()))
    debian.reachable = False
    assert get(cache, f"lock:{lock}").lock == OFFERS[1].lock()
    debian.reachable = True
    lock.write_text(lockfile.dumps(offer("7.3.1-1").lock()))
    with pytest.raises(LabUnavailable, match=r"7\.3\.1-1 is neither in the cache nor offered"):
        get(cache, f"lock:{lock}")
