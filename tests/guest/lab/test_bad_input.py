# SPDX-License-Identifier: GPL-2.0-or-later
"""What the user gave cannot be used: exit code 2 and one clear message, at once and without a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab import paths

HURRY = 60.0
"""Seconds within which bad input must be refused: far less than a build, more than a busy start-up."""

MAIL = """From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: Somebody <somebody@example.org>
Date: Mon, 23 Nov 2026 04:01:24 +0000
Subject: [PATCH] hv: a change

---
 {path} | 1 +
 1 file changed, 1 insertion(+)

diff --git a/{path} b/{path}
new file mode 100644
--- /dev/null
+++ b/{path}
@@ -0,0 +1 @@
+text
--
2.39.5
"""


def refused(hvlab: Any, *args: str | Path, stdin: bytes = b"", timeout: float = HURRY) -> str:
    """Run, expect exit code 2; the one message on stderr."""
    done = hvlab(*args, expect=2, stdin=stdin, timeout=timeout)
    assert "Traceback" not in done.err, done
    messages = [line for line in done.err.splitlines() if line.startswith("hvlab")]
    assert len(messages) == 1, done
    assert not done.out.strip(), done
    message: str = done.err[done.err.index(messages[0]) :]
    return message


REFUSED = [
    (("machine", "show", "--param", "cpu=2"), ("mshv-root.toml.j2:", "'cpu'", "did you mean 'cpus'")),
    (("machine", "show", "--param", "cpus=99"), ("cpus", "99")),
    (("machine", "show", "nonsense"), ("'nonsense'", "mshv-root")),
    (("machine", "show", "--param", "cpus"), ("--param", "K=V")),
    (("up", "--machine", "nonsense"), ("'nonsense'", "mshv-root")),
    (("up", "--kernel", "/etc/passwd"), ("/etc/passwd", "not an x86 bzImage")),
    (("up", "--name", "No Such Name"), ("'No Such Name'", "small letters")),
    (("validate", "--machine", "nonsense"), ("'nonsense'", "mshv-root")),
    (("validate", "--param", "cpu=2"), ("'cpu'", "did you mean 'cpus'")),
    (("validate", "--qemu", "/nonexistent"), ("/nonexistent", "QEMU")),
    (("validate", "--base", "nonsense"), ("'nonsense'", "debian:7.2")),
    (("validate", "--base", "lock:/nonexistent"), ("/nonexistent", "lock file")),
    (("validate", "--tree", "/nonexistent"), ("/nonexistent", "git")),
    (("validate", "--base", "debian", "--tree", "."), ("not allowed with",)),
    (("validate", "--fixes", "X"), ("--fixes", "X", "C16")),
    (("validate", "-k", "a b ("), ("-k", "expression")),
    (("validate", "--flavour", "nonsense"), ("'nonsense'", "plain")),
    (("validate", "/nonexistent"), ("/nonexistent", "no such series")),
    (("validate", "v1..v2"), ("v1..v2", "--tree")),
    (("ssh", "child"), ("no lab is up", "hvlab up")),
    (("ssh", "--name", "nolab"), ("'nolab'", "hvlab up")),
    (("ledger", "--name", "nolab"), ("'nolab'", "hvlab up")),
    (("mmio", "read", "0x0"), ("no lab is up", "hvlab up")),
    (("mmio", "read", "zero"), ("offset", "'zero'")),
    (("down",), ("no lab is up",)),
    (("nonsense",), ("'nonsense'", "validate")),
]


@pytest.mark.parametrize(("args", "says"), REFUSED, ids=[" ".join(args) for args, _ in REFUSED])
def test_refused(hvlab: Any, args: tuple[str, ...], says: tuple[str, ...]) -> None:
    message = refused(hvlab, *args)
    for text in says:
        assert text in message


def test_no_scenario_matches(hvlab: Any) -> None:
    # Known only once the scenarios were collected: the kernels are built by then.
    message = refused(hvlab, "validate", "--base", "debian", "-k", "nothing_is_called_so", timeout=1800.0)
    assert "no scenario selected" in message and "nothing_is_called_so" in message


def test_series_that_are_no_series(hvlab: Any, tmp_path: Path) -> None:
    empty = tmp_path / "empty.mbox"
    empty.write_text("")
    assert "empty" in refused(hvlab, "validate", empty)
    words = tmp_path / "words.mbox"
    words.write_text("From: a\nSubject: [PATCH] b\n\nno diff in here\n")
    assert "no diff" in refused(hvlab, "validate", words)
    torn = tmp_path / "torn.mbox"
    torn.write_text(MAIL.format(path="drivers/hv/new.c").split("+text")[0])
    assert "torn" in refused(hvlab, "validate", torn) or "cut" in refused(hvlab, "validate", torn)
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "no patches in this folder" in refused(hvlab, "validate", folder)
    binary = tmp_path / "binary.mbox"
    binary.write_bytes(bytes(range(256)) * 64)
    refused(hvlab, "validate", binary)


@pytest.mark.parametrize(
    "path", ["../../outside", "/tmp/hvt-outside", "drivers/../../../outside", ".git/hooks/pre-commit"]
)
def test_path_traversal_is_refused_and_writes_nothing(hvlab: Any, tmp_path: Path, path: str) -> None:
    series = tmp_path / "series.mbox"
    series.write_text(MAIL.format(path=path))
    message = refused(hvlab, "validate", series, "--out", tmp_path / "out")
    assert path.split("/")[-1] in message
    assert not list(tmp_path.rglob("outside")) and not list(hvlab.folder.rglob("outside"))
    assert not Path("/tmp/hvt-outside").exists()


def test_series_from_standard_input_is_read_only_when_asked_for(hvlab: Any) -> None:
    """``-`` reads stdin (and judges what it says); every other series leaves stdin alone."""
    broken = (
        paths.tests_dir() / "series/broken-apply/0001-mshv-BROKEN-ON-PURPOSE-does-not-apply.patch"
    ).read_bytes()
    bad = MAIL.format(path="../outside").encode()
    assert "outside" in refused(hvlab, "validate", "-", stdin=bad)
    assert "/nonexistent" in refused(hvlab, "validate", "/nonexistent", stdin=bad)
    done = hvlab(
        "validate", "-", "-k", "map_refused_at_region_set", "--out", hvlab.folder / "out",
        stdin=broken, expect=1, timeout=1800.0,
    )  # fmt: skip
    table = " ".join(done.out.split())
    assert "does not apply" in table and "hunk 1 of 1 does not fit" in table
