# SPDX-License-Identifier: GPL-2.0-or-later
"""Which QEMU, which version, and how it may execute the guest."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from lab.machine.argv import Accel, QemuInfo
from lab.machine.kvm import KvmProbe
from lab.model.errors import BadInput, LabUnavailable
from lab.model.machine import MachineSpec

BINARY = "qemu-system-x86_64"
OLDEST = (7, 0)
PARKED_SINCE = (10, 0)
"""QEMU 7 to 9 under multi-threaded TCG also lose patched kernel text, parked CPU or not."""

_PROBE_SECONDS = 20
_LOADER = "ld-linux-x86-64.so.2"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"


def find_qemu(path: str | None = None) -> QemuInfo:
    """The QEMU to use: the system's, a binary, or an unpacked Debian package tree.

    A tree (``dpkg-deb -x`` of qemu-system-x86, -common and -data, seabios, and whatever libraries this
    host lacks) brings its own data folders, modules and, if it has one, its own dynamic loader.
    Raises BadInput for a path that is none of these, LabUnavailable when QEMU is missing, does not
    start or is too old.
    """
    if path is None:
        found = shutil.which(BINARY)
        if found is None:
            raise LabUnavailable(
                f"{BINARY} is not installed", hint="apt install qemu-system-x86, or pass --qemu PATH"
            )
        return _probe(Path(found), None)
    given = Path(path).expanduser().absolute()
    if given.is_file() and os.access(given, os.X_OK):
        tree = given.parents[2] if given.parent.parts[-2:] == ("usr", "bin") else None
        return _probe(given, None if tree in (None, Path("/")) else tree)
    binary = given / "usr/bin" / BINARY
    if binary.is_file():
        return _probe(binary, given)
    raise BadInput(
        "neither a QEMU binary nor an unpacked Debian package tree",
        where=path,
        hint=f"give {BINARY} itself, or a folder that contains usr/bin/{BINARY}",
    )


def parse_version(text: str) -> tuple[int, int, int]:
    """Version from the output of ``qemu --version``. Raises ValueError."""
    match = re.search(r"QEMU emulator version (\d+)\.(\d+)(?:\.(\d+))?", text)
    if match is None:
        raise ValueError(f"no QEMU version in {text[:100]!r}")
    return int(match[1]), int(match[2]), int(match[3] or 0)


def choose_accel(spec: MachineSpec, qemu: QemuInfo, kvm: KvmProbe | None = None) -> Accel:
    """How to execute the guest: safe first, fast second.

    ``kvm`` is the result of a probe (:mod:`lab.machine.kvm`); without one, TCG. Raises BadInput when
    the machine asks for what would give wrong results.
    """
    if not spec.booted_by_lab:
        raise not_booted(spec)
    if kvm is not None and kvm.ok:
        return Accel("kvm", "multi", spec.cpus, False, kvm.reason)
    if spec.tcg_thread == "parked":
        if spec.hypervisor != "stand-in":
            raise BadInput("tcg_thread = 'parked' needs the stand-in, which parks the CPU", where=spec.name)
        if qemu.version < PARKED_SINCE:
            raise BadInput(
                f"tcg_thread = 'parked' needs QEMU 10 or newer, this is {qemu.text}: multi-threaded TCG of "
                "older ones runs stale code after the kernel has patched itself",
                where=str(qemu.path),
                hint="use tcg_thread = 'single', or pass --qemu with a newer one",
            )
        if spec.cpus > 1:
            reason = "multi-threaded TCG with the first CPU parked in the stand-in"
            return Accel("tcg", "multi", spec.cpus + 1, True, reason)
        return Accel("tcg", "single", 1, False, "one CPU has no use for a second TCG thread")
    reason = (
        "one CPU"
        if spec.cpus == 1
        else "multi-threaded TCG corrupts SVM state with more than one CPU unless the first is parked"
    )
    return Accel("tcg", "single", spec.cpus, False, reason)


def not_booted(spec: MachineSpec) -> BadInput:
    """The error for a machine that the lab cannot boot a kernel on."""
    if spec.hypervisor == "external":
        what, hint = (
            "exists already: the lab reaches it by SSH and boots nothing there",
            "hvlab doctor --machine external looks at it, hvlab compare --machine external drives it",
        )
    else:
        what, hint = (
            "boots from your own disk, with the kernel that is on it",
            "hvlab machine show hyperv prints the command line; then use the machine template external",
        )
    return BadInput(f"machine {spec.name} {what}", where="--machine", hint=hint)


def describe(qemu: QemuInfo, accel: Accel) -> str:
    """How the guest is executed and why, in one sentence."""
    if accel.name == "kvm":
        how = "KVM"
    elif accel.spare:
        how = "TCG with a thread for each CPU, the first one parked"
    else:
        how = f"TCG with {'one thread' if accel.thread == 'single' else 'a thread for each CPU'}"
    return f"QEMU {qemu.text}, {how}: {accel.reason}"


def _probe(binary: Path, tree: Path | None) -> QemuInfo:
    command, env = _launcher(binary, tree)
    try:
        run = subprocess.run(
            [*command, "--version"],
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_SECONDS,
        )
        version = parse_version(run.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabUnavailable(f"QEMU does not start: {error}", where=str(binary)) from None
    except ValueError:
        raise LabUnavailable(
            "QEMU does not start",
            where=str(binary),
            hint="unpack the packages of the libraries that it misses into the same folder (libc6 too)"
            if tree
            else "reinstall it, or pass --qemu with another one",
            detail=(run.stderr or run.stdout).strip(),
        ) from None
    if version < OLDEST:
        raise LabUnavailable(
            f"QEMU {'.'.join(map(str, version))} is too old: its SVM emulation has not been tried",
            where=str(binary),
            hint="use QEMU 7.2 or newer",
        )
    return QemuInfo(binary, version, _data_dirs(tree), command, env)


def _data_dirs(tree: Path | None) -> tuple[Path, ...]:
    if tree is None:
        return ()
    return tuple(path for path in (tree / "usr/share/qemu", tree / "usr/share/seabios") if path.is_dir())


def _launcher(binary: Path, tree: Path | None) -> tuple[tuple[str, ...], dict[str, str]]:
    """Words that start the binary, and the environment that lets it find its own modules and libraries."""
    if tree is None:
        return (str(binary),), {}
    env = {}
    if (modules := tree / _LIBRARIES / "qemu").is_dir():
        env["QEMU_MODULE_DIR"] = str(modules)
    folders = [path for name in (_LIBRARIES, "lib/x86_64-linux-gnu") if (path := tree / name).is_dir()]
    search = ":".join(str(path) for path in folders)
    for folder in (*folders, tree / "usr/lib64", tree / "lib64"):
        # A libc newer than the host's works only together with the loader of the same build.
        if (loader := folder / _LOADER).is_file() and any((path / "libc.so.6").is_file() for path in folders):
            return (str(loader), "--library-path", search, str(binary)), env
    if any(path.glob("*.so*") for path in folders):
        env["LD_LIBRARY_PATH"] = search
    return (str(binary),), env
