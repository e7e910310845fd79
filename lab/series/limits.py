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

MAX_HEADER = 4096
"""Bytes of a Subject or From header, decoded or not. RFC 5322 has lines of at most 998; a list of
authors takes several. Reading them must stay cheap, whatever a stranger writes there."""

MAX_LINE = 4096
"""Characters of a line between hunks: git itself takes no longer path than that."""

MAX_INBOX_MAILS = 20_000
"""Mails of an inbox that are looked at, newest first; what is older was judged before."""

MAX_INBOX = 256 << 20
"""Bytes of the mails of an inbox that are kept for a closer look."""

MAX_STREAM = 2 << 30
"""Bytes of an mbox that are read, after decompression."""
