# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab nightly``: every new version of every series in an inbox, judged and published."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lab import paths
from lab.cli.selectors import add_source, check_expression
from lab.model.errors import BadInput, ExitCode
from lab.model.nightly import Inbox, NightlyReport, Variant
from lab.nightly import hosts, quarantine, store, variants
from lab.nightly.night import NightlyRequest, exit_code, night
from lab.printable import printable
from lab.progress import TextProgress
from lab.report.view import seconds
from lab.series.b4 import fetch_b4
from lab.series.inbox import read_inbox
from lab.validate.kernels import Selectors

DEFAULT_OUT = Path("hvlab-out") / "nightly"


def add_verbs(verbs: Any) -> None:
    """Register ``nightly``."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "nightly",
        help="judge every new version of every series in an inbox",
        description="Finds the series of an inbox and their versions, judges those that are new in every "
        "variant of the matrix, compares each version with the one before, and writes a site, mails and "
        "files for other programs.",
        epilog="exit codes: the worst of what this run judged: 0 pass (or nothing new), 1 a series fails, "
        "2 bad input, 3 inconclusive, 4 the lab could not run",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--inbox", metavar="DIR", help="maildir, mbox, folder of mails, or git repository of a public-inbox"
    )
    source.add_argument("--b4", metavar="MSGID", help="fetch this thread with b4 (needs a network)")
    add_source(parser)
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=DEFAULT_OUT, help="output folder (default: %(default)s)"
    )
    parser.add_argument("--matrix", metavar="FILE", type=Path, help="variants (default: ci/nightly.toml)")
    parser.add_argument(
        "--variant", metavar="V", action="append", default=[], help="only this variant of the matrix"
    )
    parser.add_argument("--hosts", metavar="FILE", type=Path, help="run the variants on these hosts over SSH")
    parser.add_argument("--quarantine", metavar="FILE", type=Path, help="failures that do not count for now")
    parser.add_argument(
        "--only", metavar="TOPIC[/vN]", action="append", default=[], help="only this series, may be repeated"
    )
    parser.add_argument("--again", action="store_true", help="judge even what was judged before")
    parser.add_argument("--list", action="store_true", help="say what the inbox holds, and do nothing")
    parser.add_argument("--no-checks", action="store_true", help="leave out builds and checks of each patch")
    parser.add_argument("-k", metavar="EXPR", dest="expression", help="only scenarios that match")
    parser.add_argument(
        "--reruns", metavar="N", type=int, default=3, help="reruns of a failure, for each kind of seed"
    )
    parser.add_argument("--qemu", metavar="PATH", help="qemu-system-x86_64, or the root of its package")
    parser.add_argument(
        "--no-sandbox", action="store_true", help="build without a sandbox (patches are strangers' code)"
    )
    parser.add_argument("-j", "--jobs", type=int, default=0, metavar="N", help="parallel compilers")
    parser.add_argument("--json", action="store_true", help="print the run's record instead of the table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Judge what is new; returns the documented exit code."""
    check_expression(args.expression)
    if args.reruns < 0:
        raise BadInput("not a number of reruns", where=f"--reruns {args.reruns}")
    if args.quarantine is not None:
        quarantine.load(args.quarantine)
    inbox = _inbox(args)
    if args.list:
        print("\n".join(_listed(inbox)))
        return int(ExitCode.PASS)
    request = NightlyRequest(
        inbox=inbox,
        out=args.out.resolve(),
        variants=_variants(args),
        base=args.base,
        tree=args.tree,
        hosts=hosts.load(args.hosts) if args.hosts else (),
        quarantine=args.quarantine,
        only=tuple(args.only),
        again=args.again,
        expression=args.expression or "",
        reruns=args.reruns,
        checks=not args.no_checks,
        selectors=Selectors(qemu=args.qemu, sandboxed=not args.no_sandbox, jobs=args.jobs),
    )
    report = night(request, TextProgress())
    if args.json:
        print(store.dumps(report), end="")
    else:
        print("\n".join(_table(report, args.out)))
    return int(exit_code(report))


def _inbox(args: argparse.Namespace) -> Inbox:
    if args.inbox:
        return read_inbox(args.inbox)
    with tempfile.TemporaryDirectory(prefix="hvlab-b4-") as temp:
        return read_inbox(str(fetch_b4(args.b4, Path(temp))))


def _variants(args: argparse.Namespace) -> tuple[Variant, ...]:
    file = args.matrix or paths.repo_root() / "ci" / "nightly.toml"
    found = variants.load(file)
    if not args.variant:
        return found
    ids = [v.id for v in found]
    if missing := [name for name in args.variant if name not in ids]:
        raise BadInput(f"no such variant: {missing[0]}", where=str(file), hint=f"there are: {', '.join(ids)}")
    return tuple(v for v in found if v.id in args.variant)


def _listed(inbox: Inbox) -> Iterable[str]:
    if not inbox.series:
        yield "no series in this inbox"
    for s in inbox.series:
        yield printable(f"{s.id}: {s.title} ({len(s.patches)} patches, {s.author}, {s.date})")
        if s.linked:
            yield f"  same series as others by {s.linked}"
        if s.base_commit:
            yield printable(f"  made on {s.base_commit}")
        for repair in s.repairs:
            yield printable(f"  recovered: patch {repair.patch}, {repair.hunk}: {repair.what}")
        if s.problem:
            yield printable(f"  cannot be judged: {s.problem}")
    for p in inbox.problems:
        yield printable(f"{p.where}: {p.what}" + (f"; to do: {p.hint}" if p.hint else ""))


def _table(report: NightlyReport, out: Path) -> Iterable[str]:
    for version in report.versions:
        mark = "" if version.series.id in report.judged else "  (judged before)"
        yield printable(f"{version.verdict:<13}{version.series.id}{mark}")
        if version.series.id not in report.judged:
            continue
        if version.series.problem:
            yield printable(f"    {version.series.problem}")
        for check in version.checks:
            if check.verdict != "pass" and not check.advisory:
                first = check.lines[0] if check.lines else check.note
                yield printable(f"    patch {check.patch}: {check.name}: {check.verdict}: {first}")
        for v in version.variants:
            why = v.lost or (v.reasons[0] if v.reasons and v.verdict != "pass" else "")
            yield printable(f"    {v.variant.id:<28} {v.verdict:<13} {seconds(v.wall):>7} s  {why}")
    for problem in report.problems:
        yield printable(f"{'unusable':<13}{problem.where}: {problem.what}")
    yield (
        f"{len(report.judged)} judged, {len(report.skipped)} judged before, {seconds(report.wall)} s of wall "
        f"time, {seconds(report.cpu)} s of CPU time"
    )
    yield f"site: {out / 'site' / 'index.html'}"
