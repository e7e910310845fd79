# SPDX-License-Identifier: GPL-2.0-or-later
"""What the root holds as numbers, and telling a leak from noise."""

from __future__ import annotations

import pytest

from lab.root.leaks import USED, growing, parse_count, parse_kmemleak

LOOK = """=== slabinfo
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize>
kmalloc-512          732    740    512   16    2 : tunables    0    0    0 : slabdata     47     47      0
=== vmallocinfo
0xffffc90000000000-0xffffc90000005000   20480 mshv_region_create+0x41/0x120 pages=4 vmalloc N0=4
0xffffc90000008000-0xffffc9000000d000   20480 mshv_region_create+0x41/0x120 pages=4 vmalloc N0=4
0xffffc9000000e000-0xffffc90000010000    8192 unpurged vm_area
=== meminfo
MemTotal:        1000 kB
MemFree:          600 kB
=== files
46	0	9223372036854775807
=== fds 1
3
=== fds 77
6
=== refcnt
=== page_owner
 get_page_from_freelist+0x12/0x30
 hv_call_deposit_pages+0xa3/0x240
 mshv_ioctl_create_partition+0x33/0x90
nr_base_pages: 12

 get_page_from_freelist+0x12/0x30
 shmem_fault+0x1/0x2
nr_base_pages: 100

"""


def test_a_look_is_read() -> None:
    assert parse_count(LOOK) == {
        "slab kmalloc-512": 732,
        "vmalloc mshv_region_create": 2,
        "used pages": 100,
        "open files": 46,
        "fds of init": 3,
        "fds of the VMM": 6,
        "pages of hv_call_deposit_pages <- mshv_ioctl_create_partition": 12,
    }


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("slab kmalloc-512", [100, 140, 180, 220]),
        ("slab kmalloc-32", [128, 128, 256, 256, 384, 384]),
        ("vmalloc mshv_region_create", [0, 40, 80, 120]),
        (USED, [1000, 3000, 5000, 7000]),
        ("slab kmalloc-8", [700, 740, 840, 820, 860, 900]),
    ],
)
def test_a_leak_of_every_round_is_told(name: str, values: list[int]) -> None:
    [line] = growing([{name: value} for value in values], rounds=40)
    assert line.startswith(f"{name}: {values[0]} -> ")
    assert line.endswith(" a round")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("slab kmalloc-512", [732, 732, 732, 732]),
        ("slab kmalloc-512", [700, 760, 720, 790]),
        ("slab dentry", [700, 900, 900, 900]),
        ("slab kmalloc-8", [700, 800, 760, 860, 800, 880]),
        ("slab maple_node", [130, 174, 238, 250, 130, 302]),
        ("slab dentry", [700, 710, 720, 730]),
        ("slab vmap_area", [120, 240, 300, 420]),
        ("slab kmemleak_scan_area", [56, 96, 136, 175]),
        ("slab debug_objects_cache", [1408, 1408, 1440, 1440, 1520, 1520]),
        (USED, [11451, 11424, 12306, 11674]),
        (USED, [11451, 11500, 12306, 12693]),
    ],
)
def test_noise_is_no_leak(name: str, values: list[int]) -> None:
    assert growing([{name: value} for value in values], rounds=40) == []


def test_a_number_that_was_not_there_at_first_can_grow() -> None:
    assert growing([{}, {"x": 40}, {"x": 80}, {"x": 120}], rounds=40) != []


def test_two_looks_are_no_slope() -> None:
    with pytest.raises(ValueError, match="three looks"):
        growing([{}, {}], rounds=40)


def test_kmemleak_reports_of_the_driver_are_told() -> None:
    text = """unreferenced object 0xffff888101234000 (size 512):
  comm "mshv-vmm", pid 77, jiffies 4294940000
  hex dump (first 32 bytes):
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
  backtrace (crc 1234):
    __kmalloc_cache_noprof+0x2d4/0x330
    mshv_partition_ioctl_create_vp+0x9a/0x4a0
    __x64_sys_ioctl+0x93/0xd0
unreferenced object 0xffff888101235000 (size 64):
  comm "init", pid 1, jiffies 4294940000
  backtrace (crc 1234):
    kmemdup+0x2d4/0x330
    something_else+0x9a/0x4a0
"""
    [line] = parse_kmemleak(text)
    assert line.startswith("512 bytes: __kmalloc_cache_noprof <- mshv_partition_ioctl_create_vp")
    assert parse_kmemleak("") == []
