# SPDX-License-Identifier: GPL-2.0-or-later
"""Records of /dev/kmsg.

Format: Linux ``Documentation/ABI/testing/dev-kmsg``: ``priority,sequence,microseconds,flags;text``,
continuation lines start with a blank and carry device properties, unprintable bytes are ``\\xNN``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_RECORD = re.compile(r"(\d+),(\d+),(\d+),[^;]*;(.*)")
_END = re.compile(r"next (\d+) (\d+)")
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class KmsgSlice:
    """Log lines in dmesg's form, and the sequence number after them."""

    lines: tuple[str, ...]
    next: int
    lost: int


def is_kmsg_end(line: str) -> bool:
    """Whether this is the last line of ``mshv-vmm --kmsg``; a record cannot look like it."""
    return _END.fullmatch(line) is not None


def parse_kmsg(text: str) -> KmsgSlice:
    """Output of ``mshv-vmm --kmsg``. ValueError when its last line is missing (output cut short)."""
    raw = text.splitlines()
    end = _END.fullmatch(raw[-1]) if raw else None
    if end is None:
        raise ValueError("the kernel log's end is missing")
    lines = []
    if lost := int(end[2]):
        lines.append(f"[    0.000000] hvlab: {lost} kernel log records lost")
    for line in raw[:-1]:
        if record := _RECORD.fullmatch(line):
            stamp = f"[{int(record[3]) / 1e6:12.6f}] "
            lines.extend(stamp + part for part in _unescape(record[4]).split("\n"))
    return KmsgSlice(tuple(lines), int(end[1]), lost)


def _unescape(text: str) -> str:
    """Bytes back from ``\\xNN``: runs of them may be one character in UTF-8."""
    if "\\x" not in text:
        return text
    data = _ESCAPE.sub(lambda m: chr(int(m[1], 16)), text.encode().decode("latin-1"))
    return data.encode("latin-1").decode(errors="replace")
