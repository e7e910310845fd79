# SPDX-License-Identifier: GPL-2.0-or-later
"""CPU seconds of this process and of its ended children."""

from __future__ import annotations

import resource


def cpu_seconds() -> float:
    """User and system time; children count once they were waited for."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    kids = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + kids.ru_utime + kids.ru_stime
