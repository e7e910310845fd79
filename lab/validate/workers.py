# SPDX-License-Identifier: GPL-2.0-or-later
"""Ending the processes that run scenarios and proofs, so that they end their guests first."""

from __future__ import annotations

import subprocess

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
