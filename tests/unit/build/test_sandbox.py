# SPDX-License-Identifier: GPL-2.0-or-later
"""The sandbox keeps what runs in it from the network, the home folder and everything not handed in."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.build.sandbox import Sandbox, probe


@pytest.fixture(scope="module")
def box() -> Sandbox:
    found = probe()
    if found is None:
        pytest.skip("bubblewrap does not work on this machine")
    return found


def inside(box: Sandbox, script: str, tmp_path: Path) -> str:
    (tmp_path / "ro").mkdir(exist_ok=True)
    (tmp_path / "rw").mkdir(exist_ok=True)
    argv = box.argv(
        ["sh", "-c", script],
        ro={tmp_path / "ro": "/src"},
        rw={tmp_path / "rw": "/obj"},
        cwd="/obj",
        env={"ASKED": "for"},
    )
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    return done.stderr + done.stdout


def test_no_network_no_home_no_privileges(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    home = tmp_path / "home"
    home.mkdir()
    (home / "key").write_text("secret")
    said = inside(
        box,
        "echo uid $(id -u); echo $(grep -c : /proc/net/dev) network devices; env; ls -A $HOME; "
        f"grep CapEff /proc/self/status; cat {home}/key; ls /root /home /etc/shadow /var /run; pwd",
        tmp_path,
    )
    lines = said.splitlines()
    assert "uid 65534" in lines
    assert "1 network devices" in lines, "only the loopback device"
    assert "SECRET_TOKEN" not in said and "ASKED=for" in lines
    assert "CapEff:\t0000000000000000" in said
    assert "secret" not in said.replace("SECRET", "")
    for gone in ("/root", "/home", "/etc/shadow", "/var", "/run"):
        assert f"'{gone}': No such file" in said
    assert lines[-1] == "/obj"


def test_only_what_is_handed_in_writable_is_writable(box: Sandbox, tmp_path: Path) -> None:
    said = inside(
        box, "echo x > /obj/made; echo x > /src/no; echo x > /usr/no; echo x > /no; ls -n /obj", tmp_path
    )
    assert (tmp_path / "rw" / "made").read_text() == "x\n"
    assert (tmp_path / "rw" / "made").stat().st_uid == os.getuid()
    assert said.count("Read-only file system") + said.count("Permission denied") >= 2
    assert list((tmp_path / "ro").iterdir()) == [] and not Path("/no").exists()


def test_the_exit_status_comes_through(box: Sandbox) -> None:
    argv = box.argv(["sh", "-c", "exit 7"], ro={}, rw={}, cwd="/", env={})
    assert subprocess.run(argv, timeout=20, check=False).returncode == 7


def test_what_runs_inside_dies_with_its_starter(box: Sandbox, tmp_path: Path) -> None:
    marker = f"{70 + time.time_ns() % 10**6 / 10**7:.7f}"
    argv = box.argv(["sleep", marker], ro={}, rw={}, cwd="/", env={})
    code = f"import subprocess; subprocess.Popen({argv!r}); import time; time.sleep(60)"
    starter = subprocess.Popen([sys.executable, "-c", code])
    try:
        assert _wait(lambda: _running(marker))
        starter.kill()
        starter.wait()
        assert _wait(lambda: not _running(marker))
    finally:
        starter.kill()
        starter.wait()


def test_without_a_sandbox_paths_cannot_move_and_the_environment_is_still_clean(tmp_path: Path) -> None:
    none = Sandbox("none")
    with pytest.raises(ValueError, match="cannot move"):
        none.argv(["true"], ro={tmp_path: "/src"}, rw={}, cwd="/", env={})
    argv = none.argv(["env"], ro={tmp_path: str(tmp_path)}, rw={}, cwd=str(tmp_path), env={"A": "b"})
    said = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True).stdout
    assert "A=b" in said.splitlines() and "PYTEST_CURRENT_TEST" not in said


def _running(marker: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", marker.encode()]:
            return True
    return False


def _wait(condition: object) -> bool:
    assert callable(condition)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False
