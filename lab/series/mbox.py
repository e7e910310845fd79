# SPDX-License-Identifier: GPL-2.0-or-later
"""An mbox cut to its mails while it is read: in linear time, and no more in memory than is used."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lab.model.errors import BadInput
from lab.series.limits import MAX_MAIL, MAX_STREAM, MAX_TOTAL

_GZIP = b"\x1f\x8b"
_OTHERS = {b"\xfd7zXZ\0": "xz", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
_DAMAGED = (zlib.error, gzip.BadGzipFile, EOFError)
_SEPARATOR = 998
"""Bytes of a separator line: it is as long as a mail's line at most."""

_BEFORE_TIME = re.compile(rb"From \S+ .*\d$")
_AFTER_TIME = re.compile(rb"\d\d\b.*\d{4}\s*$")
_HEADER = re.compile(rb"[!-9;-~]{1,76}[ \t]*:|>From ")


@dataclass(frozen=True, slots=True)
class Piece:
    """A mail of an mbox, its line ends LF; ``line`` is that of its separator, 0 for what stands above the
    first one. Of a mail above the limit ``raw`` is only the beginning, ``size`` says how large it is."""

    raw: bytes
    line: int
    size: int


def separates(line: bytes) -> bool:
    """Whether a line is one that an mbox puts above a mail: ``From SOMEBODY ... 10:00:00 2026``."""
    if not line.startswith(b"From ") or len(line) > _SEPARATOR:
        return False
    before, _colon, after = line.rpartition(b":")
    return bool(_BEFORE_TIME.match(before) and _AFTER_TIME.match(after))


def pieces(lines: Iterable[bytes]) -> Iterator[Piece]:
    """The mails of an mbox, given its lines with their ends. A separator is one only with a header below it,
    for messages quote such lines; the empty line above it is lost too often to be asked for."""
    kept: list[bytes] = []
    start = size = 0
    for number, (line, below) in enumerate(_with_next(lines), 1):
        if separates(line) and _HEADER.match(below):
            if start or size:
                yield Piece(b"".join(kept), start, size)
            kept, start, size = [], number, 0
            continue
        size += len(line)
        if size <= MAX_MAIL:
            kept.append(line)
    if start or size:
        yield Piece(b"".join(kept), start, size)


def _with_next(lines: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Each line and the one below it, with LF ends."""
    last: bytes | None = None
    for line in lines:
        line = line[:-2] + b"\n" if line.endswith(b"\r\n") else line
        if last is not None:
            yield last, line
        last = line
    if last is not None:
        yield last, b""


def lines_of(stream: BinaryIO, where: str) -> Iterator[bytes]:
    """Lines of a stream, what is longer than a mail in parts. BadInput where it is damaged or endless."""
    size = 0
    try:
        while line := stream.readline(MAX_MAIL):
            size += len(line)
            if size > MAX_STREAM:
                raise BadInput(f"more than {MAX_STREAM >> 30} GiB", where=where, hint="split it")
            yield line
    except _DAMAGED as e:
        raise _damaged(e, where) from e


@contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """A file to be read, decompressed if need be. BadInput when it cannot be opened."""
    try:
        stream = file.open("rb")
    except OSError as e:
        raise BadInput(f"cannot read: {e.strerror}", where=str(file)) from e
    with stream:
        begin = stream.peek(8)
        known(begin, str(file))
        if begin.startswith(_GZIP):
            with gzip.open(stream) as inflated:
                yield inflated  # type: ignore[misc]
        else:
            yield stream


def bounded(stream: BinaryIO, where: str) -> bytes:
    """All of a stream, decompressed. BadInput when it is empty, damaged or larger than the lab reads."""
    data = stream.read(MAX_TOTAL + 1)
    known(data[:8], where)
    if data.startswith(_GZIP) and len(data) <= MAX_TOTAL:
        try:
            with gzip.open(io.BytesIO(data)) as inflated:
                data = inflated.read(MAX_TOTAL + 1)
        except _DAMAGED as e:
            raise _damaged(e, where) from e
    if len(data) > MAX_TOTAL:
        raise BadInput(f"more than {MAX_TOTAL >> 20} MiB", where=where, hint="split it")
    if not data.strip():
        raise BadInput("no patches: the input is empty", where=where)
    return data


def known(begin: bytes, where: str) -> None:
    """BadInput for a file that is compressed in a way that is not taken."""
    for magic, name in _OTHERS.items():
        if begin.startswith(magic):
            raise BadInput(f"compressed with {name}", where=where, hint="only gzip is taken: unpack it")


def _damaged(error: Exception, where: str) -> BadInput:
    if isinstance(error, EOFError):
        return BadInput("the compressed file is cut short", where=where, hint="fetch it again")
    return BadInput(f"damaged gzip file: {error}", where=where, hint="fetch it again")
