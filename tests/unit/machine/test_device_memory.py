# SPDX-License-Identifier: GPL-2.0-or-later
"""The pattern behind an ivshmem device."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.machine import ivshmem
from lab.machine.ivshmem import DeviceMemory, expected_bytes, expected_word, origin
from lab.model.errors import BadInput

NONCES = st.integers(1 << 63, (1 << 64) - 1)
PAGES = st.integers(0, (1 << 32) - 1)
WORDS = st.integers(0, ivshmem.WORDS_PER_PAGE - 1)


@given(NONCES, PAGES, WORDS)
def test_every_word_tells_page_and_word(nonce, page, word):
    assert origin(nonce, expected_word(nonce, page, word)) == (page, word)


@given(NONCES, PAGES, PAGES, WORDS)
def test_pages_differ_in_every_word(nonce, one, other, word):
    same = expected_word(nonce, one, word) == expected_word(nonce, other, word)
    assert same == (one == other)


def test_value_of_another_run_has_no_origin_here():
    nonce = 0x8123456789ABCDEF
    assert origin(nonce, expected_word(nonce ^ 0xFFFF_0000, 3, 4)) is None


@pytest.fixture
def memory(tmp_path):
    path = tmp_path / "shm.mem"
    ivshmem.create(path, 4 * ivshmem.PAGE_SIZE, 0x8000_0000_1234_5678)
    with DeviceMemory(path, 0x8000_0000_1234_5678) as opened:
        yield opened


def test_file_holds_the_pattern_word_by_word(memory):
    for page in range(memory.pages):
        for word in (0, 1, 511):
            at = page * ivshmem.PAGE_SIZE + word * 8
            assert memory.read_int(at, 8) == expected_word(memory.nonce, page, word)
    assert memory.verify() == []


@given(offset=st.integers(0, 3 * 4096), size=st.integers(0, 64))
def test_expected_bytes_at_any_offset(offset, size):
    whole = b"".join(ivshmem.page_bytes(1 << 63, page) for page in range(4))
    assert expected_bytes(1 << 63, offset, size) == whole[offset : offset + size]


def test_changed_word_is_reported_with_where_its_value_is_from(memory):
    stolen = memory.read(2 * 4096 + 40, 8)
    memory.write(4096 + 8, stolen)
    (mismatch,) = memory.verify()
    assert (mismatch.page, mismatch.word, mismatch.origin) == (1, 1, (2, 5))
    assert "that is page 2 word 5" in str(mismatch)
    memory.restore(1, 1)
    assert memory.verify() == []


def test_access_outside_is_refused(memory):
    with pytest.raises(ValueError, match="outside"):
        memory.read(4 * 4096 - 4, 8)
    with pytest.raises(ValueError, match="outside"):
        memory.write(-1, b"x")


def test_device_is_whole_pages(tmp_path):
    with pytest.raises(BadInput, match="whole pages"):
        ivshmem.create(tmp_path / "x", 5000, 1)


def test_nonce_never_looks_like_a_small_number():
    assert all(ivshmem.new_nonce() >= 1 << 63 for _ in range(50))
