# SPDX-License-Identifier: GPL-2.0-or-later
"""A build is a stranger's program: what it leaves and what it says is not to be believed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab.build import diagnose
from lab.build.kernel import built, keep_image
from lab.build.sandbox import Sandbox, probe
from lab.model.errors import KernelBuildFailed


@pytest.mark.parametrize("name", ["{secret}", "../secret", "sub/../../secret", "link"])
def test_an_error_that_names_a_file_elsewhere_shows_nothing_of_it(tmp_path: Path, name: str) -> None:
    """``#line 1 "/etc/shadow"`` is valid C, and the report goes to a mailing list."""
    secret = tmp_path / "secret"
    secret.write_text("password\n")
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "link").symlink_to(secret)
    line = f"{name.format(secret=secret)}:1:2: error: #error here"
    found = diagnose.failure([line], src="/src", what="x", roots=[tree], last_patch={})
    assert "password" not in str(found) and "#error here" in str(found)


IMAGE = ("arch/x86/boot/bzImage", "vmlinux", "System.map", ".config", "include/config/kernel.release")


def objects(tmp_path: Path) -> Path:
    obj = tmp_path / "obj"
    for name in IMAGE:
        (obj / name).parent.mkdir(parents=True, exist_ok=True)
        (obj / name).write_text("fine")
    (tmp_path / "entry").mkdir()
    return obj


def test_the_files_of_an_honest_build_are_kept(tmp_path: Path) -> None:
    keep_image(objects(tmp_path), tmp_path / "entry")
    assert (tmp_path / "entry" / "release").read_text() == "fine"


@pytest.mark.parametrize("name", IMAGE)
def test_a_link_or_a_pipe_in_place_of_a_result_is_refused(tmp_path: Path, name: str) -> None:
    obj = objects(tmp_path)
    (tmp_path / "secret").write_text("password")
    (obj / name).unlink()
    (obj / name).symlink_to(tmp_path / "secret")
    with pytest.raises(KernelBuildFailed, match="no plain file"):
        keep_image(obj, tmp_path / "entry")
    (obj / name).unlink()
    os.mkfifo(obj / name)
    (tmp_path / "entry2").mkdir()
    with pytest.raises(KernelBuildFailed, match="no plain file"):
        keep_image(obj, tmp_path / "entry2")


def test_a_folder_of_results_that_is_a_link_is_refused(tmp_path: Path) -> None:
    obj = objects(tmp_path)
    (obj / "arch").rename(tmp_path / "arch")
    (obj / "arch").symlink_to(tmp_path / "arch")
    with pytest.raises(KernelBuildFailed, match="no plain file"):
        built(obj, IMAGE[0])


@pytest.fixture(scope="module")
def box() -> Sandbox:
    found = probe()
    if found is None:
        pytest.skip("bubblewrap does not work on this machine")
    return found


def test_what_runs_inside_sees_no_process_of_the_host_and_gets_no_privileges_back(
    box: Sandbox, tmp_path: Path
) -> None:
    script = (
        f"kill -0 {os.getpid()} || echo no process; ls /proc | grep -c '^[0-9]'; "
        "unshare -U true 2>/dev/null || echo no namespace; mknod d c 1 3 2>/dev/null || echo no device; "
        "awk '$5 == \"/obj\" {print $6}' /proc/self/mountinfo; "
        "find /proc -not -path '/proc/[0-9]*' -type f -writable 2>/dev/null; "
        "find /proc/sys -type f -writable 2>/dev/null; echo end"
    )
    argv = box.argv(["sh", "-c", script], ro={}, rw={tmp_path: "/obj"}, cwd="/obj", env={})
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    lines = done.stdout.splitlines()
    assert lines[0] == "no process" and int(lines[1]) < 6
    assert "no device" in lines and any("nosuid,nodev" in line for line in lines)
    assert not [line for line in lines if line.startswith("/proc")], "settings of the host are writable"
    assert lines[-1] == "end"
    if "--disable-userns" in argv:
        assert "no namespace" in lines
