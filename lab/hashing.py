# SPDX-License-Identifier: GPL-2.0-or-later
"""Content keys. Two things have the same key exactly when their content is the same."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

KEY_LENGTH = 20
"""Hex digits of a key: 80 bits, short enough for a folder name."""

_CHUNK = 1 << 20


def digest(*parts: bytes | str | Path) -> str:
    """Key of ``parts`` in this order: 20 hex digits. A ``Path`` stands for that file's content.

    Every part is hashed with its type and length, so ``("ab", "c")`` and ``("a", "bc")`` differ.
    OSError if a file cannot be read.
    """
    h = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            h.update(b"f" + bytes.fromhex(file_sha256(part)))
        else:
            data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
            tag = b"s" if isinstance(part, str) else b"b"
            h.update(tag + len(data).to_bytes(8, "little") + data)
    return h.hexdigest()[:KEY_LENGTH]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, 64 hex digits."""
    h = hashlib.sha256()
    with path.open("rb") as f:
        while chunk := f.read(_CHUNK):
            h.update(chunk)
    return h.hexdigest()


def tree_digest(directory: Path) -> str:
    """Key of a folder: names, kinds, executable bits and content; times and owners do not count.

    ``.git``, ``__pycache__`` and names ending in ``~`` are left out. NotADirectoryError if
    ``directory`` is not a folder.
    """
    if not directory.is_dir():
        raise NotADirectoryError(str(directory))
    parts: list[bytes | str] = []
    for base, dirs, files in os.walk(directory):
        dirs[:] = sorted(d for d in dirs if d not in (".git", "__pycache__"))
        links = [d for d in dirs if Path(base, d).is_symlink()]
        for name in sorted(f for f in files + links if not f.endswith("~")):
            path = Path(base, name)
            info = path.lstat()
            parts.append(str(path.relative_to(directory)))
            if stat.S_ISLNK(info.st_mode):
                parts.append(b"l" + os.fsencode(path.readlink()))
            elif stat.S_ISREG(info.st_mode):
                executable = b"x" if info.st_mode & stat.S_IXUSR else b"-"
                parts.append(executable + bytes.fromhex(file_sha256(path)))
    return digest(*parts)
