# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux child: the QEMU in the root that runs it, its console, and SSH into it through the root.

child = LinuxChild(root, key_path, host_key=...)
child.start(argv, address=..., disk_bytes=...)
child.connect()
child.ssh.run("uname -r")
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from lab.machine.child_argv import CHILD_ADDRESS, RUN, START
from lab.model.errors import GuestDied
from lab.root.root import Root
from lab.root.session import Session, SessionEnded
from lab.root.transport import Watch

READY = "HVLAB-CHILD-READY"
BOOT_BUDGET = 180.0
BOOT_SILENCE = 90.0
"""Seconds without a line on the child's console after which its boot is a hang; its kernel is quiet."""
SSH_BUDGET = 30.0
SSH_PORT = 22
_QUICK = 20.0
_TAIL = 25

# Lines of the console as they come, until QEMU has ended; builtins only, but for one sleep per look.
_FOLLOW = rf"""
exec 3<{RUN}/console.log || exit
part=
while :; do
	if [ -e {RUN}/status ]; then end=1; else end=; fi
	while IFS= read -r line <&3; do
		echo "$part$line"
		case "$part$line" in *{READY}*) exit 0;; esac
		part=
	done
	part="$part$line"
	[ -z "$end" ] || exit 0
	sleep 0.2
done
"""
# Without output: dropbear drops the connection when a channel that has some left is closed.
_ALIVE = f"sh -c 'cat {RUN}/alive >/dev/null 2>&1'"


class ChildWatch:
    """Ends waits on a Linux child: when the machine is dead, and when the child's QEMU is."""

    def __init__(self, child: LinuxChild, below: Watch) -> None:
        self._child = child
        self._below = below

    def check(self, phase: str) -> None:
        """Raise GuestDied (kind ``child-exit`` for the child's QEMU), naming ``phase``."""
        self._below.check(phase)
        if self._child.ended():
            raise self._child.died(phase)

    def lost_task(self, pid: int) -> str:
        """Nobody reads the child's console for it."""
        return ""


class LinuxChild:
    """The Linux child of a root. ``ssh`` is a :class:`Root` that reaches into the child.

    GuestDied (kind ``child-exit``) from any wait as soon as its QEMU has ended, with QEMU's words and the
    end of the child's console.
    """

    def __init__(self, root: Root, key_path: Path, *, host_key: str = "") -> None:
        self._root = root
        self._alive: Session | None = None
        self.pid = 0
        """Process id of QEMU in the root."""
        watch = ChildWatch(self, root.watch)
        self.ssh = Root(CHILD_ADDRESS, SSH_PORT, key_path, watch, host_key=host_key, through=root)

    def start(self, argv: Sequence[str], *, address: str, disk_bytes: int) -> None:
        """Start QEMU; returns when it runs. ``address`` is the root's own in the child's network."""
        command = f"{START} {address} {disk_bytes} -- {shlex.join(argv)}"
        self.pid = int(self._root.run(command, timeout=60.0).out)
        self._watch_end()

    def attach(self) -> None:
        """Join the child that runs. GuestDied when its QEMU has ended, or was never started."""
        self.pid = int(self._root.run(f"cat {RUN}/pid").out)
        self._watch_end()

    def wait_ready(self, budget: float = BOOT_BUDGET, factor: float = 1.0) -> None:
        """Wait for the child's init to say that it is ready.

        GuestDied: ``child-exit``, or ``boot-hang`` when the console is silent for too long or the budget
        is used up.
        """
        phase = "booting the Linux child"
        deadline = time.monotonic() + budget * factor
        follower = self._root.open_session(f"sh -c {shlex.quote(_FOLLOW)}")
        seen: list[str] = []
        try:
            while not (seen and READY in seen[-1]):
                left = min(BOOT_SILENCE * factor, deadline - time.monotonic())
                if left <= 0:
                    raise self._hung(phase, f"not ready within {budget * factor:.0f} s")
                try:
                    # The session stretches what it is given.
                    seen.append(follower.receive_line(left / self._root.factor))
                except SessionEnded:
                    raise self.died(phase) from None
                except GuestDied as e:
                    if e.kind != "driver-hang":
                        raise
                    raise self._hung(phase, f"nothing on its console for {left:.0f} s") from None
        finally:
            follower.close(0.0)

    def connect(self, budget: float = SSH_BUDGET) -> None:
        """Log in. GuestDied when that does not succeed within ``budget`` seconds."""
        self.ssh.connect(budget * self._root.factor)

    def close(self) -> None:
        """Close the connections; the child goes on."""
        self.ssh.close()
        if self._alive is not None:
            self._alive.close(0.0)
            self._alive = None

    def ended(self) -> bool:
        """Whether QEMU has ended. Costs nothing: the root tells it by itself."""
        return self._alive is not None and self._alive.ended()

    def kill(self) -> None:
        """SIGKILL to QEMU, and wait until it is gone (its memory with it).

        The only good end: QEMU 11 sometimes hangs when its guest powers off.
        """
        self.close()
        if not self.pid:
            return  # never started: 0 would mean the whole process group of our shell there
        self._root.run(f"kill -9 {self.pid}; cat {RUN}/alive 2>/dev/null; cat {RUN}/status", timeout=60.0)

    def console(self) -> str:
        """What the child's serial console said so far."""
        return self._root.get(f"{RUN}/console.log").decode(errors="replace")

    def qemu_log(self) -> str:
        """What QEMU said."""
        return self._root.get(f"{RUN}/qemu.log").decode(errors="replace")

    def died(self, phase: str) -> GuestDied:
        """The end of QEMU as an error with its words."""
        return self._error("child-exit", "QEMU of the Linux child has ended with status ", phase)

    def _hung(self, phase: str, what: str) -> GuestDied:
        return self._error("boot-hang", f"the Linux child hangs: {what}", phase)

    def _error(self, kind: str, what: str, phase: str) -> GuestDied:
        tails = (
            f"tail -n {_TAIL} {RUN}/qemu.log; echo 'console of the child:'; tail -n {_TAIL} {RUN}/console.log"
        )
        status = "unknown"
        try:
            status = self._root.run(f"cat {RUN}/status", check=False).out.strip() or status
            said = self._root.run(tails, check=False).out.replace("\r", "")
        except GuestDied as e:
            said = f"not to be had: {e.what}"
        what += status if kind == "child-exit" else ""
        return GuestDied(what, kind=kind, phase=phase, detail=f"QEMU:\n{said}")

    def _watch_end(self) -> None:
        self._alive = self._root.open_session(_ALIVE)
