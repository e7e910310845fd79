# SPDX-License-Identifier: GPL-2.0-or-later
"""Who tells what happens below the root, and how much of it.

The stand-in shows everything: every hypercall, every table. The reference that runs KVM shows which VMs
exist. A machine that only SSH reaches shows what its own driver traces. Whatever a witness cannot see
raises NotObservable, so that a scenario that needs it is neither passed nor failed.
"""

from __future__ import annotations

from typing import Protocol

from lab.hypervisor.view import HypervisorView
from lab.model.errors import NotObservable
from lab.model.ledger import LedgerSlice
from lab.root.root import Root

ROOT_PARTITION = 1
KERNEL_LOG_DETECTORS = ("warn", "hung-task", "panic")
"""What must have been tripped on purpose where the lab itself boots the kernel."""


class Witness(Protocol):
    """What sees the hypervisor's side of a lab."""

    name: str
    sees_ledger: bool
    """Map and unmap requests of the driver; ``since`` answers."""
    sees_slat: bool
    """Second-level tables: only the stand-in's."""
    sees_children: bool
    """Which child partitions exist; ``children`` answers."""
    detectors: tuple[str, ...] | None
    """Detectors whose proof a pass needs; None: all that the kernel's flavour has."""

    def position(self) -> int:
        """A mark for :meth:`since`; 0 where there is no ledger."""
        ...

    def since(self, position: int) -> LedgerSlice:
        """Ledger records after a position. NotObservable where there is no ledger."""
        ...

    def observes(self, call: str) -> bool:
        """Whether the ledger would show this hypercall."""
        ...

    def children(self) -> list[int]:
        """Ids of the child partitions that exist. NotObservable where nobody can say."""
        ...


class StandInWitness:
    """The stand-in, read from outside."""

    name = "the stand-in"
    sees_ledger = sees_slat = sees_children = True
    detectors: tuple[str, ...] | None = None

    def __init__(self, view: HypervisorView) -> None:
        self._view = view

    def position(self) -> int:
        """Sequence number of the newest record."""
        return self._view.position()

    def since(self, position: int) -> LedgerSlice:
        """Records after a position."""
        return self._view.since(position)

    def observes(self, call: str) -> bool:
        """Every hypercall is recorded."""
        del call
        return True

    def children(self) -> list[int]:
        """Partitions but for the root."""
        return [p.id for p in self._view.partitions() if p.id != ROOT_PARTITION]


class BlindWitness:
    """Nobody: a machine without a hypervisor to look at."""

    name = "nobody"
    sees_ledger = sees_slat = sees_children = False
    detectors: tuple[str, ...] | None = KERNEL_LOG_DETECTORS

    def __init__(self, machine: str) -> None:
        self._machine = machine

    def position(self) -> int:
        """There is no ledger."""
        return 0

    def since(self, position: int) -> LedgerSlice:
        """NotObservable."""
        del position
        raise not_here(self._machine, "hypercalls: there is no ledger")

    def observes(self, call: str) -> bool:
        """Nothing."""
        del call
        return False

    def children(self) -> list[int]:
        """NotObservable."""
        raise not_here(self._machine, "child partitions")


class KvmWitness(BlindWitness):
    """KVM in the root: debugfs names its VMs, ``PID-FILE`` each. A child's id is its VMM's process id."""

    name = "KVM's debugfs"
    sees_children = True
    _LIST = "cd /sys/kernel/debug/kvm && for d in [0-9]*-*; do [ ! -d $d ] || echo ${d%-*}; done"

    def __init__(self, machine: str, root: Root) -> None:
        super().__init__(machine)
        self._root = root

    def children(self) -> list[int]:
        """One id per VM."""
        return [int(word) for word in self._root.run(self._LIST).out.split()]


def not_here(machine: str, what: str) -> NotObservable:
    """The error for something that a machine does not show."""
    return NotObservable(f"machine {machine} does not show {what}", hint="boot mshv-root, which shows it")
