# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab machine``: the rendered template and the exact QEMU command line."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from lab.machine.argv import Boot, MachineFiles, NetPorts, build_argv, shell_quoted
from lab.machine.hyperv import build_hyperv_argv, check_files, problems
from lab.machine.qemu import choose_accel, find_qemu
from lab.model.errors import ExitCode
from lab.model.machine import LinuxChild, MachineSpec
from lab.templates import about, available, find, load_machine, parse_params, render
from lab.validate.preflight import ssh_command


def add_verbs(verbs: Any) -> None:
    """Register ``machine show`` and ``machine list``."""
    machine = verbs.add_parser(
        "machine", help="machine templates", description="Machine templates and their command lines."
    )
    actions = machine.add_subparsers(metavar="show|list", required=True)
    show = actions.add_parser("show", help="the rendered machine and its QEMU command line, ready to paste")
    show.add_argument(
        "template",
        nargs="?",
        default="mshv-root",
        metavar="TEMPLATE",
        help="name of a template or path to one (default: %(default)s)",
    )
    show.add_argument("--param", metavar="K=V", action="append", default=[], help="parameter of the template")
    show.add_argument("--qemu", metavar="PATH", help="qemu-system-x86_64 to use")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(run=run_show)
    listing = actions.add_parser("list", help="templates that ship with the lab")
    listing.set_defaults(run=run_list)


def run_show(args: argparse.Namespace) -> int:
    """Print machine and command line; files that a boot would make are shown by their names."""
    params = parse_params(args.param)
    spec = load_machine(args.template, params)
    if spec.ssh is not None:
        argv, about = ssh_command(spec.ssh), "not booted by the lab: this is how it is reached"
        return _show(args, spec, params, argv, about, about)
    qemu = find_qemu(args.qemu)
    if spec.hypervisor == "hyperv":
        check_files(spec)
        about = (
            "; ".join(problems(spec)) or "needs nested KVM; run it yourself, then use the machine external"
        )
        note = f"{about}; QEMU {qemu.text}; never run by the lab's authors: docs/hyperv-in-qemu.md"
        return _show(args, spec, params, build_hyperv_argv(spec, qemu), about, note)
    accel = choose_accel(spec, qemu)
    folder = Path("LAB")
    files = MachineFiles(
        kernel=Path("bzImage"),
        initramfs=folder / "initramfs.cpio",
        standin=Path("hv.elf") if spec.hypervisor == "stand-in" else None,
        ram=folder / "ram",
        console_socket=folder / "console.sock",
        console_log=folder / "console.log",
        hypervisor_log=folder / "hypervisor.log",
        qmp_socket=folder / "qmp.sock",
        reset_log=folder / "reset.log",
        devices={d.id: folder / f"{d.id}.mem" for d in spec.devices},
        disks=(Path("tools.ext4"), Path("child.ext4")) if isinstance(spec.child, LinuxChild) else (),
    )
    argv = build_argv(spec, qemu, files, NetPorts(), accel, Boot(wait=False))
    note = f"{accel.reason}; QEMU {qemu.text}; a lab that is up has its own command line in argv.txt"
    return _show(args, spec, params, argv, accel.reason, note)


def _show(
    args: argparse.Namespace,
    spec: MachineSpec,
    params: dict[str, str],
    argv: list[str],
    accel: str,
    note: str,
) -> int:
    if args.json:
        print(json.dumps({"machine": dataclasses.asdict(spec), "argv": argv, "accel": accel}, indent=1))
        return ExitCode.PASS
    print(render(find(args.template), params).text.rstrip())
    print(f"\n# {note}")
    print(shell_quoted(argv))
    return ExitCode.PASS


def run_list(args: argparse.Namespace) -> int:
    """Print names of templates, and what each is."""
    del args
    shipped = available()
    width = max(map(len, shipped))
    for name, path in shipped.items():
        print(f"{name:<{width}}  {about(path)}")
    return ExitCode.PASS
