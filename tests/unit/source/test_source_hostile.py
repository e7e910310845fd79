# SPDX-License-Identifier: GPL-2.0-or-later
"""Tarballs that would write elsewhere, read elsewhere, or make the reader wait for ever."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from lab.model.errors import BadInput
from lab.source.unpack import tree_version, unpack_tarball

MAKEFILE = b"VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\n"
FILE, LINK, HARD, PIPE, DEVICE = (
    tarfile.REGTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.FIFOTYPE,
    tarfile.CHRTYPE,
)

Member = tuple[str, bytes, str]


def tarball(path: Path, members: list[Member]) -> Path:
    files = {"k/Makefile": MAKEFILE, "k/Kbuild": b"x"}
    with tarfile.open(path, "w") as tar:
        for name in files.keys() - {m[0] for m in members}:
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            tar.addfile(info, io.BytesIO(files[name]))
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = kind, target, 0o4777
            info.devmajor, info.devminor = 1, 3
            tar.addfile(info, io.BytesIO())
    return path


@pytest.mark.parametrize(
    "members",
    [
        [("k/../../../out", FILE, "")],
        [("k/l", LINK, "../../.."), ("k/l/out", FILE, "")],
        [("k/l", LINK, "/etc/shadow")],
        [("k/l", LINK, "../../secret")],
        [("z", LINK, "/etc")],
        [("k/l", HARD, "/etc/shadow")],
        [("k/s", LINK, "/etc"), ("k/l", HARD, "k/s/shadow")],
        [("k/p", PIPE, "")],
        [("k/Makefile", PIPE, "")],
        [("k/Makefile", LINK, "/dev/zero")],
        pytest.param(
            [("k/d", DEVICE, "")],
            marks=pytest.mark.skipif(os.getuid() != 0, reason="only root makes devices"),
        ),
    ],
)
def test_a_member_that_is_not_inside_or_no_file_is_refused(tmp_path: Path, members: list[Member]) -> None:
    into = tmp_path / "a" / "b" / "tree"
    into.parent.mkdir(parents=True)
    with pytest.raises(BadInput):
        unpack_tarball(tarball(tmp_path / "x.tar", members), into)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "x.tar"]
    assert not into.exists() or not list(into.glob("out"))


def test_links_inside_the_tree_are_kept_and_set_user_id_is_not(tmp_path: Path) -> None:
    made = tarball(
        tmp_path / "x.tar", [("k/l", LINK, "Makefile"), ("k/d/l", LINK, "../Makefile"), ("k/s", FILE, "")]
    )
    (tmp_path / "e").mkdir()
    unpack_tarball(made, tmp_path / "e" / "tree")
    assert (tmp_path / "e" / "tree" / "d" / "l").read_bytes() == MAKEFILE
    assert (tmp_path / "e" / "tree" / "s").stat().st_mode & 0o6000 == 0


def test_a_colon_in_its_name_is_not_a_remote_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "e").mkdir()
    tarball(tmp_path / "host:x.tar", [])
    monkeypatch.chdir(tmp_path)
    unpack_tarball(Path("host:x.tar"), tmp_path / "e" / "tree")


def test_a_makefile_that_is_a_pipe_or_a_device_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "Kbuild").touch()
    for make in (lambda p: os.mkfifo(p), lambda p: p.symlink_to("/dev/zero")):
        make(tmp_path / "Makefile")
        with pytest.raises(BadInput, match="not a kernel source tree"):
            tree_version(tmp_path)
        (tmp_path / "Makefile").unlink()
