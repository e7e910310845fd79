# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine may have."""

from __future__ import annotations

MAX_CPUS = 8
"""MAX_LPS of the stand-in."""
MIN_MEMORY = 512 << 20
"""The stand-in is linked at 256 MiB; Linux needs room above it."""
MAX_MEMORY = 64 << 30
PAGE_SIZE = 4096
MAX_BAR = 16 << 30
FIRST_SLOT, LAST_SLOT = 3, 30
"""PCI device numbers for template devices; 0 is q35's host bridge, 2 our network card, 31 the LPC bridge."""
MAX_CHILD_CPUS = 8
MIN_CHILD_MEMORY = 96 << 20
ROOT_NEEDS = 384 << 20
"""What is left of the machine's memory for the root when its child has touched all of its own."""
LAST_BAR = 5
LAST_PORT = 65535
