# SPDX-License-Identifier: GPL-2.0-or-later
"""Root against an SSH server in this process that runs commands in the host's shell."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest
from ssh_server import Server

from lab.model.errors import GuestDied, LabError
from lab.root.keys import make_keys
from lab.root.root import CommandFailed, Root
from lab.root.session import SessionEnded
from lab.root.transport import NoWatch, Watch


class Dies:
    """A watch that sees the guest die after some time."""

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds

    def check(self, phase: str) -> None:
        if time.monotonic() > self.at:
            raise GuestDied("kernel panic", kind="panic", phase=phase)

    def lost_task(self, pid: int) -> str:
        return ""


class Loses(NoWatch):
    """A watch that knows of one task's end."""

    def lost_task(self, pid: int) -> str:
        return "note: vmm[7] exited with irqs disabled" if pid == 7 else ""


def dying(server: Server, key_path: Path, watch: Watch) -> Root:
    return Root("127.0.0.1", server.port, key_path, watch)


def test_run_gives_status_and_both_streams(root: Root) -> None:
    result = root.run("echo out; echo err >&2; exit 3", check=False)
    assert (result.rc, result.out, result.err) == (3, "out\n", "err\n")


def test_failing_command_raises_with_its_output(root: Root) -> None:
    with pytest.raises(CommandFailed, match="no such thing") as caught:
        root.run("echo no such thing >&2; exit 4")
    assert caught.value.result.rc == 4


def test_large_input_and_output_pass_unchanged(root: Root, tmp_path: Path) -> None:
    data = bytes(range(256)) * 8192
    path = tmp_path / "a file"
    root.put(data, str(path), 0o750)
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o750
    assert root.get(str(path)) == data


def test_much_on_stderr_does_not_block(root: Root) -> None:
    result = root.run("head -c 6000000 /dev/zero | tr '\\0' x >&2; echo end")
    assert (result.out, len(result.err)) == ("end\n", 6000000)


def test_missing_file_is_an_error_not_an_empty_one(root: Root) -> None:
    with pytest.raises(CommandFailed):
        root.get("/nonexistent")


@pytest.mark.parametrize("closes", [1, 4])
def test_channel_closed_before_its_command_is_tried_again(root: Root, server: Server, closes: int) -> None:
    server.closes = closes
    assert root.run("echo ran").out == "ran\n"
    assert len(server.processes) == 1 and len(server.transports) == 1, "run twice, or on a new connection"


def test_server_that_closes_every_channel_ends_the_tries(root: Root, server: Server) -> None:
    server.closes = 1000
    with pytest.raises(GuestDied, match="the SSH connection broke"):
        root.run("true")
    assert not server.processes and server.closes > 900


def test_session_exchanges_lines(root: Root) -> None:
    session = root.open_session("cat")
    for i in range(100):
        session.send_line(f"line {i}")
    assert [session.receive_line() for _ in range(100)] == [f"line {i}" for i in range(100)]
    session.close()


def test_end_of_a_session_shows_what_the_command_said(root: Root) -> None:
    session = root.open_session("sh -c 'echo one; echo broken >&2'")
    assert session.receive_line() == "one"
    with pytest.raises(SessionEnded, match="broken"):
        session.receive_line()


def test_silent_session_ends_in_its_budget(root: Root) -> None:
    session = root.open_session("cat")
    start = time.monotonic()
    with pytest.raises(GuestDied) as caught:
        session.receive_line(0.4)
    assert caught.value.kind == "driver-hang"
    assert time.monotonic() - start < 2


def test_waiting_for_a_task_that_the_kernel_has_lost_ends(server: Server, key_path: Path) -> None:
    with dying(server, key_path, Loses()) as root:
        root.connect(5)
        session = root.open_session("cat")
        session.task = 8
        with pytest.raises(GuestDied, match="no answer within"):
            session.receive_line(0.4)
        session.task = 7
        started = time.monotonic()
        with pytest.raises(GuestDied, match=r"task 7 does not answer any more: note: vmm\[7\]"):
            session.receive_line(60)
        assert time.monotonic() - started < 5


def test_command_that_hangs_ends_in_its_budget(root: Root) -> None:
    with pytest.raises(GuestDied) as caught:
        root.run("sleep 30", timeout=0.5)
    assert caught.value.kind == "driver-hang"
    assert root.run("echo still there").out == "still there\n"


def test_channel_of_a_running_command_is_not_closed_because_dropbear_would_drop_the_connection(
    server: Server, root: Root
) -> None:
    with pytest.raises(GuestDied):
        root.run("sleep 30", timeout=0.3)
    root.open_session("sleep 30").close(patience=0.1)
    root.run("cat", stdin=b"x")
    assert [channel.closed for channel in server.channels] == [False, False, True]


def test_death_of_the_guest_ends_a_command_at_once(server: Server, key_path: Path) -> None:
    with dying(server, key_path, Dies(0.5)) as root:
        root.connect(5)
        start = time.monotonic()
        with pytest.raises(GuestDied) as caught:
            root.run("sleep 30", timeout=60)
    assert caught.value.kind == "panic"
    assert "sleep 30" in caught.value.phase
    assert time.monotonic() - start < 2


def test_death_of_the_guest_ends_the_wait_for_a_line(server: Server, key_path: Path) -> None:
    with dying(server, key_path, Dies(0.5)) as root:
        root.connect(5)
        session = root.open_session("cat")
        with pytest.raises(GuestDied) as caught:
            session.receive_line(60)
    assert caught.value.kind == "panic"


def test_death_of_the_guest_ends_connecting(key_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        root = Root("127.0.0.1", mute.getsockname()[1], key_path, Dies(0.5))
        start = time.monotonic()
        with pytest.raises(GuestDied) as caught:
            root.connect(60)
    assert caught.value.kind == "panic"
    assert time.monotonic() - start < 2


def test_broken_connection_gets_the_cause_that_the_watch_finds_a_little_later(
    server: Server, key_path: Path
) -> None:
    with dying(server, key_path, Dies(0.5)) as root:
        root.connect(5)
        threading.Timer(0.2, server.drop).start()
        with pytest.raises(GuestDied) as caught:
            root.run("sleep 30", timeout=60)
    assert caught.value.kind == "panic"


def test_broken_connection_without_a_cause_is_an_ssh_death(
    server: Server, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.root.transport._SETTLE_SECONDS", 0.2)
    threading.Timer(0.3, server.drop).start()
    with pytest.raises(GuestDied) as caught:
        root.run("sleep 30", timeout=60)
    assert caught.value.kind == "ssh"


def test_nobody_listening_ends_in_the_budget(key_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(GuestDied, match="no SSH login within"):
        Root("127.0.0.1", port, key_path, NoWatch()).connect(0.5)
    assert time.monotonic() - start < 2


def test_another_machine_on_the_port_is_not_driven(server: Server, key_path: Path) -> None:
    root = Root("127.0.0.1", server.port, key_path, NoWatch(), host_key=make_keys().host_public)
    with pytest.raises(LabError, match="another machine"):
        root.connect(5)


def test_refused_key_is_told_at_once(server: Server, tmp_path: Path) -> None:
    other = make_keys().save(tmp_path)
    with pytest.raises(LabError, match="refuses the lab's key"):
        Root("127.0.0.1", server.port, other, NoWatch()).connect(5)


VMM = r"""#!/bin/sh
[ "$*" = "--kmsg -" ] || exit
while read -r from; do printf '6,%s,5,-;hello\nnext %s 0\n' $from $((from + 1)); done
"""


def test_looks_at_the_kernel_log_share_a_reader_and_survive_its_end(
    root: Root, server: Server, tmp_path: Path
) -> None:
    vmm = tmp_path / "vmm"
    vmm.write_text(VMM)
    vmm.chmod(0o755)
    root.vmm = str(vmm)
    assert root.kmsg(7).next == 8
    assert root.kmsg(8).lines == ("[    0.000005] hello",)
    assert len(server.processes) == 1
    server.processes[0].kill()
    server.processes[0].wait()
    assert root.kmsg(9).next == 10
    assert len(server.processes) == 2
