# SPDX-License-Identifier: GPL-2.0-or-later
"""Every page of the device, from the child and from the host: what was written is there, and no more."""

from __future__ import annotations

import pytest

from lab.child.protocol import Access

scenario = pytest.mark.scenario
PAGE = 4096
FIRST, LAST = 8, PAGE - 8
"""Offsets that are written: beside the page's own mark, and its last word."""
CANARY = "/tmp/canary"
CANARY_SCRIPT = f"""
dd if=/dev/urandom of={CANARY} bs=1M count=8 2>/dev/null && sha256sum {CANARY}
"""


def word(page, offset):
    """What the child writes there: no two places have the same."""
    return 0xC0DE_0000_0000_0000 | page << 16 | offset


@scenario(slow=True, claims=("C16",), needs=("map_on_first_touch",))
def test_every_page_takes_what_the_child_writes_and_nothing_else_changes(lab, mapped, device, evidence):
    if device.memory is None:
        pytest.skip("the host cannot look into this device")
    canary = lab.root.run(CANARY_SCRIPT).out
    m = mapped(device)
    want = bytearray(device.memory.read(0, m.pages * PAGE))
    places = [(page, offset) for page in range(m.pages) for offset in (FIRST, LAST)]
    m.child.access([Access(m.gpa(p, o), 8, "write", word(p, o)) for p, o in places])
    for page, offset in places:
        at = page * PAGE + offset
        want[at : at + 8] = word(page, offset).to_bytes(8, "little")
    have = device.memory.read(0, m.pages * PAGE)
    wrong = [p for p in range(m.pages) if have[p * PAGE : (p + 1) * PAGE] != want[p * PAGE : (p + 1) * PAGE]]
    evidence.observe("pages that differ on the host side", len(wrong))
    assert not wrong, f"pages {wrong[:4]} of the device are not what the child wrote"
    results = m.child.access([m.access(p) for p in range(m.pages)])
    results += m.child.access([Access(m.gpa(p, o), 8) for p, o in places])
    values = [m.expected(p) for p in range(m.pages)] + [word(p, o) for p, o in places]
    bad = [i for i, (r, value) in enumerate(zip(results, values, strict=True)) if r.value != value]
    assert not bad, f"the child reads {len(bad)} of {len(values)} words wrong"
    after = lab.root.run(f"sha256sum {CANARY}; rm {CANARY}").out
    assert after == canary, "RAM of the root changed that the child never had"


@scenario(slow=True, claims=("C16",), needs=("map_on_first_touch",))
def test_every_width_at_both_borders_of_every_page_boundary(mapped, device):
    m = mapped(device)
    accesses = [
        Access(m.gpa(page, offset), width)
        for page in (0, 1, m.pages // 2 - 1, m.pages // 2, m.pages - 2, m.pages - 1)
        for width in (1, 2, 4, 8)
        for offset in (0, PAGE - width)
    ]
    base = m.gpa(0)
    for access, result in zip(accesses, m.child.access(accesses), strict=True):
        page, offset = divmod(access.gpa - base, PAGE)
        want = device.backing_bytes(page, offset, access.width)
        assert result.value == int.from_bytes(want, "little"), (
            f"{access.width} bytes at offset {offset:#x} of page {page} are not the device's"
        )
