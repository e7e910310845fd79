# SPDX-License-Identifier: GPL-2.0-or-later
"""A tiny "kernel" in a git repository, and series made from it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab.model.kernel import KernelSource, SourceLock
from lab.model.series import KernelVersion

ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ann Author",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Carl",
    "GIT_COMMITTER_EMAIL": "carl@example.org",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
}


class Tiny:
    """A repository with three commits on top of its base."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "drivers/hv").mkdir(parents=True)
        (path / "Makefile").write_text("VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\n")
        (path / "Kbuild").write_text("obj-y += drivers/\n")
        (path / "drivers/hv/a.c").write_text("".join(f"int a{i};\n" for i in range(40)))
        (path / "drivers/hv/old.c").write_text("int old;\n")
        self.git("init", "-q", "-b", "main")
        self.commit("base")
        self.base = self.git("rev-parse", "HEAD").strip()
        self.edit("drivers/hv/a.c", "int a5;", "int a5 = 5;")
        self.commit("hv: set a5\n\nBecause it must be five.")
        (path / "drivers/hv/new.c").write_text("int fresh;\n")
        self.edit("drivers/hv/a.c", "int a20;", "int a20 = 20;")
        self.commit("hv: add new.c")
        (path / "drivers/hv/old.c").unlink()
        self.edit("drivers/hv/a.c", "int a5 = 5;", "int a5 = 55;")
        self.commit("hv: remove old.c")

    def git(self, *args: str) -> str:
        done = subprocess.run(["git", *args], cwd=self.path, env=ENV, check=True, capture_output=True)
        return done.stdout.decode()

    def edit(self, name: str, old: str, new: str) -> None:
        file = self.path / name
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def mbox(self, *options: str) -> bytes:
        return self.git("format-patch", "--stdout", *options, f"{self.base}..HEAD").encode()

    def source(self, tmp: Path) -> KernelSource:
        """The base, without git, as a kernel source."""
        tree = tmp / "tree"
        tree.mkdir()
        self.git("--work-tree", str(tree), "checkout", "-q", "-f", self.base, "--", ".")
        self.git("checkout", "-q", "-f", "HEAD")
        return KernelSource(
            KernelVersion(7, 3, 4), tree, "tinykey", SourceLock("tarball", "tiny.tar", "", "0" * 64)
        )


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Made once; tests do not change it."""
    return Tiny(tmp_path_factory.mktemp("tiny"))
