# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that a reader finds whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, data: str | bytes) -> None:
    """Put ``data`` (text as UTF-8) in the place of whatever ``path`` is; folders above are made.

    Raises OSError, and nothing is left then. A process that is killed may leave ``.NAME.new.PID`` beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.new.{os.getpid()}")
    try:
        temp.write_bytes(data.encode() if isinstance(data, str) else data)
        temp.replace(path)
    finally:
        temp.unlink(missing_ok=True)
