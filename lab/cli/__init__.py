# SPDX-License-Identifier: GPL-2.0-or-later
"""The ``hvlab`` command: thin verbs over the rooms behind."""

from lab.cli.main import main

__all__ = ["main"]
