# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots of a booted machine: a root that is ready in a fifth of a second.

The RAM is a shared file already, so a snapshot is a sparse copy of that file plus QEMU's device state
(capability ``x-ignore-shared``: about 350 KiB). Reading RAM through a migration stream instead takes
seconds, because every hole of the file becomes a page.

Two things stand in the way, and both are dealt with here:

- QEMU refuses to load a virtual CPU that was inside an SVM guest ("vCPU set in guest-mode inconsistent
  with migrated kernel nested state"). So every CPU must be in the stand-in itself when the machine is
  stopped; ``park`` sees to that and ``release`` lets them go.
- QEMU refuses to ignore shared memory that is not at the same guest address on both sides ("Mismatched
  GPAs"), and a fresh machine has no BARs yet. So the BARs of shared devices are programmed through the
  PCI configuration ports, by the monitor, before the state is loaded.

The memory of devices is not part of a snapshot: a restored machine has fresh ones, with a nonce of its own.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.machine import room
from lab.machine.argv import Accel, Boot, NetPorts, QemuInfo
from lab.machine.files import BootFiles
from lab.machine.process import Machine
from lab.machine.qmp import Qmp
from lab.machine.state import Lab
from lab.model.errors import LabUnavailable
from lab.model.machine import MachineSpec, PciDevice

SCHEMA = 1
STATE = "state"
RAM = "ram"
META = "snapshot.json"
MIGRATE_SECONDS = 60.0

_POLL = 0.002
_BANDWIDTH = 8 << 30
_IGNORE_SHARED = [{"capability": "x-ignore-shared", "state": True}]
_CONFIG_ADDRESS, _CONFIG_DATA = 0xCF8, 0xCFC
"""PCI configuration mechanism #1 (PCI Local Bus Specification 3.0, section 3.2.2.3.2)."""
_CONFIG_ENABLE = 1 << 31
_BAR_OF = {"ivshmem-plain": 2, "edu": 0}
"""BARs to program before the state is loaded: ivshmem's is memory that must be at the same address on
both sides; edu does not save its state at all (hw/misc/edu.c has no VMState), not even where its BAR is."""
_COMMAND, _COMMAND_MEMORY, _BAR0 = 4, 2, 0x10


@dataclass(frozen=True, slots=True)
class Bar:
    """Where a BAR of a device in ``slot`` of bus 0 was mapped."""

    slot: int
    bar: int
    address: int
    wide: bool
    """64-bit BAR: two registers."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot in a folder, and what a machine must agree with to be restored from it."""

    folder: Path
    machine: str
    """The machine as text (``repr`` of its MachineSpec)."""
    qemu: str
    cpus: int
    thread: str
    bars: tuple[Bar, ...]


def save(
    machine: Machine,
    folder: Path,
    qemu: QemuInfo,
    accel: Accel,
    *,
    park: Callable[[], None],
    release: Callable[[], None],
) -> Snapshot:
    """Write a snapshot of the running machine into an existing folder; the machine then goes on.

    ``park`` must return only when every CPU is in the stand-in and stays there until ``release``
    (on a machine without the stand-in both do nothing). Raises LabUnavailable, GuestDied.
    """
    try:
        park()
        machine.qmp.execute("stop")
        bars = _bars(machine.qmp, machine.spec)
        machine.qmp.execute("migrate-set-parameters", max_bandwidth=_BANDWIDTH)
        machine.qmp.execute("migrate-set-capabilities", capabilities=_IGNORE_SHARED)
        machine.qmp.execute("migrate", uri=f"exec:cat > {shlex.quote(str(folder / STATE))}")
        _wait_migrated(machine)
        room.copy_sparse(machine.files.ram, folder / RAM)
    finally:
        release()
        if machine.alive():
            machine.qmp.execute("cont")
    snapshot = Snapshot(folder, repr(machine.spec), qemu.text, accel.cpus, accel.thread, bars)
    data = {**dataclasses.asdict(snapshot), "schema": SCHEMA}
    del data["folder"]
    (folder / META).write_text(json.dumps(data, indent=1) + "\n")
    return snapshot


def load(folder: Path) -> Snapshot:
    """The snapshot in a folder. Raises LabUnavailable when there is none that this version understands."""
    try:
        data = json.loads((folder / META).read_text())
        if data.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        bars = tuple(Bar(**bar) for bar in data.pop("bars"))
        return Snapshot(folder=folder, bars=bars, **data)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LabUnavailable(f"no usable snapshot: {error}", where=str(folder)) from None


def mismatch(snapshot: Snapshot, spec: MachineSpec, qemu: QemuInfo, accel: Accel) -> str:
    """Why a machine cannot be restored from a snapshot; empty when it can."""
    if snapshot.qemu != qemu.text:
        return f"it was made by QEMU {snapshot.qemu}, this is {qemu.text}"
    if snapshot.machine != repr(spec):
        return "it is of another machine"
    if (snapshot.cpus, snapshot.thread) != (accel.cpus, accel.thread):
        return f"it has {snapshot.cpus} CPUs in {snapshot.thread}-threaded TCG"
    return ""


def restore(
    snapshot: Snapshot,
    spec: MachineSpec,
    qemu: QemuInfo,
    accel: Accel,
    boot_files: BootFiles,
    lab: Lab,
    *,
    release: Callable[[Machine], None],
    net: NetPorts | None = None,
    nonce: int | None = None,
) -> Machine:
    """A new machine in ``lab`` that goes on where the snapshot was taken, except for device memory.

    ``boot_files`` must be those of the machine that was saved: QEMU loads them before the state
    replaces them. ``release`` is called before the CPUs run. Raises LabUnavailable, GuestDied.
    """
    if why := mismatch(snapshot, spec, qemu, accel):
        raise LabUnavailable(f"the snapshot does not fit: {why}", where=str(snapshot.folder))
    machine = Machine.start(
        spec,
        qemu,
        accel,
        boot_files,
        lab,
        net=net,
        boot=Boot(incoming="defer"),
        nonce=nonce,
        ram_image=snapshot.folder / RAM,
    )
    try:
        machine.qmp.execute("migrate-set-capabilities", capabilities=_IGNORE_SHARED)
        for bar in snapshot.bars:
            _program_bar(machine.qmp, bar)
        machine.qmp.execute("migrate-incoming", uri=f"exec:cat {shlex.quote(str(snapshot.folder / STATE))}")
        _wait_loaded(machine)
        release(machine)
        machine.qmp.execute("cont")
    except BaseException:
        machine.stop()
        raise
    return machine


def _wait_migrated(machine: Machine) -> None:
    deadline = time.monotonic() + MIGRATE_SECONDS
    while True:
        status = machine.qmp.execute("query-migrate")
        if status.get("status") == "completed":
            return
        if status.get("status") in ("failed", "cancelled") or time.monotonic() > deadline:
            reason = status.get("error-desc") or f"status {status.get('status')}"
            raise LabUnavailable(f"the machine's state cannot be saved: {reason}", where=machine.lab.name)
        machine.check("snapshot")
        time.sleep(_POLL)


def _wait_loaded(machine: Machine) -> None:
    deadline = time.monotonic() + MIGRATE_SECONDS
    while machine.qmp.execute("query-status")["status"] == "inmigrate":
        machine.check("restore")
        if time.monotonic() > deadline:
            raise LabUnavailable("the machine's state is not loaded in time", where=machine.lab.name)
        time.sleep(_POLL)


def _bars(qmp: Qmp, spec: MachineSpec) -> tuple[Bar, ...]:
    wanted = {
        (device.slot, _BAR_OF[device.kind]) for device in spec.devices if not isinstance(device, PciDevice)
    }
    return tuple(
        Bar(device["slot"], region["bar"], region["address"], bool(region.get("mem_type_64")))
        for bus in qmp.execute("query-pci")
        for device in bus["devices"]
        if bus["bus"] == 0
        for region in device["regions"]
        if region["type"] == "memory" and (device["slot"], region["bar"]) in wanted and region["address"] >= 0
    )


def _program_bar(qmp: Qmp, bar: Bar) -> None:
    def write(register: int, value: int, size: str) -> None:
        qmp.hmp(f"o /w {_CONFIG_ADDRESS:#x} {_CONFIG_ENABLE | bar.slot << 11 | register:#x}")
        qmp.hmp(f"o /{size} {_CONFIG_DATA:#x} {value:#x}")

    register = _BAR0 + 4 * bar.bar
    write(register, bar.address & 0xFFFFFFFF, "w")
    if bar.wide:
        write(register + 4, bar.address >> 32, "w")
    write(_COMMAND, _COMMAND_MEMORY, "h")
