# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine runs as its child: the payload, or a Linux of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from lab.model.machine import Device, LinuxChild
from lab.templates.checks import SIZE, Checks
from lab.templates.limits import MAX_CHILD_CPUS, MAX_MEMORY, MIN_CHILD_MEMORY, ROOT_NEEDS
from lab.templates.text import human

_LINUX_CHILD_KEYS: dict[str, Any] = {
    "cpus": int,
    "memory": SIZE,
    "devices": list,
    "kernel_args": list,
    "x2apic": str,
}


def child(
    checks: Checks, data: Mapping[str, Any], memory: int, devices: tuple[Device, ...]
) -> Literal["payload"] | LinuxChild:
    """The child of a machine with this memory and these devices. Raises BadInput."""
    kind, table = checks.choice(data, "child", ("payload", "linux")), data.get("linux_child")
    if kind == "payload":
        if table is not None:
            raise checks.bad('[linux_child] needs child = "linux"', "linux_child")
        return "payload"
    if table is None:
        raise checks.bad('child = "linux" needs a table [linux_child]', "child")
    checks.keys(table, _LINUX_CHILD_KEYS, 0, "[linux_child]")
    for key in ("cpus", "memory"):
        if key not in table:
            raise checks.bad(f"[linux_child] does not set {key}", "linux_child")
    if not 1 <= table["cpus"] <= MAX_CHILD_CPUS:
        raise checks.bad(
            f"cpus of the child = {table['cpus']} is not between 1 and {MAX_CHILD_CPUS}", "cpus", 1
        )
    if data.get("hypervisor", "stand-in") != "stand-in":
        raise checks.bad('child = "linux" needs hypervisor = "stand-in"', "child")
    size = checks.size(table, "memory", MIN_CHILD_MEMORY, MAX_MEMORY, 1)
    if size % (1 << 20) or size + ROOT_NEEDS > memory:
        what = f"memory of the child = {table['memory']!r}"
        raise checks.bad(f"{what}: whole MiB, and {human(ROOT_NEEDS)} less than the root's", "memory", 1)
    known = {device.id for device in devices}
    for ident in (wanted := checks.words(table, "devices")):
        if ident not in known:
            raise checks.bad(f"the child cannot get {ident!r}: no such device", "devices")
    x2apic: Any = checks.choice(table, "x2apic", ("auto", "on", "off"))
    return LinuxChild(table["cpus"], size, wanted, checks.words(table, "kernel_args"), x2apic)
