# SPDX-License-Identifier: GPL-2.0-or-later
"""Registers of a VP as its VMM sets them: by the register page, by register calls, by images."""

from __future__ import annotations

import pytest

from .conftest import Make


def test_ss_in_the_register_page_sets_the_privilege(machine: Make) -> None:
    m = machine()
    assert m.last("pageseg", 0, 0xC0F3) == "3"
    assert m.last("pageseg", 0, 0xC093) == "0"


@pytest.mark.parametrize(
    ("components", "answer"),
    [(0, "0 37f 3"), (1, "0 5555 3"), (2, "5555555555555555 37f 3"), (3, "5555555555555555 5555 3")],
)
def test_what_an_xsave_image_leaves_out_is_in_its_initial_state(
    machine: Make, components: int, answer: str
) -> None:
    """And can be set register by register then: XRSTOR would drop what the header does not name."""
    assert machine().last("xsave", 0, components) == answer


def test_register_calls_and_the_page_of_an_l1vh_parent_agree(machine: Make) -> None:
    m = machine()
    m.do("parentpage", 0)
    assert m.last("parentrip", 0, 0x1234) == "1234 4242 0"


def test_a_tsc_aux_that_wrmsr_would_refuse_is_refused(machine: Make) -> None:
    m = machine()
    assert m.last("setreg", 0, 0x0008007B, 1 << 32, 0) == "50"
    assert m.last("setreg", 0, 0x0008007B, 0xFFFFFFFF, 0) == "0"
