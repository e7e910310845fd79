# SPDX-License-Identifier: GPL-2.0-or-later
"""A root with its Linux child, up from nothing or from a snapshot of both while they ran.

The child's memory, disk and QEMU all lie in the root's memory, so one snapshot of the root has all of
it. What it cannot have is a device without saved state: with ``edu`` in the child it is always booted.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab.cache import Cache, remove_tree
from lab.child.linux import LinuxChild
from lab.hashing import digest
from lab.machine import snapshot
from lab.model import machine
from lab.model.errors import LabUnavailable
from lab.model.machine import EduDevice
from lab.progress import Progress
from lab.validate.bringup import RAMDISK, BootRequest, Images, Lab
from lab.validate.child_files import KNOWN_CHILD
from lab.validate.forks import KEY_FILES, boot_key, restore
from lab.validate.kernels import open_cache
from lab.validate.linux_child import attach_linux_child, start_linux_child

KIND = "child-snapshot"
KEPT = 3
"""Snapshots that stay in the cache: each is as large as what root and child had written so far."""
_IN_USE_SECONDS = 3600.0
_RECIPE = "1"
_FILES = (*KEY_FILES, KNOWN_CHILD)


@dataclass(frozen=True, slots=True)
class Up:
    """A lab with its child, both logged in to. ``seconds`` from the start of QEMU to the child's login,
    saving a snapshot not counted; ``restored`` tells whether they came from one."""

    lab: Lab
    child: LinuxChild
    seconds: float
    restored: bool


def boot_with_child(
    request: BootRequest, progress: Progress, cache: Cache | None = None, *, snapshots: bool = True
) -> Up:
    """Root and child up to SSH logins. GuestDied when one of them fails, LabUnavailable; nothing stays."""
    cache = cache or open_cache()
    if not snapshots or not can_be_saved(request.machine):
        return _fresh(request, progress, cache)
    images = Images.of(request, cache, progress)
    fresh: list[Up] = []

    def produce(entry: Path) -> None:
        entry.chmod(0o700)  # keys lie in it, in files and in the copied memory
        up = _fresh(request, progress, cache)
        try:
            save(up.lab, images, entry)
        except BaseException:
            up.child.close()
            up.lab.close()
            raise
        fresh.append(up)

    try:
        entry = cache.publish(KIND, _key(request, images), produce, progress=progress)
        if fresh:
            _forget_old(cache, entry)
            return fresh[0]
        return _restored(request, images, entry)
    except LabUnavailable as e:
        if fresh:
            progress.note(f"the snapshot is not kept: {e.what}")
            return fresh[0]
        progress.note(f"no snapshot: {e.what}; booting instead")
        return _fresh(request, progress, cache)
    except BaseException:
        for up in fresh:
            up.child.close()
            up.lab.close()
        raise


def can_be_saved(spec: machine.MachineSpec) -> bool:
    """Whether a snapshot of this machine has all that its child uses."""
    child = spec.child
    passed = child.devices if isinstance(child, machine.LinuxChild) else ()
    return not any(isinstance(d, EduDevice) and d.id in passed for d in spec.devices)


def save(lab: Lab, images: Images, folder: Path) -> None:
    """A snapshot of the running lab in ``folder``, with the files that a restored lab needs."""
    view, running = lab.hypervisor, lab.machine
    snapshot.save(running, folder, images.qemu, images.accel, park=view.park, release=view.unpark)
    for name in (*_FILES, RAMDISK):
        shutil.copy2(running.lab.path / name, folder / name)


def restore_with_child(request: BootRequest, images: Images, folder: Path) -> Up:
    """Root and child from a snapshot that :func:`save` wrote."""
    return _restored(request, images, folder)


def _fresh(request: BootRequest, progress: Progress, cache: Cache) -> Up:
    lab = Lab.boot(request, progress, cache)
    try:
        child, seconds = start_linux_child(lab)
    except BaseException:
        lab.close()
        raise
    return Up(lab, child, lab.boot_seconds + seconds, False)


def _restored(request: BootRequest, images: Images, entry: Path) -> Up:
    started = time.monotonic()
    lab = restore(request, images, entry, _FILES)
    try:
        child = attach_linux_child(lab)
        # Both slept while the snapshot lay in the cache; only the wall clock may notice.
        for where in (lab.root, child.ssh):
            where.run(f"date -s @{time.time():.0f}")
    except BaseException:
        lab.close()
        raise
    return Up(lab, child, time.monotonic() - started, True)


def _key(request: BootRequest, images: Images) -> str:
    disks = [image.parent.name for image in images.disks]
    modules = [str(module) for module in request.kernel.modules]
    return digest(_RECIPE, boot_key(request, images, request.kernel_args), *disks, *modules)


def _forget_old(cache: Cache, newest: Path) -> None:
    """Remove all but the newest snapshots; one that was used lately may be in use."""
    now = time.time()
    for old in cache.entries(KIND)[KEPT:]:
        if old.path != newest and now - old.used > _IN_USE_SECONDS:
            with suppress(OSError):
                remove_tree(old.path)
