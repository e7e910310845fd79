# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel under test can do, probed on the running lab; scenarios name what they need.

``map_on_first_touch``: the first touch of an MMIO region issues MAP_GPA_PAGES (stock 7.3 maps when
the region is set). ``nofull_mmio``: the kernel was booted with ``hv_nofull_mmio`` and knows it.
``full_mmio``: it maps on first touch, and was not booted so: one touch may map a whole region.
"""

from __future__ import annotations

from lab.child.protocol import Access, VmmError
from lab.child.vmm import Vmm
from lab.judge import ledger as judge_ledger
from lab.model.errors import NotObservable
from lab.validate.base import BaseLab
from lab.validate.bringup import Lab

NOFULL_ARG = "hv_nofull_mmio"
_GFN = 0x100000


_NOTHING = {"map_on_first_touch": False, "nofull_mmio": False, "full_mmio": False}


def probe_abilities(lab: BaseLab, kernel_args: tuple[str, ...]) -> dict[str, bool]:
    """Probe once per boot variant; leaves no child behind. Raises GuestDied or VmmError if the
    kernel does not get through a single access.

    What the machine does not show is left out: neither there nor missing.
    """
    if not lab.spec.runs_children:
        return _NOTHING
    if lab.spec.hypervisor == "kvm":
        # By its design: KVM enters a page into its tables when a fault asks for it.
        return {**_NOTHING, "map_on_first_touch": True, "full_mmio": True}
    if not lab.witness.sees_ledger:
        return {"nofull_mmio": False}
    asked = NOFULL_ARG in (*lab.spec.kernel_args, *kernel_args)
    known = isinstance(lab, Lab) and asked and _knows_boot_argument(lab, NOFULL_ARG)
    touch = _maps_on_first_touch(lab)
    return {"map_on_first_touch": touch, "nofull_mmio": known, "full_mmio": touch and not known}


def _maps_on_first_touch(lab: BaseLab) -> bool:
    try:
        device = lab.test_device()
    except NotObservable:
        return False
    vmm = Vmm(lab.root)
    vmm.start()
    try:
        lab.passthrough(device)
        vmm.create_partition(vps=1)
        vmm.map_bar(device.bdf, device.bar, _GFN, device.pages)
        vmm.read(0, 0, 8)
        position = lab.witness.position()
        vmm.access([Access(_GFN << 12, 4)])
        maps = judge_ledger.maps_of(lab.witness.since(position), lab.child_partition())
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
