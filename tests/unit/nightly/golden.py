# SPDX-License-Identifier: GPL-2.0-or-later
"""Golden files of the nightly's voices: what each makes of the sample. After a change that is right,
rewrite them and read the diff::

    python tests/unit/nightly/golden.py --update
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import sample

from lab.report import b4_ci, junit, kcidb, ktap

FOLDER = Path(__file__).resolve().parents[2] / "golden" / "nightly"
VOICES: dict[str, Callable[[], str]] = {
    "mmio-on-demand-v2.b4.json": lambda: b4_ci.dumps(
        b4_ci.answer(sample.REPORT, sample.MMIO_2.message_id, "https://lab.example.org/night/")
    ),
    "mmio-on-demand-v2-patch-3.b4.json": lambda: b4_ci.dumps(
        b4_ci.answer(sample.REPORT, sample.MMIO_2.patches[2].message_id)
    ),
    "night.junit.xml": lambda: junit.night(sample.REPORT),
    "night.kcidb.json": lambda: kcidb.dumps(sample.REPORT),
    "night.ktap": lambda: ktap.night(sample.REPORT),
}


def update() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, voice in VOICES.items():
        (FOLDER / name).write_text(voice())


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(f"usage: {sys.argv[0]} --update")
    update()
