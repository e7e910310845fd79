# SPDX-License-Identifier: GPL-2.0-or-later
"""``hvlab race export`` and ``hvlab race from-splat``: recipes out of the lab, and into it."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.cli.selectors import add_kernel_selectors, selectors_of
from lab.cli.splats import read_splats
from lab.judge.splats import SplatParser
from lab.model.errors import BadInput, ExitCode
from lab.model.race import Recipe, Side
from lab.progress import TextProgress
from lab.race.export import Export, Exporter, check, parse_ends
from lab.race.from_splat import recipe_of
from lab.race.kernels import RaceKernel, RaceKernels
from lab.race.points import ReadSource
from lab.race.recipes import parse
from lab.validate.kernels import open_cache

Chosen = Callable[[list[str]], tuple[Recipe, ...]]
"""Recipes by name or file."""


def add_export(inner: Any, chosen: Chosen) -> None:
    """Register ``race export``."""
    verb = inner.add_parser(
        "export",
        help="a recipe as a kernel module, for machines without the lab",
        description="Write the source of a kernel module that forces the order of a recipe with kprobes.",
        epilog="docs/races-export.md says what such a module can and cannot do",
    )
    verb.add_argument("recipe", metavar="RECIPE", help="name, or file")
    verb.add_argument("--kprobe", metavar="DIR", type=Path, required=True, help="folder to write it to")
    verb.add_argument(
        "--on",
        choices=("racy", "fixed"),
        default="racy",
        help="which kernel of the recipe it is for (default: %(default)s)",
    )
    verb.add_argument(
        "--module",
        metavar="KO",
        type=Path,
        help="it is for the kernel of this mshv_root.ko instead, which must have debug information",
    )
    verb.add_argument("--source", metavar="DIR", type=Path, help="source that --module was built from")
    verb.add_argument(
        "--done",
        metavar="ACTOR=FUNCTION",
        action="append",
        default=[],
        help="an actor's action ends when this function returns; may be repeated",
    )
    verb.add_argument("--build", action="store_true", help="also build it, for the lab's own kernel")
    verb.add_argument("--json", action="store_true", help="print JSON")
    add_kernel_selectors(verb, series_option=False)
    verb.set_defaults(run=lambda args: run_export(args, chosen))


def add_from_splat(inner: Any) -> None:
    """Register ``race from-splat``."""
    verb = inner.add_parser(
        "from-splat",
        help="the skeleton of a recipe, from a report in a kernel log",
        description="Make a recipe of a report that names both sides of a race: one of KCSAN, or one of "
        "KASAN about a use after free. What the report does not tell is marked with TODO.",
    )
    verb.add_argument("log", metavar="LOG", help="the log, or - for standard input")
    verb.add_argument("--out", metavar="FILE", type=Path, help="write it there (default: standard output)")
    verb.add_argument(
        "--number", type=int, default=1, metavar="N", help="which of the log's reports (default: %(default)s)"
    )
    verb.set_defaults(run=run_from_splat)


def run_from_splat(args: argparse.Namespace) -> ExitCode:
    """Print a recipe, or write it where none is yet."""
    where = "standard input" if args.log == "-" else args.log
    text = recipe_of(read_splats(SplatParser(), args.log), where, args.number)
    if args.out is None:
        print(text, end="")
        return ExitCode.PASS
    parse(tomllib.loads(text), args.out.stem, str(args.out))  # its name must be one for a recipe
    try:
        with args.out.open("x") as file:
            file.write(text)
    except FileExistsError as e:
        raise BadInput("there is something already", where=str(args.out)) from e
    except OSError as e:
        raise BadInput(f"cannot be written: {e.strerror}", where=str(args.out)) from e
    print(f"{args.out}: {sum('TODO' in line for line in text.splitlines()) - 1} things are left to fill in")
    return ExitCode.PASS


def run_export(args: argparse.Namespace, chosen: Chosen) -> ExitCode:
    """Write the module's source, and say what its places are."""
    recipe = chosen([args.recipe])[0]
    ends = parse_ends(args.done)
    check(recipe, ends)
    if (args.module is None) != (args.source is None):
        raise BadInput("--module and --source go together: the lines of one are those of the other")
    if args.module is not None and args.build:
        raise BadInput("--build is for the lab's own kernels", hint="see the README.md that is written")
    made: Path | None = None
    if args.module is not None:
        kernel = f"the kernel whose driver is {args.module.name}"
        exporter = Exporter(args.module, args.module, source_reader(args.source), kernel, ends)
        export = exporter.export(recipe)
        export.write(args.kprobe)
    else:
        side = _side(recipe, args.on)
        kernels = RaceKernels(selectors_of(args), open_cache(), TextProgress())
        built = kernels.kernel(side, recipe.setup.flavour, recipe.where)
        about = f"{built.image.release} ({built.image.flavour}) with {side}"
        exporter = Exporter(built.image.modules[0], built.described.debug, built.read_source, about, ends)
        export = exporter.export(recipe)
        export.write(args.kprobe)
        if args.build:
            made = args.kprobe / f"{export.module}.ko"
            shutil.copy2(build(export, kernels, built), made)
    print(json.dumps(as_json(export, args.kprobe, made), indent=1) if args.json else "\n".join(told(export)))
    if made is not None and not args.json:
        print(f"  built: {made}")
    return ExitCode.PASS


def source_reader(tree: Path) -> ReadSource:
    """Reads files of a source tree by the names that debug information has for them: those may begin with
    where the tree was when it was built."""

    def read(name: str) -> str:
        parts = Path(name).parts
        tails = (tree.joinpath(*parts[first:]) for first in range(parts[0] == "/", len(parts)))
        return next((path for path in tails if path.is_file()), tree / name).read_text(errors="replace")

    return read


def build(export: Export, kernels: RaceKernels, kernel: RaceKernel) -> Path:
    """The module, for the lab's kernel that it was made for. LabError."""
    with tempfile.TemporaryDirectory(prefix="hvlab-export-") as temp:
        export.write(Path(temp))
        return kernels.build(kernel, Path(temp), export.module)


def _side(recipe: Recipe, which: str) -> Side:
    if which == "racy":
        return recipe.racy
    if recipe.fixed is None:
        raise BadInput("the recipe names no fixed kernel", where=recipe.where)
    return recipe.fixed


def told(export: Export) -> list[str]:
    """Some lines for people."""
    lines = [f"{export.module}: {export.recipe.title}", f"  for {export.kernel}"]
    for number, step in enumerate(export.steps, 1):
        places = ", ".join(map(str, step.probes))
        lines.append(f"  {number}. {step.actor} at {step.point}: {'return of ' if step.done else ''}{places}")
    return lines + [f"  note: {note}" for note in export.notes]


def as_json(export: Export, folder: Path, made: Path | None) -> dict[str, Any]:
    """The same for programs."""
    return {
        "id": export.recipe.id,
        "module": export.module,
        "kernel": export.kernel,
        "folder": str(folder),
        "built": str(made) if made else None,
        "steps": [
            {
                "actor": step.actor,
                "point": step.point,
                "return": step.done,
                "probes": [{"function": p.function, "offset": p.offset} for p in step.probes],
            }
            for step in export.steps
        ],
        "notes": list(export.notes),
    }
