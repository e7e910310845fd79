# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab up``, ``ssh``, ``console`` and ``down``: manual bring-up on the same machinery."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from lab.cli.selectors import add_kernel_selectors, add_machine, selectors_of
from lab.machine import state
from lab.machine.qemu import choose_accel, find_qemu
from lab.machine.terminal import attach_terminal
from lab.model.errors import BadInput, ExitCode
from lab.model.machine import LinuxChild
from lab.printable import printable
from lab.progress import TextProgress
from lab.templates import load_machine, parse_params
from lab.validate.bringup import BootRequest, Lab
from lab.validate.child_files import KNOWN_CHILD, write_ssh_config
from lab.validate.child_service import start_child
from lab.validate.child_snapshot import boot_with_child
from lab.validate.kernels import prepare
from lab.validate.linux_child import attach_linux_child


def add_name(parser: argparse.ArgumentParser) -> None:
    """``--name`` of a lab that is up."""
    parser.add_argument("--name", metavar="N", help="which lab (default: the only one that is up)")


def add_verbs(verbs: Any) -> None:
    """Register the verbs."""
    up = verbs.add_parser(
        "up",
        help="boot a lab and leave it running",
        description="Boot a machine and leave it running, with its child and the devices in it. Several may "
        "be up at once, each with its name.",
    )
    add_kernel_selectors(up)
    add_machine(up)
    up.add_argument("--name", metavar="N", help="name of the lab (default: lab-1, lab-2, ...)")
    up.add_argument("--append", metavar="ARGS", default="", help="kernel arguments to add")
    up.add_argument(
        "--no-snapshot", action="store_true", help="boot a Linux child even if there is a snapshot of it"
    )
    up.add_argument("--json", action="store_true", help="print what is up as JSON")
    up.set_defaults(run=run_up)

    ssh = verbs.add_parser(
        "ssh",
        help="log in to the root (or run a command there)",
        description="Log in to the root or to its Linux child, or run a command there and end with its code.",
        usage="hvlab ssh [--name N] [root|child] [-- COMMAND ...]",
    )
    add_name(ssh)
    ssh.add_argument("where", nargs="?", choices=("root", "child"), default="root")
    ssh.set_defaults(run=run_ssh)

    console = verbs.add_parser(
        "console",
        help="the root's serial console; leave with Ctrl-]",
        description="Attach to the root's serial console (leave with Ctrl-]), or print what was said on it.",
    )
    add_name(console)
    console.add_argument(
        "--child", action="store_true", help="print what the Linux child said on its own console"
    )
    console.add_argument("--log", action="store_true", help="print what it said so far and end")
    console.set_defaults(run=run_console)

    down = verbs.add_parser(
        "down", help="end a lab; nothing of it stays", description="End a lab; nothing of it stays."
    )
    add_name(down)
    down.add_argument("--all", action="store_true", help="every lab that is up")
    down.set_defaults(run=run_down)


def run_up(args: argparse.Namespace) -> int:
    """Boot, start the child, detach."""
    progress = TextProgress()
    params = parse_params(args.param)
    spec = load_machine(args.machine, params)
    # What is wrong with the machine shows before a kernel is built, not after.
    choose_accel(spec, find_qemu(args.qemu))
    state.check_name(args.name)
    kernel = prepare(selectors_of(args), progress)
    with progress.phase("boot"):
        request = BootRequest(
            machine=spec,
            kernel=kernel,
            qemu=args.qemu,
            kernel_args=tuple(args.append.split()),
            template=args.machine,
            params=params,
            name=args.name,
            detached=True,
        )
        linux, up = isinstance(spec.child, LinuxChild), None
        if linux:
            up = boot_with_child(request, progress, snapshots=not args.no_snapshot)
            up.child.close()
        lab = up.lab if up else Lab.boot(request, progress)
    try:
        windows = start_child(lab) if spec.runs_children and not linux else []
        config = write_ssh_config(lab.machine.lab.path, lab.machine.ssh_port, child=linux)
        info = {
            "name": lab.name,
            "kernel": lab.release,
            "ssh_port": lab.machine.ssh_port,
            "seconds": round(lab.boot_seconds, 2),
            "folder": str(lab.machine.lab.path),
            "windows": windows,
            "ssh_config": str(config),
            "child_seconds": round(up.seconds, 2) if up else None,
            "restored": bool(up and up.restored),
        }
        lab.keep()
    except BaseException:
        lab.close()
        raise
    if args.json:
        print(json.dumps(info, indent=1))
        return ExitCode.PASS
    how = ", from a snapshot" if up and up.restored else ""
    print(f"lab {lab.name} is up: Linux {lab.release}, {lab.boot_seconds:.1f} s to SSH{how}")
    for w in windows:
        where = f"GPA {w['gpa']:#x}" if w["gpa"] is not None else f"not mapped: {w['error']}"
        print(f"  {w['device']} {w['bdf']} BAR{w['bar']} ({w['pages']} pages) in the child: {where}")
    if up:
        print(f"  Linux child: {up.seconds:.1f} s to SSH; hvlab ssh --name {lab.name} child")
        print(f"  any client: ssh -F {config} child")
        return ExitCode.PASS
    verbs = [f"hvlab ssh --name {lab.name}"]
    verbs += [f"hvlab mmio read --name {lab.name} 0x0"] if spec.runs_children else []
    verbs += ["hvlab ledger"] if spec.hypervisor == "stand-in" else []
    print("  " + " | ".join([*verbs, "hvlab down"]))
    return ExitCode.PASS


def run_ssh(args: argparse.Namespace) -> int:
    """Hand the terminal to ssh."""
    lab = state.find(args.name)
    child = (lab.path / KNOWN_CHILD).exists()
    if args.where == "child" and not child:
        raise BadInput(
            "the child of this machine is the payload: it has no shell",
            where="hvlab ssh child",
            hint="drive its memory with hvlab mmio read|write, or boot --machine mshv-root-linux-child",
        )
    if not lab.qemu_alive():
        raise BadInput(
            f"the machine of lab {lab.name!r} does not run any more", hint=f"hvlab down --name {lab.name}"
        )
    config = write_ssh_config(lab.path, lab.record.ssh_port, child=child)
    return subprocess.run(["ssh", "-F", str(config), args.where, *args.after], check=False).returncode


def run_console(args: argparse.Namespace) -> int:
    """Show or attach the serial console."""
    if args.child:
        running = Lab.attach(args.name)
        try:
            text = attach_linux_child(running, connect=False).console()
        finally:
            running.leave()
        sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
        return ExitCode.PASS
    lab = state.find(args.name)
    log = lab.path / "console.log"
    if args.log or not sys.stdin.isatty():
        text = log.read_text(errors="replace")
        sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
        return ExitCode.PASS
    print(f"console of {lab.name}; leave with Ctrl-]", file=sys.stderr)
    attach_terminal(lab.run_dir / "console.sock", log)
    return ExitCode.PASS


def run_down(args: argparse.Namespace) -> int:
    """End one lab, or all that are up."""
    labs = [lab for lab in state.list_labs() if lab.status() == "up"] if args.all else [state.find(args.name)]
    for lab in labs:
        state.clean(lab, running=True)
        print(f"lab {lab.name} is down")
    return ExitCode.PASS
