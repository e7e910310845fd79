# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's command line for Microsoft's own hypervisor, from disk and firmware images that the user brings.

The lab does not start it: it is printed, checked as far as files go, and run by a person, because none of
it could be tried here. A hypervisor inside needs the host's KVM with nesting; TCG's SVM has never been
seen to run this one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lab.machine.argv import SSH_PORT, MachineFiles, QemuInfo, device_argv, escape
from lab.model.errors import BadInput
from lab.model.machine import MachineSpec, UserImages

KVM_DEVICE = Path("/dev/kvm")
NESTED = {
    "amd": Path("/sys/module/kvm_amd/parameters/nested"),
    "intel": Path("/sys/module/kvm_intel/parameters/nested"),
}
_EXTENSION = {"amd": "svm", "intel": "vmx"}
_NIC_SLOT = 2
_FORMATS = {".qcow2": "qcow2", ".vhdx": "vhdx", ".vhd": "vpc"}


def images_of(spec: MachineSpec) -> UserImages:
    """The user's images. ValueError for a machine of another kind."""
    if spec.images is None:
        raise ValueError(f"machine {spec.name} has no images of the user")
    return spec.images


def check_files(spec: MachineSpec) -> None:
    """Raise BadInput naming the parameter of a file that is missing, or that must be writable and is not."""
    images = images_of(spec)
    wanted = [("firmware", images.firmware, "the Debian package ovmf brings it")]
    wanted += [("vars", images.vars, "copy /usr/share/OVMF/OVMF_VARS_4M.fd: it is written to")]
    wanted += [("disk", disk, "bring an image with Microsoft's hypervisor on it") for disk in images.disks]
    for parameter, name, hint in wanted:
        path = Path(name).expanduser()
        if not path.is_file():
            raise BadInput(f"{parameter}: no such file", where=str(path), hint=hint)
    if Path(images.vars).resolve() == Path(images.firmware).resolve():
        raise BadInput("vars: this is the firmware's code image", where=images.vars, hint=wanted[1][2])


def problems(spec: MachineSpec) -> list[str]:
    """Why this host cannot start it; empty when nothing speaks against it."""
    vendor = images_of(spec).cpu_vendor
    if not KVM_DEVICE.exists():
        return ["this host has no /dev/kvm"]
    nested = NESTED[vendor]
    try:
        on = nested.read_text().strip() in ("1", "Y")
    except OSError:
        return [f"kvm_{vendor} is not loaded on this host: wrong cpu_vendor?"]
    return [] if on else [f"nested virtualisation is off: {nested}"]


def build_hyperv_argv(spec: MachineSpec, qemu: QemuInfo) -> list[str]:
    """The complete command line. Device memory lies beside the variable store."""
    images = images_of(spec)
    folder = Path(images.vars).expanduser().parent
    argv = list(qemu.command or (str(qemu.path),))
    for data in qemu.data_dirs:
        argv += ["-L", str(data)]
    argv += ["-nodefaults", "-no-user-config", "-accel", "kvm", "-machine", "q35"]
    # The processor's own virtualisation must be visible, and nothing of Hyper-V's interface: that is what
    # the hypervisor inside brings.
    argv += ["-cpu", f"host,+{_EXTENSION[images.cpu_vendor]}", "-smp", str(spec.cpus)]
    argv += ["-m", f"size={spec.memory >> 20}M"]
    for unit, (name, writable) in enumerate(((images.firmware, False), (images.vars, True))):
        mode = "off" if writable else "on"
        argv += ["-drive", f"if=pflash,unit={unit},format=raw,readonly={mode},file={_file(name)}"]
    for nth, disk in enumerate(images.disks):
        kind = _FORMATS.get(Path(disk).suffix.lower(), "raw")
        # AHCI and e1000e: every guest has drivers for them.
        argv += ["-drive", f"if=none,id=disk{nth},format={kind},file={_file(disk)}"]
        argv += ["-device", f"ide-hd,drive=disk{nth},bus=ide.{nth}"]
    forward = f"hostfwd=tcp:127.0.0.1:{images.ssh_port}-:{SSH_PORT}"
    argv += ["-netdev", f"user,id=net,ipv6=off,restrict=on,{forward}"]
    argv += ["-device", f"e1000e,netdev=net,addr={_NIC_SLOT:#x},romfile="]
    argv += ["-vga", "std", "-serial", "mon:stdio"]
    files = replace(_NO_FILES, devices={d.id: folder / f"{d.id}.mem" for d in spec.devices})
    for device in spec.devices:
        argv += device_argv(device, files)
    return argv


def _file(name: str) -> str:
    return escape(Path(name).expanduser())


_NO_FILES = MachineFiles(
    kernel=Path(),
    initramfs=Path(),
    standin=None,
    ram=Path(),
    console_socket=Path(),
    console_log=Path(),
    hypervisor_log=Path(),
    qmp_socket=Path(),
    reset_log=Path(),
)
