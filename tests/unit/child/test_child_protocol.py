# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.child.protocol import (
    ADDRESSABLE,
    Access,
    Region,
    VmmError,
    decode_fields,
    decode_region,
    decode_reply,
    decode_result,
    decode_results,
    encode_access,
    split_batches,
)


@pytest.mark.parametrize(
    ("access", "word"),
    [
        (Access(0x10000000, 1), "r1:10000000"),
        (Access(0x7FFFFFFFF0, 8), "r8:7ffffffff0"),
        (Access(0x1000, 4, "write", 0xDEADBEEF), "w4:1000=deadbeef"),
        (Access(0x2000, kind="execute"), "x:2000"),
        (Access(0, kind="listen"), "l:0"),
        (Access(0x3A08, 8, "poll", 2), "p:3a08=2"),
        (Access(0x3A08, 8, "halt", 0x10), "h:3a08=10"),
    ],
)
def test_access_is_encoded_as_the_vmm_parses_it(access: Access, word: str) -> None:
    assert encode_access(access) == word


@pytest.mark.parametrize(
    "bad",
    [
        {"gpa": 0, "width": 3},
        {"gpa": -1},
        {"gpa": ADDRESSABLE},
        {"gpa": 0, "width": 1, "value": 0x100},
        {"gpa": 0, "value": -1},
    ],
)
def test_access_that_no_guest_could_do_is_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        Access(**bad)  # type: ignore[arg-type]


def test_intercept_keeps_every_field_of_the_message() -> None:
    result = decode_result("!80000000,10001008,2000,1,3,408e,8b07c3", Access(0x10001008, 8, "write"))
    assert not result.ok
    assert result.message is not None
    m = result.message
    assert (m.type, m.name) == (0x80000000, "UNMAPPED_GPA")
    assert (m.gpa, m.gva, m.access, m.rip) == (0x10001008, 0x2000, "write", 0x408E)
    assert m.translated
    assert m.instruction == b"\x8b\x07\xc3"


def test_gva_that_the_hypervisor_does_not_vouch_for_is_none() -> None:
    message = decode_result("!80000001,1000,2000,0,2,0,", Access(0x1000)).message
    assert message is not None
    assert message.gva is None
    assert message.instruction == b""


def test_gpa_on_the_way_to_the_gva_is_told_from_what_it_stands_for() -> None:
    message = decode_result("!80000000,1000,2000,1,1,0,", Access(0x1000)).message
    assert message is not None
    assert (message.gva, message.translated) == (0x2000, False)


def test_unknown_message_type_shows_its_number() -> None:
    message = decode_result("!80000099,0,0,2,0,0,", Access(0x1000)).message
    assert message is not None
    assert message.name == "0x80000099"


def test_access_that_was_not_reached_is_neither_done_nor_intercepted() -> None:
    result = decode_result("?", Access(0x1000))
    assert (result.ok, result.value, result.message) == (False, None, None)


@pytest.mark.parametrize(
    ("word", "access"),
    [
        ("1ff", Access(0, 1)),
        ("w", Access(0, 4)),
        ("12", Access(0, 4, "write")),
        ("w", Access(0, kind="execute")),
        ("!80000000,1,2,3,4,5,6", Access(0)),
        ("!80000000,1,2", Access(0)),
    ],
)
def test_result_that_cannot_belong_to_the_access_is_refused(word: str, access: Access) -> None:
    with pytest.raises(ValueError):
        decode_result(word, access)


def test_missing_results_are_noticed() -> None:
    with pytest.raises(ValueError, match="1 results for 2 accesses"):
        decode_results(["0"], [Access(0), Access(8)])


def test_error_reply_carries_verb_errno_and_words() -> None:
    with pytest.raises(VmmError) as caught:
        decode_reply("7 err region EINVAL MSHV_SET_GUEST_MEMORY of 2 pages at gfn 0x8", "7")
    assert caught.value.op == "region"
    assert caught.value.errno_name == "EINVAL"
    assert caught.value.text == "MSHV_SET_GUEST_MEMORY of 2 pages at gfn 0x8"


@pytest.mark.parametrize("line", ["8 ok 1", "7 maybe", "", "panic: something"])
def test_line_that_does_not_answer_the_request_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not the reply to 7"):
        decode_reply(line, "7")


def test_region_list_word_is_read_back() -> None:
    assert decode_region("3:0x10000:16:2:4:rwx") == Region(3, 0x10000, 16, 2, 4, True, True)
    assert decode_region("0:0x8:1:-1:0:r") == Region(0, 8, 1, None, 0, False, False)
    assert decode_region("0:0x8:1:-1:0:r").gpa == 0x8000


def test_fields_may_be_decimal_or_hexadecimal() -> None:
    assert decode_fields(["pid=12", "rip=0x4010"]) == {"pid": 12, "rip": 0x4010}


@given(
    st.lists(st.builds(Access, gpa=st.integers(0, 1 << 30), vp=st.integers(0, 2)), max_size=60),
    st.integers(1, 7),
)
def test_batches_keep_order_and_never_mix_vps(accesses: list[Access], limit: int) -> None:
    batches = split_batches(accesses, limit)
    assert [a for batch in batches for a in batch] == accesses
    assert all(1 <= len(batch) <= limit for batch in batches)
    assert all(len({a.vp for a in batch}) == 1 for batch in batches)
