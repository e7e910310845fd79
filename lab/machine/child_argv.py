# SPDX-License-Identifier: GPL-2.0-or-later
"""Command lines of the QEMU that runs a Linux child inside the root, from data only.

All paths are the root's. The child's network is a tap device between it and the root; nothing of it
shows on the host.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.model.machine import LinuxChild

TOOLS = "/mnt/tools"
"""Where the disk with QEMU is mounted."""
RUN = "/run/child"
"""Sockets, logs and the disk of the running child."""
START = "/lab/child/start"
KERNEL = "/lab/child/bzImage"
KEYS = "/lab/child/keys.tar"
SYSTEM_DISK = "/dev/vdb"
DISK = f"{RUN}/disk.img"
CONSOLE = f"{RUN}/console.log"
QMP = f"{RUN}/qmp.sock"
TSC_KHZ = "@TSC_KHZ@"
"""Stands for the rate of the root's TSC, which is the child's too; ``images/child/start`` knows it."""
TAP = "tap0"
ROOT_ADDRESS = "10.9.0.1"
CHILD_ADDRESS = "10.9.0.2"
_NETMASK = "255.255.255.0"
_MAC = "52:54:00:0c:00:02"
_FIRST_PASSED_SLOT = 0x10
_NO_KVM = "x-no-kvm-msi=on,x-no-kvm-msix=on,x-no-kvm-intx=on"
"""QEMU 11.1 commits the interrupt routes of vfio-pci as if the accelerator were KVM and aborts:
"kvm.h:181:KVM_STATE: Object ... is not an instance of type kvm-accel". Without routes it has nothing to
commit, and QEMU itself forwards each message."""
_CPU = {
    "auto": "host",
    # The stand-in has the x2APIC for children whatever the root's processor has; QEMU would drop the bit.
    "on": "host,+x2apic,x-force-features=on",
    "off": "host,-x2apic",
}


@dataclass(frozen=True, slots=True)
class PassedDevice:
    """A device of the root, bound to vfio-pci, and the name that QEMU gives it."""

    id: str
    bdf: str


def child_slot(nth: int) -> int:
    """PCI device number in the child of its n-th passed device."""
    return _FIRST_PASSED_SLOT + nth


def kernel_args(child: LinuxChild, init: str) -> str:
    """Arguments of the child's kernel, with ``TSC_KHZ`` for the root to fill in.

    Every access of the child to an emulated device costs two hypercalls and a walk through QEMU: a quiet
    console, a known clock rate and no search for PCI busses that are not there halve the time to boot.
    """
    fixed = (
        "console=ttyS0",
        "quiet",
        "nokaslr",
        "root=/dev/vda",
        "ro",
        "rootfstype=ext4",
        f"init={init}",
        # The kernel itself sets the network up: that costs no process.
        f"ip={CHILD_ADDRESS}::{ROOT_ADDRESS}:{_NETMASK}:child:eth0:off",
        "tsc=reliable",
        f"tsc_early_khz={TSC_KHZ}",
        f"lpj={TSC_KHZ}0",  # loops per jiffy as the kernel computes it from the clock rate, with our HZ=100
        "no_timer_check",
        "pci=lastbus=0",
        "8250.nr_uarts=1",
    )
    return " ".join((*fixed, *child.kernel_args))


def build_child_argv(child: LinuxChild, init: str, passed: tuple[PassedDevice, ...] = ()) -> list[str]:
    """The command line of QEMU in the root, for a shell there."""
    library = f"{TOOLS}/lib"
    argv = [f"{library}/ld.so", "--library-path", library, f"{TOOLS}/bin/qemu", "-L", f"{TOOLS}/share"]
    argv += ["-name", "child", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    # No HPET: a child that takes it for its clock leaves to QEMU for every look at the time.
    argv += ["-accel", "mshv", "-machine", "q35,hpet=off", "-cpu", _CPU[child.x2apic]]
    argv += ["-smp", str(child.cpus), "-m", f"size={child.memory >> 20}M"]
    argv += ["-kernel", KERNEL, "-append", kernel_args(child, init)]
    argv += ["-chardev", f"file,id=console,path={CONSOLE}", "-serial", "chardev:console"]
    argv += ["-qmp", f"unix:{QMP},server=on,wait=off"]
    argv += _disk("system", SYSTEM_DISK, 0x4, readonly=True)
    argv += _disk("own", DISK, 0x5, readonly=False)
    argv += _disk("keys", KEYS, 0x6, readonly=True)
    argv += ["-netdev", f"tap,id=net,ifname={TAP},script=no,downscript=no"]
    argv += ["-device", f"virtio-net-pci,netdev=net,addr=0x3,mac={_MAC},romfile="]
    for nth, device in enumerate(passed):
        options = f"vfio-pci,id={device.id},host={device.bdf},addr={child_slot(nth):#x}"
        argv += ["-device", f"{options},{_NO_KVM}"]
    return argv


def _disk(name: str, path: str, slot: int, *, readonly: bool) -> list[str]:
    options = f"if=none,id={name},format=raw,file={path},readonly={'on' if readonly else 'off'}"
    return ["-drive", options, "-device", f"virtio-blk-pci,drive={name},serial={name},addr={slot:#x}"]
