# SPDX-License-Identifier: GPL-2.0-or-later
"""A module built out of tree, against the objects of a kernel."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from lab.build import elf
from lab.build.jobs import Jobs
from lab.build.kernel import Build, built
from lab.build.module import NotAsModule, keep_module_kit
from lab.build.sandbox import Sandbox
from lab.build.workplace import copy_objects
from lab.cache import Cache
from lab.hashing import digest, tree_digest
from lab.model.kernel import KernelImage, KernelSource
from lab.progress import Progress

_BUDGET = 300.0
_KERNEL_SYMBOLS = "vmlinux.symvers"
_SYMBOLS = "Module.symvers"


def build_outside(
    kind: str,
    recipe: str,
    folder: Path,
    module: str,
    kernel: KernelImage,
    source: KernelSource,
    cache: Cache,
    sandbox: Sandbox,
    progress: Progress,
    jobs: Jobs,
) -> Path:
    """``module``.ko from ``folder``, for ``kernel``, whose ``build_dir`` must be there. Kept under ``kind``.

    KernelBuildFailed with the first error; NotAsModule; LabUnavailable.
    """
    if kernel.build_dir is None:
        raise ValueError("the kernel has no objects to build on")
    objects = kernel.build_dir
    inside = f"hvlab-{kind}"
    key = digest(kind, recipe, kernel.key, tree_digest(folder))

    def produce(entry: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="build-", dir=entry) as temp:
            kit, obj = Path(temp, "kit"), Path(temp, "obj")
            # Of a base's objects (0.5 GiB and more) a module takes 40 MiB; a modular base has no more.
            if (objects / _SYMBOLS).is_file():
                kit = objects
            else:
                keep_module_kit(objects, kit, _KERNEL_SYMBOLS)
                shutil.copy2(objects / _KERNEL_SYMBOLS, kit / _SYMBOLS)
            # A copy, not links: make writes where it likes.
            copy_objects(kit, obj)
            shutil.copytree(folder, obj / inside)
            build = Build(source, None, cache, sandbox, progress, jobs, f"{module}.ko ({kernel.flavour})")
            with build.at(obj, entry / "build.log") as make:
                # A kernel that was built without modules has no linker script for one yet.
                make(["modules_prepare"], total=None, budget=_BUDGET)
                # Without basic checksums the module would carry none, and the kernel refuse it.
                args = [f"M={make.place.obj}/{inside}", "CONFIG_BASIC_MODVERSIONS=y", "modules"]
                make(args, total=None, budget=_BUDGET)
            made = built(obj, f"{inside}/{module}.ko")
            if not elf.checksums(made):
                raise NotAsModule(f"{module}.ko carries no symbol checksums")
            shutil.copy2(made, entry / f"{module}.ko")

    about = {"flavour": kernel.flavour, "kernel": kernel.key}
    return cache.publish(kind, key, produce, about=about, progress=progress) / f"{module}.ko"
