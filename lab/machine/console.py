# SPDX-License-Identifier: GPL-2.0-or-later
"""The serial console: one pump reads it, everybody else looks at the record or subscribes.

Positions are byte offsets since the console was opened, and never go back: remember one, do something,
then look at what came after it.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pexpect
import pexpect.fdpexpect

Subscriber = Callable[[int, bytes], None]
Check = Callable[[str], None]

_CHUNK = 65536
_POLL = 0.05
_VERDICT_SECONDS = 1.5
_OVERLAP = 4096
"""A match may begin this many bytes before the newest output (no pattern here spans more)."""


class Source(Protocol):
    """Where console output comes from."""

    def read(self, timeout: float) -> bytes:
        """Bytes that arrived within ``timeout`` (none: ``b""``). Raises EOFError at the end."""
        ...

    def write(self, data: bytes) -> None:
        """Type into the console. Raises OSError."""
        ...

    def close(self) -> None:
        """Release it; safe to call twice."""
        ...


class SocketSource:
    """QEMU's chardev socket through pexpect. While QEMU waits for us (``wait=on``) nothing is lost."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._spawn = pexpect.fdpexpect.fdspawn(self._socket, maxread=_CHUNK, use_poll=True)

    def read(self, timeout: float) -> bytes:
        try:
            data: bytes = self._spawn.read_nonblocking(_CHUNK, timeout)  # type: ignore[assignment]  # no encoding
            return data
        except pexpect.TIMEOUT:
            return b""
        except (pexpect.EOF, OSError):
            raise EOFError from None

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        self._socket.close()


class LogSource:
    """QEMU's own log of the console: how a second process follows a machine from its first byte.

    ``ended`` tells when no more output can come. The socket is connected by the first :meth:`write`
    and then kept: QEMU serves one client at a time, and drops what a client sent just before closing.
    """

    def __init__(self, log: Path, console_socket: Path, ended: Callable[[], bool]) -> None:
        self._file = log.open("rb")
        self._socket_path = console_socket
        self._socket: socket.socket | None = None
        self._ended = ended

    def read(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while True:
            ended = self._ended()
            self._drain()
            if data := self._file.read(_CHUNK):
                return data
            if ended:
                raise EOFError
            if time.monotonic() >= deadline:
                return b""
            time.sleep(min(_POLL, timeout))

    def write(self, data: bytes) -> None:
        if self._socket is None:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(self._socket_path))
            except OSError:
                connection.close()
                raise
            self._socket = connection
        self._socket.sendall(data)

    def close(self) -> None:
        self._file.close()
        if self._socket is not None:
            self._socket.close()

    def _drain(self) -> None:
        """Throw away what the socket brings: it is in the log as well."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                while self._socket.recv(_CHUNK, socket.MSG_DONTWAIT):
                    pass


class Console:
    """The record of a console and its subscribers. Filled by one pump (:meth:`pump`)."""

    def __init__(self, source: Source, check: Check | None = None) -> None:
        self._source = source
        self._check = check
        self._data = bytearray()
        self._changed = threading.Condition()
        self._subscribers: list[Subscriber] = []
        self._ended_at: float | None = None
        self.last_output = time.monotonic()
        """Monotonic time of the newest output (of the opening, before there is any)."""

    def pump(self, timeout: float) -> bool:
        """Read once, waiting at most ``timeout`` seconds. False when the console has ended.

        Only one thread may call this. Subscribers run in it; one that raises is dropped, because a
        broken listener must not stop the record.
        """
        try:
            data = self._source.read(timeout)
        except EOFError:
            self.close()
            return False
        if data:
            with self._changed:
                position = len(self._data)
                self._data += data
                self.last_output = time.monotonic()
                listeners = list(self._subscribers)
                self._changed.notify_all()
            for listener in listeners:
                try:
                    listener(position, data)
                except Exception:
                    self._drop(listener)
        return True

    @property
    def closed(self) -> bool:
        """Whether the console has ended."""
        return self._ended_at is not None

    def position(self) -> int:
        """End of the record: what comes later has positions from here on."""
        with self._changed:
            return len(self._data)

    def text(self, start: int = 0) -> str:
        """The record from a position on. Bytes that are not UTF-8 are replaced."""
        with self._changed:
            return self._data[start:].decode("utf-8", "replace")

    def raw(self, start: int = 0) -> bytes:
        """The record from a position on, as it came."""
        with self._changed:
            return bytes(self._data[start:])

    def lines(self, start: int = 0) -> list[str]:
        """Lines of the record from a position on, without line ends."""
        return self.text(start).replace("\r", "").splitlines()

    def tail(self, count: int = 40) -> str:
        """The last lines, as evidence in an error."""
        return "\n".join(self.lines(max(0, self.position() - count * 200))[-count:])

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call ``callback(position, data)`` for new output, in the pump's thread. Returns how to stop."""
        with self._changed:
            self._subscribers.append(callback)
        return lambda: self._drop(callback)

    def wait_for(
        self, pattern: str | re.Pattern[str], budget: float, phase: str, *, start: int = 0
    ) -> re.Match[str]:
        """The first match of a pattern in the output after position ``start``.

        Raises TimeoutError after ``budget`` seconds, and whatever the machine's watch raises (GuestDied)
        if the machine dies first. Output that arrived before the death still counts.
        """
        regex = re.compile(pattern) if isinstance(pattern, str) else pattern
        deadline, scan = time.monotonic() + budget, start
        while True:
            ended_at, end = self._ended_at, self.position()
            if match := regex.search(self.text(scan)):
                return match
            if self._check is not None:
                self._check(phase)
            # The console ends first; the pump then tells how the machine died.
            if ended_at is not None and time.monotonic() > ended_at + _VERDICT_SECONDS:
                raise TimeoutError(f"{phase}: the console ended without {regex.pattern!r}")
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{phase}: no {regex.pattern!r} on the console within {budget:g} s")
            scan = max(start, end - _OVERLAP)
            with self._changed:
                if len(self._data) == end:
                    self._changed.wait(min(_POLL, left))

    def send(self, text: str) -> None:
        """Type into the console. Raises OSError when QEMU is gone."""
        self._source.write(text.encode())

    def close(self) -> None:
        """End the record and wake whoever waits for it."""
        with self._changed:
            self._ended_at = self._ended_at or time.monotonic()
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._source.close()

    def _drop(self, callback: Subscriber) -> None:
        with self._changed, contextlib.suppress(ValueError):
            self._subscribers.remove(callback)


class LineSplitter:
    """Complete lines out of chunks; the unfinished last line waits for its end."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Lines that ``data`` completes, without line ends."""
        *done, self._rest = (self._rest + data).split(b"\n")
        return [line.decode("utf-8", "replace").rstrip("\r") for line in done]

    @property
    def rest(self) -> str:
        """The unfinished line."""
        return self._rest.decode("utf-8", "replace")


class FileTail:
    """New lines of a growing file that may not exist yet (the stand-in's log)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._lines = LineSplitter()

    def read(self) -> list[str]:
        """Lines completed since the last call."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        self._offset += len(data)
        return self._lines.feed(data)

    @property
    def rest(self) -> str:
        """The unfinished line."""
        return self._lines.rest


def last_lines(path: Path, count: int = 20, limit: int = 65536) -> str:
    """The last lines of a file, as evidence; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - limit))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.replace("\r", "").splitlines()[-count:])
