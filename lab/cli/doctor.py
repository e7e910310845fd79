# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab doctor``: is this machine fit, and is anything left over?"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from lab import paths
from lab.build.sandbox import probe
from lab.machine import state
from lab.machine.hyperv import check_files, problems
from lab.machine.qemu import PARKED_SINCE, find_qemu
from lab.model.errors import BadInput, ExitCode, LabError
from lab.templates import load_machine, parse_params
from lab.validate import preflight
from lab.validate.kernels import open_cache

MIN_FREE = 8 << 30
"""Bytes for a kernel source, two object trees and images."""


def add_verbs(verbs: Any) -> None:
    """Register ``doctor``."""
    doctor = verbs.add_parser(
        "doctor",
        help="check this machine; --clean removes what dead runs left",
        description="Say whether this machine is fit for the lab, and what killed runs have left behind.",
        epilog="exit codes: 0 fit and clean, 4 something is missing or left over",
    )
    doctor.add_argument("--clean", action="store_true", help="remove what no live owner holds")
    doctor.add_argument(
        "--machine", metavar="M", help="check a machine that the lab does not boot: external, hyperv"
    )
    doctor.add_argument(
        "--param", metavar="K=V", action="append", default=[], help="parameter of its template"
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit 0 when the lab can run and nothing is left over, else 4."""
    if args.machine:
        return _machine(args)
    checks = [_qemu(), _sandbox(), _space(), _shm(), _kvm()]
    stale = state.stale_labs()
    cache = open_cache()
    removed: list[str] = []
    if args.clean:
        for lab in stale:
            state.clean(lab)
            removed.append(f"lab {lab.name}")
        removed += [str(p) for p in cache.clean()]
        stale = state.stale_labs()
    left = [f"lab {lab.name} ({lab.path})" for lab in stale]
    left += [str(p) for p in cache.stale()]
    up = [lab.name for lab in state.list_labs() if lab.status() == "up"]
    bad = [c for c in checks if c["ok"] is False]
    if args.json:
        print(json.dumps({"checks": checks, "left": left, "removed": removed, "up": up}, indent=1))
    else:
        for check in checks:
            print(f"{'ok  ' if check['ok'] else 'BAD '} {check['name']}: {check['text']}")
        for name in up:
            print(f"up   lab {name}")
        for text in removed:
            print(f"gone {text}")
        for text in left:
            print(f"left {text} (hvlab doctor --clean)")
    return ExitCode.LAB_UNAVAILABLE if bad or left else ExitCode.PASS


def _machine(args: argparse.Namespace) -> int:
    """Is a machine that the lab does not boot fit for the scenarios?"""
    spec = load_machine(args.machine, parse_params(args.param))
    if spec.booted_by_lab:
        raise BadInput(
            f"machine {spec.name} is booted by the lab: there is nothing to look at beforehand",
            where="--machine",
            hint="hvlab doctor without --machine checks this host",
        )
    if spec.hypervisor == "hyperv":
        check_files(spec)
        checks = [preflight.Check("images", True, "all files are there")]
        checks += [preflight.Check("kvm", False, text) for text in problems(spec)]
    else:
        with preflight.connect(spec) as root:
            checks = preflight.judge(preflight.ask(root, spec), spec)
    if args.json:
        print(json.dumps({"checks": [dataclasses.asdict(check) for check in checks]}, indent=1))
    else:
        for check in checks:
            word = "ok  " if check.ok else "BAD " if check.needed else "less"
            print(f"{word} {check.name}: {check.text}" + (f" (to do: {check.hint})" if check.hint else ""))
    return ExitCode.LAB_UNAVAILABLE if any(c.needed and not c.ok for c in checks) else ExitCode.PASS


def _check(name: str, ok: bool, text: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "text": text}


def _qemu() -> dict[str, Any]:
    try:
        qemu = find_qemu(None)
    except LabError as e:
        return _check("qemu", False, str(e))
    threads = (
        "one TCG thread, or more with tcg_thread=parked"
        if qemu.version >= PARKED_SINCE
        else "one TCG thread: more are not safe before QEMU 10"
    )
    return _check("qemu", True, f"{qemu.path} {qemu.text}, {threads}")


def _sandbox() -> dict[str, Any]:
    sandbox = probe()
    if sandbox is None:
        return _check(
            "sandbox", False, "neither bubblewrap nor user namespaces work; builds need --no-sandbox"
        )
    return _check("sandbox", True, sandbox.kind)


def _space() -> dict[str, Any]:
    root = paths.cache_root()
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    return _check("cache", free > MIN_FREE, f"{root}: {free >> 30} GiB free, {MIN_FREE >> 30} GiB wanted")


def _shm() -> dict[str, Any]:
    shm = paths.shm_dir()
    if shm is None:
        return _check(
            "guest memory", True, "no shared memory folder: RAM files go to the state folder (slower)"
        )
    return _check("guest memory", True, f"{shm}: {shutil.disk_usage(shm).free >> 20} MiB free")


def _kvm() -> dict[str, Any]:
    found = "a device is here" if Path("/dev/kvm").exists() else "not here"
    return _check("kvm", True, f"{found}; the lab uses TCG")
