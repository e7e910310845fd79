# SPDX-License-Identifier: GPL-2.0-or-later
"""A thread by b4, or one clear error; b4 itself is a small script here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lab.model.errors import BadInput, LabUnavailable
from lab.series import b4
from lab.series.b4 import fetch_b4
from lab.series.inbox import read_inbox

sys.path.insert(0, str(Path(__file__).parent))
from mailing import mbox, series


def tool(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a b4 into the PATH."""
    folder.mkdir()
    (folder / "b4").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "b4").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_the_thread_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = mbox(tmp_path / "served", *series("hv: Map lazily", id="one"))
    script = f'echo "$*" > {tmp_path}/asked; while [ "$1" != -o ]; do shift; done; cp {source} "$2/$4"'
    tool(tmp_path / "bin", script, monkeypatch)
    out = fetch_b4("<one.0@x>", tmp_path / "out" / "thread.mbox")
    assert [s.id for s in read_inbox(str(out)).series] == ["hv-map-lazily/v1"]
    assert [p.name for p in out.parent.iterdir()] == ["thread.mbox"]
    asked = (tmp_path / "asked").read_text().split()
    assert asked[0] == "mbox" and asked[-1] == "one.0@x"


@pytest.mark.parametrize("script", ["echo no network >&2; exit 1", "echo no network", "kill -9 $$"])
def test_a_b4_that_fetches_nothing_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    tool(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(LabUnavailable, match="fetched no thread") as caught:
        fetch_b4("one.0@x", tmp_path / "out" / "thread.mbox")
    assert caught.value.where == "one.0@x" and caught.value.hint
    assert "no network" in caught.value.detail or "kill" in script
    assert not list((tmp_path / "out").iterdir())


def test_a_b4_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path / "bin", "exec sleep 60", monkeypatch)
    monkeypatch.setattr(b4, "_BUDGET", 0.2)
    with pytest.raises(LabUnavailable, match="no end after"):
        fetch_b4("one.0@x", tmp_path / "thread.mbox")


def test_without_b4_the_hint_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(LabUnavailable, match="not installed") as caught:
        fetch_b4("one.0@x", tmp_path / "thread.mbox")
    assert "install" in caught.value.hint


@pytest.mark.parametrize("text", ["", "x", "--help@x", "a b@x", "../x@y", "https://example.org/x@y"])
def test_what_is_no_message_id_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput, match="not a message id"):
        fetch_b4(text, tmp_path / "thread.mbox")
