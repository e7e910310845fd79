# SPDX-License-Identifier: GPL-2.0-or-later
"""Which runs a nightly's output folder keeps: the newest, and those that its site still leads to.

Only ``runs/`` is touched, and what killed processes left half-written. Reports of series, the site and the
history stay. A folder in which a nightly works at the moment is left alone.
"""

from __future__ import annotations

import errno
import html
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.cache import disk_size, remove_tree, try_lock
from lab.machine.proc import ProcessId
from lab.model.errors import BadInput
from lab.nightly.retention import Removal

KEEP_RUNS = 14
"""Runs that are kept, unless told otherwise."""

RUNS, SITE, SERIES, LOCK = "runs", "site", "series", "lock"

_GONE = ".gone-"
_RUN = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}[\w:.+-]*")
_LINK = re.compile(r"""runs/([^/\s"'<>?#&\\)]+)""")
_HALF = re.compile(r"\..+\.new\.([0-9]+)")
"""What ``lab.nightly.store`` and the site's writer call a file before it is whole."""
_MOST = 64 << 20
"""Bytes of a file of the site: a longer one is not read, and all runs are kept."""


@dataclass(frozen=True, slots=True)
class OutSweep:
    """What became of an output folder: ``kept`` runs, ``linked`` those of them that are only kept because
    the site leads there. ``busy``: a nightly works there, nothing was looked at."""

    folder: Path
    removed: tuple[Removal, ...] = ()
    kept: int = 0
    linked: tuple[str, ...] = ()
    busy: bool = False
    problems: tuple[str, ...] = ()


def check(folder: Path, keep: int) -> Path:
    """The real path of an output folder. BadInput unless it looks like one, and ``keep`` runs can be kept."""
    if keep < 0:
        raise BadInput(f"{keep} is not a number of runs", where="--keep-runs", hint="0 keeps none")
    if not folder.is_dir():
        raise BadInput("no such folder", where=f"--out {folder}", hint="name the --out of hvlab nightly")
    if not any((folder / name).is_dir() for name in (RUNS, SERIES)):
        raise BadInput(
            f"neither {RUNS}/ nor {SERIES}/ is in it: no output of a nightly",
            where=f"--out {folder}",
            hint="name the --out of hvlab nightly",
        )
    return folder.resolve()


def sweep(folder: Path, keep: int = KEEP_RUNS, *, dry_run: bool = False) -> OutSweep:
    """Remove all runs of an output folder but the newest ``keep`` and those that its site leads to.

    BadInput when it is no output folder or ``keep`` is negative. With ``dry_run`` only say what would go.
    """
    folder = check(folder, keep)
    try:
        with _alone(folder / LOCK, dry_run) as free:
            return _sweep(folder, keep, dry_run) if free else OutSweep(folder, busy=True)
    except OSError as e:
        return OutSweep(folder, problems=(f"{e.filename or folder}: {e.strerror or e}",))


def _sweep(folder: Path, keep: int, dry_run: bool) -> OutSweep:
    runs = folder / RUNS
    if runs.is_symlink():
        return OutSweep(folder, problems=(f"{runs}: a link; what it leads to is left alone",))
    names = [p.name for p in _folders(runs) if _RUN.fullmatch(p.name)]
    try:
        wanted = linked(folder)
    except OSError as e:
        return OutSweep(
            folder, kept=len(names), problems=(f"{e.filename}: {e.strerror}; all runs are kept for it",)
        )
    old = to_remove(names, wanted, keep)
    newest = sorted(names)[len(names) - min(keep, len(names)) :]
    removed: list[Removal] = []
    problems: list[str] = []
    rest = [(p, "left by a killed clean-up") for p in _folders(runs) if p.name.startswith(_GONE)]
    rest += [(p, "half-written, its writer is gone") for p in _half_written(folder)]
    for path, why in [*((runs / name, f"older than the newest {keep} runs") for name in old), *rest]:
        try:
            size = disk_size(path) if path.is_dir() else path.lstat().st_blocks * 512
            if not dry_run:
                _remove(path)
            removed.append(Removal(str(path.relative_to(folder)), why, size))
        except OSError as e:
            problems.append(f"{path}: {e.strerror or e}")
    only_linked = tuple(sorted(set(names) - set(old) - set(newest)))
    return OutSweep(folder, tuple(removed), len(names) - len(old), only_linked, problems=tuple(problems))


def to_remove(names: Iterable[str], wanted: Iterable[str], keep: int) -> list[str]:
    """Names of runs that go, oldest first: a name begins with its run's time."""
    ordered = sorted(names)
    return [n for n in ordered[: max(len(ordered) - keep, 0)] if n not in set(wanted)]


def linked(folder: Path) -> set[str]:
    """Names below ``runs/`` that a file of the site mentions, or that a link in the output leads to.

    OSError when a part of the site cannot be read, or is too long.
    """
    found: set[str] = set()
    for path in _site_files(folder / SITE):
        if path.is_file() and not path.is_symlink():
            if path.stat().st_size > _MOST:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
            found |= names_in(path.read_bytes().decode(errors="replace"))
    for link in _links(folder):
        target = link.resolve()
        if target.is_relative_to(folder / RUNS) and target != folder / RUNS:
            found.add(target.relative_to(folder / RUNS).parts[0])
    return found


def names_in(text: str) -> set[str]:
    """What stands behind ``runs/`` in a page, a script or a record, however it is escaped there."""
    found = set()
    for form in (text, html.unescape(text), urllib.parse.unquote(html.unescape(text))):
        for match in _LINK.finditer(form.replace("\\/", "/")):
            found |= {match[1], match[1].rstrip(".,;:")}
    return found


def _site_files(site: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    if site.is_dir():
        for base, _, files in os.walk(site, onerror=fail):
            yield from (Path(base, name) for name in files)


def _links(folder: Path) -> Iterator[Path]:
    for place in (folder, folder / RUNS):
        if place.is_dir() and not place.is_symlink():
            yield from (p for p in place.iterdir() if p.is_symlink())
    for base, folders, files in os.walk(folder / SITE):
        yield from (p for name in (*folders, *files) if (p := Path(base, name)).is_symlink())


def _folders(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    return sorted(p for p in place.iterdir() if p.is_dir() and not p.is_symlink())


def _half_written(folder: Path) -> list[Path]:
    """Records and pages that a process which is no more was writing."""
    found = []
    for top in (folder / SERIES, folder / RUNS, folder / SITE):
        if top.is_symlink():
            continue
        for base, folders, files in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(_GONE)]
            for name in files:
                match = _HALF.fullmatch(name)
                if match and ProcessId.of(int(match[1])) is None:
                    found.append(Path(base, name))
    return found


def _remove(path: Path) -> None:
    """Out of sight at once, then bit by bit: nobody finds half a run."""
    if not path.is_dir() or path.name.startswith(_GONE):
        remove_tree(path)
        return
    gone = path.with_name(_GONE + path.name)
    remove_tree(gone)
    path.rename(gone)
    remove_tree(gone)


@contextmanager
def _alone(lock: Path, dry_run: bool) -> Iterator[bool]:
    """Whether no nightly works in the output folder; none can begin to before the context ends."""
    if dry_run and not lock.exists():
        yield True
        return
    fd = try_lock(lock)
    try:
        yield fd is not None
    finally:
        if fd is not None:
            lock.unlink(missing_ok=True)
            os.close(fd)
