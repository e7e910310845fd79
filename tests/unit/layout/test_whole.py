# SPDX-License-Identifier: GPL-2.0-or-later
"""A file is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import whole


def test_text_and_bytes_take_the_place_of_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a"
    whole.write(path, "é")
    assert path.read_bytes() == "é".encode()
    whole.write(path, b"\xff")
    assert path.read_bytes() == b"\xff"
    assert list(path.parent.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.mkdir()
    with pytest.raises(OSError):
        whole.write(path, "x")
    assert list(tmp_path.iterdir()) == [path]
