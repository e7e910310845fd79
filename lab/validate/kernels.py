# SPDX-License-Identifier: GPL-2.0-or-later
"""Phases fetch, apply and build: from what the user selected to kernels that can boot."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lab import paths
from lab.build import kernel as kernel_build
from lab.build.arming import build_arming
from lab.build.jobs import JobPool, Jobs
from lab.build.module import NotAsModule, build_module
from lab.build.sandbox import Sandbox, require
from lab.cache import Cache
from lab.hashing import digest
from lab.judge.armed import needs_module
from lab.model.errors import BadInput, KernelBuildFailed, LabUnavailable
from lab.model.kernel import AppliedSeries, Flavour, KernelImage, KernelSource
from lab.model.series import Series
from lab.progress import Progress
from lab.series import apply as apply_series
from lab.series import load as load_series
from lab.series import range_base
from lab.source import resolve
from lab.validate.sides import SideBuilder


@dataclass(frozen=True, slots=True)
class Selectors:
    """What every verb that boots takes. ``series`` None means no series at all here."""

    series: str | None = None
    base: str | None = None
    tree: str | None = None
    flavour: str = "plain"
    kernel: Path | None = None
    qemu: str | None = None
    sandboxed: bool = True
    jobs: int = 0
    config: tuple[Path, ...] = ()
    """Configuration fragments of the user's own, on top of the flavour's."""
    claims: Path | None = None
    """The series' claims file, where it is not the one beside it."""

    @property
    def make_jobs(self) -> int:
        """Parallel compilers for one kernel build."""
        return self.jobs or len(os.sched_getaffinity(0))

    def kernel_flavour(self) -> Flavour:
        """The flavour with the user's own fragments on top. Its name stays, and with it the detectors that
        a pass needs: what a fragment takes away is missed when they are tripped."""
        flavour = kernel_build.flavour(self.flavour)
        return replace(flavour, fragments=(*flavour.fragments, *self.config))


def embedded_series() -> Path:
    """The series that ``hvlab validate`` uses when none is named."""
    return paths.tests_dir() / "series" / "mmio-on-demand"


def open_cache() -> Cache:
    """The user's cache, with one clear error when it cannot be written."""
    root = paths.cache_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise LabUnavailable(
            f"cannot create the cache folder: {e.strerror}",
            where=str(root),
            hint="set HVLAB_CACHE to a writable folder",
        ) from e
    return Cache(root)


def choose_sandbox(selectors: Selectors) -> Sandbox:
    """The build sandbox; LabUnavailable where none works and the user did not waive it."""
    return require(not selectors.sandboxed)


def read_series(selectors: Selectors) -> Series | None:
    """Parse the selected series; stdin is read only for ``-``."""
    if selectors.series is None:
        return None
    stdin = sys.stdin.buffer if selectors.series == "-" else io.BytesIO()
    return load_series(selectors.series, selectors.tree, stdin, selectors.claims)


def fetch(selectors: Selectors, series: Series | None, cache: Cache, progress: Progress) -> KernelSource:
    """Phase fetch. Without a SPEC the newest Debian source inside the series' range is taken; the base
    of a range ``A..B`` of a tree is A."""
    tree = selectors.tree
    if selectors.series is not None and tree is not None:
        tree = range_base(selectors.series, tree) or tree
    return resolve(selectors.base, tree, series.fits if series else None, cache, progress)


def apply(source: KernelSource, series: Series, cache: Cache, progress: Progress) -> AppliedSeries:
    """Phase apply; SeriesDoesNotApply names patch, file and hunk."""
    return apply_series(source, series, cache, progress)


@dataclass(frozen=True, slots=True)
class Builder:
    """Phase build, with what both sides share."""

    selectors: Selectors
    cache: Cache
    progress: Progress
    sandbox: Sandbox
    short_way: bool = True
    pool: JobPool | None = None
    """Shared with other builds that go on at the same time."""

    @property
    def jobs(self) -> Jobs:
        """Parallel compilers, its own or shared ones."""
        return self.pool or self.selectors.make_jobs

    def base(self, source: KernelSource) -> KernelImage:
        """Build the base kernel, or take it from the cache."""
        return kernel_build.build_base(
            source,
            self.selectors.kernel_flavour(),
            self.cache,
            self.sandbox,
            self.progress,
            self.jobs,
        )

    def patched(self, base: KernelImage, source: KernelSource, applied: AppliedSeries) -> KernelImage:
        """Build the patched kernel on a copy of the base's objects."""
        return kernel_build.build_patched(
            base,
            source,
            applied,
            self.selectors.kernel_flavour(),
            self.cache,
            self.sandbox,
            self.progress,
            self.jobs,
        )

    def profiled(
        self, base: KernelImage, source: KernelSource, applied: AppliedSeries, files: Sequence[str]
    ) -> KernelImage:
        """The patched kernel whose C ``files`` count what they run; with ``base`` the modular one, its
        module alone. KernelBuildFailed, also where that module does not match its base."""
        common = (self.cache, self.sandbox, self.progress, self.jobs, files)
        if not base.modules:
            flavour = self.selectors.kernel_flavour()
            return kernel_build.build_patched(base, source, applied, flavour, *common)
        try:
            return build_module(base, source, applied, *common)
        except NotAsModule as e:
            raise KernelBuildFailed(f"the module with counters cannot be used: {e}") from e

    def armed(self, image: KernelImage, objects: KernelImage, source: KernelSource) -> KernelImage:
        """``image`` with the module that trips its detectors, built on ``objects`` (itself or its base).

        As it is where its flavour has no detector that takes the module, or the module does not build:
        then those detectors stay untripped, which makes every pass inconclusive and says why.
        """
        if not needs_module(image.flavour) or objects.build_dir is None:
            return image
        try:
            module = build_arming(objects, source, self.cache, self.sandbox, self.progress, self.jobs)
        except (KernelBuildFailed, NotAsModule) as e:
            self.progress.note(f"no module to trip detectors with: {str(e).splitlines()[0]}")
            return image
        return replace(image, arming=module)


def prepare(selectors: Selectors, progress: Progress, cache: Cache | None = None) -> KernelImage:
    """One bootable kernel from the selectors: the image given, or base, or base plus series; with the base
    fixes of its flavour."""
    if selectors.kernel is not None:
        return image_from_file(selectors.kernel, selectors.flavour)
    cache = cache or open_cache()
    series = read_series(selectors)
    with progress.phase("fetch"):
        source = fetch(selectors, series, cache, progress)
    # Slow kernels get the driver as a module: every lab after the first is then a fork of a snapshot.
    slow = selectors.kernel_flavour().time_factor > 1.0
    builder = Builder(selectors, cache, progress, choose_sandbox(selectors), short_way=slow)
    with progress.phase("build", "base"):
        base = builder.base(source)
    applied = None
    if series is not None:
        with progress.phase("apply"):
            applied = apply(source, series, cache, progress)
    with progress.phase("build", "patched" if series else "base fixes"):
        return SideBuilder(builder, base, source).one(series, applied).image


def image_from_file(bzimage: Path, flavour: str) -> KernelImage:
    """A user's own bzImage; vmlinux and System.map are looked for in its build tree."""
    if not bzimage.is_file():
        raise BadInput("no such kernel image", where=str(bzimage), hint="give a bzImage file")
    data = bzimage.read_bytes()
    if data[0x202:0x206] != b"HdrS":
        raise BadInput(
            "not an x86 bzImage", where=str(bzimage), hint="give arch/x86/boot/bzImage of a build tree"
        )
    offset = int.from_bytes(data[0x20E:0x210], "little") + 0x200
    release = data[offset : data.index(b"\0", offset)].decode(errors="replace").split(" ")[0]
    tree = bzimage.resolve().parent
    for candidate in (tree, *tree.parents):
        if (candidate / "System.map").is_file():
            tree = candidate
            break
    return KernelImage(
        key=digest(data),
        release=release,
        flavour=flavour,
        bzimage=bzimage.resolve(),
        vmlinux=tree / "vmlinux",
        system_map=tree / "System.map",
        config=tree / ".config",
    )
