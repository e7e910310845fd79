# SPDX-License-Identifier: GPL-2.0-or-later
"""Start the Linux child of a booted lab, or join the one that runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lab.build.childtree import INIT
from lab.child.bar import LinuxBar
from lab.child.linux import LinuxChild
from lab.hypervisor.names import HYPERCALLS
from lab.judge.ledger import HV_MAP_GPA_NOT_CACHED
from lab.machine.child_argv import ROOT_ADDRESS, PassedDevice, build_child_argv, child_slot
from lab.model import machine
from lab.model.errors import BadInput, GuestDied
from lab.model.ledger import LedgerRecord
from lab.validate.base import LabDevice
from lab.validate.bringup import Lab
from lab.validate.child_files import KNOWN_CHILD

REFUSED = "failed to set guest memory"
"""What QEMU says when MSHV_SET_GUEST_MEMORY fails."""
DISK_BYTES = 256 << 20
"""Size of the disk that the child may write to; it is sparse, in the root's memory."""


def spec_of(lab: Lab) -> machine.LinuxChild:
    """The child as the machine describes it. BadInput when the machine's child is no Linux."""
    child = lab.machine.spec.child
    if not isinstance(child, machine.LinuxChild):
        raise BadInput(
            "the child of this machine is the payload: it has no shell and no console",
            where=lab.name,
            hint="boot --machine mshv-root-linux-child, or drive the payload with hvlab mmio read|write",
        )
    return child


def launch(lab: Lab) -> LinuxChild:
    """Start QEMU in the root, passing the devices on; does not wait for the child's boot."""
    spec = spec_of(lab)
    passed = []
    for ident in spec.devices:
        device = next(d for d in lab.devices if d.id == ident)
        lab.passthrough(device)
        passed.append(PassedDevice(device.id, device.bdf))
    child = _child(lab)
    child.start(build_child_argv(spec, INIT, tuple(passed)), address=ROOT_ADDRESS, disk_bytes=DISK_BYTES)
    return child


def start_linux_child(lab: Lab) -> tuple[LinuxChild, float]:
    """Start the child and wait for its SSH login; also the seconds that took. GuestDied when it fails."""
    started, mark = time.monotonic(), lab.hypervisor.position()
    child = launch(lab)
    try:
        child.wait_ready(factor=lab.factor)
        child.connect()
    except GuestDied as e:
        child.close()
        raise (no_device(lab, e, mark) or e) from None
    except BaseException:
        child.close()
        raise
    return child, time.monotonic() - started


def no_device(lab: Lab, died: GuestDied, mark: int) -> GuestDied | None:
    """The error for a person when the driver of the kernel under test cannot map a device's memory.

    ``mark`` is the ledger's position before QEMU started. None when QEMU ended for another reason.
    """
    if died.kind != "child-exit" or REFUSED not in died.detail:
        return None
    asked = [r for r in lab.hypervisor.since(mark).records if maps_device(r) and r.status]
    said = next(line.strip() for line in died.detail.splitlines() if REFUSED in line)
    if asked:
        place = ", ".join(
            f"{d.id} BAR{d.bar} begins at {lab.bar_spa(d):#x}"
            for d in lab.devices
            if d.id in spec_of(lab).devices
        )
        why = f"the driver asked the hypervisor for page {asked[0].words[3]:#x}, but {place}"
    else:
        why = "the driver refused the BAR as guest memory before it asked the hypervisor"
    return GuestDied(
        f"this kernel cannot give the child {' and '.join(spec_of(lab).devices)}: "
        f"MSHV_SET_GUEST_MEMORY fails; {why}",
        kind=died.kind,
        phase=died.phase,
        where="mshv_root",
        hint="boot a kernel that maps device memory (--series tests/series/mmio-on-demand), "
        "or leave child_devices out",
        detail=f"QEMU: {said}",
    )


def maps_device(record: LedgerRecord) -> bool:
    """Whether a hypercall maps device memory into a child: the driver asks for that uncached."""
    return HYPERCALLS.get(record.code) == "MAP_GPA_PAGES" and bool(record.words[2] & HV_MAP_GPA_NOT_CACHED)


def attach_linux_child(lab: Lab, *, connect: bool = True) -> LinuxChild:
    """The child that runs in a lab that is up."""
    spec_of(lab)
    child = _child(lab)
    child.attach()
    if connect:
        child.connect()
    return child


@contextmanager
def linux_bar(lab: Lab, device: LabDevice) -> Iterator[LinuxBar]:
    """The BAR of a device that was passed on, as the running child sees it."""
    bdf = f"0000:00:{child_slot(spec_of(lab).devices.index(device.id)):02x}.0"
    child = attach_linux_child(lab)
    try:
        with LinuxBar(child.ssh, bdf, device.bar) as bar:
            yield bar
    finally:
        child.close()


def _child(lab: Lab) -> LinuxChild:
    folder = lab.machine.lab.path
    return LinuxChild(lab.root, folder / "id_ed25519", host_key=(folder / KNOWN_CHILD).read_text().strip())
