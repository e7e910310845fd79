# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine: what QEMU emulates and what boots in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TcgThread = Literal["auto", "single", "parked"]
"""``single``: one TCG thread. ``parked``: multi-threaded TCG with QEMU's first CPU parked in the
stand-in (needs QEMU >= 10). ``auto``: the safe choice for the QEMU found. Plain multi-threaded TCG
with more than one CPU does not exist here: it corrupts SVM state."""

Hypervisor = Literal["stand-in", "none"]


@dataclass(frozen=True, slots=True)
class IvshmemDevice:
    """``ivshmem-plain``: BAR2 is backed by a host file whose every page carries index and nonce.

    ``size`` in bytes (power of two, at least 4096), ``slot`` the PCI device number on bus 0.
    """

    id: str
    slot: int
    size: int
    kind: Literal["ivshmem-plain"] = "ivshmem-plain"


@dataclass(frozen=True, slots=True)
class EduDevice:
    """QEMU's ``edu``: BAR0 of 1 MiB with registers, MSI and DMA. ``slot`` on PCI bus 0."""

    id: str
    slot: int
    kind: Literal["edu"] = "edu"


Device = IvshmemDevice | EduDevice


@dataclass(frozen=True, slots=True)
class LinuxChild:
    """A child that QEMU in the root runs (``-accel mshv``): a Linux with disks, network and SSH.

    ``memory`` in bytes; ``devices`` are ids of the machine's devices that the child gets by vfio-pci;
    ``kernel_args`` are added to those that it always has.
    """

    cpus: int
    memory: int
    devices: tuple[str, ...] = ()
    kernel_args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """One rendered machine template. ``memory`` in bytes; ``cpus`` are the root's CPUs."""

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
