# SPDX-License-Identifier: GPL-2.0-or-later
"""One shell in the root that runs one command after the other.

A channel of its own costs a command more than most commands take: the server forks and starts a login shell
for it. On a kernel that checks itself, under emulation, that is half a second.
"""

from __future__ import annotations

import re
import secrets
import shlex
import time

import paramiko

from lab.root.transport import POLL, TRANSPORT_ERRORS, Transport

_CHUNK = 1 << 16
_STEP = 0.002
_BACKGROUND = re.compile(r"&(?![&>])")
_OTHER_USE = re.compile(r"&&|[<>]&|&>")


def stays_behind(command: str) -> bool:
    """Whether a command may leave something running: what that prints would be taken for the next one's."""
    return bool(_BACKGROUND.search(_OTHER_USE.sub("", command)))


class Shell:
    """A shell on a channel of its own, for one command at a time."""

    def __init__(self, transport: Transport, budget: float) -> None:
        """Start it. Raises GuestDied."""
        self._transport = transport
        self._channel: paramiko.Channel = transport.open_channel(
            "exec sh", budget, "starting a shell in the root"
        )
        self._channel.settimeout(POLL)

    def ended(self) -> bool:
        """Whether it is gone, as far as the root has told us. Does not wait."""
        return bool(self._channel.closed or self._channel.eof_received or self._channel.exit_status_ready())

    def run(self, command: str, timeout: float, phase: str) -> tuple[int, bytes, bytes]:
        """Exit status (128 + n when signal n ended it), stdout and stderr of a command without input.

        GuestDied (kind ``driver-hang``) when it has not ended after ``timeout`` seconds. After any error the
        shell is of no use any more; :meth:`leave` it then.
        """
        mark = secrets.token_hex(8)
        # In a shell below this one: it may change its folder, set variables and exit.
        script = f"(eval {shlex.quote(command)}) </dev/null; printf '\\n{mark} %d\\n' $?; echo {mark} >&2\n"
        deadline = time.monotonic() + timeout
        try:
            self._send(script.encode(), deadline, timeout, phase)
            return self._receive(mark.encode(), deadline, timeout, phase)
        except TRANSPORT_ERRORS as e:
            raise self._transport.broken(phase, e) from e

    def leave(self, patience: float = 0.0) -> None:
        """Be done with it."""
        try:
            self._channel.shutdown_write()
        except TRANSPORT_ERRORS:
            return
        self._transport.release(self._channel, patience)

    def _send(self, data: bytes, deadline: float, timeout: float, phase: str) -> None:
        view = memoryview(data)
        while view:
            try:
                sent = self._channel.send(view[:_CHUNK].tobytes())
            except TimeoutError:
                self._look(deadline, timeout, phase)
                continue
            if not sent:
                raise EOFError("the shell takes no more")
            view = view[sent:]

    def _receive(self, mark: bytes, deadline: float, timeout: float, phase: str) -> tuple[int, bytes, bytes]:
        out, err = bytearray(), bytearray()
        end = re.compile(rb"\n" + mark + rb" (\d+)\n\Z")
        last = mark + b"\n"
        while (found := end.search(out, max(0, len(out) - len(mark) - 16))) is None:
            try:
                data = self._channel.recv(_CHUNK)
                if not data:
                    raise EOFError("the shell ended with the command")
                out += data
            except TimeoutError:
                self._look(deadline, timeout, phase)
            while self._channel.recv_stderr_ready():
                err += self._channel.recv_stderr(_CHUNK)
        while not err.endswith(last):
            if self._channel.recv_stderr_ready():
                err += self._channel.recv_stderr(_CHUNK)
            elif self._channel.closed:
                raise EOFError("the connection ended before the command")
            else:
                self._look(deadline, timeout, phase)
                time.sleep(_STEP)
        return int(found[1]), bytes(out[: found.start()]), bytes(err[: -len(last)])

    def _look(self, deadline: float, timeout: float, phase: str) -> None:
        self._transport.watch.check(phase)
        if time.monotonic() > deadline:
            raise self._transport.hang(phase, timeout)
