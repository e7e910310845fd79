# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmarks share: the kernel under test, medians, and a word on how busy the host is."""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Sequence
from typing import TypeVar

from lab.model.kernel import KernelImage
from lab.progress import TextProgress
from lab.unwind import unwind_on_signals
from lab.validate.bringup import BootRequest, Lab
from lab.validate.kernels import Selectors, embedded_series, prepare

T = TypeVar("T")


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Options that every benchmark has."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--series", default=str(embedded_series()), help="series of the kernel (default: embedded)"
    )
    made.add_argument("--stock", action="store_true", help="the base kernel, without any series")
    made.add_argument("--qemu", metavar="PATH", help="qemu-system-x86_64 to use")
    return made


def kernel(args: argparse.Namespace) -> KernelImage:
    """The kernel to measure, out of the cache or built before anything is timed."""
    series = None if args.stock else args.series
    return prepare(Selectors(series=series, qemu=args.qemu), TextProgress(quiet=True))


def boot(request: BootRequest) -> Lab:
    """A lab that says nothing while it boots."""
    return Lab.boot(request, TextProgress(quiet=True))


def host() -> str:
    """CPUs of this host and its load now: above 0.5 per CPU wall figures tell of other work, too."""
    return f"host: {len(os.sched_getaffinity(0))} CPUs, load {os.getloadavg()[0]:.2f}"


def median(values: Sequence[float]) -> float:
    """Median; NaN of nothing."""
    return statistics.median(values) if values else float("nan")


def spread(values: Sequence[float]) -> str:
    """``median (least to most)``."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main(run: Callable[[argparse.Namespace], float], options: argparse.ArgumentParser) -> int:
    """Run a benchmark that returns a ratio; it becomes the last line."""
    args = options.parse_args()
    unwind_on_signals()
    print(host(), flush=True)
    ratio = run(args)
    print(host())
    print(f"ratio {ratio:.2f}", flush=True)
    return 0
