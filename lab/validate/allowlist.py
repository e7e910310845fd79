# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's own allow-list, read once: ``images/kernel/allow.toml``."""

from __future__ import annotations

import functools

from lab import paths
from lab.judge import allow
from lab.judge.allow import Allowed
from lab.model.errors import BadInput
from lab.model.kernel import KernelImage
from lab.model.series import KernelVersion
from lab.model.splat import Splat

TABLE = "allow.toml"


@functools.cache
def entries() -> tuple[Allowed, ...]:
    """Every entry. BadInput when the file is damaged."""
    path = paths.images_dir() / "kernel" / TABLE
    try:
        return allow.parse_table(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as e:
        raise BadInput(f"cannot read the allow-list: {e}", where=str(path)) from e


def explains(splat: Splat, kernel: KernelImage | None) -> Allowed | None:
    """The entry that explains a splat of this kernel. A kernel that is not the lab's has none."""
    if kernel is None:
        return None
    try:
        version = KernelVersion.parse(kernel.release)
    except ValueError:
        return None
    return allow.explains(entries(), splat, kernel.flavour, version)
