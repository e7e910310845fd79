# SPDX-License-Identifier: GPL-2.0-or-later
"""The module that trips detectors on purpose, built out of tree against the objects of a kernel.

It only ever goes into a guest that is thrown away. The objects are those of the base, as a patched
kernel's are not kept: version magic and symbol checksums are in the module, and a kernel that a series
changed too much for it refuses to load it, which is then told as the reason why nothing was tripped.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from lab import paths
from lab.build import elf
from lab.build.kernel import Build, built
from lab.build.module import NotAsModule, keep_module_kit
from lab.build.sandbox import Sandbox
from lab.build.workplace import copy_objects
from lab.cache import Cache
from lab.hashing import digest, tree_digest
from lab.model.kernel import KernelImage, KernelSource
from lab.progress import Progress

KIND = "arming"
MODULE = "hvlab_arm"
_RECIPE = "1"
_FOLDER = "hvlab-arming"
_BUDGET = 300.0
_KERNEL_SYMBOLS = "vmlinux.symvers"
_SYMBOLS = "Module.symvers"


def build_arming(
    kernel: KernelImage,
    source: KernelSource,
    cache: Cache,
    sandbox: Sandbox,
    progress: Progress,
    jobs: int,
) -> Path:
    """``hvlab_arm.ko`` for ``kernel``, whose ``build_dir`` must be there.

    KernelBuildFailed with the first error; NotAsModule; LabUnavailable.
    """
    if kernel.build_dir is None:
        raise ValueError("the kernel has no objects to build on")
    objects = kernel.build_dir
    own = paths.repo_root() / "images" / "arming"
    key = digest(KIND, _RECIPE, kernel.key, tree_digest(own))

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
            shutil.copytree(own, obj / _FOLDER)
            build = Build(source, None, cache, sandbox, progress, jobs, f"{MODULE}.ko ({kernel.flavour})")
            with build.at(obj, entry / "build.log") as make:
                # A kernel that was built without modules has no linker script for one yet.
                make(["modules_prepare"], total=None, budget=_BUDGET)
                # Without basic checksums the module would carry none, and the kernel refuse it.
                args = [f"M={make.place.obj}/{_FOLDER}", "CONFIG_BASIC_MODVERSIONS=y", "modules"]
                make(args, total=None, budget=_BUDGET)
            made = built(obj, f"{_FOLDER}/{MODULE}.ko")
            if not elf.checksums(made):
                raise NotAsModule(f"{MODULE}.ko carries no symbol checksums")
            shutil.copy2(made, entry / f"{MODULE}.ko")

    about = {"flavour": kernel.flavour, "kernel": kernel.key}
    entry = cache.publish(KIND, key, produce, about=about, progress=progress)
    return entry / f"{MODULE}.ko"
