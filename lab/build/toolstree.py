# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU for the inside of the root: Debian's package of the backports with its own C library.

The root's file system is a small initramfs, so QEMU comes as a read-only disk with nothing on it but
the program, the libraries that it links, and its firmware. It is started through the loader on that
disk (``QEMU_LOADER``), so that it does not matter which C library the root has.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from lab.build.disk import make_ext4
from lab.build.rootfs import parse_ldd
from lab.cache import Cache
from lab.hashing import digest
from lab.model.errors import LabUnavailable
from lab.progress import Progress
from lab.source.command import run
from lab.source.packages import Packages

IMAGE = "tools.ext4"
KIND = "tools-image"
LABEL = "hvlab-tools"
_RECIPE = "1"
_REQUEST = ("qemu-system-x86",)
_BINARY = "usr/bin/qemu-system-x86_64"
_LOADER = "usr/lib64/ld-linux-x86-64.so.2"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_FIRMWARE = (
    "usr/share/seabios/bios-256k.bin",
    "usr/share/qemu/kvmvapic.bin",
    "usr/share/qemu/linuxboot_dma.bin",
)
_BUDGET = 60.0


def build_tools_image(cache: Cache, progress: Progress) -> Path:
    """The disk image, made unless cached. LabUnavailable without a mirror or without mke2fs."""
    packages = Packages(cache, progress)
    wanted = packages.resolve(_REQUEST, backports=True)
    for note in packages.notes:
        progress.note(note)

    def produce(entry: Path) -> None:
        progress.note("making the disk with QEMU for the root")
        with tempfile.TemporaryDirectory(prefix="tree-", dir=entry) as temp:
            unpacked, tree = Path(temp, "packages"), Path(temp, "tree")
            unpacked.mkdir()
            packages.unpack(wanted, unpacked)
            _select(unpacked, tree)
            make_ext4(tree, entry / IMAGE, LABEL)

    about = {"what": "QEMU of the root", "packages": " ".join(wanted.files)}
    key = digest(_RECIPE, wanted.key)
    return cache.publish(KIND, key, produce, about=about, progress=progress) / IMAGE


def _select(unpacked: Path, tree: Path) -> None:
    """bin/qemu, lib/ with the loader and every library, share/ with the firmware."""
    binary, libraries = unpacked / _BINARY, unpacked / _LIBRARIES
    loader = unpacked / _LOADER
    listed = run(
        [loader, "--library-path", libraries, "--list", binary],
        what="listing the libraries of QEMU",
        timeout=_BUDGET,
    )
    for part in ("bin", "lib", "share"):
        (tree / part).mkdir(parents=True)
    shutil.copy2(binary, tree / "bin" / "qemu")
    shutil.copy2(loader, tree / "lib" / "ld.so")
    for path, real in parse_ldd(listed.out, str(binary)).items():
        if not os.fspath(real).startswith(os.fspath(unpacked.resolve())):
            raise LabUnavailable(f"{path} of QEMU is not in its packages", where=str(real))
        shutil.copy2(real, tree / "lib" / Path(path).name)
    for name in _FIRMWARE:
        shutil.copy2(unpacked / name, tree / "share" / Path(name).name)
