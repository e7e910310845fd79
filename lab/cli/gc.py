# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab gc``: the cache and the runs of nightlies, kept within limits."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from lab.cache import Cache, disk_size
from lab.model.errors import BadInput, ExitCode, LabUnavailable
from lab.nightly import old_runs, retention
from lab.nightly.old_runs import OutSweep
from lab.nightly.retention import Limits, Removal, Sweep
from lab.printable import printable
from lab.templates.text import parse_size
from lab.validate.kernels import open_cache

DESCRIPTION = """Remove cache entries that were not used for a while, then the least recently used ones until
the cache is within its budget. Sources and base kernels go last. Nothing goes that a process makes or uses or
that a lab which is up was booted from. With --out the old runs of a nightly go too, but for those that its
site leads to."""
EPILOG = """exit codes: 0 the limits hold (with --dry-run: would hold), 2 bad input, 4 they do not: too much
is in use, a nightly is at work in an --out, or something could not be removed"""


def add_verbs(verbs: Any) -> None:
    """Register ``gc``."""
    gc = verbs.add_parser(
        "gc",
        help="remove what the cache and old nightly runs need no more",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    gc.add_argument(
        "--keep-days",
        metavar="N",
        type=float,
        default=retention.KEEP_DAYS,
        help="keep a cache entry so long after its last use (default: %(default)g)",
    )
    gc.add_argument(
        "--max-size", metavar="SIZE", help="budget of the cache, as 20G or 500M (default: no limit)"
    )
    gc.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="an output folder of hvlab nightly; may be given several times",
    )
    gc.add_argument(
        "--keep-runs",
        metavar="N",
        type=int,
        default=old_runs.KEEP_RUNS,
        help="keep so many runs in each --out (default: %(default)s)",
    )
    gc.add_argument("--dry-run", action="store_true", help="remove nothing, say what would go")
    gc.add_argument("--json", action="store_true", help="print JSON")
    gc.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """PASS when the limits hold afterwards, LAB_UNAVAILABLE when they do not."""
    limits = Limits(args.keep_days, size_of(args.max_size))
    for folder in args.out:
        old_runs.check(folder, args.keep_runs)
    cache = open_cache()
    stale = sweep_stale(cache, args.dry_run)
    kept = retention.sweep(cache, limits, dry_run=args.dry_run)
    outs = [old_runs.sweep(folder, args.keep_runs, dry_run=args.dry_run) for folder in args.out]
    if args.json:
        print(json.dumps(as_dict(cache.root, args.dry_run, stale, kept, outs), indent=1))
    else:
        print("\n".join(printable(line) for line in lines(cache.root, args.dry_run, stale, kept, outs)))
    over = limits.max_size is not None and kept.after > limits.max_size
    bad = over or kept.problems or any(out.problems or out.busy for out in outs)
    return ExitCode.LAB_UNAVAILABLE if bad else ExitCode.PASS


def size_of(text: str | None) -> int | None:
    """Bytes of ``--max-size``. BadInput when it is no size."""
    if text is None:
        return None
    try:
        return parse_size(text)
    except ValueError as e:
        raise BadInput(str(e), where="--max-size", hint="for example --max-size 20G") from e


def sweep_stale(cache: Cache, dry_run: bool) -> list[Removal]:
    """Remove what killed processes left half-made in the cache."""
    try:
        sizes = {path: _size(path) for path in cache.stale()}
        gone = list(sizes) if dry_run else cache.clean()
    except OSError as e:
        raise LabUnavailable(
            f"the cache cannot be cleaned: {e.strerror or e}",
            where=str(e.filename or cache.root),
            hint="run as the owner of the cache",
        ) from e
    why = "left by a killed process"
    return [Removal(str(p.relative_to(cache.root)), why, sizes.get(p, 0)) for p in gone]


def _size(path: Path) -> int:
    try:
        return disk_size(path) if path.is_dir() and not path.is_symlink() else 0
    except FileNotFoundError:
        return 0  # its maker has just finished it


def as_dict(
    root: Path, dry_run: bool, stale: list[Removal], kept: Sweep, outs: list[OutSweep]
) -> dict[str, Any]:
    """What was done as JSON values; sizes in bytes."""
    cache = {"folder": str(root), "stale": [dataclasses.asdict(r) for r in stale], **dataclasses.asdict(kept)}
    return {
        "dry_run": dry_run,
        "cache": cache,
        "outs": [{**dataclasses.asdict(out), "folder": str(out.folder)} for out in outs],
        "freed": freed(stale, kept, outs),
    }


def freed(stale: list[Removal], kept: Sweep, outs: list[OutSweep]) -> int:
    """Bytes that were freed, or would be."""
    return sum(r.size for r in [*stale, *kept.removed, *(r for out in outs for r in out.removed)])


def lines(root: Path, dry_run: bool, stale: list[Removal], kept: Sweep, outs: list[OutSweep]) -> list[str]:
    """What was done, for people."""
    word = "would go" if dry_run else "gone"

    def gone(removed: Removal) -> str:
        return f"{word}  {removed.what}  {human(removed.size)}: {removed.why}"

    said = [gone(r) for r in (*stale, *kept.removed)]
    said += [f"in use  {name}" for name in kept.in_use]
    said += [f"BAD  {text}" for text in kept.problems]
    said.append(f"cache {root}: {human(kept.before)} before, {human(kept.after)} after")
    for out in outs:
        if out.busy:
            said.append(f"{out.folder}: a nightly is at work there, left alone")
            continue
        said += [gone(r) for r in out.removed]
        said += [f"linked  runs/{name}" for name in out.linked]
        said += [f"BAD  {text}" for text in out.problems]
        said.append(f"{out.folder}: {out.kept} runs kept")
    said.append(f"{human(freed(stale, kept, outs))} {'would be ' if dry_run else ''}freed")
    return said


def human(size: int) -> str:
    """A size for people: ``0 KiB``, ``12.3 MiB``."""
    for shift, unit in ((30, "GiB"), (20, "MiB")):
        if size >= 1 << shift:
            return f"{size / (1 << shift):.1f} {unit}"
    return f"{size >> 10} KiB"
