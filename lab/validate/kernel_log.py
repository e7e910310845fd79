# SPDX-License-Identifier: GPL-2.0-or-later
"""The root's kernel log on a running lab: serial console and /dev/kmsg read into one, never cleared."""

from __future__ import annotations

from collections.abc import Callable

from lab.judge.kernel_log import MergedLog
from lab.root.root import Root


class KernelLog:
    """Merged kernel log with positions. Reading the serial part works on a dead guest too.

    ``serial`` gives what the serial console said from a byte on; a machine may have none for us.
    """

    def __init__(self, root: Root, serial: Callable[[int], bytes] | None = None) -> None:
        self._serial = serial
        self._root = root
        self._merged = MergedLog()
        self._console = 0
        self._rest = b""
        self._kmsg = 0

    def position(self) -> int:
        """Where the log stands now. Raises GuestDied when the root does not answer any more."""
        self._pull_serial()
        self._pull_kmsg()
        return self._merged.position()

    def mark(self) -> int:
        """The end of what was read so far; reads nothing new."""
        return self._merged.position()

    def since(self, position: int) -> list[str]:
        """Lines after a position, each message once. Raises GuestDied like :meth:`position`."""
        self._pull_serial()
        self._pull_kmsg()
        return self._merged.since(position)

    def unread(self, position: int) -> list[str]:
        """Lines after a position as far as the serial console shows them: nobody is asked for them, so it
        costs nothing and works on a dead guest. What dmesg has shown before is left out."""
        self._pull_serial()
        return self._merged.since(position)

    def serial_since(self, position: int) -> list[str]:
        """Lines of the serial console alone after a position: all that a dead guest leaves."""
        self._pull_serial()
        return self._merged.serial_since(position)

    def _pull_serial(self) -> None:
        if self._serial is None:
            return
        new = self._serial(self._console)
        self._console += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        self._merged.add_serial(line.decode("utf-8", "replace").rstrip("\r") for line in whole)

    def _pull_kmsg(self) -> None:
        part = self._root.kmsg(self._kmsg)
        self._kmsg = part.next
        self._merged.add_dmesg(part.lines)
