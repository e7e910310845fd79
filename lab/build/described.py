# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver's module with debug information: where its lines lie, how the kernel lays out its structures.

The kernel's own configuration has none, which keeps builds small and quick. The module is compiled with it,
and boots without: what the debug information says is then true of the very instructions that run.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from lab.build.jobs import Jobs
from lab.build.kernel import PATCHED_BUDGET, RECIPE, Build, Make, built
from lab.build.modscope import FOLDER, MODULE
from lab.build.module import EXPORTED, MODPOST, NotAsModule, check_module
from lab.build.sandbox import Sandbox
from lab.build.workplace import copy_objects
from lab.cache import Cache
from lab.hashing import digest
from lab.model.errors import KernelBuildFailed, LabUnavailable
from lab.model.kernel import AppliedSeries, KernelImage, KernelSource
from lab.progress import Progress

KIND = "module-described"
_RECIPE = "1"
_KO = f"{FOLDER}/{MODULE}.ko"
_BARE = "bare.ko"
_STRIP_BUDGET = 60.0
DESCRIBED = f"{MODULE}.debug"


@dataclass(frozen=True, slots=True)
class Described:
    """``image`` has the module that boots; ``debug`` is the same module with its debug information."""

    image: KernelImage
    debug: Path


def build_described(
    modular: KernelImage,
    source: KernelSource,
    applied: AppliedSeries | None,
    cache: Cache,
    sandbox: Sandbox,
    progress: Progress,
    jobs: Jobs,
) -> Described:
    """``modular`` with a module built from the patched source (None: from the pristine one).

    KernelBuildFailed with the first error; LabUnavailable where the module does not match the kernel.
    """
    if modular.build_dir is None:
        raise ValueError("the modular base has no objects to build on")
    kit = modular.build_dir
    key = digest(KIND, RECIPE, _RECIPE, modular.key, *([applied.key] if applied else []))

    def produce(entry: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="build-", dir=entry) as temp:
            obj = Path(temp, "obj")
            copy_objects(kit, obj)
            build = Build(
                source, applied, cache, sandbox, progress, jobs, f"{MODULE}.ko with debug information"
            )
            with build.at(obj, entry / "build.log") as make:
                args = [f"MODPOST={make.place.obj}/{MODPOST}", "KCFLAGS=-g", _KO]
                make(args, total=None, budget=PATCHED_BUDGET)
                _strip(make)
            try:
                check_module(built(obj, _KO), modular.modules[0], kit / EXPORTED)
            except NotAsModule as e:
                raise LabUnavailable(f"the module with debug information cannot be used: {e}") from e
            shutil.copy2(built(obj, _KO), entry / DESCRIBED)
            shutil.copy2(built(obj, _BARE), entry / f"{MODULE}.ko")

    entry = cache.publish(KIND, key, produce, about={"base": modular.key}, progress=progress)
    image = replace(modular, key=entry.name, build_dir=None, modules=(entry / f"{MODULE}.ko",))
    return Described(image, entry / DESCRIBED)


def _strip(make: Make) -> None:
    """A copy of the module without what only debuggers read: ten times smaller, and the same code."""
    argv = make.place.argv(["strip", "--strip-debug", "-o", _BARE, _KO], {})
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_STRIP_BUDGET)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise LabUnavailable(f"strip cannot be run: {e}", hint="install the package binutils") from e
    if done.returncode:
        raise KernelBuildFailed(f"strip fails: {done.stderr.decode(errors='replace').strip()}", where=_KO)
