# SPDX-License-Identifier: GPL-2.0-or-later
"""The golden logs of the splat parser: every file says what must be found in the log below its header.

A file begins with notes (``#``), then one block per splat (``class``, ``title``, ``also`` for each title of
other tools, ``frames``, ``task``, ``cpu``, ``line``, ``corrupted``, ``id``, and ``after`` of all but the
first; none where the log is harmless), then a line ``--- log ---`` and the raw log. After a change that is
right, rewrite the headers and read the diff::

    python tests/unit/judge/test_splat_golden.py --update
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lab.judge.splats import parse, split
from lab.model.splat import Splat

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "splats"
SEPARATOR = "--- log ---"
FILES = sorted(GOLDEN.glob("*.log"))


def read(path: Path) -> tuple[list[str], list[str], list[str]]:
    """Notes, header lines and log lines of a golden file."""
    head, _, log = path.read_bytes().decode("utf-8", "replace").partition(f"{SEPARATOR}\n")
    lines = head.splitlines()
    notes = [line for line in lines if line.startswith("#")]
    return notes, [line for line in lines if line and not line.startswith("#")], log.split("\n")


def header(splats: list[Splat]) -> list[str]:
    """Header lines of what was found; the class comes first of each splat."""
    lines = []
    for s in splats:
        lines += [
            f"class: {s.cls.value}",
            f"title: {s.title}",
            *(f"also: {title}" for title in s.also),
            f"frames: {' '.join(s.frames)}".rstrip(),
            f"task: {s.task}".rstrip(),
            f"cpu: {'' if s.cpu is None else s.cpu}".rstrip(),
            f"line: {s.line}",
            f"corrupted: {s.damage or 'no'}",
            f"id: {s.id}",
            *([f"after: {s.after}"] if s.after else []),
        ]
    return lines


def update() -> None:
    for path in FILES:
        notes, _, log = read(path)
        blocks: list[str] = []
        for line in header(list(parse(log))):
            blocks += ["", line] if line.startswith("class: ") and blocks else [line]
        text = "\n".join([*notes, *blocks, SEPARATOR, *log])
        path.write_bytes(text.encode())


def test_the_corpus_is_there() -> None:
    assert len(FILES) >= 100


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_log(path: Path) -> None:
    _, expected, log = read(path)
    assert header(list(parse(log))) == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_ids_do_not_depend_on_time_stamps_or_line_ends(path: Path) -> None:
    """The same log as /dev/kmsg and with CRLF gives the same splats."""
    _, _, log = read(path)
    lines = [line for number, raw in enumerate(log) for line in split(number, raw)]
    if any(line.time is None for line in lines if line.text):
        pytest.skip("a log with lines of user space or without time")
    kmsg = []
    for i, line in enumerate(lines):
        caller = f",caller={line.caller}" if line.caller else ""
        kmsg.append(f"4,{i},{int((line.time or 0) * 1e6)},-{caller};{line.text}\r")
    assert [s.id for s in parse(kmsg)] == [s.id for s in parse(log)]


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(f"usage: {sys.argv[0]} --update")
    update()
