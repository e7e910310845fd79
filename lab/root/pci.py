# SPDX-License-Identifier: GPL-2.0-or-later
"""PCI devices of the root, read from sysfs by one shell command."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.model.errors import BadInput

_ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_SYSFS = "/sys/bus/pci/devices"
_BARS = 6
_IORESOURCE_MEM = 0x200
_IORESOURCE_PREFETCH = 0x2000

# Builtins where the shell has them: a process costs 10 ms under TCG.
LIST_SCRIPT = (
    f"cd {_SYSFS} && for d in *; do "
    "read -r v <$d/vendor; read -r i <$d/device; read -r c <$d/class; l=$(readlink $d/driver); "
    'echo "device $d $v $i $c ${l##*/}"; '
    'for n in 0 1 2 3 4 5; do read -r r || break; echo "$r"; done <$d/resource; done'
)


@dataclass(frozen=True, slots=True)
class Bar:
    """A memory BAR: physical address and size in bytes."""

    index: int
    address: int
    size: int
    prefetchable: bool


@dataclass(frozen=True, slots=True)
class PciDevice:
    """``driver`` is empty when none is bound. ``bars`` are the memory BARs only."""

    bdf: str
    vendor: int
    device: int
    pci_class: int
    driver: str
    bars: tuple[Bar, ...]

    def bar(self, index: int) -> Bar:
        """BadInput when the device has no such memory BAR."""
        for bar in self.bars:
            if bar.index == index:
                return bar
        have = ", ".join(str(bar.index) for bar in self.bars) or "none"
        raise BadInput(f"no memory BAR {index}", where=self.bdf, hint=f"memory BARs: {have}")


def parse_devices(text: str) -> list[PciDevice]:
    """Output of ``LIST_SCRIPT``. ValueError when it has another shape."""
    devices = []
    blocks = re.split(r"^device ", text, flags=re.MULTILINE)
    for block in blocks[1:]:
        head, *rows = block.splitlines()
        bdf, vendor, device, pci_class, *driver = head.split()
        bars = [bar for i, row in enumerate(rows[:_BARS]) if (bar := _bar(i, row)) is not None]
        devices.append(
            PciDevice(
                bdf,
                int(vendor, 16),
                int(device, 16),
                int(pci_class, 16),
                driver[0] if driver else "",
                tuple(bars),
            )
        )
    return devices


def _bar(index: int, row: str) -> Bar | None:
    start, end, flags = (int(word, 16) for word in row.split())
    if not flags & _IORESOURCE_MEM or end <= start:
        return None
    return Bar(index, start, end - start + 1, bool(flags & _IORESOURCE_PREFETCH))


def check_address(bdf: str) -> str:
    """``bdf`` itself; BadInput unless it is a full PCI address such as 0000:00:03.0."""
    if not _ADDRESS.fullmatch(bdf):
        raise BadInput(f"not a PCI address: {bdf!r}", hint="write it in full, such as 0000:00:03.0")
    return bdf


def bind_script(bdf: str) -> str:
    """Shell commands that take a device from its driver and give it to vfio-pci."""
    return (
        f"cd {_SYSFS}/{bdf} && "
        'case "$(readlink driver)" in */vfio-pci) exit 0;; esac; '
        f"[ ! -e driver ] || echo {bdf} >driver/unbind; "
        f"echo vfio-pci >driver_override && echo {bdf} >/sys/bus/pci/drivers_probe && "
        'case "$(readlink driver)" in */vfio-pci) exit 0;; esac; '
        'echo "vfio-pci did not take the device" >&2; exit 1'
    )
