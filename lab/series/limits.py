# SPDX-License-Identifier: GPL-2.0-or-later
"""How much of a stranger's series the lab is willing to read."""

from __future__ import annotations

MAX_MAIL = 4 << 20
"""Bytes of one mail. The largest patch in the kernel's history that people review is below 1 MiB."""

MAX_TOTAL = 64 << 20
"""Bytes of a whole mailbox or folder, after decompression."""

MAX_MAILS = 2000
"""Mails in a mailbox, replies included."""

MAX_PATCHES = 300
MAX_FILES = 2000
"""Files that a series may touch."""

MAX_PATH = 512
"""Characters of one path."""
