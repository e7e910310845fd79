# SPDX-License-Identifier: GPL-2.0-or-later
"""The source and the objects of one build, at places that are the same for every build.

A patched source is the pristine tree with a composed folder laid over each folder that the series
touches: changed files are new, all others keep their times, so make rebuilds what the series
changed and nothing else.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.build.sandbox import Sandbox
from lab.cache import Cache, remove_tree
from lab.model.kernel import AppliedSeries, KernelSource
from lab.progress import Progress
from lab.source.command import run

_COPY_BUDGET = 600.0
_TURN_BUDGET = 2 * 3600.0


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where a build runs: ``src`` and ``obj`` are the paths that the build sees."""

    sandbox: Sandbox
    src: str
    obj: str
    ro: Mapping[Path, str] = field(default_factory=dict)
    rw: Mapping[Path, str] = field(default_factory=dict)

    def argv(self, cmd: Sequence[str], env: Mapping[str, str]) -> list[str]:
        """Command line that runs ``cmd`` with the objects as its folder."""
        return self.sandbox.argv(cmd, ro=self.ro, rw=self.rw, cwd=self.obj, env=env)


@contextmanager
def workplace(
    sandbox: Sandbox,
    source: KernelSource,
    obj: Path,
    applied: AppliedSeries | None,
    scratch: Path,
    cache: Cache,
    progress: Progress,
    stamps: Mapping[str, int] | None = None,
) -> Iterator[Workplace]:
    """Set up a build of ``source`` (with ``applied``) into ``obj``; ``scratch`` is an empty folder
    on the cache's file system. ``stamps`` are modification times (ns) of files of the series that the
    objects are made from already; all others are as of now. Without a sandbox only one build at a time
    can have the fixed place."""
    times = stamps or {}
    if sandbox.kind == "bubblewrap":
        ro = {source.tree: "/src"}
        if applied is not None:
            ro |= {
                path: f"/src/{inside}".rstrip("/")
                for path, inside in compose(source.tree, applied, scratch, times)
            }
        yield Workplace(sandbox, "/src", "/obj", ro, {obj: "/obj"})
        return
    with cache.locked("nosandbox", "place", progress, _TURN_BUDGET):
        place = cache.root / "nosandbox"
        remove_tree(place)
        place.mkdir(parents=True)
        try:
            run(["cp", "-al", source.tree, place / "src"], what="linking the source", timeout=_COPY_BUDGET)
            if applied is not None:
                lay_over(place / "src", applied, times)
            obj.rename(place / "obj")
            yield Workplace(sandbox, str(place / "src"), str(place / "obj"))
            (place / "obj").rename(obj)
        finally:
            remove_tree(place)


def copy_objects(base: Path, into: Path) -> None:
    """A writable copy of an object tree with its times; shares blocks where the disk can."""
    run(
        ["cp", "-a", "--reflink=auto", base, into],
        what="copying the base's objects",
        timeout=_COPY_BUDGET,
    )


def compose(
    tree: Path, applied: AppliedSeries, scratch: Path, stamps: Mapping[str, int]
) -> list[tuple[Path, str]]:
    """Folders to lay over ``tree``, in this order: (host path, path in the tree).

    Each folder that the series touches becomes a new one in ``scratch`` with the pristine files
    (links, so their times stay), the series' files (as of now: newer than any object) and, for
    every subfolder, an empty mount point which the pristine subfolder is laid on.
    """
    gone = {*applied.files, *applied.deleted}
    folders = sorted({_existing(tree, name) for name in gone}, key=lambda d: (len(d.parts), d))
    layers: list[tuple[Path, str]] = []
    for number, folder in enumerate(folders):
        made = scratch / str(number)
        made.mkdir(parents=True)
        layers.append((made, _inside(folder)))
        with os.scandir(tree / folder) as entries:
            for entry in entries:
                rel = folder / entry.name
                if str(rel) in gone:
                    continue
                if entry.is_symlink():
                    (made / entry.name).symlink_to(os.readlink(entry.path))
                elif entry.is_dir():
                    (made / entry.name).mkdir()
                    if rel not in folders:
                        layers.append((Path(entry.path), str(rel)))
                else:
                    _link(Path(entry.path), made / entry.name)
        for name in applied.files:
            if _existing(tree, name) == folder:
                _place(applied.overlay / name, made / Path(name).relative_to(folder), stamps.get(name))
    return layers


def lay_over(tree: Path, applied: AppliedSeries, stamps: Mapping[str, int]) -> None:
    """Put the series' files into ``tree`` itself (a private copy whose files are links)."""
    for name in applied.deleted:
        (tree / name).unlink(missing_ok=True)
    for name in applied.files:
        (tree / name).unlink(missing_ok=True)
        _place(applied.overlay / name, tree / name, stamps.get(name))


def _existing(tree: Path, name: str) -> Path:
    """The innermost folder of a path that the pristine tree has, relative to the tree."""
    folder = Path(name).parent
    while not (tree / folder).is_dir():
        folder = folder.parent
    return folder


def _inside(folder: Path) -> str:
    return "" if folder == Path() else str(folder)


def _link(path: Path, to: Path) -> None:
    try:
        os.link(path, to)
    except OSError:
        shutil.copy2(path, to)


def _place(path: Path, to: Path, stamp: int | None) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, to)
    # Newer than every object of the base, even if the series was applied before the base was built.
    when = time.time_ns() if stamp is None else stamp
    os.utime(to, ns=(when, when))
