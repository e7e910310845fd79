# SPDX-License-Identifier: GPL-2.0-or-later
"""``avocado run --hvlab-matrix FILE TASK.json``: every task in all variants of a matrix file.

The resolver takes record files of a VariantTask; without a matrix each runs in its own variant.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cattrs
from avocado.core import exit_codes
from avocado.core.nrunner.runnable import Runnable
from avocado.core.output import LOG_UI
from avocado.core.plugin_interfaces import CLI, Init, Resolver, Varianter
from avocado.core.resolver import ReferenceResolution, ReferenceResolutionResult
from avocado.core.settings import settings
from avocado.core.tree import TreeNode

from lab.model.errors import BadInput
from lab.model.nightly import Variant, VariantTask
from lab.nightly import store
from lab.nightly.variants import load

SECTION = "hvlab"
_NODE = "hvlab"


class MatrixInit(Init):
    """Options of the matrix."""

    name = "hvlab"
    description = "Matrix of variants"

    def initialize(self) -> None:
        """Register them."""
        settings.register_option(
            section=SECTION, key="matrix", default=None, help_msg="Run every task in the variants of FILE"
        )
        settings.register_option(
            section=SECTION,
            key="matrix_optional",
            default=False,
            key_type=bool,
            help_msg="Also in the variants that FILE marks as optional",
        )


class MatrixCLI(CLI):
    """``--hvlab-matrix`` and ``--hvlab-matrix-optional``."""

    name = "hvlab"
    description = "Matrix of variants"

    def configure(self, parser: Any) -> None:
        """Add them to ``run`` and ``variants``."""
        for name in ("run", "variants"):
            command = parser.subcommands.choices.get(name)
            if command is None:
                continue
            group = command.add_argument_group("hvlab specific options")
            settings.add_argparser_to_option(
                namespace=f"{SECTION}.matrix",
                parser=group,
                long_arg="--hvlab-matrix",
                metavar="FILE",
                allow_multiple=True,
            )
            settings.add_argparser_to_option(
                namespace=f"{SECTION}.matrix_optional",
                parser=group,
                long_arg="--hvlab-matrix-optional",
                action="store_true",
                allow_multiple=True,
            )

    def run(self, config: Any) -> None:
        """Nothing more to do."""


class MatrixVarianter(Varianter):
    """The variants of the matrix file."""

    name = "hvlab"
    description = "Variants of a matrix file"

    def __init__(self) -> None:
        self._variants: tuple[Variant, ...] = ()

    def initialize(self, config: Mapping[str, Any]) -> None:
        """Read the file; ends the command with one error when it cannot be used."""
        if (path := config.get(f"{SECTION}.matrix")) is None:
            return
        try:
            self._variants = load(Path(path), optional=bool(config.get(f"{SECTION}.matrix_optional")))
        except BadInput as e:
            LOG_UI.error("%s", e)
            sys.exit(exit_codes.AVOCADO_JOB_FAIL)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (avocado_variant(v) for v in self._variants)

    def __len__(self) -> int:
        return len(self._variants)

    def to_str(self, summary: int, variants: int, **kwargs: Any) -> str:
        """One line a variant; with ``variants`` above 1 its budget too."""
        if not variants or not self._variants:
            return ""
        lines = [v.id + (f"  (budget {v.budget:g} s)" if variants > 1 else "") for v in self._variants]
        return "\n".join([f"hvlab variants ({len(lines)}):", *lines])


class TaskResolver(Resolver):
    """Record files of tasks, ``*.json``."""

    name = "hvlab"
    description = "Record files of a variant of a series"

    def resolve(self, reference: str) -> Any:
        """A runnable of kind ``hvlab`` when the file is one."""
        if not reference.endswith(".json"):
            return ReferenceResolution(reference, ReferenceResolutionResult.NOTFOUND, info="no .json file")
        try:
            task = store.load(Path(reference), VariantTask)
        except BadInput as e:
            return ReferenceResolution(reference, ReferenceResolutionResult.NOTFOUND, info=e.what)
        runnable = Runnable("hvlab", str(Path(reference).absolute()), identifier=task.id)
        return ReferenceResolution(reference, ReferenceResolutionResult.SUCCESS, [runnable])


def avocado_variant(variant: Variant) -> dict[str, Any]:
    """The variant as Avocado's varianters hand it out."""
    node = TreeNode(_NODE, cattrs.unstructure(variant))
    root = TreeNode(children=[node])
    return {"variant_id": variant.id, "variant": list(root.iter_leaves()), "paths": ["/"]}


def variant_of(dumped: Mapping[str, Any] | None) -> Variant | None:
    """The variant that a runnable carries; None when it carries none, or one of another varianter."""
    for path, values in (dumped or {}).get("variant") or ():
        if path == f"/{_NODE}":
            return cattrs.structure({key: value for _, key, value in values}, Variant)
    return None
