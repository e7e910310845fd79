# SPDX-License-Identifier: GPL-2.0-or-later
"""A command in the root whose input and output are lines."""

from __future__ import annotations

import time
from collections import deque

import paramiko

from lab.model.errors import GuestDied
from lab.root.transport import POLL, TRANSPORT_ERRORS, Transport

_CHUNK = 1 << 16
_MAX_LINE = 8 << 20


class SessionEnded(GuestDied):
    """The command ended, so there is no further line. ``detail`` is what it wrote to stderr."""

    def __init__(self, what: str, *, phase: str, detail: str = "") -> None:
        super().__init__(what, kind="session-ended", phase=phase, detail=detail)


class Session:
    """Lines to and from a running command; made by ``Root.open_session``. ``factor`` stretches every budget,
    for a root whose kernel is slow."""

    def __init__(
        self, transport: Transport, channel: paramiko.Channel, command: str, factor: float = 1.0
    ) -> None:
        self._factor = factor
        self._transport = transport
        self._channel = channel
        self._phase = f"running {command.split()[0] if command.split() else 'nothing'} in the root"
        self._lines: deque[str] = deque()
        self._rest = b""
        self._errors = b""
        self.task = 0
        """Process id of whoever answers, once it has told: waiting ends when the kernel has lost it."""
        channel.settimeout(POLL)

    def send_line(self, line: str, budget: float = 20.0) -> None:
        """Send one line. GuestDied when it is not taken within ``budget`` seconds."""
        self.send(line.encode() + b"\n", budget)

    def send(self, data: bytes, budget: float = 20.0) -> None:
        """Send bytes. GuestDied when they are not taken within ``budget`` seconds."""
        budget *= self._factor
        deadline = time.monotonic() + budget
        view = memoryview(data)
        while view:
            try:
                sent = self._channel.send(view[:_CHUNK].tobytes())
            except TimeoutError:
                self._look(deadline, budget)
                continue
            except TRANSPORT_ERRORS as e:
                raise self._broken(e) from e
            if sent == 0:
                raise self._broken(None)
            view = view[sent:]

    def receive_line(self, budget: float = 20.0) -> str:
        """The next line without its end. SessionEnded when the command has ended."""
        budget *= self._factor
        deadline = time.monotonic() + budget
        while not self._lines:
            try:
                data = self._channel.recv(_CHUNK)
            except TimeoutError:
                self._look(deadline, budget)
                continue
            except TRANSPORT_ERRORS as e:
                raise self._broken(e) from e
            if not data:
                raise self._broken(None)
            self._take(data)
        return self._lines.popleft()

    def ended(self) -> bool:
        """Whether the command has ended, as far as the root has told us. Does not wait."""
        return bool(self._channel.closed or self._channel.exit_status_ready())

    def close(self, patience: float = 2.0) -> None:
        """End the command's input and give it ``patience`` seconds to end; then leave it alone."""
        try:
            self._channel.shutdown_write()
        except TRANSPORT_ERRORS:
            return
        self._transport.release(self._channel, patience)

    def _take(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MAX_LINE:
            raise GuestDied("a line without an end", kind="ssh", phase=self._phase)
        self._lines.extend(line.decode(errors="replace") for line in whole)

    def _look(self, deadline: float, budget: float) -> None:
        self._transport.watch.check(self._phase)
        if self.task and (lost := self._transport.watch.lost_task(self.task)):
            raise self._transport.hang(
                self._phase, budget, f"task {self.task} does not answer any more: {lost}"
            )
        if time.monotonic() > deadline:
            raise self._transport.hang(self._phase, budget)

    def _broken(self, error: BaseException | None) -> GuestDied:
        ended = self._channel.eof_received or self._channel.exit_status_ready()
        if not ended or error is not None:
            return self._transport.broken(self._phase, error)
        self._transport.watch.check(self._phase)
        while self._channel.recv_stderr_ready():
            self._errors += self._channel.recv_stderr(_CHUNK)
        return SessionEnded(
            "the command has ended", phase=self._phase, detail=self._errors.decode(errors="replace")
        )
