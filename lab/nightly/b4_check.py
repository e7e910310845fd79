# SPDX-License-Identifier: GPL-2.0-or-later
"""A check command for ``b4 review``: a mail in, what a finished nightly says of it out.

In a repository that b4 reviews in::

    git config b4.review-series-check-cmd "python -m lab.nightly.b4_check OUT"
    git config b4.review-perpatch-check-cmd "python -m lab.nightly.b4_check OUT"
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lab.model.errors import BadInput, LabError
from lab.model.nightly import NightlyReport
from lab.nightly import store
from lab.report import b4_ci

REPORT = "nightly.json"
"""The NightlyReport in a nightly's output folder."""
LONGEST = 64 << 20
"""Bytes of a mail."""


def check(out: Path, mail: bytes, url: str = "") -> str:
    """The JSON text for b4 about one mail. ``out`` is a nightly's output folder, or its report's file.

    It never fails: where the lab cannot answer it says so as a doubt, or b4 would show a failed series.
    """
    try:
        if len(mail) > LONGEST:
            raise BadInput(f"longer than {LONGEST} bytes", where="standard input")
        found = b4_ci.message_id(mail)
        report = store.load(out / REPORT if out.is_dir() else out, NightlyReport)
    except LabError as e:
        return b4_ci.excuse(f"{e.where}: {e.what}" if e.where else e.what)
    return b4_ci.dumps(b4_ci.answer(report, found, url))


def main(argv: list[str] | None = None) -> int:
    """Answer b4: a mail on standard input, JSON on standard output."""
    parser = argparse.ArgumentParser(prog="b4_check", description="What a nightly says of a mail, for b4.")
    parser.add_argument("out", type=Path, help="output folder of a finished nightly")
    parser.add_argument("--url", default="", help="where its site can be read")
    args = parser.parse_args(argv)
    sys.stdout.write(check(args.out, sys.stdin.buffer.read(LONGEST + 1), args.url))
    return 0


if __name__ == "__main__":
    sys.exit(main())
