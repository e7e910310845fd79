# SPDX-License-Identifier: GPL-2.0-or-later
"""The ``newc`` cpio format that the kernel takes as an initramfs, written in pure Python.

Format: Linux ``Documentation/driver-api/early-userspace/buffer-format.rst``. The same content gives
the same bytes: entries are sorted, times are 0, everything belongs to root.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"
_SEGMENT_ALIGN = 512


@dataclass(slots=True)
class _Node:
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Archive:
    """A tree under construction. Paths are relative to the root, without a leading slash."""

    _nodes: dict[str, _Node] = field(default_factory=dict)

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a folder (and those above it); an existing one gets ``mode``."""
        self._put(path, _Node(stat.S_IFDIR | mode))

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add a regular file."""
        self._put(path, _Node(stat.S_IFREG | mode, data))

    def symlink(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._put(path, _Node(stat.S_IFLNK | 0o777, target.encode()))

    def char_device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Add a character device node."""
        self._put(path, _Node(stat.S_IFCHR | mode, device=(major, minor)))

    def __contains__(self, path: str) -> bool:
        return path in self._nodes

    def pack(self) -> bytes:
        """The archive, padded with zeros so that another one may follow."""
        parts = [
            _entry(number, path, node)
            for number, (path, node) in enumerate(sorted(self._nodes.items()), start=1)
        ]
        parts.append(_entry(0, _TRAILER, _Node(0)))
        data = b"".join(parts)
        return data + bytes(-len(data) % _SEGMENT_ALIGN)

    def _put(self, path: str, node: _Node) -> None:
        parts = path.split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise ValueError(f"not a plain relative path: {path!r}")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            if not stat.S_ISDIR(self._nodes.setdefault(above, _Node(stat.S_IFDIR | 0o755)).mode):
                raise ValueError(f"{above!r} is no folder, so it cannot hold {path!r}")
        old = self._nodes.get(path)
        if old is not None and stat.S_IFMT(old.mode) != stat.S_IFMT(node.mode):
            raise ValueError(f"{path!r} exists already as something else")
        self._nodes[path] = node


def _entry(number: int, path: str, node: _Node) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(node.mode) else 1
    fields = (
        number,
        node.mode,
        0,
        0,
        links,
        0,
        len(node.data),
        0,
        0,
        *node.device,
        len(name),
        0,
    )
    header = _MAGIC + b"".join(b"%08x" % value for value in fields) + name
    return _pad(header) + _pad(node.data)


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
