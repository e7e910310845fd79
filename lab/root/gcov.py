# SPDX-License-Identifier: GPL-2.0-or-later
"""Counters of a profiled kernel, read in the root (Documentation/dev-tools/gcov.rst)."""

from __future__ import annotations

import re

from lab.root.root import Root

_BUDGET = 30.0
_MAX = 4 << 20
"""Bytes taken of one object's counters; those of a big driver file are some tens of kilobytes."""
# Files of debugfs have no size, so an archive of them would be empty. One process for all of them: under
# emulation one for each file costs half a second a time.
_SCRIPT = f"cd /sys/kernel/debug/gcov && find . -name '*.gcda' | xargs -r head -v -c {_MAX}"
_HEADER = re.compile(rb"(?:\A|\n)==> \.([!-~]+)\.gcda <==\n")


def read_counters(root: Root) -> dict[str, bytes]:
    """{path of the object as the build named it, without ending: its .gcda} now; counting goes on.

    Raises GuestDied, CommandFailed where the kernel profiles nothing at all.
    """
    parts = _HEADER.split(root.output(_SCRIPT, _BUDGET))
    return {name.decode(): data for name, data in zip(parts[1::2], parts[2::2], strict=True)}
