# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands that share a shell: each is as if it had one of its own."""

from __future__ import annotations

import threading
import time

import pytest
from ssh_server import Server

from lab.model.errors import GuestDied
from lab.root.root import Root
from lab.root.shell import stays_behind


def test_commands_share_a_channel_and_nothing_else(root: Root, server: Server) -> None:
    home, mask = root.run("pwd; umask").out.split()
    root.run(
        "cd /; name=value; alias ls=false; umask 077; set -e; trap 'echo trapped' EXIT; false", check=False
    )
    assert root.run('pwd; echo "[$name]"; umask; false; echo $?').out.split() == [
        home,
        "[]",
        mask,
        "1",
    ]
    assert root.run("exit 5", check=False).rc == 5
    assert root.run("exec sh -c 'exit 6'", check=False).rc == 6
    assert len(server.processes) == 1


@pytest.mark.parametrize(
    "command",
    [
        "printf 'no end'",
        "printf ''",
        "printf 'a\\n\\n'",
        "head -c 70000 /dev/urandom | tee {path}",
        "cat {path}",
    ],
)
def test_output_is_what_was_written_to_the_byte(root: Root, tmp_path, command: str) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)) * 300)
    found = root.output(command.format(path=path))
    wanted = {"printf 'no end'": b"no end", "printf ''": b"", "printf 'a\\n\\n'": b"a\n\n"}
    assert found == wanted.get(command, path.read_bytes())


def test_streams_stay_apart_and_begin_anew(root: Root) -> None:
    for _ in range(20):
        result = root.run("printf out; printf err >&2")
        assert (result.out, result.err) == ("out", "err")
    assert root.run("true").err == ""


@pytest.mark.parametrize(
    ("command", "status"),
    [("kill -9 $(sh -c 'echo $PPID')", 137), ("if", 2), ("nonesuch", 127), ("sh -c 'kill $$'", 143)],
)
def test_status_of_what_does_not_end_well(root: Root, server: Server, command: str, status: int) -> None:
    assert root.run(command, check=False).rc == status
    assert root.run("echo on").out == "on\n"


def test_words_of_several_lines_and_quotes_pass(root: Root) -> None:
    text = 'it\'s "a\\b"\n\n $HOME `x` end'
    assert root.run(f"cat <<'E'\n{text}\nE").out == text + "\n"


def test_a_command_does_not_read_what_comes_after_it(root: Root) -> None:
    assert root.run("cat; echo end").out == "end\n"
    assert root.run('read x; echo "$?"').out == "1\n"


def test_after_a_hang_there_is_another_shell(root: Root, server: Server) -> None:
    with pytest.raises(GuestDied) as caught:
        root.run("echo early; sleep 30", timeout=0.4)
    assert caught.value.kind == "driver-hang"
    assert root.run("echo late").out == "late\n"
    assert len(server.processes) == 2


def test_a_shell_that_is_gone_is_replaced(root: Root, server: Server) -> None:
    root.run("true")
    server.processes[0].kill()
    deadline = time.monotonic() + 10
    while not root._shell.ended() and time.monotonic() < deadline:  # type: ignore[union-attr]
        time.sleep(0.01)
    assert root.run("echo again").out == "again\n"
    assert len(server.processes) == 2


def test_a_shell_that_dies_with_a_command_is_an_error(root: Root) -> None:
    started = time.monotonic()
    with pytest.raises(GuestDied, match="ended with the command"):
        root.run("kill -9 $$", timeout=60)
    assert time.monotonic() - started < 20
    assert root.run("echo again").out == "again\n"


def test_two_threads_do_not_share_a_shell(root: Root) -> None:
    said: dict[int, list[str]] = {}

    def many(number: int) -> None:
        said[number] = [root.run(f"echo {number}; echo {number} >&2").out for _ in range(20)]

    threads = [threading.Thread(target=many, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert said == {n: [f"{n}\n"] * 20 for n in range(4)}


def test_what_stays_behind_has_a_channel_of_its_own(root: Root, server: Server) -> None:
    root.run("true")
    assert root.run("(sleep 0.3; echo late) >&2 & echo now").err == "late\n"
    assert root.run("echo then").err == ""
    assert len(server.processes) == 2


@pytest.mark.parametrize(
    ("command", "stays"),
    [
        ("a && b", False),
        ("a 2>&1", False),
        ("a &>/dev/null", False),
        ("a >&2 || b", False),
        ("a &", True),
        ("(a; b) </dev/null & c", True),
        ("a 2>&1 & b && c", True),
        ("a&b", True),
    ],
)
def test_commands_that_leave_something_running_are_known(command: str, stays: bool) -> None:
    assert stays_behind(command) is stays
