# SPDX-License-Identifier: GPL-2.0-or-later
"""Serial console and dmesg as one log with positions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.judge.kernel_log import MergedLog
from lab.judge.splats import parse


def stamped(*numbers: int) -> list[str]:
    return [f"[{n:5}.000000] message {n}" for n in numbers]


def test_each_message_comes_once_in_order_of_time() -> None:
    log = MergedLog()
    log.add_serial(stamped(1, 3, 5))
    log.add_dmesg(stamped(1, 2, 3, 4))
    assert [line.split()[-1] for line in log.since()] == ["1", "2", "3", "4", "5"]


def test_the_same_message_said_twice_stays_twice() -> None:
    log = MergedLog()
    log.add_serial(stamped(1, 1))
    log.add_dmesg(stamped(1, 1, 1))
    assert len(log.since()) == 3


def test_kmsg_form_and_serial_form_of_a_message_are_one() -> None:
    log = MergedLog()
    log.add_serial(["[    1.500000][   T12] hello\r\n"])
    log.add_dmesg(["6,1,1500000,-,caller=T12;hello"])
    assert log.since() == ["[    1.500000][   T12] hello"]


def test_since_tells_only_what_came_after_the_position() -> None:
    log = MergedLog()
    assert log.position() == 0
    log.add_serial(stamped(1))
    log.add_dmesg(stamped(1))
    position = log.position()
    log.add_serial(stamped(2))
    log.add_dmesg(stamped(2, 3))
    assert [line.split()[-1] for line in log.since(position)] == ["2", "3"]
    assert [line.split()[-1] for line in log.serial_since(position)] == ["2"]
    assert len(log.since(0)) == 3


def test_message_known_from_one_side_is_not_new_when_the_other_side_shows_it() -> None:
    log = MergedLog()
    log.add_serial(stamped(1, 2))
    position = log.position()
    log.add_dmesg(stamped(1, 2))
    assert log.since(position) == []
    log = MergedLog()
    log.add_dmesg(stamped(1, 2))
    position = log.position()
    log.add_serial(stamped(1, 2, 3))
    assert [line.split()[-1] for line in log.since(position)] == ["3"]


def test_user_space_stays_behind_the_message_it_followed() -> None:
    log = MergedLog()
    log.add_serial([*stamped(1), "VMM ready", *stamped(4)])
    log.add_dmesg(stamped(1, 2, 4))
    assert [line.split()[-1] for line in log.since()] == ["1", "ready", "2", "4"]


def test_unknown_position_is_refused() -> None:
    with pytest.raises(ValueError, match="no such position in the kernel log: 7"):
        MergedLog().since(7)


def test_a_splat_whose_head_only_dmesg_has_is_found_whole() -> None:
    lines = [
        "[    1.000001] BUG: scheduling while atomic: vmm/55/0x2",
        "[    1.000002] CPU: 0 UID: 0 PID: 55 Comm: vmm Not tainted 7.3.4",
        "[    1.000003] Call Trace:",
        "[    1.000004]  <TASK>",
        "[    1.000005]  mshv_run+0x1/0x2",
        "[    1.000006]  </TASK>",
    ]
    log = MergedLog()
    log.add_serial(lines[3:])
    log.add_dmesg(lines[:4])
    [splat] = parse(log.since())
    assert (splat.frames, splat.corrupted) == (("mshv_run",), False)


times = st.lists(st.integers(0, 30), max_size=12, unique=True).map(sorted)


@given(times, times, times, times)
def test_no_message_is_lost_or_told_twice(a: list[int], b: list[int], c: list[int], d: list[int]) -> None:
    log = MergedLog()
    log.add_serial(stamped(*a))
    log.add_dmesg(stamped(*b))
    position = log.position()
    log.add_serial(stamped(*[n + 100 for n in c]))
    log.add_dmesg(stamped(*[n + 100 for n in d]))
    assert [int(line.split()[-1]) for line in log.since()] == sorted(
        set(a) | set(b) | {n + 100 for n in c} | {n + 100 for n in d}
    )
    assert [int(line.split()[-1]) - 100 for line in log.since(position)] == sorted(set(c) | set(d))
