# SPDX-License-Identifier: GPL-2.0-or-later
"""What this process uses, said with a shared lock on a file of it.

The kernel drops the lock with the process, however that ends. A process that wants to remove what the file
belongs to asks for the lock alone, and so finds out whether anybody uses it.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MOST = 256
"""So many files are held at once; beyond that the one taken longest ago is let go."""

PATIENCE = 1.0
"""Seconds to wait for somebody who looks whether a file is used: that takes no longer than a rename."""

_POLL = 0.01

_held: OrderedDict[tuple[int, int], int] = OrderedDict()
_turn = threading.Lock()


def take(file: Path) -> os.stat_result | None:
    """Use ``file`` from now until this process ends; what it is, or None when it is absent or about to go.

    Waits while somebody has the lock alone, at most ``PATIENCE`` seconds. PermissionError when the file may
    not be read.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            found = os.fstat(fd)
            # Between opening and locking it may have gone, and another one may have come.
            if os.path.samestat(found, file.stat()):
                _keep(found, fd)
                return found
        except (BlockingIOError, FileNotFoundError):
            time.sleep(_POLL)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
    return None


@contextmanager
def alone(file: Path) -> Iterator[bool]:
    """Whether nobody uses ``file``; if so nobody can begin to before the context ends.

    A use by this process counts. False, too, when the file is absent.
    """
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        free = False
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        yield free
    finally:
        os.close(fd)


def _keep(found: os.stat_result, fd: int) -> None:
    with _turn:
        key = (found.st_dev, found.st_ino)
        if key in _held:
            os.close(fd)
        else:
            _held[key] = fd
        _held.move_to_end(key)
        while len(_held) > MOST:
            os.close(_held.popitem(last=False)[1])
