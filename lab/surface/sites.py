# SPDX-License-Identifier: GPL-2.0-or-later
"""Who issues each entry, where its number stands: ``images/surface/sites.toml``, made from source."""

from __future__ import annotations

import tomllib
from pathlib import Path

from lab.model.surface import Entry
from lab.paths import images_dir
from lab.surface.derive import Derived
from lab.surface.listing import Surface

_HEAD = """# SPDX-License-Identifier: GPL-2.0-or-later
# Made by `hvlab surface --sites`: do not edit. Who issues each entry of interface.toml in this kernel
# (file:function), and the header line or TLFS section of its number. QEMU's part is in qemu.toml.
"""


def path() -> Path:
    return images_dir() / "surface" / "sites.toml"


def qemu() -> dict[str, dict[str, list[str]]]:
    """Kind to name to places in QEMU, from ``qemu.toml``."""
    tables = tomllib.loads((images_dir() / "surface" / "qemu.toml").read_text())
    tables.pop("qemu")
    return tables


def text(derived: Derived, surface: Surface, kernel: str) -> str:
    """The whole file for a kernel."""
    lines = [_HEAD + f'kernel = "{kernel}"']
    kind = ""
    for entry in surface:
        if entry.kind != kind:
            kind = entry.kind
            lines += ["", f"[{kind}]"]
        by = sorted({u.site for u in derived.uses if u.kind == kind and surface.find(u) is entry})
        places = ", ".join(f'"{site}"' for site in by)
        lines.append(f'{entry.name} = {{ source = "{_source(derived, entry)}", by = [{places}] }}')
    return "\n".join(lines) + "\n"


def _source(derived: Derived, entry: Entry) -> str:
    constant = derived.constants.get(entry.name)
    if constant is not None:
        return f"{constant.file}:{constant.line}"
    return "QEMU include/hw/hyperv" if entry.by == "qemu" else entry.by
