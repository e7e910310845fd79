# SPDX-License-Identifier: GPL-2.0-or-later
"""Can KVM run this guest? Only a probe knows: the stand-in needs SVM, nested, and all of it working.

An unusable KVM is a reason, not an error: the lab then runs under TCG.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from lab.machine import spawn
from lab.machine.argv import DEBUG_EXIT_PORT, QemuInfo

_SELFTEST_SECONDS = 10.0
_POLL = 0.02
_SELFTEST_LINE = re.compile(r"^selftest .*: ok$", re.MULTILINE)
_SELFTESTS = 2
"""Real mode and protected mode without paging: both must see their memory through the nested tables."""


@dataclass(frozen=True, slots=True)
class KvmProbe:
    """Whether KVM can run the stand-in, and why or why not."""

    ok: bool
    reason: str


def probe_kvm(qemu: QemuInfo, standin: Path, *, device: Path = Path("/dev/kvm")) -> KvmProbe:
    """Look at the host, then really boot the stand-in's self-test under KVM (bounded, about a second)."""
    if reason := host_refuses(device):
        return KvmProbe(False, reason)
    if reason := selftest(qemu, standin, "kvm", "host,+svm,-x2apic"):
        return KvmProbe(False, f"the stand-in's self-test fails under KVM: {reason}")
    return KvmProbe(True, "the stand-in's self-test passes under KVM with nested SVM")


def host_refuses(device: Path, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> str:
    """Why this host cannot run nested SVM, as far as it says so itself; empty when it may."""
    if not device.exists():
        return f"no {device}"
    if not os.access(device, os.R_OK | os.W_OK):
        return f"no permission for {device}"
    try:
        vendor = re.search(r"^vendor_id\s*:\s*(\S+)", (proc / "cpuinfo").read_text(), re.MULTILINE)
    except OSError as error:
        return f"CPU vendor unknown: {error}"
    if vendor is None or vendor[1] != "AuthenticAMD":
        return f"the stand-in needs SVM of an AMD CPU, this one is {vendor[1] if vendor else 'unknown'}"
    try:
        nested = (sys / "module/kvm_amd/parameters/nested").read_text().strip()
    except OSError:
        return "kvm_amd is not loaded"
    return "" if nested in ("1", "Y") else "nested SVM is off (kvm_amd.nested)"


def selftest(qemu: QemuInfo, standin: Path, accel: str, cpu: str) -> str:
    """Boot the stand-in's self-test; empty when every part passes, else what went wrong."""
    with tempfile.TemporaryDirectory(prefix="hvlab-probe-") as folder:
        log, errors = Path(folder, "hypervisor.log"), Path(folder, "qemu.log")
        argv = list(qemu.command or (str(qemu.path),))
        for data in qemu.data_dirs:
            argv += ["-L", str(data)]
        argv += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35"]
        argv += ["-accel", accel, "-cpu", cpu, "-smp", "1", "-m", "512M", "-debugcon", f"file:{log}"]
        argv += ["-device", f"isa-debug-exit,iobase={DEBUG_EXIT_PORT:#x}"]
        argv += ["-kernel", str(standin), "-append", "cpus=1 selftest"]
        process = spawn.start(argv, log=errors, env=qemu.env, die_with_me=True)
        try:
            return _watch_selftest(process, log, errors)
        finally:
            process.kill()
            process.wait()


def _watch_selftest(process: subprocess.Popen[bytes], log: Path, errors: Path) -> str:
    deadline = time.monotonic() + _SELFTEST_SECONDS
    while True:
        ended = process.poll() is not None
        text = log.read_text(errors="replace") if log.exists() else ""
        if len(_SELFTEST_LINE.findall(text)) >= _SELFTESTS:
            return ""
        if ended or time.monotonic() > deadline:
            tail = (text or errors.read_text(errors="replace")).strip().splitlines()
            what = f"QEMU ended ({process.returncode})" if ended else f"not done in {_SELFTEST_SECONDS:.0f} s"
            return f"{what}: {tail[-1] if tail else 'no output'}"
        time.sleep(_POLL)
