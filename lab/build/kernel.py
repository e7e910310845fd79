# SPDX-License-Identifier: GPL-2.0-or-later
"""Build kernels: a base once, a patched one on a copy of its base's objects."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.build import config, diagnose, gcov
from lab.build.flavours import flavour
from lab.build.jobs import Jobs
from lab.build.make import MakeFailed, run_make
from lab.build.sandbox import Sandbox
from lab.build.toolchain import toolchain
from lab.build.workplace import Workplace, copy_objects, workplace
from lab.cache import Cache
from lab.hashing import digest
from lab.model.errors import KernelBuildFailed
from lab.model.kernel import AppliedSeries, Flavour, KernelImage, KernelSource
from lab.progress import Progress

__all__ = ["build_base", "build_patched", "flavour"]

BASE_KIND = "kernel-base"
PATCHED_KIND = "kernel"
RECIPE = "1"
"""Changed whenever this code builds something else from the same input."""

BUILD_SPACE = 2 << 30
"""Bytes that must be free before a build (a plain tree takes 0.5 GiB, a debug tree more)."""

BASE_BUDGET = 3 * 3600.0
PATCHED_BUDGET = 3600.0
CONFIG_BUDGET = 300.0
_STEPS = 2200
"""Steps that a build of the plain flavour takes; the guess when no base was built before."""


def build_base(
    source: KernelSource, flavour: Flavour, cache: Cache, sandbox: Sandbox, progress: Progress, jobs: Jobs
) -> KernelImage:
    """The unpatched kernel in a flavour; ``build_dir`` holds the objects that others start from.

    KernelBuildFailed with the first error; LabUnavailable for a full disk or a missing tool.
    """
    wanted = config.wanted(flavour, source.tree)
    key = base_key(source, wanted, sandbox)

    def produce(entry: Path) -> None:
        cache.require_space(BUILD_SPACE, "a kernel build")
        obj = entry / "obj"
        obj.mkdir()
        build = Build(source, None, cache, sandbox, progress, jobs, f"base kernel ({flavour.name})")
        with build.at(obj, entry / "build.log") as make:
            build.configure(make, obj, wanted)
            expected = _expected_steps(cache, flavour.name)
            steps = make(_targets(make.host_obj(obj)), total=expected, budget=BASE_BUDGET)
        (entry / "steps").write_text(f"{steps}\n")
        keep_image(obj, entry)

    about = {"flavour": flavour.name, "source": f"{source.lock.name} {source.lock.version}"}
    entry = cache.publish(BASE_KIND, key, produce, about=about, progress=progress)
    return image_of(entry, flavour.name, build_dir=entry / "obj")


def build_patched(
    base: KernelImage,
    source: KernelSource,
    applied: AppliedSeries,
    flavour: Flavour,
    cache: Cache,
    sandbox: Sandbox,
    progress: Progress,
    jobs: Jobs,
    profiled: Sequence[str] = (),
) -> KernelImage:
    """The kernel with a series, built on a copy of ``base``'s objects: only what it changes.

    ``profiled`` are C files that count what they run (see lab.build.gcov).

    ``source`` must be the one that ``base`` was built from. KernelBuildFailed names the first
    error, its file and line, and the patch that it belongs to.
    """
    if base.build_dir is None:
        raise ValueError("the base kernel has no objects to build on")
    objects = base.build_dir
    key = digest(PATCHED_KIND, RECIPE, base.key, applied.key, *gcov.key(profiled))

    def produce(entry: Path) -> None:
        cache.require_space(BUILD_SPACE, "a kernel build")
        with tempfile.TemporaryDirectory(prefix="build-", dir=entry) as temp:
            obj = Path(temp, "obj")
            copy_objects(objects, obj)
            build = Build(source, applied, cache, sandbox, progress, jobs, f"patched kernel ({flavour.name})")
            with build.at(obj, entry / "build.log") as make:
                if any(Path(f).name.startswith("Kconfig") for f in (*applied.files, *applied.deleted)):
                    build.configure(make, obj, config.wanted(flavour, source.tree))
                targets = _targets(make.host_obj(obj))
                make([*gcov.flags(profiled), *targets], total=None, budget=PATCHED_BUDGET)
            keep_image(obj, entry)
            gcov.keep_notes(obj, profiled, entry)

    about = {"flavour": flavour.name, "base": base.key, "series": applied.key}
    entry = cache.publish(PATCHED_KIND, key, produce, about=about, progress=progress)
    return image_of(entry, flavour.name)


def base_key(source: KernelSource, wanted: Mapping[str, str], sandbox: Sandbox) -> str:
    """Key of a base kernel: its source, configuration, tools and this recipe; without a sandbox also
    that, as the objects then name other places."""
    place = ["no sandbox"] if sandbox.kind == "none" else []
    return digest(BASE_KIND, RECIPE, source.key, config.render(wanted), toolchain(), *place)


@dataclass(frozen=True, slots=True)
class Build:
    """One build of one tree. ``applied`` None is the pristine source."""

    source: KernelSource
    applied: AppliedSeries | None
    cache: Cache
    sandbox: Sandbox
    progress: Progress
    jobs: Jobs
    label: str
    stamps: Mapping[str, int] = field(default_factory=dict)

    @contextmanager
    def at(self, obj: Path, log: Path) -> Iterator[Make]:
        """Set up the workplace for building into ``obj``; yields a callable that runs make."""
        with (
            tempfile.TemporaryDirectory(prefix="source-", dir=obj.parent) as scratch,
            workplace(
                self.sandbox,
                self.source,
                obj,
                self.applied,
                Path(scratch),
                self.cache,
                self.progress,
                self.stamps,
            ) as place,
        ):
            yield Make(self, place, log)

    def configure(self, make: Make, obj: Path, wanted: Mapping[str, str]) -> None:
        """Write ``.config`` from ``wanted`` on top of allnoconfig and check what became of it."""
        host_obj = make.host_obj(obj)
        (host_obj / "hvlab.config").write_text(config.render(wanted))
        fragment = f"KCONFIG_ALLCONFIG={make.place.obj}/hvlab.config"
        make([fragment, "allnoconfig"], total=None, budget=CONFIG_BUDGET)
        final = config.parse((host_obj / ".config").read_text())
        for mismatch in config.check(wanted, final, self.source.tree, self.source.version):
            self.progress.note(f"{self.label}: {mismatch}")

    def failed(self, error: MakeFailed, place: Workplace, log: Path) -> Exception:
        """The error for people out of what make said; the log is kept beside the cache's entries."""
        kept = self.cache.root / "failed-build.log"
        shutil.copyfile(log, kept)
        roots = [self.applied.overlay] if self.applied else []
        last_patch = self.applied.last_patch if self.applied else {}
        found = diagnose.failure(
            error.lines,
            src=place.src,
            what=f"{self.label} does not build",
            roots=[*roots, self.source.tree],
            last_patch=last_patch,
        )
        found.hint = (found.hint + "; " if found.hint else "") + f"the whole log is {kept}"
        return found


@dataclass(frozen=True, slots=True)
class Make:
    """Runs make for a Build and turns its failures into errors for people."""

    build: Build
    place: Workplace
    log: Path

    def __call__(self, args: Sequence[str], *, total: int | None, budget: float) -> int:
        try:
            return run_make(
                self.place,
                args,
                jobs=self.build.jobs,
                progress=self.build.progress,
                log=self.log,
                label=self.build.label,
                total=total,
                budget=budget,
            )
        except MakeFailed as e:
            raise self.build.failed(e, self.place, self.log) from e

    def host_obj(self, obj: Path) -> Path:
        """Where the objects are on the host while the build runs."""
        return Path(self.place.obj) if self.place.sandbox.kind == "none" else obj


def keep_image(obj: Path, entry: Path) -> None:
    """Put the files of a finished build at their places in a cache entry (linked, not copied)."""
    for name, kept in _IMAGE.items():
        os.link(built(obj, name), entry / kept)


def built(obj: Path, name: str) -> Path:
    """A file that a build has made. The build was a stranger's: it may have put a link to a file of
    the host there, or a pipe that never ends. KernelBuildFailed if so."""
    path = obj / name
    if path.resolve() != obj.resolve() / name or not path.is_file():
        raise KernelBuildFailed(
            f"the build left no plain file {name}", where=name, hint="do not trust this series"
        )
    return path


def image_of(entry: Path, flavour_name: str, build_dir: Path | None = None) -> KernelImage:
    """The kernel image in a cache entry."""
    return KernelImage(
        key=entry.name,
        release=(entry / "release").read_text().strip(),
        flavour=flavour_name,
        bzimage=entry / "bzImage",
        vmlinux=entry / "vmlinux",
        system_map=entry / "System.map",
        config=entry / "config",
        build_dir=build_dir,
        modules=tuple(sorted(entry.glob("*.ko"))),
    )


_IMAGE = {
    "arch/x86/boot/bzImage": "bzImage",
    "vmlinux": "vmlinux",
    "System.map": "System.map",
    ".config": "config",
    "include/config/kernel.release": "release",
}


def _targets(obj: Path) -> list[str]:
    path = obj / ".config"
    modular = path.is_file() and "m" in config.parse(path.read_text()).values()
    return ["bzImage", "modules"] if modular else ["bzImage"]


def _expected_steps(cache: Cache, flavour_name: str) -> int:
    for entry in cache.entries(BASE_KIND):
        if entry.about.get("flavour") == flavour_name and (entry.path / "steps").is_file():
            return int((entry.path / "steps").read_text())
    return _STEPS
