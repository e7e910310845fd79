# SPDX-License-Identifier: GPL-2.0-or-later
"""The console's record: positions, lines, subscribers."""

from __future__ import annotations

import threading

import pytest

from lab.machine.console import Console, FileTail, LineSplitter, LogSource, last_lines


class Replay:
    """A source that gives one chunk per read and then ends."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)
        self.typed = b""

    def read(self, timeout: float) -> bytes:
        if not self.chunks:
            raise EOFError
        return self.chunks.pop(0)

    def write(self, data: bytes) -> None:
        self.typed += data

    def close(self) -> None: ...


def drained(*chunks: bytes) -> Console:
    console = Console(Replay(*chunks))
    while console.pump(0):
        pass
    return console


def test_positions_are_byte_offsets():
    console = Console(Replay("ü1\n".encode(), b"two\n"))
    console.pump(0)
    position = console.position()
    console.pump(0)
    assert position == 4 and console.text(position) == "two\n"
    assert console.lines() == ["ü1", "two"]


def test_bytes_that_are_no_text_are_replaced():
    assert "�" in drained(b"\xff\xfe\n").text()


def test_subscriber_that_raises_is_dropped_and_the_record_goes_on():
    console = Console(Replay(b"a", b"b"))
    heard = []
    console.subscribe(lambda position, data: 1 / 0)
    stop = console.subscribe(lambda position, data: heard.append((position, data)))
    console.pump(0)
    console.pump(0)
    assert heard == [(0, b"a"), (1, b"b")] and console.text() == "ab"
    stop()
    stop()


def test_match_may_cross_chunks():
    assert drained(b"REA", b"DY\n").wait_for("READY", 0, "boot")


def test_earlier_output_does_not_count_after_a_position():
    console = drained(b"READY\n")
    with pytest.raises(TimeoutError):
        console.wait_for("READY", 0, "boot", start=console.position())


def test_waiter_is_woken_by_output():
    console = Console(Replay(b"READY"))
    timer = threading.Timer(0.05, console.pump, [0])
    timer.start()
    assert console.wait_for("READY", 5, "boot")
    timer.join()


def test_tail_has_the_last_lines():
    assert drained(b"".join(b"line %d\r\n" % number for number in range(100))).tail(2) == "line 98\nline 99"


def test_log_is_followed_from_its_first_byte_to_its_end(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"first\n")
    ended = []
    source = LogSource(log, tmp_path / "socket", lambda: bool(ended))
    assert source.read(0) == b"first\n"
    assert source.read(0) == b""
    with log.open("ab") as file:
        file.write(b"last\n")
    ended.append(1)
    assert source.read(0) == b"last\n"
    with pytest.raises(EOFError):
        source.read(0)
    with pytest.raises(OSError):
        source.write(b"x")
    source.close()


def test_lines_are_whole():
    lines = LineSplitter()
    assert lines.feed(b"one\r\ntw") == ["one"]
    assert lines.rest == "tw"
    assert lines.feed(b"o\n") == ["two"]


def test_tail_of_a_file_that_comes_later(tmp_path):
    tail = FileTail(tmp_path / "log")
    assert tail.read() == []
    tail.path.write_text("a\nb")
    assert tail.read() == ["a"] and tail.rest == "b"
    assert last_lines(tail.path, 1) == "b" and last_lines(tmp_path / "none") == ""
