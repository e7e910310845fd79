# SPDX-License-Identifier: GPL-2.0-or-later
"""Every voice says of the sample what its golden file says (``golden.py --update`` rewrites them)."""

from __future__ import annotations

import golden
import pytest


@pytest.mark.parametrize("name", golden.VOICES)
def test_voice_says_what_its_golden_file_says(name: str) -> None:
    assert golden.VOICES[name]() == (golden.FOLDER / name).read_text()


def test_every_golden_file_has_a_voice() -> None:
    assert {path.name for path in golden.FOLDER.iterdir()} == set(golden.VOICES)
