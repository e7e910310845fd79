# SPDX-License-Identifier: GPL-2.0-or-later
"""The module that trips detectors on purpose, built out of tree against the objects of a kernel.

It only ever goes into a guest that is thrown away. The objects are those of the base, as a patched
kernel's are not kept: version magic and symbol checksums are in the module, and a kernel that a series
changed too much for it refuses to load it, which is then told as the reason why nothing was tripped.
"""

from __future__ import annotations

from pathlib import Path

from lab import paths
from lab.build.jobs import Jobs
from lab.build.outside import build_outside
from lab.build.sandbox import Sandbox
from lab.cache import Cache
from lab.model.kernel import KernelImage, KernelSource
from lab.progress import Progress

KIND = "arming"
MODULE = "hvlab_arm"
_RECIPE = "1"


def build_arming(
    kernel: KernelImage,
    source: KernelSource,
    cache: Cache,
    sandbox: Sandbox,
    progress: Progress,
    jobs: Jobs,
) -> Path:
    """``hvlab_arm.ko`` for ``kernel``, whose ``build_dir`` must be there.

    KernelBuildFailed with the first error; NotAsModule; LabUnavailable.
    """
    own = paths.repo_root() / "images" / "arming"
    return build_outside(KIND, _RECIPE, own, MODULE, kernel, source, cache, sandbox, progress, jobs)
