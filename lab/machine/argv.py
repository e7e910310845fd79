# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's command line, from data only.

The RAM is a shared file, so that the host reads the stand-in's memory without asking the guest. Below
the PCI hole a guest physical address is the file offset; above it the offset is
``spa - 4 GiB + below_4g(memory)``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lab.model.machine import Device, EduDevice, IvshmemDevice, MachineSpec

NIC_SLOT = 2
SSH_PORT = 22
FIRST_DISK_SLOT = 0x1A
"""Disks lie behind the devices of templates, so that these keep their addresses."""
DEBUG_EXIT_PORT = 0xF4
"""The stand-in writes here when it panics; QEMU's isa-debug-exit then ends with an odd exit status."""

CONSOLE_CHARDEV = "console"
CONSOLE_OPTION = f"socket,id={CONSOLE_CHARDEV},path="
"""How the console's chardev begins on a command line: with the path after it, it identifies a lab's QEMU."""

_LOWMEM_SMALL = 0xB000_0000
_LOWMEM_LARGE = 0x8000_0000


@dataclass(frozen=True, slots=True)
class QemuInfo:
    """A QEMU that was found and asked for its version.

    ``command`` starts it (more than one word when it needs the dynamic loader of its own package
    tree), ``data_dirs`` become ``-L`` options, ``env`` is added to its environment.
    """

    path: Path
    version: tuple[int, int, int]
    data_dirs: tuple[Path, ...] = ()
    command: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Version for people: ``7.2.22``."""
        return ".".join(str(part) for part in self.version)


@dataclass(frozen=True, slots=True)
class Accel:
    """How QEMU executes the guest, and why it does it like that."""

    name: Literal["tcg", "kvm"]
    thread: Literal["single", "multi"]
    cpus: int
    """QEMU's ``-smp``: one more than the root's CPUs when the first one is parked."""
    spare: bool
    reason: str


@dataclass(frozen=True, slots=True)
class MachineFiles:
    """Every file and socket that the command line names. ``devices`` maps a device id to its backing file.

    Names of ``kernel`` and ``initramfs`` must not contain blanks: the multiboot loader of QEMU ends
    a module's file name at the first one.
    """

    kernel: Path
    initramfs: Path
    standin: Path | None
    ram: Path
    console_socket: Path
    console_log: Path
    hypervisor_log: Path
    qmp_socket: Path
    reset_log: Path
    devices: dict[str, Path] = field(default_factory=dict)
    disks: tuple[Path, ...] = ()
    """Read-only disk images, in the order of the root's /dev/vda, vdb."""


@dataclass(frozen=True, slots=True)
class NetPorts:
    """Loopback port that reaches the root's SSH port; 0 lets the host choose a free one.

    ``restrict`` keeps the guest from reaching anything but the forwarded port.
    """

    ssh: int = 0
    restrict: bool = True


@dataclass(frozen=True, slots=True)
class Boot:
    """How this start differs from a plain one.

    ``wait`` holds QEMU until the console pump has connected, so that no output is lost;
    ``incoming`` is a migration URI (or ``defer``) to restore from; ``paused`` starts with the CPUs stopped.
    """

    wait: bool = True
    incoming: str = ""
    paused: bool = False
    kernel_args: tuple[str, ...] = ()


def below_4g(memory: int) -> int:
    """Bytes of RAM below the PCI hole on QEMU's q35 (hw/i386/pc_q35.c, all versions supported here)."""
    low = _LOWMEM_LARGE if memory >= _LOWMEM_SMALL else _LOWMEM_SMALL
    return min(memory, low)


def build_argv(
    spec: MachineSpec,
    qemu: QemuInfo,
    files: MachineFiles,
    net: NetPorts,
    accel: Accel,
    boot: Boot | None = None,
) -> list[str]:
    """The complete command line. Raises ValueError for a file name that QEMU cannot take, and for a machine
    that the lab does not boot."""
    if not spec.booted_by_lab:
        raise ValueError(f"machine {spec.name} is not booted by the lab")
    boot = boot or Boot()
    argv = list(qemu.command or (str(qemu.path),))
    for folder in qemu.data_dirs:
        argv += ["-L", str(folder)]
    argv += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    argv += ["-accel", _accel(accel)]
    argv += ["-machine", "q35,memory-backend=ram", "-cpu", _cpu(spec, accel), "-smp", str(accel.cpus)]
    argv += ["-m", f"size={spec.memory >> 20}M"]
    argv += ["-object", _memory_file("ram", spec.memory, files.ram)]
    argv += _channels(files, boot.wait)
    argv += ["-device", f"isa-debug-exit,iobase={DEBUG_EXIT_PORT:#x},iosize=0x4"]
    argv += _network(net)
    if spec.iommu == "intel":
        # Interrupts are the stand-in's business: the root asks it for them and does not remap any.
        argv += ["-device", "intel-iommu,intremap=off"]
    for nth, image in enumerate(files.disks):
        argv += _disk(nth, image)
    for device in spec.devices:
        argv += device_argv(device, files)
    argv += _kernel(spec, files, accel, boot.kernel_args)
    if boot.paused:
        argv += ["-S"]
    if boot.incoming:
        argv += ["-incoming", boot.incoming]
    return argv


def shell_quoted(argv: Iterable[str]) -> str:
    """The command line ready to paste: one option per line."""
    lines: list[str] = []
    for word in argv:
        quoted = shlex.quote(word)
        if lines and not word.startswith("-"):
            lines[-1] += " " + quoted
        else:
            lines.append(quoted)
    return " \\\n  ".join(lines)


def escape(path: Path | str) -> str:
    """A value inside a QEMU option: commas are doubled."""
    return str(path).replace(",", ",,")


def _accel(accel: Accel) -> str:
    return "kvm" if accel.name == "kvm" else f"tcg,thread={accel.thread}"


def _cpu(spec: MachineSpec, accel: Accel) -> str:
    if accel.name == "kvm":
        return "host,+svm,-x2apic"
    # x2APIC is off because the stand-in models the root's ICR through MSRs of its own, and TCG of
    # QEMU 7.2 has none.
    return f"{spec.cpu_model},+svm,+npt,-x2apic"


def _memory_file(ident: str, size: int, path: Path) -> str:
    return f"memory-backend-file,id={ident},size={size},share=on,mem-path={escape(path)}"


def _channels(files: MachineFiles, wait: bool) -> list[str]:
    return [
        "-chardev",
        f"{CONSOLE_OPTION}{escape(files.console_socket)},server=on,"
        f"wait={'on' if wait else 'off'},logfile={escape(files.console_log)},logappend=on",
        "-serial",
        f"chardev:{CONSOLE_CHARDEV}",
        "-debugcon",
        f"file:{files.hypervisor_log}",
        "-qmp",
        f"unix:{escape(files.qmp_socket)},server=on,wait=off",
        # "Triple fault" appears in this log and nowhere else.
        "-d",
        "cpu_reset",
        "-D",
        str(files.reset_log),
    ]


def _network(net: NetPorts) -> list[str]:
    restrict = "on" if net.restrict else "off"
    return [
        "-netdev",
        f"user,id=net,ipv6=off,restrict={restrict},hostfwd=tcp:127.0.0.1:{net.ssh}-:{SSH_PORT}",
        # romfile= : no network boot, and no need for the package that holds the ROM.
        "-device",
        f"virtio-net-pci,netdev=net,addr={NIC_SLOT:#x},romfile=",
    ]


def _disk(nth: int, image: Path) -> list[str]:
    return [
        "-drive",
        f"if=none,id=disk{nth},format=raw,readonly=on,file={escape(image)}",
        "-device",
        f"virtio-blk-pci,drive=disk{nth},addr={FIRST_DISK_SLOT + nth:#x}",
    ]


def device_argv(device: Device, files: MachineFiles) -> list[str]:
    """Options of one emulated device. ValueError for one that an external machine has."""
    if not isinstance(device, EduDevice | IvshmemDevice):
        raise ValueError(f"{device.id} is not emulated")
    place, port = f"addr={device.slot:#x}", []
    if device.port:
        port = ["-device", f"pcie-root-port,id=port-{device.id},chassis={device.slot},{place}"]
        place = f"bus=port-{device.id},addr=0"
    if isinstance(device, EduDevice):
        return [*port, "-device", f"edu,id={device.id},{place}"]
    backing = f"{device.id}-mem"
    # QEMU will not save a machine whose ivshmem device is in "peer mode"; the guest sees no difference.
    return [
        *port,
        "-object",
        _memory_file(backing, device.size, files.devices[device.id]),
        "-device",
        f"ivshmem-plain,id={device.id},memdev={backing},master=on,{place}",
    ]


def _kernel(spec: MachineSpec, files: MachineFiles, accel: Accel, more: tuple[str, ...]) -> list[str]:
    kernel_args = " ".join((*spec.kernel_args, *more))
    if spec.hypervisor != "stand-in":
        return ["-kernel", str(files.kernel), "-initrd", str(files.initramfs), "-append", kernel_args]
    if files.standin is None:
        raise ValueError(f"machine {spec.name} needs the stand-in hypervisor's image")
    for path in (files.kernel, files.initramfs):
        if any(char.isspace() for char in str(path)):
            raise ValueError(f"QEMU cannot load a multiboot module from {str(path)!r}: blank in the name")
    words = [f"cpus={spec.cpus}", *(["spare"] if accel.spare else []), *spec.hypervisor_args]
    # QEMU splits modules at commas and each module's command line from its file at the first blank.
    modules = f"{escape(files.kernel)} {escape(kernel_args)},{escape(files.initramfs)}"
    return ["-kernel", str(files.standin), "-append", " ".join(words), "-initrd", modules]
