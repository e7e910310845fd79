# SPDX-License-Identifier: GPL-2.0-or-later
"""The remote serial protocol, as far as it is pure: packets, stop replies, register maps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.machine.gdb import Stop, decode_packet, encode_packet, parse_stop, register_map


def test_packet_carries_its_checksum():
    assert encode_packet(b"vCont?") == b"$vCont?#49"


@given(st.binary(max_size=40).filter(lambda b: not set(b) & set(b"$#}")))
def test_what_is_encoded_is_decoded(body):
    decoded, rest = decode_packet(b"+" + encode_packet(body) + b"+$x")
    assert (decoded, rest) == (body, b"+$x")


def test_half_a_packet_is_kept():
    assert decode_packet(b"++") == (None, b"")
    assert decode_packet(b"+$T05thr") == (None, b"$T05thr")
    assert decode_packet(b"$OK#9") == (None, b"$OK#9")


def test_escaped_bytes_are_restored():
    assert decode_packet(b"$a}\x03b#00")[0] == b"a#b"


@pytest.mark.parametrize(
    ("text", "stop"),
    [
        ("T05thread:p01.02;", Stop(1, True)),
        ("T02thread:p01.01;", Stop(0, False)),
        ("T05thread:p01.01;watch:ff110000051e2c18;", Stop(0, True, 0xFF110000051E2C18)),
        ("T05thread:p01.0a;awatch:10;", Stop(9, True, 0x10)),
        ("OK", None),
        ("T02thread:01;", None),
        ("", None),
    ],
)
def test_stop_replies_say_who_and_why(text, stop):
    assert parse_stop(text) == stop


def test_registers_follow_each_other_over_files():
    core = (
        '<feature name="a"><reg name="rax" bitsize="64" regnum="0"/><reg name="rip" bitsize="64"/></feature>'
    )
    more = '<!DOCTYPE f><feature name="b"><reg name="eflags" bitsize="32" regnum="5"/></feature>'
    found = register_map([core, more])
    assert {n: (r.number, r.offset, r.size) for n, r in found.items()} == {
        "rax": (0, 0, 8),
        "rip": (1, 8, 8),
        "eflags": (5, 16, 4),
    }
