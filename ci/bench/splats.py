# SPDX-License-Identifier: GPL-2.0-or-later
"""Is the splat parser linear, and what does it hold? CPU seconds and peak memory over logs of growing size.

    python ci/bench/splats.py [--megabytes 1,10,100]

Each size is parsed in a process of its own. ``ratio`` is time per megabyte against the smallest log of the
same kind: near 1 means linear. Peak memory is what the process took more than one that parsed nothing.
Ends with 1 when a ratio is above --limit or the peak above --peak.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

from lab.judge.splats import SplatParser  # noqa: E402

GOLDEN = REPO / "tests" / "golden" / "splats"
MEGABYTE = 1 << 20
PIECE = 1 << 16
KINDS = {
    "ordinary": "lines of a boot, with a report every megabyte",
    "reports": "nothing but reports, all of the golden logs in turn",
    "mixed": "the same, the lines of four callers shuffled",
    "random": "random bytes",
    "one-line": "one line without an end",
}


def golden_lines() -> list[bytes]:
    """The lines of all golden logs, one log after the other."""
    texts = (path.read_bytes().partition(b"--- log ---\n")[2] for path in sorted(GOLDEN.glob("*.log")))
    return [line + b"\n" for text in texts for line in text.splitlines()]


def pieces(kind: str, size: int) -> Iterator[bytes]:
    """A log of ``size`` bytes in pieces, the same each time."""
    rng = random.Random(7)
    if kind == "random":
        for _ in range(0, size, PIECE):
            yield rng.randbytes(PIECE)
        return
    if kind == "one-line":
        for _ in range(0, size, PIECE):
            yield b"x" * PIECE
        return
    if kind == "ordinary":
        boot = b"".join(
            b"[%12.6f] pci 0000:00:%02x.0: BAR 0 assigned\n" % (i / 1e4, i % 32) for i in range(9000)
        )
        one = boot[:MEGABYTE] + b"\n" + b"".join(golden_lines()[:60])
    else:
        lines = golden_lines()
        if kind == "mixed":
            lines = [b"[    1.000000][    T%d] " % rng.randrange(4) + line for line in lines]
            rng.shuffle(lines)
        one = b"".join(lines)
    left = size
    while left > 0:
        for start in range(0, min(len(one), left), PIECE):
            yield one[start : start + PIECE]
        left -= len(one)


def measure(kind: str, megabytes: int) -> tuple[float, int, int]:
    """CPU seconds, peak RSS in kB and splats; runs in the child process."""
    parser, count, size = SplatParser(), 0, megabytes * MEGABYTE
    spent = 0.0
    for piece in pieces(kind, size):
        started = time.process_time()
        count += len(parser.feed_bytes(piece))
        spent += time.process_time() - started
    count += len(parser.close())
    return spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, count


def in_process(kind: str, megabytes: int) -> tuple[float, int, int]:
    """``measure`` in a fresh process, so that its peak is its own."""
    argv = [sys.executable, __file__, "--measure", kind, str(megabytes)]
    words = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    return float(words[0]), int(words[1]), int(words[2])


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="linearity and memory of the splat parser")
    parser.add_argument("--megabytes", default="1,10,100", help="sizes of the logs (default: %(default)s)")
    parser.add_argument("--limit", type=float, default=2.0, help="ratio that fails (default: %(default)s)")
    parser.add_argument(
        "--peak", type=int, default=100, metavar="MB", help="memory that fails (default: 100)"
    )
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "MB"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(*measure(args.measure[0], int(args.measure[1])))
        return 0
    sizes = sorted(int(word) for word in args.megabytes.split(","))
    nothing = in_process("random", 0)[1]
    bad = 0
    print(f"{'log':<10}{'MB':>5}{'CPU s':>10}{'MB/s':>8}{'ratio':>8}{'peak MB':>9}{'splats':>9}")
    for kind, what in KINDS.items():
        first = 0.0
        for megabytes in sizes:
            seconds, peak, count = in_process(kind, megabytes)
            each = seconds / megabytes
            first = first or each
            held = (peak - nothing) / 1024
            # Below that a clock tells nothing.
            bad += (seconds > 0.5 and each > args.limit * first) or held > args.peak
            print(
                f"{kind:<10}{megabytes:>5}{seconds:>10.2f}{megabytes / seconds:>8.1f}{each / first:>8.2f}"
                f"{held:>9.1f}{count:>9}" + (f"   {what}" if megabytes == sizes[0] else "")
            )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
