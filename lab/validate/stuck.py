# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a root that still answers is stuck: stacks of its tasks and CPUs, and the gist in one line."""

from __future__ import annotations

import re

from lab.model.errors import GuestDied
from lab.validate.base import BaseLab

_TASK = re.compile(r"task (?P<tid>\d+) \((?P<name>.*)\) state (?P<state>\w)")
_FRAME = re.compile(r"\[<0>\] (?P<function>[^\s+]+)")
_RIP = re.compile(r"RIP: 0010:(?P<function>[^\s+]+)")
_FRAMES = 6
_VMMS = ("mshv-vmm", "kvm-vmm")


def explain(lab: BaseLab, error: GuestDied) -> None:
    """Add to a hang in the driver where the tasks are; nothing when that is known, or the guest is dead."""
    if error.kind != "driver-hang" or error.detail or not lab.alive():
        return
    text = lab.root.stacks()
    error.detail = text
    error.hint = ""
    if gist := summary(text):
        error.what += f"; {gist}"


def summary(text: str) -> str:
    """The stuck tasks (those of the VMM first) with their innermost frames, from ``Root.stacks()``.

    Without a task in uninterruptible sleep, what the CPUs run in the kernel; empty if that is not there.
    """
    stuck: list[tuple[str, list[str]]] = []
    frames: list[str] | None = None
    for line in text.splitlines():
        if task := _TASK.match(line):
            frames = []
            if task["state"] == "D":
                stuck.append((f"{task['name']} ({task['tid']})", frames))
        elif (frame := _FRAME.search(line)) and frames is not None:
            frames.append(frame["function"])
    stuck.sort(key=lambda found: not found[0].startswith(_VMMS))
    if stuck:
        return "; ".join(f"{name} is stuck in {' <- '.join(f[:_FRAMES]) or '?'}" for name, f in stuck[:2])
    running = [f"{m['function']}" for m in _RIP.finditer(text)]
    return f"CPUs are in {', '.join(dict.fromkeys(running))}" if running else ""
