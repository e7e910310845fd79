# SPDX-License-Identifier: GPL-2.0-or-later
"""Arguments that every verb which boots takes, and how they become Selectors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from _pytest.mark.expression import Expression

from lab.model.errors import BadInput
from lab.validate.kernels import Selectors


def add_source(parser: Any) -> None:
    """Which source: ``--base`` or ``--tree``. ``parser`` may be a group of arguments."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--base",
        metavar="SPEC",
        help="debian (newest that fits), debian:7.2, FILE.tar.*, lock:FILE; default: debian",
    )
    source.add_argument("--tree", metavar="DIR[@REV]", help="a git tree, as it lies there or at REV")


def add_kernel_selectors(parser: argparse.ArgumentParser, *, series_option: bool = True) -> None:
    """Which kernel: ``--series``, ``--base``/``--tree``, ``--kernel``, ``--flavour``, ``--qemu``."""
    group = parser.add_argument_group("kernel under test")
    if series_option:
        group.add_argument(
            "--series", metavar="S", help="mbox, maildir, directory, A..B (with --tree) or - (stdin)"
        )
        group.add_argument(
            "--flavour", metavar="F", default="plain", help="kernel flavour (default: %(default)s)"
        )
        group.add_argument("--kernel", metavar="IMAGE", type=Path, help="boot this bzImage as it is")
    add_source(group)
    group.add_argument(
        "--config",
        metavar="FRAGMENT",
        action="append",
        type=Path,
        default=[],
        help="kernel settings on top of the flavour's, for all kernels of this run; may be repeated",
    )
    group.add_argument(
        "--qemu", metavar="PATH", help="qemu-system-x86_64, or the root of an unpacked QEMU package"
    )
    group.add_argument(
        "--no-sandbox", action="store_true", help="build without a sandbox (patches are strangers' code)"
    )
    group.add_argument(
        "-j", "--jobs", type=int, default=0, metavar="N", help="parallel compilers (default: all cores)"
    )


def selectors_of(args: argparse.Namespace, *, series: str | None = None) -> Selectors:
    """Selectors from parsed arguments; ``series`` when the verb takes it by position. Raises BadInput."""
    if missing := [path for path in args.config if not path.is_file()]:
        raise BadInput("no such file", where=str(missing[0]), hint="--config takes a file of kernel settings")
    kernel = getattr(args, "kernel", None)
    if args.config and kernel is not None:
        raise BadInput(
            "--config changes what is built, and --kernel boots what is there",
            where=f"--kernel {kernel}",
            hint="leave one of them out",
        )
    return Selectors(
        series=series if series is not None else getattr(args, "series", None),
        base=args.base,
        tree=args.tree,
        flavour=getattr(args, "flavour", "plain")
        if isinstance(getattr(args, "flavour", "plain"), str)
        else "plain",
        kernel=kernel,
        qemu=args.qemu,
        sandboxed=not args.no_sandbox,
        jobs=args.jobs,
        config=tuple(path.resolve() for path in args.config),
    )


def check_expression(text: str | None) -> None:
    """Refuse a bad -k before anything is built for it. Raises BadInput."""
    if not text:
        return
    try:
        Expression.compile(text)
    except Exception as e:  # its class differs between pytest 8 and 9
        raise BadInput(
            f"not an expression: {e}",
            where=f"-k {text!r}",
            hint='for example -k "first_touch or removed"',
        ) from None


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Which machine template, with which parameters."""
    parser.add_argument(
        "--machine", metavar="M", default="mshv-root", help="machine template (default: %(default)s)"
    )
    parser.add_argument(
        "--param", metavar="K=V", action="append", default=[], help="parameter of the template"
    )
