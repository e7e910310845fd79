# SPDX-License-Identifier: GPL-2.0-or-later
"""Room for a lab's files: where RAM files and sockets go, and how they go away again."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from lab import paths
from lab.model.errors import LabUnavailable

PREFIX = "hvlab-"
RAM_SUFFIX = ".ram"
_RAM_NAME = re.compile(rf"{PREFIX}[a-z0-9-]+-[0-9a-f]{{8}}{re.escape(RAM_SUFFIX)}")
RUN_NAME = re.compile(rf"{PREFIX}[0-9a-f]{{8}}")
SOCKET_PATH_MAX = 107
"""Bytes of a Unix socket's path: sun_path in sys/un.h has 108 with the final zero."""

_LONGEST_NAME = len("/" + PREFIX + "12345678" + "/console.sock")
_MARGIN = 64 << 20


def short_folder() -> Path:
    """An existing private-enough folder whose path leaves room for a socket's name."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    for text in (runtime, tempfile.gettempdir(), "/tmp"):
        folder = Path(text)
        fits = len(os.fsencode(text)) + _LONGEST_NAME <= SOCKET_PATH_MAX
        if fits and folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise LabUnavailable("no writable folder with a short path for sockets", hint="make /tmp writable")


def folder_for_ram(size: int, fallback: Path) -> Path:
    """Where a RAM file of ``size`` bytes fits: shared memory if it has room, else ``fallback``.

    Files of other labs are sparse: what they may still grow by counts as taken. Raises LabUnavailable
    when there is room nowhere; a guest whose RAM file cannot grow is killed by SIGBUS later.
    """
    tried = []
    for folder in (paths.shm_dir(), fallback):
        if folder is None:
            continue
        free = _free(folder)
        if folder != fallback:
            free = min(free, _memory_available() - _promised(folder))
        if free >= size + _MARGIN:
            return folder
        tried.append(f"{folder}: {free >> 20} MiB")
    raise LabUnavailable(
        f"no room for {size >> 20} MiB of guest memory",
        where="; ".join(tried),
        hint="remove stale labs (hvlab doctor --clean), give the machine less memory, or free some space",
    )


def make_sparse(path: Path, size: int) -> None:
    """A new file of that length, readable by this user only. Raises LabUnavailable."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(handle, size)
        finally:
            os.close(handle)
    except OSError as error:
        raise LabUnavailable(
            f"cannot make a file of {size >> 20} MiB: {error.strerror}",
            where=str(path),
            hint="free some space, or set HVLAB_STATE to a folder on another disk",
        ) from None


def copy_sparse(source: Path, target: Path) -> int:
    """Copy a file without its holes; returns the bytes of data. Raises LabUnavailable.

    ``target`` may exist: it is then a file of holes of the same size.
    """
    try:
        with source.open("rb") as reader, target.open("r+b" if target.exists() else "x+b") as writer:
            size, at, copied = os.fstat(reader.fileno()).st_size, 0, 0
            writer.truncate(size)
            while at < size:
                try:
                    start = os.lseek(reader.fileno(), at, os.SEEK_DATA)
                except OSError as error:
                    if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                        break
                    raise
                at = os.lseek(reader.fileno(), start, os.SEEK_HOLE)
                os.lseek(writer.fileno(), start, os.SEEK_SET)
                while start < at:
                    step = os.sendfile(writer.fileno(), reader.fileno(), start, at - start)
                    if step == 0:
                        raise OSError(errno.EIO, "the file became shorter")
                    start, copied = start + step, copied + step
            return copied
    except OSError as error:
        raise LabUnavailable(f"cannot copy {source}: {error.strerror}", where=str(target)) from None


def outside(ram: str, run_dir: str) -> list[Path]:
    """The recorded paths that really are ours: a damaged record must not delete anything else.

    Ours is a plain file with the name of a RAM file, and a folder with the name of a folder of sockets
    that holds nothing but sockets and links, both owned by this user, neither a link.
    """
    found = []
    if _RAM_NAME.fullmatch(Path(ram).name) and _mine(Path(ram), stat.S_ISREG):
        found.append(Path(ram))
    if RUN_NAME.fullmatch(Path(run_dir).name) and _mine(Path(run_dir), stat.S_ISDIR):
        kinds = [stat.S_IFMT(path.lstat().st_mode) for path in Path(run_dir).iterdir()]
        if set(kinds) <= {stat.S_IFSOCK, stat.S_IFLNK}:
            found.append(Path(run_dir))
    return found


def _mine(path: Path, kind: Callable[[int], bool]) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return path.is_absolute() and kind(status.st_mode) and status.st_uid == os.getuid()


def delete(path: Path) -> None:
    """Remove a file or folder; missing is fine. Raises LabUnavailable when it stays."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise LabUnavailable(f"cannot remove it: {error.strerror}", where=str(path)) from None


def _free(folder: Path) -> int:
    try:
        stat = os.statvfs(folder)
    except OSError:
        return 0
    return stat.f_bavail * stat.f_frsize - _promised(folder)


def _promised(folder: Path) -> int:
    """Bytes by which the RAM files in a folder may still grow."""
    total = 0
    for path in folder.glob(f"{PREFIX}*{RAM_SUFFIX}"):
        with contextlib.suppress(OSError):
            stat = path.stat()
            total += max(0, stat.st_size - stat.st_blocks * 512)
    return total


def _memory_available() -> int:
    """MemAvailable in bytes; shared memory lives in it."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return 1 << 62
