# SPDX-License-Identifier: GPL-2.0-or-later
"""The short way: rebuild only ``mshv_root.ko`` against a base that has it as a module.

The base with ``CONFIG_MSHV_ROOT=m`` is made once, on a copy of the base's objects. Of its objects it
keeps what building one module takes; the finished module must have the base's version magic and,
symbol by symbol, the checksums of what the base exports.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lab.build import config, elf, gcov, warnings
from lab.build.jobs import Jobs
from lab.build.kernel import (
    BUILD_SPACE,
    PATCHED_BUDGET,
    RECIPE,
    Build,
    built,
    image_of,
    keep_image,
)
from lab.build.modscope import FOLDER, MODULE, outside
from lab.build.sandbox import Sandbox
from lab.build.workplace import copy_objects
from lab.cache import Cache, remove_tree
from lab.hashing import digest, file_sha256
from lab.model.errors import KernelBuildFailed
from lab.model.kernel import AppliedSeries, Flavour, KernelImage, KernelSource
from lab.progress import Progress

__all__ = ["NotAsModule", "build_base_modular", "build_module", "can_build_module_only", "outside"]

BASE_KIND = "kernel-modular"
MODULE_KIND = "module"
PROFILED_KIND = "module-profiled"
_RECIPE = "4"
_MODULE_RECIPE = "5"
MODULAR = {"MSHV_ROOT": "m", "BASIC_MODVERSIONS": "y"}
"""What the modular base sets besides its flavour: without the second, a module carries no checksums."""

_KO = f"{FOLDER}/{MODULE}.ko"
_SYMBOLS = "Module.symvers"
_OBJECTS = "objects"
_SOURCES = "sources.json"
EXPORTED = "hvlab.symvers"
MODPOST = "hvlab-modpost"
_MODPOST_SCRIPT = """\
#!/bin/sh
# Kbuild would read the exports of the kernel out of all its objects, which are not kept here.
exec scripts/mod/modpost -i hvlab.symvers "$@"
"""
_BULKY = (".o", ".a", ".ko", ".mod.c", ".o.cmd", ".a.cmd", ".ko.cmd")
_WANTED = (".module-common.o", "..module-common.o.cmd")
_IMAGES = ("vmlinux", ".vmlinux", ".tmp_vmlinux", "bzImage")
_KEPT_WHOLE = ("scripts", "tools", "arch/x86/tools", FOLDER)
"""Folders of the object tree in which building a module needs the objects themselves."""


class NotAsModule(Exception):
    """The module alone could not be built or does not match its base; a full build decides."""


def can_build_module_only(source: KernelSource, applied: AppliedSeries) -> bool:
    """Whether the series touches nothing but the ``mshv_root`` module (see modscope.outside)."""
    return outside(source, applied) == ""


def build_base_modular(
    base: KernelImage,
    source: KernelSource,
    flavour: Flavour,
    cache: Cache,
    sandbox: Sandbox,
    progress: Progress,
    jobs: Jobs,
    applied: AppliedSeries | None = None,
) -> KernelImage:
    """``base`` with the driver as a module; ``modules`` is the unpatched mshv_root.ko.

    ``applied`` are changes outside the driver that go into it. Its ``build_dir`` holds what build_module
    needs. Errors as in kernel.build_base.
    """
    if base.build_dir is None:
        raise ValueError("the base kernel has no objects to build on")
    objects = base.build_dir
    key = digest(BASE_KIND, RECIPE, _RECIPE, base.key, *([applied.key] if applied else []))
    wanted = config.wanted(flavour, source.tree) | MODULAR

    def produce(entry: Path) -> None:
        cache.require_space(BUILD_SPACE, "a kernel build")
        with tempfile.TemporaryDirectory(prefix="build-", dir=entry) as temp:
            obj = Path(temp, "obj")
            copy_objects(objects, obj)
            build = Build(source, applied, cache, sandbox, progress, jobs, f"modular base ({flavour.name})")
            with build.at(obj, entry / "build.log") as make:
                build.configure(make, obj, wanted)
                make(["bzImage", "modules"], total=None, budget=PATCHED_BUDGET)
            keep_image(obj, entry)
            shutil.copy2(obj / _KO, entry / f"{MODULE}.ko")
            keep_module_kit(obj, entry / "obj")

    about = {"flavour": flavour.name, "base": base.key}
    entry = cache.publish(BASE_KIND, key, produce, about=about, progress=progress)
    return image_of(entry, flavour.name, build_dir=entry / "obj")


def build_module(
    modular: KernelImage,
    source: KernelSource,
    applied: AppliedSeries,
    cache: Cache,
    sandbox: Sandbox,
    progress: Progress,
    jobs: Jobs,
    profiled: Sequence[str] = (),
) -> KernelImage:
    """``modular`` with mshv_root.ko built from the patched source.

    ``profiled`` are C files of the module that count what they run (see lab.build.gcov).

    NotAsModule when that fails for whatever reason or the module does not match the kernel: then
    build the whole kernel, whose failure is the series' own.
    """
    if modular.build_dir is None:
        raise ValueError("the modular base has no objects to build on")
    kit = modular.build_dir
    # A kind of its own: profiled objects are no start for others.
    kind = PROFILED_KIND if profiled else MODULE_KIND
    key = digest(kind, RECIPE, _MODULE_RECIPE, modular.key, applied.key, *gcov.key(profiled))

    def produce(entry: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="build-", dir=entry) as temp:
            obj = Path(temp, "obj")
            copy_objects(kit, obj)
            stamps, earlier = start_from_last(cache, modular, applied, obj)
            build = Build(source, applied, cache, sandbox, progress, jobs, f"patched {MODULE}.ko", stamps)
            try:
                with build.at(obj, entry / "build.log") as make:
                    modpost = f"MODPOST={make.place.obj}/{MODPOST}"
                    make([modpost, *gcov.flags(profiled), _KO], total=None, budget=PATCHED_BUDGET)
            except KernelBuildFailed as e:
                raise NotAsModule(str(e)) from e
            check_module(built(obj, _KO), modular.modules[0], kit / EXPORTED)
            shutil.copy2(obj / _KO, entry / f"{MODULE}.ko")
            warnings.keep(entry, earlier)
            gcov.keep_notes(obj, profiled, entry)
            if profiled:
                return
            (obj / FOLDER).rename(entry / _OBJECTS)
            said = {n: [file_sha256(applied.overlay / n), stamps[n]] for n in applied.files}
            (entry / _SOURCES).write_text(json.dumps(said, indent=1) + "\n")

    about = {"base": modular.key, "series": applied.key}
    entry = cache.publish(kind, key, produce, about=about, progress=progress)
    return KernelImage(
        key=entry.name,
        release=modular.release,
        flavour=modular.flavour,
        bzimage=modular.bzimage,
        vmlinux=modular.vmlinux,
        system_map=modular.system_map,
        config=modular.config,
        modules=(entry / f"{MODULE}.ko",),
    )


def start_from_last(
    cache: Cache, modular: KernelImage, applied: AppliedSeries, obj: Path
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Put the objects of the most alike module built on the same base into ``obj``; return the times (ns)
    that the files of the series must have: the old one where the content is what those objects are made
    of, now where it is not; and what the compiler warned of when it made those objects.

    Only C code inside the module can have gone into those objects, so nothing but the compiler made
    them. A module made from a file that this series lacks is no start; without any, the base's own
    objects are one.
    """
    now = time.time_ns()
    have = {name: file_sha256(applied.overlay / name) for name in applied.files}
    best: tuple[Path, dict[str, int]] | None = None
    for entry in cache.entries(MODULE_KIND):
        if entry.about.get("base") != modular.key or not (entry.path / warnings.KEPT).is_file():
            continue
        known = json.loads((entry.path / _SOURCES).read_text())
        same = {name: when for name, (sha, when) in known.items() if have.get(name) == sha}
        # Newest first: a tie goes to the last one, which is the likeliest to be still in memory.
        if set(known) <= set(have) and (best is None or len(same) > len(best[1])):
            best = entry.path, same
    if best is None:
        return dict.fromkeys(applied.files, now), warnings.of_image(modular)
    remove_tree(obj / FOLDER)
    copy_objects(best[0] / _OBJECTS, obj / FOLDER)
    return {name: best[1].get(name, now) for name in applied.files}, warnings.read(best[0])


def check_module(module: Path, unpatched: Path, symbols: Path) -> None:
    """NotAsModule unless ``module`` has the version magic of ``unpatched`` and every checksum of it is
    the one that ``symbols`` (the base's Module.symvers) has for that symbol."""
    wanted = elf.modinfo(unpatched).get("vermagic")
    got = elf.modinfo(module).get("vermagic")
    if got is None or got != wanted:
        raise NotAsModule(f"version magic is {got!r}, the base has {wanted!r}")
    exported = read_symbols(symbols)
    imported = elf.checksums(module)
    if not imported:
        raise NotAsModule("the module carries no symbol checksums")
    for name, crc in imported.items():
        if exported.get(name) != crc:
            known = exported.get(name)
            has = "lacks it" if known is None else f"has {known:#010x}"
            raise NotAsModule(f"symbol {name} has checksum {crc:#010x}, the base {has}")


def read_symbols(path: Path) -> dict[str, int]:
    """{symbol: checksum} of a Module.symvers file."""
    rows = (line.split("\t") for line in path.read_text().splitlines())
    return {row[1]: int(row[0], 16) for row in rows if len(row) >= 4}


def keep_module_kit(obj: Path, kit: Path, symbols: str = _SYMBOLS) -> None:
    """Of an object tree, link what building one module takes: all but objects of other folders, and
    a modpost that knows what the kernel exports (the file ``symbols`` of the tree)."""
    for base, dirs, files in os.walk(obj):
        rel = Path(base).relative_to(obj)
        whole = any(rel.is_relative_to(k) for k in _KEPT_WHOLE)
        (kit / rel).mkdir(parents=True, exist_ok=True)
        for name in dirs:
            if Path(base, name).is_symlink():
                (kit / rel / name).symlink_to(Path(base, name).readlink())
        for name in files:
            if not whole and name not in _WANTED and (name.endswith(_BULKY) or name.startswith(_IMAGES)):
                continue
            path = Path(base, name)
            if path.is_symlink():
                (kit / rel / name).symlink_to(path.readlink())
            else:
                os.link(path, kit / rel / name)
        shutil.copystat(base, kit / rel)
    rows = (obj / symbols).read_text().splitlines(keepends=True)
    (kit / EXPORTED).write_text("".join(r for r in rows if r.split("\t")[2:3] == ["vmlinux"]))
    (kit / MODPOST).write_text(_MODPOST_SCRIPT)
    (kit / MODPOST).chmod(0o755)
