# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls whose objects or pages change meanwhile."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .conftest import (
    BAD_PARAMETER,
    DELETE_VP,
    MAP_STATS,
    OK,
    OPERATION_DENIED,
    POOL,
    RAM,
    UNMAP_STATS,
    Child,
    create_vp,
)

if TYPE_CHECKING:
    from tests.unit.hypervisor.conftest import Root

GET_REGISTERS, SET_REGISTERS, MAP_STATS2 = 0x50, 0x51, 0x131


def test_a_statistics_page_shows_the_vp_that_came_back(root: Root, child: Child) -> None:
    identity = struct.pack("<IIQQ", 0x10002, 0, child.id, 0)
    root.deposit(1, [POOL + 0x100])
    create_vp(root, child.id, 0)
    page = root.call(MAP_STATS, identity, out=8).partition
    vp = struct.pack("<QI4x", child.id, 0)
    assert root.call(DELETE_VP, vp).status == OK
    assert root.call(MAP_STATS, identity, out=8).status == BAD_PARAMETER, "statistics of no VP"
    create_vp(root, child.id, 0)
    root.memory.write(page << 12, bytes([0xEE]) * 4096)
    assert root.call(MAP_STATS, identity, out=8).partition == page
    shown = root.memory.read(page << 12, 4096)
    assert shown != bytes([0xEE]) * 4096, "nothing is shown in the page"
    for _ in range(2):
        assert root.call(UNMAP_STATS, identity).status == OK


def test_input_is_read_once(root: Root, child: Child) -> None:
    """The root can change a call's page meanwhile: here the output lies over the input."""
    create_vp(root, child.id, 0)
    names = [0x20000 + n for n in range(4)]
    values = [0x1111 * (n + 1) for n in range(4)]
    data = struct.pack("<QII", child.id, 0, 0)
    elements = b"".join(struct.pack("<I12xQQ", n, v, 0) for n, v in zip(names, values, strict=True))
    assert root.call(SET_REGISTERS, data + elements, reps=4)[:2] == (OK, 4)
    done = root.call(GET_REGISTERS, data + struct.pack("<4I", *names), reps=4, out=64, overlap=True)
    assert done[:2] == (OK, 4)
    assert list(struct.unpack("<8Q", done.out))[::2] == values


def test_a_statistics_page_of_an_l1vh_parent_is_not_deposited(root: Root, child: Child) -> None:
    root.become_l1vh()
    create_vp(root, child.id, 0)
    identity = struct.pack("<IIQQ", 0x10002, 0, child.id, 0)
    assert root.call(MAP_STATS2, identity + struct.pack("<Q", RAM)).status == OK
    assert root.deposit(child.id, [RAM]).status == OPERATION_DENIED
    assert root.call(UNMAP_STATS, identity).status == OK
    assert root.deposit(child.id, [RAM]).status == OK
