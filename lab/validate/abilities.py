# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel under test can do, probed on the running lab; scenarios name what they need.

``map_on_first_touch``: the first touch of an MMIO region issues MAP_GPA_PAGES (stock 7.3 maps when
the region is set). ``nofull_mmio``: the kernel was booted with ``hv_nofull_mmio`` and knows it.
"""

from __future__ import annotations

from lab.child.protocol import Access, VmmError
from lab.child.vmm import Vmm
from lab.judge import ledger as judge_ledger
from lab.validate.bringup import Lab

NOFULL_ARG = "hv_nofull_mmio"
_GFN = 0x100000


def probe_abilities(lab: Lab, kernel_args: tuple[str, ...]) -> dict[str, bool]:
    """Probe once per boot variant; leaves no child behind. Raises GuestDied or VmmError if the
    kernel does not get through a single access."""
    return {
        "map_on_first_touch": _maps_on_first_touch(lab),
        "nofull_mmio": NOFULL_ARG in kernel_args and _knows_boot_argument(lab, NOFULL_ARG),
    }


def _maps_on_first_touch(lab: Lab) -> bool:
    device = next((d for d in lab.devices if d.kind == "ivshmem-plain"), None)
    if device is None:
        return False
    vmm = Vmm(lab.root)
    vmm.start()
    try:
        lab.passthrough(device)
        vmm.create_partition(vps=1)
        vmm.map_bar(device.bdf, device.bar, _GFN, device.pages)
        vmm.read(0, 0, 8)
        position = lab.hypervisor.position()
        vmm.access([Access(_GFN << 12, 4)])
        maps = judge_ledger.maps_of(lab.hypervisor.since(position), lab.child_partition())
        return any(_GFN <= r.words[1] < _GFN + device.pages for r in maps)
    except VmmError as e:
        if e.errno_name == "ETIMEDOUT":
            raise
        return False
    finally:
        vmm.close()


def _knows_boot_argument(lab: Lab, argument: str) -> bool:
    """The kernel lists arguments that nobody claimed as unknown; a module names its own."""
    if lab.kernel.modules:
        return lab.root.run(f"[ -e /sys/module/mshv_root/parameters/{argument} ]", check=False).rc == 0
    text = lab.machine.console.text()
    for line in text.splitlines():
        if "Unknown kernel command line parameters" in line and argument in line:
            return False
    return argument in text
