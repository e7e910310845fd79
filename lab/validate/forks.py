# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots that are forks of a snapshot: the kernel is up already, only the driver's module is new.

A kernel that has the driver as a module boots to the same point whatever the series does to the
module. That point is kept in the cache as a snapshot, and each lab restores it and loads its own module.
The keys of the lab that was saved lie in its memory, so all its forks share them. Kernels without
modules boot as ever.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from lab.cache import Cache
from lab.hashing import digest
from lab.hypervisor import HypervisorView
from lab.machine import snapshot, state
from lab.machine.argv import below_4g
from lab.machine.files import BootFiles
from lab.machine.process import Machine
from lab.model.errors import LabUnavailable
from lab.model.machine import PciDevice
from lab.progress import Progress
from lab.validate.bringup import LAB_ARGS, RAMDISK, BootRequest, Images, Lab
from lab.validate.kernels import open_cache

KIND = "snapshot"
_RECIPE = "3"
KEY_FILES = ("id_ed25519", "known_host")


def boot_or_fork(request: BootRequest, progress: Progress, cache: Cache | None = None) -> Lab:
    """A booted lab, restored from a snapshot where the kernel allows it. Raises as :meth:`Lab.boot`."""
    cache = cache or open_cache()
    # What is behind a bridge has no place in a snapshot: its BARs are not programmed when it is restored.
    bridged = any(not isinstance(d, PciDevice) and d.port for d in request.machine.devices)
    if bridged or not request.kernel.modules or request.machine.hypervisor != "stand-in":
        return Lab.boot(request, progress, cache)
    try:
        lab = _fork(request, progress, cache)
    except LabUnavailable as e:
        progress.note(f"no snapshot: {e.what}; booting instead")
        return Lab.boot(request, progress, cache)
    try:
        lab.load_modules(request.driver_args)
    except BaseException:
        lab.close()
        raise
    return lab


def _fork(request: BootRequest, progress: Progress, cache: Cache) -> Lab:
    images = Images.of(request, cache)
    # Flags of the driver go to the module; what is left belongs to the boot.
    args = tuple(a for a in request.kernel_args if not a.startswith("hv_"))
    fresh: list[Lab] = []

    def produce(entry: Path) -> None:
        entry.chmod(0o700)  # keys lie in it, in files and in the copied memory
        lab = Lab.boot(replace(request, kernel_args=args), progress, cache, modules=False)
        try:
            view, machine = lab.hypervisor, lab.machine
            snapshot.save(machine, entry, images.qemu, images.accel, park=view.park, release=view.unpark)
            for name in (*KEY_FILES, RAMDISK):
                shutil.copy2(machine.lab.path / name, entry / name)
        except BaseException:
            lab.close()
            raise
        fresh.append(lab)

    try:
        entry = cache.publish(KIND, boot_key(request, images, args), produce, progress=progress)
    except BaseException:
        for lab in fresh:
            lab.close()
        raise
    return fresh[0] if fresh else restore(request, images, entry, KEY_FILES)


def boot_key(request: BootRequest, images: Images, args: tuple[str, ...]) -> str:
    """The same for boots that come to the same point, whatever modules are loaded then."""
    assert images.standin is not None
    return digest(
        _RECIPE,
        str(request.kernel.bzimage),
        images.standin.key,
        images.initramfs.parent.name,
        repr(request.machine),
        images.qemu.text,
        repr((images.accel.cpus, images.accel.thread)),
        "\0".join((*LAB_ARGS, *args)),
    )


def restore(request: BootRequest, images: Images, entry: Path, files: tuple[str, ...]) -> Lab:
    """A lab from the snapshot in a cache entry, with ``files`` of the folder of the one that was saved."""

    def fill(folder: state.Lab) -> Path:
        for name in files:
            shutil.copy2(entry / name, folder.path / name)
        return entry / RAMDISK

    def start(folder: state.Lab, boot: BootFiles, nonce: int) -> Machine:
        return snapshot.restore(
            snapshot.load(entry),
            request.machine,
            images.qemu,
            images.accel,
            boot,
            folder,
            release=lambda machine: _release(machine, images),
            nonce=nonce,
        )

    return Lab.bring(request, images, fill, start, "")


def _release(machine: Machine, images: Images) -> None:
    assert images.standin is not None
    with HypervisorView(machine.files.ram, images.standin.symbols, below_4g(machine.spec.memory)) as view:
        view.unpark()
