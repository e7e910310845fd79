# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine: what QEMU emulates and what boots in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TcgThread = Literal["auto", "single", "parked"]
"""``single``: one TCG thread. ``parked``: multi-threaded TCG with QEMU's first CPU parked in the
stand-in (needs QEMU >= 10). ``auto``: the safe choice for the QEMU found. Plain multi-threaded TCG
with more than one CPU does not exist here: it corrupts SVM state."""

Hypervisor = Literal["stand-in", "none", "kvm", "external", "hyperv"]
"""What the root has under it, or in it. ``stand-in``: ours. ``none``: nothing, a bare boot. ``kvm``: nothing,
but its own KVM runs the child, as the reference. ``external``: whatever runs on a machine that is reached by
SSH and not started by the lab. ``hyperv``: Microsoft's own, from disk images that the user brings."""


@dataclass(frozen=True, slots=True)
class IvshmemDevice:
    """``ivshmem-plain``: BAR2 is backed by a host file whose every page carries index and nonce.

    ``size`` in bytes (power of two, at least 4096), ``slot`` the PCI device number on bus 0.
    ``port``: the slot holds a PCI Express root port and the device is behind it, where it can be reset and
    unplugged.
    """

    id: str
    slot: int
    size: int
    port: bool = False
    kind: Literal["ivshmem-plain"] = "ivshmem-plain"


@dataclass(frozen=True, slots=True)
class EduDevice:
    """QEMU's ``edu``: BAR0 of 1 MiB with registers, MSI and DMA. ``slot`` and ``port`` as above."""

    id: str
    slot: int
    port: bool = False
    kind: Literal["edu"] = "edu"


@dataclass(frozen=True, slots=True)
class PciDevice:
    """A device that an external machine has already, bound to vfio-pci there, and the BAR to pass through."""

    id: str
    bdf: str
    bar: int
    kind: Literal["pci"] = "pci"


Device = IvshmemDevice | EduDevice | PciDevice


@dataclass(frozen=True, slots=True)
class SshAccess:
    """How an external machine is reached, and nothing else is known of it.

    ``known_hosts`` is a file that holds its host key, or ``accept-any``, which asks for no proof.
    """

    host: str
    port: int
    user: str
    key: str
    known_hosts: str


ACCEPT_ANY = "accept-any"


@dataclass(frozen=True, slots=True)
class UserImages:
    """Disk and firmware files that the user brings. ``vars`` is the firmware's writable variable store."""

    disks: tuple[str, ...]
    firmware: str
    vars: str
    cpu_vendor: Literal["amd", "intel"]
    ssh_port: int


@dataclass(frozen=True, slots=True)
class LinuxChild:
    """A child that QEMU in the root runs (``-accel mshv``): a Linux with disks, network and SSH.

    ``memory`` in bytes; ``devices`` are ids of the machine's devices that the child gets by vfio-pci;
    ``kernel_args`` are added to those that it always has. ``x2apic``: whether its CPUID offers the x2APIC;
    ``auto`` leaves that to QEMU, which offers what the root's CPUID has.
    """

    cpus: int
    memory: int
    devices: tuple[str, ...] = ()
    kernel_args: tuple[str, ...] = ()
    x2apic: Literal["auto", "on", "off"] = "auto"


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """One rendered machine template. ``memory`` in bytes; ``cpus`` are the root's CPUs (both 0 for a
    machine that the lab does not start). ``ssh`` is set for ``external`` only, ``images`` for ``hyperv``."""

    name: str
    cpus: int
    memory: int
    devices: tuple[Device, ...]
    hypervisor: Hypervisor = "stand-in"
    tcg_thread: TcgThread = "auto"
    kernel_args: tuple[str, ...] = ()
    hypervisor_args: tuple[str, ...] = ()
    cpu_model: str = "EPYC"
    child: Literal["payload"] | LinuxChild = "payload"
    iommu: Literal["none", "intel"] = "none"
    ssh: SshAccess | None = None
    images: UserImages | None = None

    @property
    def booted_by_lab(self) -> bool:
        """Whether the lab boots a kernel of its own choice on it."""
        return self.hypervisor in ("stand-in", "none", "kvm")

    @property
    def runs_children(self) -> bool:
        """Whether a child partition can run there."""
        return self.hypervisor != "none"
