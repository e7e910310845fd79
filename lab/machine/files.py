# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of a machine in its lab's folder."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from lab.machine import ivshmem
from lab.machine.argv import MachineFiles
from lab.machine.state import CONSOLE_SOCKET, QMP_SOCKET, Lab
from lab.model.errors import BadInput
from lab.model.machine import IvshmemDevice, MachineSpec


@dataclass(frozen=True, slots=True)
class BootFiles:
    """What boots: a kernel, its initramfs and, unless the machine has none, the stand-in's ELF32 image.

    ``disks`` are read-only images for the root.
    """

    kernel: Path
    initramfs: Path
    standin: Path | None
    disks: tuple[Path, ...] = ()


def prepare_files(spec: MachineSpec, boot: BootFiles, lab: Lab, nonce: int | None = None) -> MachineFiles:
    """Make the files and folders that a machine needs in its lab. Raises LabUnavailable, BadInput."""
    for path in (boot.kernel, boot.initramfs, boot.standin, *boot.disks):
        if path is not None and not path.is_file():
            raise BadInput("no such file", where=str(path))
    run_dir = lab.make_run_dir()
    lab.make_ram(spec.memory)
    if nonce is None:
        nonce = int(lab.record.info.get("nonce", 0)) or ivshmem.new_nonce()
    lab.update(info={**lab.record.info, "nonce": nonce})
    files = files_of(spec, lab)
    for device in spec.devices:
        if isinstance(device, IvshmemDevice):
            files.devices[device.id].unlink(missing_ok=True)
            ivshmem.create(files.devices[device.id], device.size, nonce)
    return replace(
        files,
        kernel=_without_blanks(boot.kernel, run_dir),
        initramfs=_without_blanks(boot.initramfs, run_dir),
        standin=boot.standin,
        disks=boot.disks,
    )


def files_of(spec: MachineSpec, lab: Lab) -> MachineFiles:
    """Names of the files of a lab's machine (what it booted from is only in ``argv.txt``)."""
    return MachineFiles(
        kernel=Path(),
        initramfs=Path(),
        standin=None,
        ram=Path(lab.record.ram),
        console_socket=lab.run_dir / CONSOLE_SOCKET,
        console_log=lab.path / "console.log",
        hypervisor_log=lab.path / "hypervisor.log",
        qmp_socket=lab.run_dir / QMP_SOCKET,
        reset_log=lab.path / "reset.log",
        devices={
            item.id: lab.path / f"{item.id}.mem" for item in spec.devices if isinstance(item, IvshmemDevice)
        },
    )


def _without_blanks(path: Path, folder: Path) -> Path:
    """The path itself, or a link without blanks to it: QEMU ends a multiboot module's name at the first."""
    path = path.absolute()
    if not any(char.isspace() for char in str(path)):
        return path
    link = folder / re.sub(r"\s", "_", path.name)
    link.unlink(missing_ok=True)
    link.symlink_to(path)
    return link
