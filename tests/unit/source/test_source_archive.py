# SPDX-License-Identifier: GPL-2.0-or-later
"""What the private apt root is told, and how apt's answers are read."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

from lab.cache import Cache
from lab.model.errors import LabUnavailable
from lab.model.series import KernelVersion
from lab.progress import NullProgress
from lab.source import archive
from lab.source.archive import Archive, apt_configuration, parse_madison, parse_stanzas, pick_mirror

MADISON = """\
linux-source-7.2 | 7.2.12-1~bpo13+1 | http://mirror.example/debian trixie-backports/main amd64 Packages
linux-source-7.2 |   7.2.13-1 | http://mirror.example/debian sid/main amd64 Packages
linux-source-7.3 | 7.3.4-1~bpo13+1 | http://mirror.example/debian trixie-backports/main amd64 Packages
     linux | 7.3.4-1 | http://mirror.example/debian sid/main Sources
"""
SHOW = """\
Package: linux-source-7.2
Source: linux
Version: 7.2.13-1
SHA256: aa
Description-md5: 1

Package: linux-source-7.2
Version: 7.2.12-1~bpo13+1
SHA256: bb

Package: linux-source-7.3
Version: 7.3.4-1~bpo13+1
SHA256: cc
"""
HOST = """\
Packages|main|Google LLC|Google|stable|https://third.example/chrome/
Packages|main|Debian|Debian-Security|trixie-security|http://mirror.example/debian-security/
Packages|main|Debian|Debian|trixie|http://mirror.example/debian/
Translations|main|Debian|Debian|trixie|http://mirror.example/debian/
"""


def test_apts_answers_are_read() -> None:
    assert parse_madison(MADISON) == {
        ("linux-source-7.2", "7.2.12-1~bpo13+1"): "trixie-backports",
        ("linux-source-7.2", "7.2.13-1"): "sid",
        ("linux-source-7.3", "7.3.4-1~bpo13+1"): "trixie-backports",
    }
    assert parse_stanzas(SHOW)["linux-source-7.3", "7.3.4-1~bpo13+1"] == "cc"
    assert list(parse_stanzas(SHOW).values()) == ["aa", "bb", "cc"]


def test_the_mirror_is_debians_and_no_other() -> None:
    assert pick_mirror(HOST, "trixie") == "http://mirror.example/debian/"
    assert pick_mirror("\n".join(HOST.splitlines()[:2]), "trixie") is None
    assert pick_mirror("", "trixie") is None


def test_a_machine_that_never_fetched_an_index_has_its_mirror_by_suite_name() -> None:
    unread = re.sub(r"\|(Debian|Google LLC)\|(Debian-Security|Debian|Google)\|", "|||", HOST)
    unread = "Packages|main|||trixie|http://third.example/docker\n" + unread
    assert pick_mirror(unread, "trixie") == "http://mirror.example/debian/"


def test_nothing_of_the_hosts_apt_state_is_touched(tmp_path: Path) -> None:
    text = apt_configuration(tmp_path, 'Acquire::http::Proxy "http://proxy:1";\n')
    assert 'Acquire::http::Proxy "http://proxy:1";' in text
    for key in ("Dir::State", "Dir::State::lists", "Dir::Cache", "Dir::Etc::sourceparts", "Dir::Log"):
        value = re.search(rf'^{key} "(.*)";$', text, re.MULTILINE)
        assert value is not None and Path(value[1]).is_relative_to(tmp_path), key
    for key in ("Dir::Etc::parts", "Dir::Etc::main", "Dir::Etc::sourcelist", "Dir::Etc::preferencesparts"):
        assert f'{key} "/dev/null";' in text
    assert "AllowInsecure" not in text and "Trusted" not in text


class FakeApt(Archive):
    """An archive whose apt-get update says what a test wants, per suite list."""

    missing: tuple[str, ...] = ()
    broken = ""
    updates = 0

    def _configure(self, suites: list[str]) -> None:
        self.suites = suites

    def _apt_try(self, *argv: str, timeout: float) -> str:
        self.updates += 1
        lacking = [s for s in self.missing if s in self.suites]
        if lacking:
            url = f"http://m/debian {lacking[0]} Release"
            return f"E: The repository '{url}' does not have a Release file.\nE: exit 100"
        return self.broken

    def _query(self, *argv: str) -> str:
        return {"pkgnames": "linux-source-7.2\nlinux-source-7.3\nlinux-source\n", "show": SHOW}.get(
            argv[1], MADISON
        )


@pytest.fixture
def apt(tmp_path: Path) -> FakeApt:
    (tmp_path / "apt").mkdir()
    return FakeApt(Cache(tmp_path), NullProgress())


def test_kernels_are_offered_newest_first(apt: FakeApt) -> None:
    found = apt.candidates()
    assert [c.version for c in found] == ["7.3.4-1~bpo13+1", "7.2.13-1", "7.2.12-1~bpo13+1"]
    assert (found[0].kernel, found[0].suite, found[0].sha256) == (
        KernelVersion(7, 3, 4),
        "trixie-backports",
        "cc",
    )


def test_a_suite_that_the_mirror_lacks_is_left_out(apt: FakeApt) -> None:
    apt.missing = ("forky-backports", "bookworm-backports")
    assert len(apt.candidates()) == 3
    assert apt.updates == 3 and "sid" in apt.suites and "forky-backports" not in apt.suites


def test_the_index_is_fetched_again_only_when_it_is_old(apt: FakeApt, tmp_path: Path) -> None:
    apt.candidates()
    apt.candidates()
    assert apt.updates == 1
    old = time.time() - archive.REFRESH_AFTER - 60
    os.utime(tmp_path / "apt" / "candidates.json", (old, old))
    apt.candidates()
    assert apt.updates == 2
    apt.candidates(refresh=True)
    assert apt.updates == 3


@pytest.mark.parametrize(
    "broken",
    [
        "Err:1 http://m/debian trixie InRelease\n  Could not resolve 'm'\nE: exit 100",
        "W: An error occurred during the signature verification. GPG error: NO_PUBKEY 1",
    ],
)
def test_an_unusable_mirror_leaves_the_last_index_and_says_how_old_it_is(
    apt: FakeApt, tmp_path: Path, broken: str
) -> None:
    apt.broken = broken
    with pytest.raises(LabUnavailable, match="could not be fetched") as caught:
        apt.candidates()
    assert broken.splitlines()[0] in caught.value.detail
    apt.broken = ""
    apt.candidates()
    apt.broken = broken
    assert len(apt.candidates(refresh=True)) == 3
    assert "package index is 0 h old" in apt.notes[0]


def test_a_damaged_index_is_fetched_again(apt: FakeApt, tmp_path: Path) -> None:
    (tmp_path / "apt" / "candidates.json").write_text(json.dumps([{"wrong": 1}]))
    assert len(apt.candidates()) == 3 and apt.updates == 1


def test_a_full_disk_is_told_before_apt_tries(apt: FakeApt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "INDEX_SPACE", 1 << 62)
    with pytest.raises(LabUnavailable, match="the package index needs"):
        apt.candidates()
    assert apt.updates == 0
