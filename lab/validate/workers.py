# SPDX-License-Identifier: GPL-2.0-or-later
"""Ending the processes that run scenarios and proofs, so that they end their guests first."""

from __future__ import annotations

import signal
import subprocess
import threading
from types import FrameType
from typing import NoReturn

GRACE = 10.0
"""Seconds for a worker to end its guests after SIGTERM; killing QEMU takes far less than one."""


def end(process: subprocess.Popen[bytes]) -> None:
    """End a worker if it still runs: asked first, then made. What was made to may leave a stale lab."""
    for ask, budget in ((process.terminate, GRACE), (process.kill, 5.0)):
        if process.poll() is not None:
            return
        ask()
        try:
            process.wait(budget)
        except subprocess.TimeoutExpired:
            continue


def unwind_on_sigterm() -> None:
    """In a worker: SIGTERM unwinds like Ctrl-C, so that nothing is left behind."""

    def interrupted(signum: int, frame: FrameType | None) -> NoReturn:
        del signum, frame
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupted)
