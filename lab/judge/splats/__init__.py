# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel complaints (splats) in a log: lines in, ``Splat`` objects out.

    >>> from lab.judge.splats import parse
    >>> [s.title for s in parse(["[    1.0] BUG: scheduling while atomic: vmm/55/0x00000002"])]
    ['scheduling while atomic']

``parse`` streams: it takes any iterable of lines (serial console, dmesg, /dev/kmsg), ``parse_bytes`` any
pieces of a log, and they yield a splat as soon as its report is complete, in the order of their banners.
Time is linear in the input and memory is bounded, whatever the input is. Nothing is raised for hostile
text, nothing is read or written: the rest of the lab is not needed.
"""

from __future__ import annotations

from lab.judge.splats.parser import SplatParser, first, parse, parse_bytes
from lab.judge.splats.prefix import LogLine, split

__all__ = ["LogLine", "SplatParser", "first", "parse", "parse_bytes", "split"]
