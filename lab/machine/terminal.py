# SPDX-License-Identifier: GPL-2.0-or-later
"""Hand this terminal to a guest's serial console; Ctrl-] gives it back."""

from __future__ import annotations

import os
import select
import socket
import sys
import termios
import tty
from pathlib import Path

from lab.model.errors import LabUnavailable

ESCAPE = b"\x1d"
_SHOWN = 4096


def attach_terminal(console: Path, log: Path) -> None:
    """Relay until Ctrl-] or until the guest is gone. The end of the record so far is shown first.

    Raises LabUnavailable when somebody else holds the console (QEMU serves one client at a time).
    """
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(2.0)
        try:
            peer.connect(str(console))
        except OSError as e:
            raise LabUnavailable(
                f"cannot attach: {e.strerror or e}", where=str(console), hint="is another console open?"
            ) from e
        peer.settimeout(None)
        os.write(sys.stdout.fileno(), log.read_bytes()[-_SHOWN:])
        keyboard = sys.stdin.fileno()
        before = termios.tcgetattr(keyboard)
        try:
            tty.setraw(keyboard)
            _relay(peer, keyboard)
        finally:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
            print()


def _relay(peer: socket.socket, keyboard: int) -> None:
    while True:
        ready, _, _ = select.select([peer.fileno(), keyboard], [], [])
        if peer.fileno() in ready:
            data = peer.recv(4096)
            if not data:
                return
            os.write(sys.stdout.fileno(), data)
        if keyboard in ready:
            typed = os.read(keyboard, 1024)
            if not typed or ESCAPE in typed:
                return
            peer.sendall(typed)
