# SPDX-License-Identifier: GPL-2.0-or-later
"""The [[device]] tables of a machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lab.model.machine import Device, EduDevice, IvshmemDevice, PciDevice
from lab.templates.checks import SIZE, Checks
from lab.templates.limits import FIRST_SLOT, LAST_BAR, LAST_SLOT, MAX_BAR, PAGE_SIZE
from lab.templates.text import suggest

_DEVICE_KEYS: dict[str, dict[str, Any]] = {
    "ivshmem-plain": {"kind": str, "id": str, "slot": int, "size": SIZE, "port": bool},
    "edu": {"kind": str, "id": str, "slot": int, "port": bool},
    "pci": {"kind": str, "id": str, "bdf": str, "bar": int},
}
_OPTIONAL = {"port"}
EMULATED = ("ivshmem-plain", "edu")
"""Kinds that QEMU emulates for the root."""
PASSED = ("pci",)
"""Kinds that a machine of others has."""
_BDF = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


def devices(checks: Checks, tables: list[Any], kinds: tuple[str, ...]) -> tuple[Device, ...]:
    """The devices, of these kinds only. Raises BadInput, also for two at one place."""
    found: list[Device] = []
    for nth, table in enumerate(tables):
        if not isinstance(table, dict):
            raise checks.bad("devices are written as [[device]] tables", "device")
        device = _device(checks, table, nth, kinds)
        for other in found:
            if _place_of(other) == _place_of(device):
                what = f"{_place_of(device)} of {device.id!r} is taken by {other.id!r}"
                raise checks.bad(what, "bdf" if isinstance(device, PciDevice) else "slot", nth)
            if other.id == device.id:
                raise checks.bad(f"two devices have the id {device.id!r}", "id", nth)
        found.append(device)
    return tuple(found)


def _device(checks: Checks, table: Mapping[str, Any], nth: int, kinds: tuple[str, ...]) -> Device:
    kind = str(table.get("kind", ""))
    if kind not in kinds:
        names = f"{', '.join(kinds)}{suggest(kind, kinds)}"
        raise checks.bad(f"device kind {kind!r} is not one of {names}", "kind", nth)
    checks.keys(table, _DEVICE_KEYS[kind], nth, f"a device of kind {kind}")
    for key in _DEVICE_KEYS[kind]:
        if key not in table and key not in _OPTIONAL:
            raise checks.bad(f"device {nth + 1} ({kind}) does not set {key!r}", "device", nth)
    ident = table["id"]
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,30}", ident):
        raise checks.bad(f"id = {ident!r}: use letters, digits, '-', '_'", "id", nth)
    if kind == "pci":
        if not _BDF.fullmatch(table["bdf"]):
            what = f"{table['bdf']!r} is not a PCI address in full, such as 0000:3b:00.0"
            raise checks.bad(what, "bdf", nth)
        if not 0 <= table["bar"] <= LAST_BAR:
            raise checks.bad(f"BAR {table['bar']} is not between 0 and {LAST_BAR}", "bar", nth)
        return PciDevice(ident, table["bdf"], table["bar"])
    slot = table["slot"]
    if not FIRST_SLOT <= slot <= LAST_SLOT:
        raise checks.bad(f"slot = {slot} is not between {FIRST_SLOT} and {LAST_SLOT}", "slot", nth)
    if kind == "edu":
        return EduDevice(ident, slot, table.get("port", False))
    size = checks.size(table, "size", PAGE_SIZE, MAX_BAR, nth)
    if size & (size - 1):
        raise checks.bad(f"size = {table['size']!r} is not a power of two (a BAR must be one)", "size", nth)
    return IvshmemDevice(ident, slot, size, table.get("port", False))


def _place_of(device: Device) -> str:
    return device.bdf if isinstance(device, PciDevice) else f"slot {device.slot}"
