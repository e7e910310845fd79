# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab splats``: the parser for a log that lies somewhere."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import paths
from lab.cli.main import main

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "splats"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "console.log"
    path.write_bytes((GOLDEN / "oops-null-pointer.log").read_bytes().partition(b"--- log ---\n")[2])
    return path


def test_text_names_what_was_found_and_what_came_of_it(log, capsys):
    assert main(["splats", str(log)]) == 1
    out = capsys.readouterr().out
    assert "line 1: NULL pointer dereference in mshv_partition_region_by_gfn\n" in out
    assert "  by      mshv-vmm/54, CPU 1\n" in out
    assert "  also    BUG: kernel NULL pointer dereference in mshv_partition_region_by_gfn\n" in out
    assert "panic: Fatal exception (not the first)" in out


def test_json_has_every_field(log, capsys):
    assert main(["splats", str(log), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["lines"] == len(log.read_text().splitlines())
    one, other = found["splats"]
    assert set(one) == {
        *("id", "class", "title", "also", "frames", "task", "cpu", "line", "corrupted", "damage", "after"),
        "text",
    }
    assert (one["class"], one["cpu"], one["line"], one["after"]) == ("oops", 1, 1, "")
    assert other["after"] == one["id"]


def test_no_splat_is_zero(tmp_path, capsys):
    (tmp_path / "log").write_text("[    0.000000] Linux version 7.3.4\n")
    assert main(["splats", str(tmp_path / "log")]) == 0
    assert capsys.readouterr().out == "no splat in 1 lines\n"
    assert main(["splats", str(tmp_path / "log"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"splats": [], "lines": 1}


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_compressed_logs_are_read(log, capsys, pack):
    assert main(["splats", str(log), "--json"]) == 1
    plain = capsys.readouterr().out
    log.write_bytes(pack(log.read_bytes()))
    assert main(["splats", str(log), "--json"]) == 1
    assert capsys.readouterr().out == plain


def test_first_stops_there(log, capsys):
    assert main(["splats", str(log), "--first", "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["splats"]) == 1


@pytest.mark.parametrize("kind", ["missing", "folder", "torn"])
def test_what_cannot_be_read_is_bad_input(log, tmp_path, capsys, kind):
    path = tmp_path / "no-such-file"
    if kind == "folder":
        path = tmp_path
    elif kind == "torn":
        path = log
        # Random bytes do not compress: half of the file is half of the log.
        path.write_bytes(gzip.compress(os.urandom(200_000))[:100_000])
    assert main(["splats", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_a_terminal_is_safe_from_the_log(tmp_path, capsys):
    (tmp_path / "log").write_bytes(b"BUG: x \x1b]0;owned\x07 \xe2\x80\xae y\n")
    assert main(["splats", str(tmp_path / "log"), "--raw"]) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out and "\u202e" not in out


def test_standard_input_is_looked_at_as_it_comes(log):
    """The first splat is told while the writer still holds the pipe open."""
    env = {**os.environ, "PYTHONPATH": str(paths.repo_root())}
    argv = [sys.executable, "-c", "import sys, lab.cli; sys.exit(lab.cli.main())", "splats", "-", "--first"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(log.read_bytes())
    process.stdin.flush()
    assert b"NULL pointer dereference" in process.stdout.readline()
    process.stdin.close()
    assert process.wait(30) == 1
    process.stdout.close()


def test_standard_input_can_be_closed(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b""))))
    assert main(["splats", "-"]) == 0
    assert capsys.readouterr().out == "no splat in 0 lines\n"
