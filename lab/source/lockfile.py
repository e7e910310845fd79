# SPDX-License-Identifier: GPL-2.0-or-later
"""The lock file: which kernel source exactly, as JSON that ``--base lock:FILE`` takes back."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path

from lab.model.errors import BadInput
from lab.model.kernel import SourceLock

_KINDS = ("debian", "tarball", "git")


def dumps(lock: SourceLock) -> str:
    """The text of a lock file."""
    return json.dumps(asdict(lock), indent=1) + "\n"


def load(path: Path) -> SourceLock:
    """Read a lock file; BadInput, naming the file, when it is not one."""
    try:
        return loads(path.read_text(), where=str(path))
    except FileNotFoundError as e:
        raise BadInput("no such lock file", where=str(path)) from e
    except (OSError, UnicodeDecodeError) as e:
        raise BadInput(f"not a lock file: {e}", where=str(path)) from e


def loads(text: str, where: str) -> SourceLock:
    """The lock in the text of a lock file; ``where`` names it in BadInput."""
    try:
        data = json.loads(text)
    except ValueError as e:
        raise BadInput(f"not a lock file: {e}", where=where) from e
    names = [f.name for f in fields(SourceLock)]
    if not isinstance(data, dict) or not set(data) <= set(names):
        extra = sorted(set(data) - set(names)) if isinstance(data, dict) else []
        raise BadInput(f"not a lock file (unknown keys {extra})", where=where)
    try:
        lock = SourceLock(**{k: str(v) for k, v in data.items()})
    except TypeError as e:
        raise BadInput(f"not a complete lock file: {e}", where=where) from e
    if lock.kind not in _KINDS:
        raise BadInput(f"unknown kind {lock.kind!r}, known are {', '.join(_KINDS)}", where=where)
    return lock
