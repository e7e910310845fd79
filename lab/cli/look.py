# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab ledger``, ``slat`` and ``mmio``: look into a lab that is up, and drive its child."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from typing import Any

from lab.cli.labs import add_name
from lab.hypervisor import format_record
from lab.hypervisor.record_text import record_name
from lab.model.errors import BadInput, ExitCode
from lab.model.ledger import LedgerRecord
from lab.validate.bringup import Lab
from lab.validate.child_service import access_window

POLL = 0.1


def add_verbs(verbs: Any) -> None:
    """Register the verbs."""
    ledger = verbs.add_parser(
        "ledger",
        help="hypercalls and intercepts as the stand-in recorded them",
        description="What the stand-in recorded, in order: hypercalls with their results, intercepts, "
        "events. Reading it costs the guest nothing.",
    )
    add_name(ledger)
    ledger.add_argument("--follow", "-f", action="store_true", help="go on printing new records")
    ledger.add_argument(
        "-n", type=int, default=50, metavar="N", help="how many of the newest (default: %(default)s; 0: all)"
    )
    ledger.add_argument("--call", metavar="NAME", help="only this hypercall or intercept, e.g. MAP_GPA_PAGES")
    ledger.add_argument("--json", action="store_true", help="one JSON object per line")
    ledger.set_defaults(run=run_ledger)

    slat = verbs.add_parser(
        "slat",
        help="second-level page tables of the child partitions",
        description="What of the children's memory is mapped where, right now.",
    )
    add_name(slat)
    slat.add_argument("--partition", type=int, metavar="ID", help="only this partition")
    slat.add_argument("--json", action="store_true", help="print JSON")
    slat.set_defaults(run=run_slat)

    mmio = verbs.add_parser(
        "mmio",
        help="read or write a passed-through BAR as the child does",
        description="Let the child of a lab read or write a passed-through BAR. Exit code 1 when an access "
        "does not get through; what it ran into is said.",
    )
    actions = mmio.add_subparsers(metavar="read|write", required=True)
    for action in ("read", "write"):
        sub = actions.add_parser(action, help=f"{action} at an offset in the BAR")
        add_name(sub)
        sub.add_argument(
            "--device", metavar="ID", default="ivshmem-plain", help="device id or kind (default: %(default)s)"
        )
        sub.add_argument(
            "--width",
            type=int,
            choices=(1, 2, 4, 8),
            default=8,
            help="bytes per access (default: %(default)s)",
        )
        sub.add_argument("--vp", type=int, default=0, help="virtual processor (default: %(default)s)")
        sub.add_argument(
            "--count", type=int, default=1, help="accesses, one after the other (default: %(default)s)"
        )
        sub.add_argument("--json", action="store_true", help="print JSON")
        sub.add_argument("offset", type=_number, help="byte offset in the BAR")
        if action == "write":
            sub.add_argument("value", type=_number)
        sub.set_defaults(run=run_mmio, action=action)


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a number: {text!r}") from None


def _wanted(record: LedgerRecord, call: str | None) -> bool:
    return call is None or record_name(record) == call


def run_ledger(args: argparse.Namespace) -> int:
    """Print the newest records, and with --follow the ones to come."""
    lab = Lab.attach(args.name)

    def show(record: LedgerRecord) -> None:
        if args.json:
            print(json.dumps({**dataclasses.asdict(record), "name": record_name(record)}), flush=True)
        else:
            print(format_record(record, resolve=lab.symbolise), flush=True)

    try:
        seen = lab.hypervisor.since(0)
        records = [r for r in seen.records if _wanted(r, args.call)]
        for record in records[-args.n :] if args.n else records:
            show(record)
        position = seen.end
        while args.follow and lab.machine.alive():
            more = lab.hypervisor.since(position)
            position = more.end
            for record in more.records:
                if _wanted(record, args.call):
                    show(record)
            time.sleep(POLL)
    except KeyboardInterrupt:
        if not args.follow:
            raise
    finally:
        lab.leave()
    return ExitCode.PASS


def run_slat(args: argparse.Namespace) -> int:
    """Print what each child partition maps."""
    lab = Lab.attach(args.name)
    try:
        partitions = [p for p in lab.hypervisor.partitions() if p.id != lab.root_id]
        if args.partition is not None:
            partitions = [p for p in partitions if p.id == args.partition]
            if not partitions:
                raise BadInput(
                    f"no child partition {args.partition}", where="--partition", hint="hvlab slat lists them"
                )
        tables = {p.id: lab.hypervisor.slat(p.id) for p in partitions}
    finally:
        lab.leave()
    if args.json:
        print(
            json.dumps(
                {str(i): [dataclasses.asdict(r) for r in runs] for i, runs in tables.items()}, indent=1
            )
        )
        return ExitCode.PASS
    for ident, runs in tables.items():
        print(f"partition {ident}:")
        for r in runs:
            where = "no access" if r.no_access else f"SPA {r.spa << 12:#x} {r.access}"
            print(f"  GPA {r.gfn << 12:#014x} +{r.pages << 12:#x} -> {where}{' 2M' if r.level == 2 else ''}")
    if not tables:
        print("no child partition")
    return ExitCode.PASS


def run_mmio(args: argparse.Namespace) -> int:
    """One or more accesses by the child; an intercept that reaches the VMM is shown, exit code 1."""
    lab = Lab.attach(args.name)
    try:
        results = access_window(
            lab,
            device=args.device,
            offset=args.offset,
            width=args.width,
            vp=args.vp,
            value=getattr(args, "value", None),
            count=args.count,
        )
    finally:
        lab.leave()
    if args.json:
        print(json.dumps(results, indent=1))
    else:
        for r in results:
            if "message" in r:
                print(f"{r['offset']:#x}: intercept {r['message']} at GPA {r['gpa']:#x} reached the VMM")
            else:
                print(f"{r['offset']:#x}: {r['value']:#0{2 + 2 * args.width}x}")
    return ExitCode.FAIL if any("message" in r for r in results) else ExitCode.PASS
