# SPDX-License-Identifier: GPL-2.0-or-later
"""The audit after every scenario: what a VMM says of its regions, and which partition is whose."""

from __future__ import annotations

from lab.child.protocol import decode_live
from lab.model.ledger import SlatRun
from lab.pytest_plugin.audit import explained, match

RAM = "0x0;256;rwx;ram;-;0+2@0x5000,4+252@0x6000"
BAR = "0x100000;16;rw;vfio;0xfeb00;-"


def leaf(gfn: int, spa: int, pages: int = 1, access: str = "rwx") -> SlatRun:
    return SlatRun(gfn, spa, pages, access, uncached=gfn >= 0x100000)


def test_live_regions_are_decoded() -> None:
    ram, bar = decode_live(RAM), decode_live(BAR)
    assert (ram.kind, ram.gfn, ram.pages, ram.executable) == ("ram", 0, 256, True)
    assert ram.behind == ((0, 2, 0x5000), (4, 252, 0x6000))
    assert (bar.device, bar.spa, bar.gone, bar.behind) == (True, 0xFEB00, False, ())
    gone = decode_live("0x100000;16;rw;vfio-gone;-;-")
    assert (gone.kind, gone.gone, gone.spa) == ("vfio", True, None)


def test_what_a_vmm_has_explains_its_slat() -> None:
    regions = explained([decode_live(RAM), decode_live(BAR)])
    good = [leaf(0, 0x5000, 2), leaf(4, 0x6000, 252), leaf(0x100000, 0xFEB00, 16, "rw")]
    assert match([good], [regions]) == []
    assert match([[leaf(0, 0x5001)]], [regions]) != []
    assert match([[leaf(0x100000, 0xFEB01, 1, "rw")]], [regions]) != []


def test_a_device_that_is_gone_explains_nothing() -> None:
    regions = explained([decode_live("0x100000;16;rw;vfio;-;-")])
    assert match([[leaf(0x100000, 0xFEB00, 16, "rw")]], [regions]) != []


def test_every_partition_is_judged_by_the_vmm_that_explains_it() -> None:
    one = explained([decode_live("0x0;4;rwx;ram;-;0+4@0x5000")])
    two = explained([decode_live("0x0;4;rwx;ram;-;0+4@0x7000")])
    slats = [[leaf(0, 0x7000, 4)], [leaf(0, 0x5000, 4)]]
    assert match(slats, [one, two]) == []
    assert match([[leaf(0, 0x7000, 4)], [leaf(0, 0x5000, 3), leaf(3, 0x9000)]], [one, two]) != []


def test_a_partition_of_another_program_is_not_judged() -> None:
    one = explained([decode_live("0x0;4;rwx;ram;-;0+4@0x5000")])
    assert match([[leaf(0, 0x5000, 4)], [leaf(0, 0x9000, 4)]], [one]) == []
    assert match([], [one]) == []
