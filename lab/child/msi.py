# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages that interrupt a child, as the routes of its events hold them: an address and data.

Address and data are those of a local APIC in xAPIC mode (Linux arch/x86/include/asm/msi.h).
"""

from __future__ import annotations

MSI = 0xFEE00000
"""The address for the VP with APIC id 0; others have theirs at bit 12."""
LEVEL = 1 << 15
"""In the data: triggered by level."""
LOWEST_PRIORITY = 1 << 8
"""In the data: to that one of several VPs."""
APIC_LDR = 0xFEE000D0
"""The register that holds a VP's logical id, in the top byte."""
MEMBER = 1
"""A logical id of one bit."""
LOGICAL_MSI = MSI | MEMBER << 12 | 1 << 2
"""The address for all VPs whose logical id has the bit ``MEMBER``."""
