# SPDX-License-Identifier: GPL-2.0-or-later
"""One variant of one series, judged."""

from __future__ import annotations

from lab.nightly.convert import from_result

__all__ = ["from_result"]
