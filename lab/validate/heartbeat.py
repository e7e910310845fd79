# SPDX-License-Identifier: GPL-2.0-or-later
"""Heartbeats in a Linux child: timers of each processor, disk and network, and their longest pauses.

A wake-up that gets lost between device, VMM, hypervisor and child shows as a beat that stops.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.child.bar import HELPER
from lab.child.linux import LinuxChild
from lab.machine.child_argv import ROOT_ADDRESS
from lab.model.errors import LabError

_SETTLE = 60.0
"""Seconds beyond the asked ones in which the helper must end; it waits 10 s for a beat."""
_RESULT = re.compile(
    r"(?P<name>\w+) rounds=(?P<rounds>\d+) worst=(?P<worst>\d+) at=(?P<at>\d+)"
    r" lost=(?P<lost>\d+) late=(?P<late>\d+)"
)
_STALL = re.compile(r"stall (\w+) since \d+ ms")


@dataclass(frozen=True, slots=True)
class Beat:
    """One heartbeat. ``worst`` is its longest pause in ms, which began ``at`` ms after the start.

    Of the network: packets that never came back (``lost``), and that came only after others (``late``).
    """

    name: str
    rounds: int
    worst: int
    at: int
    stalled: bool
    lost: int = 0
    late: int = 0

    def __str__(self) -> str:
        end = ", STALLED" if self.stalled else ""
        end += f", {self.lost} packets lost, {self.late} late" if self.lost or self.late else ""
        return f"{self.name}: {self.rounds} rounds, longest pause {self.worst} ms at {self.at} ms{end}"


def run_beats(child: LinuxChild, seconds: int) -> list[Beat]:
    """Let them run for so long. GuestDied when the child does not answer any more."""
    command = f"{HELPER} beat {ROOT_ADDRESS} {seconds}"
    done = child.ssh.run(command, timeout=seconds + _SETTLE, check=False)
    stalled = set(_STALL.findall(done.out))
    beats = [
        Beat(
            m["name"],
            int(m["rounds"]),
            int(m["worst"]),
            int(m["at"]),
            m["name"] in stalled or int(m["late"]) > 0,
            int(m["lost"]),
            int(m["late"]),
        )
        for m in _RESULT.finditer(done.out)
    ]
    if not beats or (done.rc and not any(b.stalled for b in beats)):
        raise LabError(f"exit {done.rc}: {(done.out + done.err)[-1000:]}", where=command)
    return beats
