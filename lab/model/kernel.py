# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel sources and built kernels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lab.model.series import KernelVersion


@dataclass(frozen=True, slots=True)
class SourceLock:
    """What pins a kernel source: enough to use exactly the same one again."""

    kind: str
    """``debian``, ``tarball`` or ``git``."""
    name: str
    """Package name, file name or repository path."""
    version: str
    """Package version, release or commit."""
    sha256: str
    """Of the package or tarball; tree id for git."""
    suite: str = ""


@dataclass(frozen=True, slots=True)
class KernelSource:
    """A pristine, read-only source tree in the cache. ``key`` identifies its content."""

    version: KernelVersion
    tree: Path
    key: str
    lock: SourceLock
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AppliedSeries:
    """A series applied to a source.

    ``overlay`` holds the changed and added files under their paths in the tree, ``deleted`` the
    removed ones, ``repo`` a git repository whose HEAD has one commit per patch. ``last_patch`` maps
    each touched path to the subject of the patch that touched it last.
    """

    key: str
    overlay: Path
    repo: Path
    files: tuple[str, ...]
    deleted: tuple[str, ...]
    last_patch: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KernelImage:
    """A built kernel in the cache. ``modules`` are .ko files to load in this order before use.

    ``fixes`` names the lab's own base fixes (images/kernel/fixes.toml) that are in it; ``unfixed`` is the
    same kernel without them, None when ``fixes`` is empty.
    """

    key: str
    release: str
    flavour: str
    bzimage: Path
    vmlinux: Path
    system_map: Path
    config: Path
    build_dir: Path | None = None
    modules: tuple[Path, ...] = ()
    fixes: tuple[str, ...] = ()
    unfixed: KernelImage | None = None
    arming: Path | None = None
    """The lab's module that trips detectors, built for this kernel; None where nothing was built."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """A kernel configuration: ordered fragments under images/kernel/ and a time factor."""

    name: str
    fragments: tuple[Path, ...]
    time_factor: float = 1.0
