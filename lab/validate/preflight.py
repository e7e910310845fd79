# SPDX-License-Identifier: GPL-2.0-or-later
"""Is an existing root partition fit for the scenarios? Asked over SSH, answered point by point.

One shell script gathers facts, :func:`judge` says what they mean: nothing of the machine is changed.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import paramiko

from lab.model.errors import BadInput, GuestDied, LabError, LabUnavailable
from lab.model.machine import ACCEPT_ANY, MachineSpec, PciDevice, SshAccess
from lab.root.root import Root
from lab.root.transport import NoWatch

SSH_SECONDS = 15.0
_SCRIPT = r"""
say() { echo "$1=$2"; }
say uid "$(id -u)"
say arch "$(uname -m)"
say release "$(uname -r)"
[ -c /dev/mshv ] && say mshv yes
[ -d /sys/module/mshv_root ] && say module yes
[ -c /dev/vfio/vfio ] && say vfio yes
for t in /sys/kernel/tracing /sys/kernel/debug/tracing; do
	[ -e $t/trace ] && { say tracing $t; break; }
done
[ -n "$t" ] && [ -w "$t/kprobe_events" ] && say kprobes yes
[ -n "$t" ] && [ -d "$t/events/mshv" ] && say tracepoints yes
for d in "$@"; do
	p=/sys/bus/pci/devices/$d
	[ -e $p ] || continue
	say "$d" yes
	l=$(readlink $p/driver); say "$d.driver" "${l##*/}"
	g=$(readlink $p/iommu_group); g=${g##*/}; say "$d.group" "$g"
	[ -e "/dev/vfio/$g" ] || [ -e "/dev/vfio/noiommu-$g" ] && [ -n "$g" ] && say "$d.node" yes
done
:
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One point. ``needed`` False: without it less is observed, but the scenarios run."""

    name: str
    ok: bool
    text: str
    hint: str = ""
    needed: bool = True


def connect(spec: MachineSpec) -> Root:
    """Log in to an external machine. Raises BadInput (key, host key) or LabUnavailable (no SSH)."""
    access = access_of(spec)
    root = Root(
        access.host,
        access.port,
        Path(access.key).expanduser(),
        NoWatch(),
        host_key=known_keys(access),
        user=access.user,
    )
    try:
        root.connect(SSH_SECONDS)
    except GuestDied as e:
        root.close()
        raise LabUnavailable(
            f"no SSH to the machine: {e.what}",
            where=f"{access.user}@{access.host} port {access.port}",
            hint="try it by hand: " + shlex.join(ssh_command(access)),
        ) from e
    except LabError as e:
        root.close()
        if not isinstance(e, BadInput):
            e.where = f"{access.user}@{access.host} port {access.port}"
            e.hint = "the key must be in authorized_keys there, the host key in the known-hosts file"
        raise
    return root


def access_of(spec: MachineSpec) -> SshAccess:
    """How the machine is reached; BadInput for one that the lab boots itself."""
    if spec.ssh is None:
        raise BadInput(f"machine {spec.name} is not reached by SSH alone", where="--machine")
    return spec.ssh


def ssh_command(access: SshAccess) -> list[str]:
    """What a person would type."""
    argv = ["ssh", "-i", str(Path(access.key).expanduser()), "-p", str(access.port)]
    if access.known_hosts != ACCEPT_ANY:
        argv += ["-o", f"UserKnownHostsFile={Path(access.known_hosts).expanduser()}"]
    return [*argv, f"{access.user}@{access.host}"]


def known_keys(access: SshAccess) -> tuple[str, ...]:
    """Host keys of the machine from its known-hosts file; none only where any is accepted.

    Raises BadInput when the file does not know the host: who answers there would be anyone.
    """
    if access.known_hosts == ACCEPT_ANY:
        return ()
    path = Path(access.known_hosts).expanduser()
    name = access.host if access.port == paramiko.config.SSH_PORT else f"[{access.host}]:{access.port}"
    try:
        found = paramiko.HostKeys(str(path)).lookup(name)
    except (OSError, ValueError, paramiko.SSHException) as e:
        raise BadInput(f"the known-hosts file cannot be read: {e}", where=str(path)) from e
    if not found:
        raise BadInput(
            f"no host key of {name} is known",
            where=str(path),
            hint=f"ssh-keyscan -p {access.port} {access.host}, check it, add it there; "
            f"or --param known_hosts={ACCEPT_ANY}",
        )
    return tuple(f"{kind} {key.get_base64()}" for kind, key in found.items())


def ask(root: Root, spec: MachineSpec) -> dict[str, str]:
    """Facts about the machine."""
    addresses = [d.bdf for d in spec.devices if isinstance(d, PciDevice)]
    out = root.run(f"set -- {shlex.join(addresses)}\n{_SCRIPT}").out
    return {name: value for name, sign, value in (line.partition("=") for line in out.splitlines()) if sign}


def judge(facts: dict[str, str], spec: MachineSpec) -> list[Check]:
    """What the facts mean, in the order in which a person would repair them."""
    mshv = facts.get("mshv") == "yes"
    module = facts.get("module") == "yes"
    checks = [
        Check("ssh", True, f"Linux {facts.get('release', '?')}"),
        _check("root", facts.get("uid") == "0", "logged in as root", "not root", "log in as root (user)"),
        _check("architecture", facts.get("arch") == "x86_64", "x86_64", f"{facts.get('arch')}", "use x86_64"),
        _check(
            "module",
            mshv or module,
            "the driver is there",
            "mshv_root is neither built in nor loaded",
            "modprobe mshv_root there; it loads only in a root or L1VH partition",
        ),
        _check(
            "/dev/mshv",
            mshv,
            "there",
            "the driver has made no device: the kernel does not run as a root partition"
            if module
            else "no such device",
            "look at dmesg for mshv and Hyper-V there",
        ),
        _check(
            "vfio", facts.get("vfio") == "yes", "/dev/vfio/vfio", "no /dev/vfio/vfio", "modprobe vfio-pci"
        ),
    ]
    checks += [_device(facts, d) for d in spec.devices if isinstance(d, PciDevice)]
    if not spec.devices:
        hint = "name one: --param devices=0000:3b:00.0/2"
        checks.append(Check("device", False, "no device to pass on is named", hint))
    where = facts.get("tracing", "")
    kprobes, tracepoints = facts.get("kprobes") == "yes", facts.get("tracepoints") == "yes"
    hint = "" if where else "mount -t tracefs tracefs /sys/kernel/tracing"
    checks.append(Check("tracefs", bool(where), where or "not mounted", hint, needed=False))
    text = "map and unmap requests are observed" if kprobes else "none: map and unmap are not observed"
    hint = "" if kprobes else "the kernel needs CONFIG_KPROBE_EVENTS, and lockdown must be off"
    checks.append(Check("kprobes", kprobes, text, hint, needed=False))
    text = "partitions are observed" if tracepoints else "none of mshv: partitions are not observed"
    checks.append(Check("tracepoints", tracepoints, text, needed=False))
    return checks


def _check(name: str, ok: bool, good: str, bad: str, hint: str) -> Check:
    return Check(name, ok, good if ok else bad, "" if ok else hint)


def _device(facts: dict[str, str], device: PciDevice) -> Check:
    bdf = device.bdf
    if facts.get(bdf) != "yes":
        return Check(f"device {bdf}", False, "no such PCI device", "lspci -D lists them there")
    driver = facts.get(f"{bdf}.driver", "")
    if driver != "vfio-pci":
        return Check(
            f"device {bdf}",
            False,
            f"bound to {driver or 'no driver'}, not to vfio-pci",
            f"there: echo vfio-pci >/sys/bus/pci/devices/{bdf}/driver_override, unbind it, "
            f"echo {bdf} >/sys/bus/pci/drivers_probe",
        )
    if facts.get(f"{bdf}.node") != "yes":
        return Check(f"device {bdf}", False, "has no VFIO group file", "an IOMMU, or VFIO's no-IOMMU mode")
    return Check(f"device {bdf}", True, f"BAR{device.bar}, vfio-pci, group {facts.get(f'{bdf}.group')}")


def require(checks: list[Check], spec: MachineSpec) -> None:
    """Raise LabUnavailable naming every needed point that is not met."""
    bad = [check for check in checks if check.needed and not check.ok]
    if bad:
        raise LabUnavailable(
            "; ".join(f"{check.name}: {check.text}" for check in bad),
            where=f"machine {spec.name} at {access_of(spec).host}",
            hint=bad[0].hint,
        )


def require_reachable(spec: MachineSpec) -> None:
    """Log in, look, log out. Raises BadInput or LabUnavailable when the scenarios could not run there."""
    with connect(spec) as root:
        require(judge(ask(root, spec), spec), spec)
