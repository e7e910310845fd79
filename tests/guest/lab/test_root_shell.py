# SPDX-License-Identifier: GPL-2.0-or-later
"""The shell and the reader of the kernel log that stay, on a real root: busybox behind dropbear."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.model.errors import GuestDied
from lab.progress import NullProgress
from lab.root.root import Root
from lab.templates import load_machine
from lab.validate.bringup import BootRequest, Lab
from lab.validate.kernels import Selectors, prepare


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HVLAB_STATE", str(tmp_path_factory.mktemp("state")))
        kernel = prepare(Selectors(), NullProgress())
        lab = Lab.boot(BootRequest(machine=load_machine("mshv-root", {}), kernel=kernel), NullProgress())
        try:
            yield lab.root
        finally:
            lab.close()


def shells(root: Root) -> int:
    """Processes of dropbear: one for each channel, one for the connection, one that listens."""
    return root.run("ps").out.count("dropbear")


def test_commands_share_one_shell(root: Root) -> None:
    root.run("true")
    before = shells(root)
    for n in range(20):
        assert root.run(f"cd /tmp; x={n}; printf '%s' $x$y; y=1; echo oops >&2").out == str(n)
    assert root.run("exit 7", check=False).rc == 7
    assert root.run("kill -9 $(sh -c 'echo $PPID')", check=False).rc == 137
    assert root.run("pwd").out != "/tmp\n"
    assert shells(root) == before


def test_bytes_come_through(root: Root) -> None:
    data = bytes(range(256)) * 1000
    root.put(data, "/tmp/bytes")
    assert root.get("/tmp/bytes") == data
    assert root.output("printf 'a\\n\\n'") == b"a\n\n"


def test_command_that_hangs_costs_the_shell_and_no_more(root: Root) -> None:
    with pytest.raises(GuestDied) as caught:
        root.run("sleep 1000", timeout=0.5)
    assert caught.value.kind == "driver-hang"
    assert root.run("echo on").out == "on\n"
    root.run("killall sleep")


def test_log_is_read_from_anywhere_again_and_again(root: Root) -> None:
    first = root.kmsg_position()
    root.run("for n in 1 2 3; do echo hvlab record $n >/dev/kmsg; done")

    def words(position: int) -> list[str]:
        return [line.split()[-1] for line in root.kmsg_since(position) if "hvlab record" in line]

    assert words(first) == ["1", "2", "3"]
    assert words(first + 1) == ["2", "3"]
    assert words(first) == ["1", "2", "3"]
    assert words(root.kmsg_position()) == []
    root.run("echo hvlab record 4 >/dev/kmsg")
    assert words(first + 3) == ["4"]
    assert len(root.kmsg_since(0)) > 100


def test_records_that_were_overwritten_are_counted(root: Root) -> None:
    start = root.kmsg_position()
    # The buffer holds 256 KiB; each record takes a line of some 200 bytes.
    line = "x" * 180
    root.run(f"n=0; while [ $n -lt 3000 ]; do echo {line} $n >/dev/kmsg; n=$((n+1)); done", 60.0)
    seen = root.kmsg(start)
    lines = seen.lines
    assert lines[0].endswith("kernel log records lost") and lines[-1].endswith("x 2999")
    assert seen.lost == int(lines[0].split()[3]) > 0
    # The kernel itself may have had something to say.
    assert 3000 <= seen.next - start < 3010
    assert seen.lost + len(lines) - 1 == seen.next - start
    root.run("echo hvlab end >/dev/kmsg")
    assert root.kmsg_since(seen.next)[-1].endswith("hvlab end")
