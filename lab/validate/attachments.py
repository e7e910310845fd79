# SPDX-License-Identifier: GPL-2.0-or-later
"""Evidence files of a run, as texts for the self-contained report."""

from __future__ import annotations

from pathlib import Path

LIMIT = 24_000
"""Characters kept of one file: the end of a log is what matters, the whole file lies beside."""
TOTAL = 4_000_000


def collect(out: Path) -> dict[str, str]:
    """Map ``side/evidence/scenario/name`` to text, cut to the last LIMIT characters each."""
    texts: dict[str, str] = {}
    total = 0
    for path in sorted((*out.glob("*/evidence/*/*.txt"), *out.glob("*/evidence/*/*.svg"))):
        text = path.read_text(errors="replace")
        if path.suffix == ".svg" and len(text) > LIMIT:
            continue  # half a picture is none
        if len(text) > LIMIT:
            text = f"[{len(text) - LIMIT} characters cut, see {path.name}]\n" + text[-LIMIT:]
        total += len(text)
        if total > TOTAL:
            break
        texts[str(path.relative_to(out))] = text
    return texts
