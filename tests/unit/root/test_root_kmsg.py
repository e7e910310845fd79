# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest

from lab.root.kmsg import parse_kmsg


def test_records_look_as_dmesg_prints_them() -> None:
    text = "6,301,1054397,-;VFIO - User Level meta-driver version: 0.3\n4,302,12000000,c;BUG: x\nnext 303 0\n"
    found = parse_kmsg(text)
    assert found.lines == (
        "[    1.054397] VFIO - User Level meta-driver version: 0.3",
        "[   12.000000] BUG: x",
    )
    assert (found.next, found.lost) == (303, 0)


def test_device_properties_are_no_log_lines() -> None:
    text = "6,1,10,-;pci 0000:00:03.0: enabling\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:03.0\nnext 2 0\n"
    assert len(parse_kmsg(text).lines) == 1


def test_text_with_semicolons_and_commas_stays_whole() -> None:
    assert parse_kmsg("6,1,0,-,caller=T1;a;b,c\nnext 2 0\n").lines[0].endswith("] a;b,c")


def test_escaped_newline_makes_two_lines_and_utf8_comes_back() -> None:
    lines = parse_kmsg("6,1,0,-;one\\x0atwo \\xc3\\xa9\nnext 2 0\n").lines
    assert [line.split("] ")[1] for line in lines] == ["one", "two \u00e9"]


def test_lost_records_are_said_first() -> None:
    found = parse_kmsg("6,9,0,-;late\nnext 10 5\n")
    assert "5 kernel log records lost" in found.lines[0]
    assert found.lost == 5


@pytest.mark.parametrize("text", ["", "6,1,0,-;one\n"])
def test_output_cut_short_is_not_taken_for_a_quiet_log(text: str) -> None:
    with pytest.raises(ValueError, match="end is missing"):
        parse_kmsg(text)
