# SPDX-License-Identifier: GPL-2.0-or-later
"""The child of a lab that is up: a VMM that outlives the SSH channel, every device's BAR mapped.

Device BARs lie one after the other from ``FIRST_GFN`` on, so that the address of a device in the
child follows from the machine alone.
"""

from __future__ import annotations

from typing import Any, Literal

from lab.child.protocol import Access, VmmError
from lab.child.vmm import Vmm
from lab.model.errors import BadInput
from lab.model.machine import LinuxChild
from lab.validate.bringup import Lab, LabDevice
from lab.validate.linux_child import linux_bar

SOCKET = "/run/mshv-vmm.sock"
FIRST_GFN = 0x100000
VPS = 2


def window_gfn(lab: Lab, device: LabDevice) -> int:
    """First frame of a device's BAR in the child."""
    gfn = FIRST_GFN
    for other in lab.devices:
        if other.id == device.id:
            return gfn
        gfn += max(other.pages, 0x10000)
    raise KeyError(device.id)


def start_child(lab: Lab) -> list[dict[str, Any]]:
    """Create the partition and map every BAR; one entry per device, ``gpa`` None where it was refused.

    NotObservable on a machine that runs no children.
    """
    lab.require_children()
    vmm = Vmm(lab.root, socket=SOCKET)
    vmm.start()
    windows: list[dict[str, Any]] = []
    try:
        vmm.create_partition(vps=VPS)
        for device in lab.devices:
            window: dict[str, Any] = {
                "device": device.id,
                "bdf": device.bdf,
                "bar": device.bar,
                "pages": device.pages,
                "gpa": None,
                "error": "",
            }
            gfn = window_gfn(lab, device)
            try:
                lab.passthrough(device)
                vmm.map_bar(device.bdf, device.bar, gfn, device.pages)
                window["gpa"] = gfn << 12
            except VmmError as e:
                window["error"] = f"{e.op} failed with {e.errno_name}"
            windows.append(window)
    finally:
        vmm.close()
    return windows


def access_window(
    lab: Lab, *, device: str, offset: int, width: int, vp: int, value: int | None, count: int
) -> list[dict[str, Any]]:
    """``count`` accesses one after the other. Raises BadInput outside of the BAR or for an unknown
    device, and on a machine that runs no children."""
    lab.require_children()
    found = next((d for d in lab.devices if device in (d.id, d.kind)), None)
    if found is None:
        known = ", ".join(d.id for d in lab.devices) or "none"
        raise BadInput(f"no device {device!r}", where="--device", hint=f"devices: {known}")
    size = found.pages << 12
    if not 0 <= offset <= size - width * count:
        raise BadInput(f"offset {offset:#x} is outside of the BAR ({size:#x} bytes)", where=found.id)
    linux = lab.spec.child if isinstance(lab.spec.child, LinuxChild) else None
    vps = linux.cpus if linux else VPS
    if not 0 <= vp < vps:
        raise BadInput(f"the child has no VP {vp}", where="--vp", hint=f"it has {vps}")
    if linux and found.id not in linux.devices:
        raise BadInput(
            f"the child does not have {found.id}",
            where="--device",
            hint=f"boot with --param child_devices={found.id}",
        )
    if value is not None and value >> 8 * width:
        raise BadInput(f"{value:#x} does not fit into {width} bytes", hint="give a larger --width")
    kind: Literal["read", "write"] = "read" if value is None else "write"

    def wanted(base: int) -> list[Access]:
        return [Access(base + offset + i * width, width, kind, value or 0, vp=vp) for i in range(count)]

    if linux:
        with linux_bar(lab, found) as bar:
            base, results = bar.gpa, bar.access(wanted(bar.gpa))
    else:
        base = window_gfn(lab, found) << 12
        vmm = Vmm(lab.root, socket=SOCKET)
        vmm.start()
        try:
            results = vmm.access(wanted(base))
        finally:
            vmm.close()
    out: list[dict[str, Any]] = []
    for result in results:
        entry: dict[str, Any] = {"offset": result.access.gpa - base, "width": width}
        if result.message is not None:
            entry |= {"message": result.message.name, "gpa": result.message.gpa}
        elif not result.ok:
            raise VmmError(kind, "EFAULT", f"{width} bytes at offset {entry['offset']:#x} of {found.id}")
        else:
            entry["value"] = result.value if value is None else value
        out.append(entry)
    return out
