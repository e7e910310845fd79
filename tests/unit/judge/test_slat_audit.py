# SPDX-License-Identifier: GPL-2.0-or-later
"""The SLAT audit: every leaf explained by a live region, the right page behind it, nothing beyond."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lab.judge.slat import Region, audit, classes, clip, describe
from lab.model.ledger import SlatRun

BAR = (0xFEB00, 16)
MMIO = Region("mmio", 0x100000, 16, spa=0xFEB00, name="BAR2")
RAM = Region("ram", 0, 512, executable=True, name="RAM")


def run(gfn: int, spa: int, pages: int = 1, access: str = "rw", **more: int | bool) -> SlatRun:
    more.setdefault("uncached", gfn >= MMIO.gfn)
    return SlatRun(gfn, spa, pages, access, **more)  # type: ignore[arg-type]


def test_mapped_as_it_must_be_is_clean() -> None:
    runs = [run(0, 0x5000, 512, "rwx", level=2), run(0x100000, 0xFEB00, 16)]
    assert audit(runs, [MMIO, RAM], [BAR]) == []


def test_mapping_on_demand_may_be_partial() -> None:
    assert audit([run(0x100003, 0xFEB03)], [MMIO, RAM], [BAR]) == []


def test_wrong_page_behind_mmio_is_reported_with_the_right_one() -> None:
    assert audit([run(0x100000, 0x20000000, 4)], [MMIO], [BAR]) == [
        "GFN 0x100000..0x100003 (4) -> SPA 0x20000000..0x20000003 (4) rw 4K uncached: "
        "BAR2 at GFN 0x100000..0x10000f (16) must lead to SPA 0xfeb00..0xfeb03 (4)"
    ]


def test_shifted_page_is_reported() -> None:
    assert audit([run(0x100000, 0xFEB00, 2), run(0x100002, 0xFEB03)], [MMIO], [BAR]) != []


def test_pages_beyond_the_region_are_reported() -> None:
    [problem] = audit([run(0x100000, 0xFEB00, 18)], [MMIO], [BAR])
    assert problem.startswith("GFN 0x100010..0x100011 (2) -> SPA 0xfeb10..0xfeb11 (2)")
    assert problem.endswith("no live region explains it")


def test_what_is_left_after_removal_is_reported() -> None:
    assert len(audit([run(0x100000, 0xFEB00, 16), run(0, 0x5000, 512)], [], [])) == 2
    assert audit([], [], []) == []


def test_frames_without_access_that_no_region_explains_are_reported() -> None:
    assert audit([SlatRun(0x300, 0, 4, "", no_access=True)], [], []) == [
        "GFN 0x300..0x303 (4) no access: no live region explains it"
    ]
    assert audit([SlatRun(0x100000, 0, 4, "", no_access=True)], [MMIO], [BAR]) == []


def test_ram_that_leads_into_the_device_is_reported() -> None:
    [problem] = audit([run(0x10, 0xFEAFF, 2)], [RAM], [BAR])
    assert "leads into the device" in problem


def test_mmio_of_any_page_must_stay_inside_the_device() -> None:
    anywhere = Region("mmio", 0x100000, 16)
    assert audit([run(0x100000, 0xFEB08, 8)], [anywhere], [BAR]) == []
    assert "outside every device" in audit([run(0x100000, 0xFEB09, 8)], [anywhere], [BAR])[0]
    assert "outside every device" in audit([run(0x100000, 0)], [anywhere], [])[0]


def test_access_beyond_what_the_region_grants_is_reported() -> None:
    read_only = Region("mmio", 0x100000, 16, spa=0xFEB00, writable=False)
    assert "writable, but" in audit([run(0x100000, 0xFEB00)], [read_only], [BAR])[0]
    assert audit([run(0x100000, 0xFEB00, 1, "r")], [read_only], [BAR]) == []
    assert "executable, but" in audit([run(0x100000, 0xFEB00, 1, "rwx")], [MMIO], [BAR])[0]


def test_a_cached_device_and_uncached_ram_are_reported() -> None:
    [cached] = audit([run(0x100000, 0xFEB00, uncached=False)], [MMIO], [BAR])
    assert cached.endswith("cached, but BAR2 at GFN 0x100000..0x10000f (16) is a device")
    [slow] = audit([run(0x10, 0x5000, uncached=True)], [RAM])
    assert slow.endswith("not cached, but RAM at GFN 0x0..0x1ff (512) is RAM")
    assert classes([cached]) == "a device that is cached"
    assert classes([slow]) == "RAM that is not cached"


def test_ram_must_be_the_page_that_the_root_has_there() -> None:
    known = Region("ram", 0, 512, executable=True, behind=((0, 4, 0x5000), (8, 1, 0x7777)))
    assert audit([run(0, 0x5000, 4), run(8, 0x7777), run(9, 0x1234)], [known]) == []
    [problem] = audit([run(0, 0x5000, 16)], [known])
    assert problem.startswith("GFN 0x8 -> SPA 0x5008")
    assert "the root has SPA 0x7777 there" in problem
    large = Region("ram", 0, 512, executable=True, behind=((0, 512, 0x4000),))
    assert audit([run(0, 0x4000, 512, level=2)], [large]) == []
    assert audit([run(0, 0x4200, 512, level=2)], [large]) != []


def test_a_device_is_out_of_reach_once_its_host_mapping_is_gone() -> None:
    gone = Region("mmio", 0x100000, 16, gone=True, name="BAR2")
    [problem] = audit([run(0x100000, 0xFEB00, 16)], [gone], [BAR])
    assert classes([problem]) == "a device behind a host mapping that is gone"
    assert audit([SlatRun(0x100000, 0, 16, "", no_access=True)], [gone]) == []


def test_overlay_pages_are_the_hypervisors_own() -> None:
    assert audit([run(0x10, 0x9999, overlay=True)], []) == []
    assert audit([run(0x10, 0x9999)], []) != []


def test_every_kind_of_problem_has_a_name() -> None:
    read_only = Region("mmio", 0x100000, 16, spa=0xFEB00, writable=False)
    for problems in (
        audit([run(0x200000, 0)], [MMIO]),
        audit([run(0x100000, 0)], [MMIO]),
        audit([run(0x100000, 0)], [Region("mmio", 0x100000, 16)], [BAR]),
        audit([run(0x10, 0xFEB00)], [RAM], [BAR]),
        audit([run(0x100000, 0xFEB00)], [read_only]),
        audit([run(0x100000, 0xFEB00, 1, "rx")], [MMIO]),
    ):
        assert len(problems) == 1
        assert classes(problems), problems


def test_one_run_over_two_regions_is_cut() -> None:
    second = Region("mmio", 0x100010, 16, spa=0xFEC00)
    problems = audit([run(0x100000, 0xFEB00, 32)], [second, MMIO], [BAR, (0xFEC00, 16)])
    assert len(problems) == 1
    assert problems[0].startswith("GFN 0x100010..0x10001f (16) -> SPA 0xfeb10")


def test_clip_keeps_the_part_inside_and_its_pages() -> None:
    runs = [run(0x10, 0x500, 8), run(0x30, 0x700), SlatRun(0x12, 0, 4, "", no_access=True)]
    assert clip(runs, range(0x12, 0x14)) == [run(0x12, 0x502, 2), SlatRun(0x12, 0, 2, "", no_access=True)]
    assert clip(runs, range(0)) == []


def test_describe() -> None:
    assert (
        describe(run(0x10, 0x500, 512, "rwx", level=2))
        == "GFN 0x10..0x20f (512) -> SPA 0x500..0x6ff (512) rwx 2M"
    )


frames = st.integers(0, 40)


@given(
    st.lists(st.tuples(frames, frames, st.integers(1, 6)), max_size=6),
    st.lists(st.tuples(frames, frames, st.integers(1, 6)), max_size=4),
)
def test_audit_agrees_with_a_look_at_every_single_frame(
    leaves: list[tuple[int, int, int]], areas: list[tuple[int, int, int]]
) -> None:
    regions = []
    taken: set[int] = set()
    for gfn, spa, pages in areas:
        if taken.isdisjoint(range(gfn, gfn + pages)):
            taken.update(range(gfn, gfn + pages))
            regions.append(Region("mmio", gfn, pages, spa=spa))
    wanted = {r.gfn + i: (r.spa or 0) + i for r in regions for i in range(r.pages)}
    wrong = any(wanted.get(gfn + i) != spa + i for gfn, spa, pages in leaves for i in range(pages))
    assert bool(audit([run(*leaf, uncached=True) for leaf in leaves], regions)) == wrong
