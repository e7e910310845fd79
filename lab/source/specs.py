# SPDX-License-Identifier: GPL-2.0-or-later
"""From what the user asked for to a pristine tree in the cache."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from lab.cache import Cache
from lab.hashing import digest, file_sha256
from lab.model.errors import BadInput, LabUnavailable
from lab.model.kernel import KernelSource, SourceLock
from lab.model.series import VersionRange
from lab.progress import Progress
from lab.source import git, lockfile
from lab.source.archive import Archive, Candidate
from lab.source.unpack import TREE_SPACE, tree_version, unpack_deb, unpack_tarball

KIND = "source"
"""Cache kind: ``tree/`` is the source; ``meta.json`` carries the lock."""


def resolve(
    spec: str | None,
    tree: str | None,
    fits: VersionRange | None,
    cache: Cache,
    progress: Progress,
) -> KernelSource:
    """The kernel source that ``--base SPEC`` or ``--tree DIR[@REV]`` names.

    ``spec``: None (the newest linux-source package inside ``fits``), ``debian`` (the newest),
    ``debian:7.2`` or ``debian:7.2.13``, ``FILE.tar.*``, ``lock:FILE``. BadInput for what cannot be
    used, LabUnavailable when the source cannot be had.
    """
    if spec and tree:
        raise BadInput("--base and --tree exclude each other", hint="give one of them")
    if tree:
        return _from_git(tree, cache, progress)
    if spec is None or spec == "debian":
        return _newest(fits if spec is None else None, cache, progress)
    kind, _, rest = spec.partition(":")
    if kind == "debian" and rest:
        return _debian_version(rest, cache, progress)
    if kind == "lock" and rest:
        return _from_lock(lockfile.load(Path(rest)), rest, cache, progress)
    if Path(spec).is_file():
        return _from_tarball(Path(spec), cache, progress)
    raise BadInput(
        f"no such base: {spec!r}",
        hint="use debian, debian:7.2, FILE.tar.xz or lock:FILE; for a git tree --tree DIR[@REV]",
    )


def _newest(fits: VersionRange | None, cache: Cache, progress: Progress) -> KernelSource:
    archive = Archive(cache, progress)
    try:
        offers = archive.candidates()
        chosen, notes = choose(offers, fits)
        return _from_package(chosen, archive, cache, progress, (*archive.notes, *notes))
    except LabUnavailable as e:
        kept = [s for s in cached(cache) if s.lock.kind == "debian" and (fits is None or s.version in fits)]
        if not kept:
            raise
        best = max(kept, key=lambda s: s.version)
        return _with_notes(best, (f"mirror not usable ({e.what}): using {best.lock.version} from the cache",))


def choose(offers: list[Candidate], fits: VersionRange | None) -> tuple[Candidate, tuple[str, ...]]:
    """The newest offer inside ``fits``; if there is none, the newest of all and a note that says so."""
    inside = [c for c in offers if fits is None or c.kernel in fits]
    if inside:
        return inside[0], ()
    return offers[0], (f"the mirror offers no kernel source {fits}; taking {offers[0].version}",)


def _debian_version(wanted: str, cache: Cache, progress: Progress) -> KernelSource:
    archive = Archive(cache, progress)
    kept = [s for s in cached(cache) if s.lock.kind == "debian" and _matches(s.lock.version, wanted)]
    try:
        offers = archive.candidates()
        fitting = [c for c in offers if _matches(c.version, wanted)]
        if fitting:
            return _from_package(fitting[0], archive, cache, progress, tuple(archive.notes))
    except LabUnavailable as e:
        if not kept:
            raise
        best = max(kept, key=lambda s: s.version)
        return _with_notes(best, (f"mirror not usable ({e.what}): using {best.lock.version} from the cache",))
    if kept:
        best = max(kept, key=lambda s: s.version)
        return _with_notes(best, (f"the mirror no longer offers {best.lock.version}: using the cached one",))
    known = ", ".join(dict.fromkeys(c.version for c in offers))
    raise BadInput(f"the mirror offers no linux-source {wanted}", hint=f"it offers {known}")


def _matches(version: str, wanted: str) -> bool:
    return version == wanted or version.startswith((f"{wanted}.", f"{wanted}-"))


def _from_package(
    chosen: Candidate, archive: Archive, cache: Cache, progress: Progress, notes: tuple[str, ...]
) -> KernelSource:
    lock = chosen.lock()

    def produce(entry: Path) -> None:
        cache.require_space(TREE_SPACE, f"unpacking {lock.name}")
        with tempfile.TemporaryDirectory(prefix="deb-", dir=entry) as temp:
            progress.note(f"downloading {lock.name} {lock.version} ({lock.suite})")
            deb = archive.download(chosen, Path(temp))
            found = file_sha256(deb)
            if found != lock.sha256:
                raise LabUnavailable(f"{deb.name} has hash {found}, the signed index says {lock.sha256}")
            progress.note(f"unpacking {deb.name}")
            unpack_deb(deb, entry / "tree")
        tree_version(entry / "tree")

    return _published(lock, produce, cache, progress, notes)


def _from_tarball(path: Path, cache: Cache, progress: Progress, want: str = "") -> KernelSource:
    sha = file_sha256(path)
    if want and sha != want:
        raise LabUnavailable(f"the tarball has changed: hash {sha}, locked is {want}", where=str(path))
    lock = SourceLock("tarball", str(path.resolve()), "", sha)

    def produce(entry: Path) -> None:
        cache.require_space(TREE_SPACE, f"unpacking {path.name}")
        progress.note(f"unpacking {path.name}")
        unpack_tarball(path, entry / "tree")

    return _published(lock, produce, cache, progress, ())


def _from_git(spec: str, cache: Cache, progress: Progress) -> KernelSource:
    with git.open_tree(spec) as found:
        lock = SourceLock("git", str(found.repo), found.commit, found.tree)
        notes: tuple[str, ...] = ()
        if found.changed:
            notes = (f"working tree changes included: {found.changed} files differ from {found.commit[:12]}",)

        def produce(entry: Path) -> None:
            cache.require_space(TREE_SPACE, "a copy of the git tree")
            git.export(found, entry / "tree")
            tree_version(entry / "tree", where=spec)

        return _published(lock, produce, cache, progress, notes)


def _from_lock(lock: SourceLock, file: str, cache: Cache, progress: Progress) -> KernelSource:
    path = cache.get(KIND, _key(lock))
    if path is not None:
        return KernelSource(tree_version(path / "tree"), path / "tree", _key(lock), lock)
    if lock.kind == "debian":
        archive = Archive(cache, progress)
        for refresh in (False, True):
            for offer in archive.candidates(refresh=refresh):
                if (offer.package, offer.version, offer.sha256) == (lock.name, lock.version, lock.sha256):
                    return _from_package(offer, archive, cache, progress, tuple(archive.notes))
        gone = f"{lock.name} {lock.version} is neither in the cache nor offered by the mirror any more"
    elif lock.kind == "tarball":
        if Path(lock.name).is_file():
            return _from_tarball(Path(lock.name), cache, progress, lock.sha256)
        gone = f"the tarball {lock.name} is gone, and it is not in the cache"
    else:
        if Path(lock.name).is_dir() and not lock.version.endswith("+changes"):
            return _from_git(f"{lock.name}@{lock.version}", cache, progress)
        gone = f"{lock.version} of {lock.name} cannot be made again, and it is not in the cache"
    raise LabUnavailable(
        gone, where=file, hint="choose another base; a lock needs the cache that it was made with"
    )


def _key(lock: SourceLock) -> str:
    return digest(KIND, lock.kind, lock.sha256)


def _published(
    lock: SourceLock,
    produce: Callable[[Path], None],
    cache: Cache,
    progress: Progress,
    notes: tuple[str, ...],
) -> KernelSource:
    about = {"lock": lockfile.dumps(lock), "name": f"{lock.name} {lock.version}".strip()}
    entry = cache.publish(KIND, _key(lock), produce, about=about, progress=progress)
    return KernelSource(tree_version(entry / "tree"), entry / "tree", _key(lock), lock, notes)


def cached(cache: Cache) -> list[KernelSource]:
    """The sources that the cache holds, the one that was put there last first."""
    found = []
    for entry in cache.entries(KIND):
        try:
            lock = lockfile.loads(entry.about["lock"], where=str(entry.path))
            found.append(
                KernelSource(tree_version(entry.path / "tree"), entry.path / "tree", entry.key, lock)
            )
        except (BadInput, KeyError):
            continue
    return found


def _with_notes(source: KernelSource, notes: tuple[str, ...]) -> KernelSource:
    return KernelSource(source.version, source.tree, source.key, source.lock, (*source.notes, *notes))
