# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals that end a process unwind it like Ctrl-C, so that guests end and files go before it does."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def unwind_on_signals() -> None:
    """Raise KeyboardInterrupt with the signal's name from now on; what is ignored (nohup) stays ignored.

    Without effect outside of the main thread, where Python can set no handler.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupted)


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise KeyboardInterrupt(signal.Signals(number).name)
