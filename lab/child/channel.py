# SPDX-License-Identifier: GPL-2.0-or-later
"""The process ``mshv-vmm`` in the root, and the requests to it over one SSH channel."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Sequence

from lab.child.protocol import VmmError, decode_fields, decode_reply
from lab.model.errors import LabError, NotObservable
from lab.root.root import Root
from lab.root.session import Session

PROTOCOL_VERSION = 1
BUDGET = 5.0
"""Seconds for one request, unless it says otherwise."""
IN_FLIGHT = 4
_REFERENCE = "kvm-vmm"
_MARGIN = 10.0


class VmmChannel:
    """One ``mshv-vmm``: started or joined, asked, ended."""

    def __init__(self, root: Root, *, socket: str = "") -> None:
        self._root = root
        self._socket = socket
        self._session: Session | None = None
        self._tags = itertools.count(1)
        self._budget = BUDGET
        self._pid = 0

    def start(self) -> None:
        """Start the VMM, or join the one at ``socket``."""
        vmm = command = self._root.vmm
        if self._socket:
            path = shlex.quote(self._socket)
            self._root.run(f"[ -S {path} ] || {vmm} --detach {path}")
            command = f"{vmm} --connect {path}"
        self._session = self._root.open_session(command)
        hello = self.hello()
        if hello["version"] != PROTOCOL_VERSION:
            raise LabError(
                f"the VMM speaks protocol {hello['version']}, the lab {PROTOCOL_VERSION}",
                where=vmm,
                hint="the root file system is of another version of the lab: boot anew",
            )
        self._pid = self._session.task = hello["pid"]
        if self._root.factor > 1.0:
            self.set_budget(self._budget)

    @property
    def pid(self) -> int:
        """Process id in the root; 0 before ``start()``."""
        return self._pid

    def hello(self) -> dict[str, int]:
        """``version``, ``pid``, ``ring``, ``vps`` and ``ram_pages`` (0 without a partition)."""
        return decode_fields(self._request("hello"))

    def quit(self) -> None:
        """End the VMM in good order; the kernel removes what it still held."""
        self._request("quit")
        self.close()

    def close(self) -> None:
        """Close the channel; without ``socket`` the VMM ends with it."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def kill(self) -> None:
        """SIGKILL, as a crash would: nothing is undone by the VMM itself."""
        self._root.run(f"kill -9 {self._pid}")
        self.close()

    def set_budget(self, seconds: float) -> None:
        """How long one access or parallel request may run before VmmError ETIMEDOUT (default 5 s); as every
        wait for the VMM, stretched by the root's factor."""
        self._request("budget", self._milliseconds(max(seconds, 0.001)))
        self._budget = seconds

    # ---- wire

    def _milliseconds(self, seconds: float) -> str:
        """A budget for the VMM: the root's factor is in it, which the session adds by itself."""
        return str(round(seconds * self._root.factor * 1000))

    def _request(self, *words: str, jobs: int = 1, extra: float = 0.0) -> list[str]:
        return next(self._pipeline([list(words)], jobs * self._budget + extra))

    def _pipeline(self, lines: Sequence[list[str]], each: float | None = None) -> Iterator[list[str]]:
        """Replies to ``lines`` in order, with at most IN_FLIGHT of them unanswered."""
        if self._session is None:
            raise LabError("the VMM is not running", where="mshv-vmm", hint="call start() first")
        budget = (each or self._budget) + _MARGIN
        tags: list[str] = []
        failed: VmmError | None = None
        unable: NotObservable | None = None
        for done in range(len(lines)):
            while failed is None and len(tags) < min(len(lines), done + IN_FLIGHT):
                tag = str(next(self._tags))
                self._session.send_line(" ".join([tag, *lines[len(tags)]]), budget)
                tags.append(tag)
            if done == len(tags):
                break
            line = self._session.receive_line(budget)
            try:
                words = decode_reply(line, tags[done])
            except VmmError as e:
                # Replies under way are read first, so that the next request finds its own.
                if e.errno_name == "EOPNOTSUPP" and self._root.vmm.endswith(_REFERENCE):
                    # Not the kernel's refusal but the program's own: KVM has no counterpart.
                    unable = unable or NotObservable(f"{e.op} with {_REFERENCE}: {e.text}")
                failed = failed or e
                continue
            except ValueError as e:
                raise LabError(str(e), where="mshv-vmm", hint="the VMM lost step: start it anew") from e
            if failed is None:
                yield words
        if unable is not None:
            raise unable
        if failed is not None:
            raise failed
