# SPDX-License-Identifier: GPL-2.0-or-later
"""Argument parsing, dispatch, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from typing import NoReturn

import lab
from lab.cli import (
    claims,
    compare,
    doctor,
    gc,
    labs,
    look,
    machine,
    mutants,
    nightly,
    race,
    splats,
    surface,
    validate,
)
from lab.model.errors import ExitCode, LabError
from lab.printable import printable
from lab.unwind import unwind_on_signals

EPILOG = """exit codes:
  0  pass               2  bad input       4  the lab itself could not run
  1  fail               3  inconclusive
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ExitCode.BAD_INPUT, f"{self.prog}: {message}\n")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = _Parser(
        prog="hvlab",
        description="Integration test lab for Linux kernels that run on top of Microsoft's hypervisor.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hvlab {lab.__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=_Parser)
    for module in (
        validate,
        claims,
        compare,
        labs,
        look,
        machine,
        surface,
        mutants,
        race,
        nightly,
        splats,
        doctor,
        gc,
    ):
        module.add_verbs(verbs)
    return parser


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Words for us, and those behind ``--``. argparse would take the first of them for ``root|child``."""
    if "--" not in argv:
        return argv, []
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]


def main(argv: list[str] | None = None) -> int:
    """Run one verb. Returns its exit code; errors are printed once, without a traceback."""
    words, after = _split(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    args = parser.parse_args(words)
    args.after = after
    if after and args.run is not labs.run_ssh:
        parser.error(f"only ssh takes a command after --, not {after[0]!r}")
    unwind_on_signals()
    try:
        code = int(args.run(args))
        sys.stdout.flush()  # here, where a reader that has left can still be forgiven
        return code
    except LabError as e:
        print(f"hvlab: {printable(str(e))}", file=sys.stderr)
        return int(e.exit_code)
    except BrokenPipeError:
        # The reader of our output left (``| head``): nothing more to say, and not to its ghost either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.PASS)
    except OSError as e:
        if e.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        print(
            f"hvlab: {e.filename or 'writing'}: {e.strerror}\n  to do: free some space there", file=sys.stderr
        )
        return int(ExitCode.LAB_UNAVAILABLE)
    except KeyboardInterrupt as e:
        print(
            f"hvlab: stopped by {e.args[0] if e.args else 'SIGINT'}; nothing is left behind", file=sys.stderr
        )
        return int(ExitCode.LAB_UNAVAILABLE)
