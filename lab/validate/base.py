# SPDX-License-Identifier: GPL-2.0-or-later
"""What scenarios know of any lab, booted by us or not: the root over SSH, devices, who sees below."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from lab.hypervisor.view import HypervisorView
from lab.machine import ivshmem
from lab.model.errors import LabError, NotObservable
from lab.model.kernel import KernelImage
from lab.model.machine import MachineSpec
from lab.root.root import Root
from lab.root.transport import Watch
from lab.validate.kernel_log import KernelLog
from lab.validate.witness import ROOT_PARTITION, Witness

GONE_BUDGET = 5.0
"""Seconds for the driver's delayed work (RCU, work queues) to take a destroyed partition away, times the
flavour's factor, as below."""
_PATIENCE = 20.0
"""The same where a scenario waits for nothing else, for hosts that are busy with other work."""
_POLL = 0.01


@dataclass(frozen=True, slots=True)
class LabDevice:
    """A device as a scenario needs it. ``bar`` is the BAR that gets passed through.

    ``words`` is what the root itself reads from a device that nobody on the host can look at: by page and
    word. It is None for our own, whose ``memory`` the host wrote.
    """

    id: str
    kind: str
    bdf: str
    bar: int
    pages: int
    memory: ivshmem.DeviceMemory | None = None
    nonce: int = 0
    words: dict[tuple[int, int], int] | None = None

    def expected_word(self, page: int, word: int = 0) -> int:
        """The 64-bit word that is in a page of the device (not for edu). NotObservable if nobody knows."""
        if self.words is None:
            return ivshmem.expected_word(self.nonce, page, word)
        if (page, word) not in self.words:
            raise NotObservable(f"nobody has read word {word} of page {page} of {self.id}")
        return self.words[page, word]

    def origin(self, value: int) -> int | None:
        """The page whose first word this is; None when it is no page's."""
        if self.words is None:
            found = ivshmem.origin(self.nonce, value)
            return found[0] if found is not None and found[0] < self.pages else None
        pages = [page for (page, word), known in self.words.items() if word == 0 and known == value]
        return pages[0] if len(pages) == 1 else None

    def backing_bytes(self, page: int, offset: int, size: int) -> bytes:
        """What the device's memory holds now, read on the host. NotObservable for a device without it."""
        if self.memory is None:
            raise NotObservable(f"the host cannot look into {self.id}")
        return self.memory.read(page * 4096 + offset, size)


class BaseLab:
    """A lab that answers. Subclasses connect it and end it."""

    root_id = ROOT_PARTITION
    root: Root
    kernel_log: KernelLog
    watch: Watch
    witness: Witness

    def __init__(self, spec: MachineSpec, name: str, kernel: KernelImage | None) -> None:
        self.spec = spec
        self.name = name
        self.kernel = kernel
        self.devices: tuple[LabDevice, ...] = ()
        self.release = kernel.release if kernel else ""
        self.factor = 1.0
        """How much longer than on the plain flavour anything may take: every wait is stretched by it."""
        self.boot_seconds = 0.0
        self.log_mark = 0
        """Position in the kernel log up to which somebody has looked for splats."""
        self._view: HypervisorView | None = None
        self._release = ExitStack()
        self._bound: set[str] = set()
        self._bars: dict[str, dict[int, int]] = {}
        self._spoilt = ""

    @property
    def hypervisor(self) -> HypervisorView:
        """The stand-in seen from outside. NotObservable on a machine without one."""
        if self._view is None:
            what = {
                "none": "no hypervisor: there is no ledger, no SLAT, no child",
                "kvm": "KVM in place of the stand-in: there is no ledger, no SLAT",
            }.get(
                self.spec.hypervisor, "a hypervisor that only its own root sees: there is no ledger, no SLAT"
            )
            raise NotObservable(
                f"machine {self.spec.name} has {what}",
                where=self.name,
                hint="boot a machine that has the stand-in, such as mshv-root",
            )
        return self._view

    def device(self, kind: str) -> LabDevice:
        """The first device of a kind. NotObservable if the machine has none."""
        for device in self.devices:
            if device.kind == kind:
                return device
        raise NotObservable(f"machine {self.spec.name} has no {kind} device", where=self.name)

    def test_device(self) -> LabDevice:
        """The device whose pages can be told apart: ivshmem, or the first one of an external machine."""
        return self.device("pci" if self.spec.hypervisor == "external" else "ivshmem-plain")

    def bar_spa(self, device: LabDevice) -> int:
        """SPA page number of the device's BAR, as the root's PCI core placed it at boot."""
        if not self._bars:
            self._bars = {d.bdf: {b.index: b.address >> 12 for b in d.bars} for d in self.root.pci_devices()}
        return self._bars[device.bdf][device.bar]

    def passthrough(self, device: LabDevice) -> None:
        """Give a device to vfio-pci, once per boot."""
        if device.bdf not in self._bound:
            self.root.bind_vfio(device.bdf)
            self._bound.add(device.bdf)

    def rescan(self) -> None:
        """The root's PCI devices have been removed and found anew: know nothing of them any more."""
        self._bars.clear()
        self._bound.clear()

    def child_partition(self) -> int:
        """Id of the only child partition. LabError when there is none or more than one, NotObservable
        where nobody sees them."""
        ids = self.witness.children()
        if len(ids) != 1:
            raise LabError(
                f"expected one child partition, {self.witness.name} has {len(ids)}", where=self.name
            )
        return ids[0]

    def partitions_left(self, budget: float = GONE_BUDGET) -> list[int]:
        """Children that are still there after the driver had ``budget`` seconds to take destroyed ones away.
        Empty where nobody sees them: ask ``witness.sees_children`` before that counts for anything."""
        if not self.witness.sees_children:
            return []
        return self.settle(self.witness.children, budget)

    def wait_gone(self, partition: int) -> None:
        """Wait until nobody knows a destroyed partition any more. AssertionError when it stays,
        NotObservable where nobody sees partitions."""
        left = self.settle(lambda: [p for p in self.witness.children() if p == partition], _PATIENCE)
        assert not left, f"partition {partition} is still there after {_PATIENCE * self.factor:.0f} s"

    def settle(self, look: Callable[[], list[int]], budget: float) -> list[int]:
        """What ``look`` still finds after up to ``budget`` seconds; empty as soon as it finds nothing."""
        deadline = time.monotonic() + budget * self.factor
        while (left := look()) and time.monotonic() < deadline:
            self.watch.check("waiting for something to go")
            time.sleep(_POLL)
        return left

    def clear_faults(self) -> None:
        """Take back what a scenario made the hypervisor do: faults and holds."""
        if self._view is not None:
            self._view.faults.clear()
            self._view.holds.clear()

    def symbolise(self, address: int) -> str:
        """``function+0x12`` of the kernel under test; hex when unknown."""
        return f"{address:#x}"

    def alive(self) -> bool:
        """Whether the machine is there."""
        raise NotImplementedError

    def spoil(self, why: str) -> None:
        """This lab is no clean start for anything any more."""
        self._spoilt = self._spoilt or why

    def clean(self) -> bool:
        """Whether another scenario may start here: alive, no splat so far, no child left."""
        if not self.alive():
            self.spoil("the guest is dead")
        elif not self._spoilt and (left := self.partitions_left()):
            self.spoil(f"partition {left[0]} is still there")
        return not self._spoilt

    @property
    def why_not_clean(self) -> str:
        """What spoilt this lab; empty while it is clean."""
        return self._spoilt

    def require_children(self) -> None:
        """NotObservable (with what to do) on a machine that cannot run a child at all."""
        if not self.spec.runs_children:
            raise NotObservable(
                f"machine {self.spec.name} runs no child: it has no hypervisor, so there is no /dev/mshv",
                where=self.name,
                hint="boot a machine with one: hvlab up --machine mshv-root, or kvm-root",
            )

    def leave(self) -> None:
        """Release everything of this process and let the lab run."""
        self._release.close()

    def close(self) -> None:
        """End the lab, or leave alone what was not started here. Safe to call twice."""
        self._release.close()

    def keep(self) -> None:
        """Leave the lab to itself."""
        self._release.close()
