# SPDX-License-Identifier: GPL-2.0-or-later
"""Accesses to a BAR from inside a Linux child, with the words of :class:`lab.child.vmm.Vmm`.

``child-io`` in the child maps the BAR's sysfs resource and does one machine access for each that is asked
for. There is one for each virtual processor that is used, bound to it. An intercept is no result
here: the child's QEMU takes it and emulates the access, which only the hypervisor's ledger shows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from lab.child.protocol import Access, AccessResult, VmmError, decode_reply, encode_access, split_batches
from lab.model.errors import LabError
from lab.root.root import Root
from lab.root.session import Session

HELPER = "/usr/lib/hvlab/child-io"
_BATCH = 500
_BUDGET = 30.0


class LinuxBar:
    """A BAR as the child's kernel sees it. ``gpa`` is its guest physical address, ``size`` its bytes.

    Use as a context manager, or call :meth:`close`. VmmError for an access that faulted or was refused,
    GuestDied when the child is gone.
    """

    def __init__(self, ssh: Root, bdf: str, index: int) -> None:
        self._ssh = ssh
        self._bdf = bdf
        self._index = index
        self._sessions: dict[int, Session] = {}
        self._tags = itertools.count(1)
        bar = ssh.pci_device(bdf).bar(index)
        self.gpa, self.size = bar.address, bar.size
        # sysfs maps a BAR only while the device decodes its memory.
        ssh.run(f"echo 1 >/sys/bus/pci/devices/{bdf}/enable")

    def __enter__(self) -> LinuxBar:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def pages(self) -> int:
        """Size in pages of 4 KiB."""
        return self.size >> 12

    def close(self) -> None:
        """End the helpers in the child."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    def read(self, vp: int, gpa: int, width: int = 4) -> int:
        """Value that VP ``vp`` reads."""
        return self._value(Access(gpa, width, "read", vp=vp))

    def write(self, vp: int, gpa: int, width: int, value: int) -> None:
        """Let VP ``vp`` write."""
        self._value(Access(gpa, width, "write", value, vp=vp))

    def access(self, accesses: Sequence[Access]) -> list[AccessResult]:
        """Accesses in order; one that faults is a result that is not ``ok``."""
        results: list[AccessResult] = []
        for batch in split_batches(accesses, _BATCH):
            words = self._ask(batch)
            if len(words) != len(batch):
                raise LabError(f"{len(words)} results for {len(batch)} accesses", where=HELPER)
            results += [_result(word, access) for word, access in zip(words, batch, strict=True)]
        return results

    def _ask(self, batch: Sequence[Access]) -> list[str]:
        session = self._session(batch[0].vp)
        tag = str(next(self._tags))
        moved = [Access(a.gpa - self.gpa, a.width, a.kind, a.value, a.vp) for a in batch]
        session.send_line(" ".join([tag, *map(encode_access, moved)]), _BUDGET)
        line = session.receive_line(_BUDGET)
        try:
            return decode_reply(line, tag)
        except ValueError as e:
            raise LabError(str(e), where=HELPER) from e

    def _session(self, vp: int) -> Session:
        if vp not in self._sessions:
            command = f"taskset -c {vp} {HELPER} bar {self._bdf} {self._index}"
            session = self._ssh.open_session(command)
            ready = session.receive_line(_BUDGET)
            if ready != f"ready {self.size:x}":
                raise LabError(f"the helper says {ready!r}", where=command)
            self._sessions[vp] = session
        return self._sessions[vp]

    def _value(self, access: Access) -> int:
        (result,) = self.access([access])
        if not result.ok:
            raise VmmError("access", "EFAULT", f"{access.kind} of {access.width} bytes at {access.gpa:#x}")
        return result.value or 0


def _result(word: str, access: Access) -> AccessResult:
    if word.startswith("!"):
        return AccessResult(access, ok=False)
    return AccessResult(access, ok=True, value=int(word, 16) if access.kind == "read" else None)
