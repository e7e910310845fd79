# SPDX-License-Identifier: GPL-2.0-or-later
"""Patch series: read from wherever they are kept, check them, apply them to a source."""

from lab.series.applying import apply, changed_lines
from lab.series.mails import range_base
from lab.series.reader import load

__all__ = ["apply", "changed_lines", "load", "range_base"]
