# SPDX-License-Identifier: GPL-2.0-or-later
"""Rendered templates become machines, by the kind of hypervisor below them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from lab.model.errors import BadInput
from lab.model.machine import MachineSpec, SshAccess, UserImages
from lab.templates.checks import SIZE, Checks
from lab.templates.child import child
from lab.templates.devices import EMULATED, PASSED, devices
from lab.templates.render import Rendered

_MULTI_REFUSED = (
    "multi-threaded TCG with more than one CPU corrupts SVM state (a data race in QEMU itself); "
    'use "single", or "parked" on QEMU 10 or newer'
)
_MACHINE_KEYS: dict[str, Any] = {
    "name": str,
    "hypervisor": str,
    "cpus": int,
    "memory": SIZE,
    "tcg_thread": str,
    "cpu_model": str,
    "kernel_args": list,
    "hypervisor_args": list,
    "child": str,
    "linux_child": dict,
    "iommu": str,
    "device": list,
}
_REQUIRED = ("name", "cpus", "memory")
_HYPERVISORS = ("stand-in", "none", "kvm", "external", "hyperv")
_ALWAYS: dict[str, Any] = {"name": str, "hypervisor": str, "device": list}
_EXTERNAL_KEYS: dict[str, Any] = {
    **_ALWAYS,
    "host": str,
    "port": int,
    "user": str,
    "key": str,
    "known_hosts": str,
}
_HYPERV_KEYS: dict[str, Any] = {
    **_ALWAYS,
    "cpus": int,
    "memory": SIZE,
    "disks": list,
    "firmware": str,
    "vars": str,
    "cpu_vendor": str,
    "ssh_port": int,
}


def parse_machine(rendered: Rendered) -> MachineSpec:
    """Check a rendered template and load it. Raises BadInput with the place of what is wrong."""
    try:
        data = tomllib.loads(rendered.text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        lines = rendered.text.splitlines()
        bad = lines[int(found[1]) - 1] if found and int(found[1]) <= len(lines) else ""
        raise BadInput(f"not TOML after rendering: {error}", where=str(rendered.path), detail=bad) from None
    except RecursionError:
        raise BadInput("not TOML after rendering: nested too deeply", where=str(rendered.path)) from None
    return _machine(Checks(rendered), data)


def _machine(checks: Checks, data: Mapping[str, Any]) -> MachineSpec:
    hypervisor = checks.choice(data, "hypervisor", _HYPERVISORS) if "hypervisor" in data else "stand-in"
    if hypervisor == "external":
        return _external(checks, data)
    if hypervisor == "hyperv":
        return _hyperv(checks, data)
    checks.keys(data, _MACHINE_KEYS, 0, "a machine")
    checks.required(data, _REQUIRED)
    cpus, memory = checks.size_of_machine(data)
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", data.get("cpu_model", "EPYC")):
        raise checks.bad(f"cpu_model = {data['cpu_model']!r} is not a CPU model's name", "cpu_model")
    if hypervisor != "stand-in" and data.get("hypervisor_args"):
        raise checks.bad('hypervisor_args need hypervisor = "stand-in"', "hypervisor_args")
    kind: Any = hypervisor
    found = devices(checks, data.get("device", []), EMULATED)
    iommu = checks.choice(data, "iommu", ("none", "intel"))
    return MachineSpec(
        name=checks.name(data),
        cpus=cpus,
        memory=memory,
        devices=found,
        hypervisor=kind,
        tcg_thread=_tcg_thread(checks, data, cpus, hypervisor),
        kernel_args=checks.words(data, "kernel_args"),
        hypervisor_args=checks.words(data, "hypervisor_args"),
        cpu_model=data.get("cpu_model", "EPYC"),
        child=child(checks, data, memory, found),
        iommu="intel" if iommu == "intel" else "none",
    )


def _external(checks: Checks, data: Mapping[str, Any]) -> MachineSpec:
    checks.keys(data, _EXTERNAL_KEYS, 0, "an external machine")
    checks.required(data, [key for key in _EXTERNAL_KEYS if key != "device"])
    checks.given(data, "host", "the host to reach", "HOST")
    for key in ("user", "key", "known_hosts"):
        checks.given(data, key, f"a value for {key}", "...")
    if not re.fullmatch(r"[A-Za-z0-9_.:%-]+", data["host"]) or data["host"].startswith("-"):
        raise checks.bad(f"host = {data['host']!r} is not a host's name or address", "host")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", data["user"]):
        raise checks.bad(f"user = {data['user']!r} is not a user's name", "user")
    return MachineSpec(
        name=checks.name(data),
        cpus=0,
        memory=0,
        devices=devices(checks, data.get("device", []), PASSED),
        hypervisor="external",
        ssh=SshAccess(
            data["host"], checks.port(data, "port"), data["user"], data["key"], data["known_hosts"]
        ),
    )


def _hyperv(checks: Checks, data: Mapping[str, Any]) -> MachineSpec:
    checks.keys(data, _HYPERV_KEYS, 0, "a hyperv machine")
    checks.required(data, [key for key in _HYPERV_KEYS if key != "device"])
    checks.given(data, "disks", "a disk with Microsoft's hypervisor on it", "DISK.qcow2", "disk")
    checks.given(data, "vars", "a copy of the firmware's variable store", "OVMF_VARS.fd")
    checks.given(data, "firmware", "a UEFI code image", "/usr/share/OVMF/OVMF_CODE_4M.fd")
    cpus, memory = checks.size_of_machine(data)
    vendor: Any = checks.choice(data, "cpu_vendor", ("amd", "intel"))
    return MachineSpec(
        name=checks.name(data),
        cpus=cpus,
        memory=memory,
        devices=devices(checks, data.get("device", []), EMULATED),
        hypervisor="hyperv",
        images=UserImages(
            checks.words(data, "disks"),
            data["firmware"],
            data["vars"],
            vendor,
            checks.port(data, "ssh_port"),
        ),
    )


def _tcg_thread(checks: Checks, data: Mapping[str, Any], cpus: int, hypervisor: str) -> Any:
    if data.get("tcg_thread") == "multi":
        if cpus > 1:
            raise checks.bad(f"tcg_thread = 'multi' is refused: {_MULTI_REFUSED}", "tcg_thread")
        return "single"
    thread = checks.choice(data, "tcg_thread", ("auto", "single", "parked"))
    if thread == "parked" and hypervisor != "stand-in":
        raise checks.bad("tcg_thread = 'parked' needs the stand-in, which parks the CPU", "tcg_thread")
    return thread
