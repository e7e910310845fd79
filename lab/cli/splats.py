# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab splats``: the kernel complaints in a log that lies somewhere. Needs no kernel and no guest."""

from __future__ import annotations

import argparse
import gzip
import json
import lzma
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from lab.judge.splats import SplatParser
from lab.model.errors import BadInput, ExitCode
from lab.model.splat import Splat
from lab.printable import printable

CHUNK = 1 << 16
FRAMES_SHOWN = 8


def add_verbs(verbs: Any) -> None:
    """Register ``splats``."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        "splats",
        help="the kernel complaints in a log file",
        description="Warnings, oopses, reports of sanitizers and lockdep, hangs and panics in a kernel log: "
        "a serial console, dmesg in any form, /dev/kmsg, the journal; also compressed by gzip or xz. "
        "They are printed as soon as they end, the first one first: what follows it may be its consequence.",
        epilog="exit codes: 0 none, 1 there are some, 2 the log cannot be read",
    )
    parser.add_argument("log", metavar="FILE", help="the log, or - for standard input")
    parser.add_argument("--first", action="store_true", help="stop at the end of the first one")
    parser.add_argument("--raw", action="store_true", help="also print the lines of each report")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> ExitCode:
    """Print the splats of a log; FAIL if there are any."""
    parser = SplatParser()
    count = 0
    if args.json:
        print('{"splats": [', end="")
    for splat in read_splats(parser, args.log):
        count += 1
        if args.json:
            print(",\n " if count > 1 else "\n ", json.dumps(as_dict(splat)), sep="", end="", flush=True)
        else:
            lines = [*_lines(splat), *(f"  | {line}" for line in splat.text if args.raw)]
            print("\n".join(printable(line) for line in lines), flush=True)
        if args.first:
            break
    if args.json:
        print(f'],\n "lines": {parser.lines}}}')
    elif not count:
        print(f"no splat in {parser.lines} lines")
    return ExitCode.FAIL if count else ExitCode.PASS


def as_dict(splat: Splat) -> dict[str, Any]:
    """A splat as JSON values; docs/result-schema.md describes them."""
    return {
        "id": splat.id,
        "class": splat.cls.value,
        "title": splat.title,
        "also": list(splat.also),
        "frames": list(splat.frames),
        "task": splat.task,
        "cpu": splat.cpu,
        "line": splat.line + 1,
        "corrupted": splat.corrupted,
        "damage": str(splat.damage) if splat.damage else "",
        "after": splat.after,
        "text": list(splat.text),
    }


def _lines(splat: Splat) -> list[str]:
    flags = [f"corrupted: {splat.damage}"] if splat.damage else []
    flags += ["not the first"] if splat.after else []
    lines = [f"line {splat.line + 1}: {splat.title}" + (f" ({', '.join(flags)})" if flags else "")]
    lines.append(f"  id      {splat.id}")
    lines += [f"  also    {title}" for title in splat.also]
    if splat.task or splat.cpu is not None:
        cpu = "" if splat.cpu is None else f"CPU {splat.cpu}"
        lines.append(f"  by      {', '.join(filter(None, (splat.task, cpu)))}")
    if splat.frames:
        shown = " < ".join(splat.frames[:FRAMES_SHOWN])
        lines.append(f"  in      {shown}" + (" < ..." if len(splat.frames) > FRAMES_SHOWN else ""))
    return lines


def read_splats(parser: SplatParser, name: str) -> Iterator[Splat]:
    """Splats of a log by its name, - for standard input. BadInput when it cannot be read."""
    for data in _chunks(name):
        yield from parser.feed_bytes(data)
    yield from parser.close()


def _chunks(name: str) -> Iterator[bytes]:
    """The log in pieces, decompressed. BadInput when it cannot be read, also half-way."""
    where = "standard input" if name == "-" else name
    try:
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as raw:
            stream = _decompressed(cast(BinaryIO, raw))
            # read1: what a pipe holds now is looked at now, not when 64 KiB of it are there.
            read = getattr(stream, "read1", stream.read)
            while data := read(CHUNK):
                yield data
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as e:
        raise BadInput(f"the compressed log is damaged: {e}", where=where) from e
    except OSError as e:
        raise BadInput(
            f"cannot read the log: {e.strerror or e}",
            where=where,
            hint="name a file, or - for standard input",
        ) from e


def _decompressed(raw: BinaryIO) -> BinaryIO:
    head = raw.peek(6)[:6]  # type: ignore[attr-defined]
    if head.startswith(b"\x1f\x8b"):
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    if head == b"\xfd7zXZ\x00":
        return cast(BinaryIO, lzma.LZMAFile(raw))
    return raw
