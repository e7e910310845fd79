# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache: ``ROOT/KIND/KEY/``, made once, complete or absent.

An entry is produced in a temporary folder beside its place, described by ``meta.json`` and
renamed into place. A lock file per key keeps two processes from making the same entry; the kernel
drops the lock when its holder dies, so nothing a dead process left behind can block anybody. Who was
given an entry uses it until its process ends (``lab.lease``); such an entry is not removed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lab import lease
from lab.model.errors import LabError, LabUnavailable
from lab.progress import NullProgress, Progress

META = "meta.json"
_LOCKS = ".locks"
_TEMP_PREFIX = ".tmp-"
_POLL = 0.2
_REPORT_EVERY = 10.0
WAIT_BUDGET = 3 * 3600.0
"""Longest wait, in seconds, for another process that makes the same entry (a debug kernel on a
loaded machine takes about one hour)."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True, slots=True)
class Entry:
    """What ``meta.json`` of an entry says. ``created`` and ``used`` are Unix times, ``size`` bytes."""

    kind: str
    key: str
    path: Path
    created: float
    used: float
    size: int
    about: dict[str, str]


class Cache:
    """A content-addressed cache below ``root``; safe for many threads and processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, kind: str, key: str) -> Path | None:
        """The entry's folder, or None. Marks the entry as used now, and by this process until it ends."""
        path = self._place(kind, key)
        try:
            found = lease.take(path / META)
            if found is None or found.st_size == 0:  # the machine lost power before the disk had it
                return None
            os.utime(path / META)
        except FileNotFoundError:
            return None
        except PermissionError:
            pass
        return path

    def publish(
        self,
        kind: str,
        key: str,
        produce: Callable[[Path], None],
        *,
        about: dict[str, str] | None = None,
        progress: Progress | None = None,
        budget: float = WAIT_BUDGET,
    ) -> Path:
        """The entry's folder, made by ``produce(empty folder)`` unless it exists already.

        ``about`` goes into ``meta.json`` for people and for the garbage collector. When another
        process makes the same entry, wait for it (at most ``budget`` seconds), reporting through
        ``progress``. Whatever ``produce`` raises leaves no trace in the cache; a full disk becomes
        LabUnavailable.
        """
        found = self.get(kind, key)
        if found is not None:
            return found
        place = self._place(kind, key)
        with _disk_errors(self.root), self.locked(kind, key, progress or NullProgress(), budget):
            found = self.get(kind, key)
            if found is not None:
                return found
            temp = place.parent / f"{_TEMP_PREFIX}{key}-{os.getpid()}"
            remove_tree(temp)
            try:
                temp.mkdir(parents=True)
                produce(temp)
                meta = {
                    "kind": kind,
                    "key": key,
                    "created": time.time(),
                    "size": disk_size(temp),
                    "about": about or {},
                }
                (temp / META).write_text(json.dumps(meta, indent=1, sort_keys=True) + "\n")
                remove_tree(place)
                temp.rename(place)
                lease.take(place / META)
            except BaseException:
                remove_tree(temp)
                raise
        return place

    def entries(self, kind: str | None = None) -> list[Entry]:
        """All complete entries (of one kind), newest first."""
        found = []
        for path in self.root.glob(f"{kind or '*'}/*/{META}"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                meta = json.loads(path.read_text())
                found.append(
                    Entry(
                        kind=str(meta["kind"]),
                        key=str(meta["key"]),
                        path=path.parent,
                        created=float(meta["created"]),
                        used=path.stat().st_mtime,
                        size=int(meta["size"]),
                        about={str(k): str(v) for k, v in meta["about"].items()},
                    )
                )
        return sorted(found, key=lambda e: e.created, reverse=True)

    def remove(self, entry: Entry) -> bool:
        """Remove an entry, at once for everybody who looks for it.

        False, and it stays, when somebody makes or uses it, when it was used since ``entry`` was read, when
        it is gone, or when it or its kind is a link to elsewhere.
        """
        place = self._place(entry.kind, entry.key)
        if place.is_symlink() or place.parent.is_symlink():
            return False
        with self._alone(entry) as free:
            if not free or (place / META).stat().st_mtime > entry.used:
                return False
            gone = place.parent / f"{_TEMP_PREFIX}{entry.key}-{os.getpid()}"
            remove_tree(gone)
            place.rename(gone)
            remove_tree(gone)
        return True

    def busy(self, entry: Entry) -> bool:
        """Whether somebody makes or uses an entry at this moment."""
        with self._alone(entry) as free:
            return not free

    @contextmanager
    def _alone(self, entry: Entry) -> Iterator[bool]:
        """Whether nobody makes or uses an entry; if so nobody begins to before the context ends."""
        lock = self._lock_path(entry.kind, entry.key)
        fd = try_lock(lock)
        if fd is None:
            yield False
            return
        try:
            with lease.alone(self._place(entry.kind, entry.key) / META) as free:
                yield free
        finally:
            lock.unlink(missing_ok=True)
            os.close(fd)

    def stale(self) -> list[Path]:
        """Half-written entries and lock files that no living process holds."""
        return self._sweep(remove=False)

    def clean(self) -> list[Path]:
        """Remove what ``stale()`` lists; return what was removed."""
        return self._sweep(remove=True)

    @contextmanager
    def scratch(self, kind: str) -> Iterator[Path]:
        """An empty folder, gone afterwards; what a killed process leaves of it, ``clean()`` removes."""
        key = f"scratch-{secrets.token_hex(4)}"
        temp = self._place(kind, key).parent / f"{_TEMP_PREFIX}{key}-{os.getpid()}"
        with self.locked(kind, key, NullProgress(), WAIT_BUDGET):
            try:
                with _disk_errors(self.root):
                    temp.mkdir(parents=True)
                yield temp
            finally:
                remove_tree(temp)

    def require_space(self, need: int, what: str) -> None:
        """LabUnavailable unless the cache's file system has ``need`` bytes free for ``what``."""
        self.root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.root).free
        if free < need:
            raise LabUnavailable(
                f"{what} needs {need >> 20} MiB, only {free >> 20} MiB are free",
                where=str(self.root),
                hint="free some space, or point HVLAB_CACHE to a folder on a larger disk",
            )

    def _place(self, kind: str, key: str) -> Path:
        for name in (kind, key):
            if not _NAME.fullmatch(name):
                raise ValueError(f"not a cache name: {name!r}")
        return self.root / kind / key

    def _lock_path(self, kind: str, key: str) -> Path:
        return self.root / _LOCKS / f"{kind}@{key}"

    @contextmanager
    def locked(self, kind: str, key: str, progress: Progress, budget: float) -> Iterator[None]:
        """Hold the lock of ``kind/key`` (an entry, or anything else that one process may do at a time).

        LabUnavailable when its holder has not let go after ``budget`` seconds.
        """
        path = self._lock_path(kind, key)
        deadline = time.monotonic() + budget
        report_at = time.monotonic() + 1.0
        while (fd := try_lock(path)) is None:
            now = time.monotonic()
            if now > deadline:
                raise LabUnavailable(
                    f"still being made by {_holder(path)} after {budget:.0f} s",
                    where=f"cache entry {kind}/{key}",
                    hint="look at that process; the entry is free again as soon as it ends",
                )
            if now > report_at:
                progress.note(f"waiting for {kind}/{key}, being made by {_holder(path)}")
                report_at = now + _REPORT_EVERY
            time.sleep(_POLL)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(fd)

    def _sweep(self, *, remove: bool) -> list[Path]:
        found: list[Path] = []
        for temp in sorted(self.root.glob(f"*/{_TEMP_PREFIX}*")):
            if temp.parent.is_symlink():
                continue
            key, _, pid = temp.name[len(_TEMP_PREFIX) :].rpartition("-")
            fd = try_lock(self._lock_path(temp.parent.name, key)) if pid.isdigit() else None
            if fd is None:
                continue
            try:
                if temp.exists():  # or its maker has finished it since we looked
                    found.append(temp)
                    if remove:
                        remove_tree(temp)
            finally:
                self._lock_path(temp.parent.name, key).unlink(missing_ok=True)
                os.close(fd)
        locks = self.root / _LOCKS
        for lock in [] if locks.is_symlink() else sorted(locks.glob("*")):
            fd = try_lock(lock, make=False)
            if fd is None:
                continue
            try:
                found.append(lock)
                if remove:
                    lock.unlink(missing_ok=True)
            finally:
                os.close(fd)
        return found


def try_lock(path: Path, *, make: bool = True) -> int | None:
    """Lock ``path`` (made if missing, unless told otherwise) for the caller; a descriptor to close, or None
    if it is held, or missing.

    Two threads of one process exclude each other too: the lock belongs to the open file.
    The holder removes the file before it unlocks it, so a lock taken on a file that is gone from
    its path protects nothing and is taken anew. The file contains the holder's process id.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0), 0o644)
        except FileNotFoundError:
            if not make:
                return None
            raise
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(fd), path.stat()):
                os.ftruncate(fd, 0)
                os.write(fd, str(os.getpid()).encode())
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def remove_tree(path: Path) -> None:
    """Remove a folder with all it holds, also when parts of it are read-only; absent is fine. Of a link
    only the link goes."""
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    try:
        shutil.rmtree(path)
    except PermissionError:
        path.chmod(0o700)
        for base, dirs, _files in os.walk(path):
            for folder in (Path(base, d) for d in dirs):
                if not folder.is_symlink():
                    folder.chmod(0o700)
        shutil.rmtree(path)


@contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    """Say plainly that the disk is full or not writable, instead of an OSError from somewhere."""
    try:
        yield
    except LabError:
        raise
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            what, hint = "no space left on the cache's disk", "free some space, or set HVLAB_CACHE"
        elif e.errno in (errno.EROFS, errno.EACCES):
            what, hint = f"the cache cannot be written: {e}", "set HVLAB_CACHE to a folder of yours"
        else:
            raise
        raise LabUnavailable(what, where=str(root), hint=hint) from e


def _holder(lock: Path) -> str:
    try:
        pid = lock.read_text().strip()
    except OSError:
        pid = ""
    if pid == str(os.getpid()):
        return "this process"
    return f"process {pid}" if pid else "another process"


def disk_size(directory: Path) -> int:
    """Bytes that a folder's content takes on disk; links are not followed."""
    total = 0
    stack = [str(directory)]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                total += entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
    return total
