# SPDX-License-Identifier: GPL-2.0-or-later
"""What this side and an agent on another host say to each other, over one SSH connection.

A frame is a kind (one byte), the payload's length (four bytes, big-endian) and the payload. The agent's first
words are :data:`MAGIC`; what a login shell may print before it is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

MAGIC = b"\nhvlab-agent 1\n"
LIMIT = 1 << 24
"""Largest payload, bytes."""
CHUNK = 1 << 16
"""Bytes of one DATA frame."""
BEAT_SECONDS = 2.0
SILENCE_SECONDS = 30.0
"""A side that says nothing for so long is taken for dead."""
_NOISE = 1 << 16


class Kind(Enum):
    """Kinds of frames. To the agent: TASK, DATA, END, BEAT; from it: HELLO, STATUS, DATA, END, ERROR."""

    HELLO = b"h"
    """JSON: what both sides must agree on (``lab.nightly.agent.about``)."""
    TASK = b"t"
    """JSON: ``command``, a list of words, empty for the usual one."""
    STATUS = b"s"
    """A message of the runner, as Avocado writes it."""
    DATA = b"d"
    """A piece of a tar file."""
    END = b"e"
    """The tar file is whole."""
    BEAT = b"b"
    ERROR = b"!"
    """Text for people: why this host cannot do it."""


class BadFrame(ValueError):
    """The other side says something else."""


def pack(kind: Kind, payload: bytes = b"") -> bytes:
    """One frame."""
    return kind.value + len(payload).to_bytes(4, "big") + payload


class Parser:
    """Frames from bytes as they come. ``magic``: skip what comes before :data:`MAGIC`."""

    def __init__(self, *, magic: bool = False) -> None:
        self._data = b""
        self._magic = magic

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """The frames that are whole now. BadFrame for anything else."""
        self._data += data
        if self._magic:
            before, found, after = self._data.partition(MAGIC)
            if not found:
                if len(self._data) > _NOISE:
                    raise BadFrame(f"no agent answers, but {before[-200:]!r}")
                return
            self._data, self._magic = after, False
        while len(self._data) >= 5:
            length = int.from_bytes(self._data[1:5], "big")
            if length > LIMIT:
                raise BadFrame(f"a frame of {length} bytes")
            if len(self._data) < 5 + length:
                return
            try:
                kind = Kind(self._data[:1])
            except ValueError:
                raise BadFrame(f"a frame of kind {self._data[:1]!r}") from None
            payload, self._data = self._data[5 : 5 + length], self._data[5 + length :]
            yield kind, payload
