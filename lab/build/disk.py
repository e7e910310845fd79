# SPDX-License-Identifier: GPL-2.0-or-later
"""Disk images that guests get read-only: an ext4 file system made from a folder, without root rights."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lab.model.errors import LabUnavailable
from lab.source.command import run, tool_env

_BUDGET = 300.0
_SPARE = 1.15
"""An ext4 file system of this size relative to its files has room for its own tables."""
_BLOCK = 4096
_INODES_SPARE = 256
_EPOCH = "1700000000"


def make_ext4(tree: Path, image: Path, label: str) -> None:
    """Write ``tree`` into a new image, as small as it may be, without a journal: nobody writes to it.

    Files belong to root in it wherever user namespaces allow that. LabUnavailable when mke2fs is
    missing or fails.
    """
    files, size = 0, 0
    for base, folders, names in os.walk(tree):
        files += len(folders) + len(names)
        for name in names:
            size += -(-os.lstat(Path(base, name)).st_size // _BLOCK) * _BLOCK
    blocks = int((size + files * 512) * _SPARE) // _BLOCK + 2048
    command = [
        *_as_root(),
        _tool("mke2fs"),
        "-q",
        "-F",
        *("-t", "ext4"),
        *("-O", "^has_journal,^metadata_csum,^resize_inode"),
        *("-L", label),
        *("-b", str(_BLOCK)),
        *("-m", "0"),
        *("-N", str(files + _INODES_SPARE)),
        *("-E", "root_owner=0:0,lazy_itable_init=0,nodiscard"),
        *("-d", str(tree)),
        str(image),
        str(blocks),
    ]
    run(
        command,
        what=f"making the disk image {image.name}",
        timeout=_BUDGET,
        env=tool_env({"E2FSPROGS_FAKE_TIME": _EPOCH}),
    )


def _tool(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise LabUnavailable(f"{name} is not installed", hint="install the Debian package e2fsprogs")
    return found


def _as_root() -> list[str]:
    """In a user namespace of its own the caller's files are root's; e2fsprogs 1.47.0 has no other way."""
    if os.getuid() == 0 or shutil.which("unshare") is None:
        return []
    probe = run(["unshare", "-r", "true"], what="trying a user namespace", timeout=10.0, check=False)
    return ["unshare", "-r"] if probe.code == 0 else []
