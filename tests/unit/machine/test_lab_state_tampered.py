# SPDX-License-Identifier: GPL-2.0-or-later
"""A lab.json that names other people's files: ``doctor --clean`` removes the lab and leaves them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lab.machine import state
from lab.machine.proc import ProcessId

DEAD = ProcessId(2**22 + 1, 1)


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HVLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("HVLAB_SHM", str(tmp_path / "shm"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "shm").mkdir()


def cleaned(**changes: str) -> None:
    lab = state.create("a")
    lab.update(owner=DEAD, **changes)
    lab.unlock()
    state.clean(state.find("a"))
    assert state.list_labs() == []


@pytest.mark.parametrize("name", ["hvlab-src", "hvlab-", "hvlab-0123456", "work", "hvlab-01234567"])
def test_a_folder_with_files_is_never_a_folder_of_sockets(tmp_path: Path, name: str) -> None:
    other = tmp_path / name
    (other / "sub").mkdir(parents=True)
    (other / "precious").write_text("x")
    cleaned(run_dir=str(other))
    assert (other / "precious").read_text() == "x"


def test_a_link_named_like_a_folder_of_sockets_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "hvlab-01234567").symlink_to(other)
    cleaned(run_dir=str(tmp_path / "hvlab-01234567"))
    assert other.is_dir()


@pytest.mark.parametrize(
    "name", ["disk.ram", "hvlab-vm.ram", "hvlab-a-0123456z.ram", "hvlab-a-01234567.ram.bak"]
)
def test_a_file_of_another_name_is_no_ram_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    cleaned(ram=str(tmp_path / name))
    assert (tmp_path / name).exists()


def test_a_folder_or_link_named_like_a_ram_file_stays(tmp_path: Path) -> None:
    folder, link = tmp_path / "hvlab-a-01234567.ram", tmp_path / "hvlab-a-76543210.ram"
    folder.mkdir()
    (folder / "f").touch()
    (tmp_path / "f").touch()
    link.symlink_to(tmp_path / "f")
    cleaned(ram=str(folder))
    cleaned(ram=str(link))
    assert (folder / "f").exists() and (tmp_path / "f").exists()


@pytest.mark.parametrize("run_dir", ["..", ".", "/", "hvlab-01234567", "../hvlab-01234567", "\0"])
def test_odd_paths_are_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_dir: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hvlab-01234567").mkdir()
    cleaned(run_dir=run_dir, ram=run_dir)
    assert (tmp_path / "hvlab-01234567").is_dir()


def test_what_really_is_ours_goes(tmp_path: Path) -> None:
    lab = state.create("a")
    run, ram = lab.make_run_dir(), lab.make_ram(1 << 20)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(run / "qmp.sock"))
    (run / "bz_Image").symlink_to("/boot/bz Image")
    lab.update(owner=DEAD)
    lab.unlock()
    state.clean(state.find("a"))
    assert not run.exists() and not ram.exists()
