# SPDX-License-Identifier: GPL-2.0-or-later
"""The allow-list explains one complaint and nothing beside it, and every entry says why."""

import pytest

from lab import paths
from lab.build.flavours import load as load_flavours
from lab.judge import allow
from lab.judge.splats import parse
from lab.model.errors import BadInput
from lab.model.series import KernelVersion

V = KernelVersion(7, 3, 4)
ENTRY = """
[[allow]]
class = "kcsan"
functions = ["lapic_cal_handler", "setup_boot_APIC_clock"]
flavours = ["kcsan"]
fits = "7.3"
why = "boot code that polls a counter which the timer interrupt of the same CPU writes"
"""


def race(left, right):
    return [
        "[    1.000001] ==================================================================",
        f"[    1.000002] BUG: KCSAN: data-race in {left} / {right}",
        "[    1.000003] ",
        "[    1.000004] write to 0xffffffff82f00008 of 8 bytes by interrupt on cpu 0:",
        f"[    1.000005]  {left}+0x5a/0x130",
        "[    1.000006] ",
        "[    1.000007] read to 0xffffffff82f00008 of 8 bytes by task 1 on cpu 0:",
        f"[    1.000008]  {right}+0x2b1/0x8e0",
        "[    1.000009] ",
        "[    1.000010] Reported by Kernel Concurrency Sanitizer on:",
        "[    1.000011] CPU: 0 UID: 0 PID: 1 Comm: swapper/0 Not tainted 7.3.4-hvlab #1",
        "[    1.000012] ==================================================================",
    ]


def splat(*sides):
    (found,) = parse(race(*sides))
    return found


def explained(*sides, flavour="kcsan", version=V, text=ENTRY):
    return allow.explains(allow.parse_table(text, "t"), splat(*sides), flavour, version) is not None


def test_race_is_explained_whichever_side_is_told_first():
    assert explained("lapic_cal_handler", "setup_boot_APIC_clock")
    assert explained("setup_boot_APIC_clock", "lapic_cal_handler")


@pytest.mark.parametrize(
    ("sides", "flavour", "version"),
    [
        (("lapic_cal_handler", "mshv_isr"), "kcsan", V),
        (("lapic_cal_handler", "lapic_cal_handler"), "kcsan", V),
        (("lapic_cal_handler", "setup_boot_APIC_clock"), "debug", V),
        (("lapic_cal_handler", "setup_boot_APIC_clock"), "kcsan", KernelVersion(7, 4)),
    ],
)
def test_nothing_else_is_explained(sides, flavour, version):
    assert not explained(*sides, flavour=flavour, version=version)


def test_report_that_is_cut_short_is_never_explained():
    (cut,) = parse(race("lapic_cal_handler", "setup_boot_APIC_clock")[:4])
    assert cut.corrupted
    assert allow.explains(allow.parse_table(ENTRY, "t"), cut, "kcsan", V) is None


def test_other_classes_match_by_title_and_frames():
    text = ENTRY.replace('"kcsan"\nfunctions', '"warning"\nfunctions').replace(
        '["lapic_cal_handler", "setup_boot_APIC_clock"]', '["inner", "outer"]'
    )
    log = [
        "[    1.000001] WARNING: CPU: 0 PID: 7 at kernel/x.c:1 inner+0x1/0x2",
        "[    1.000002] Call Trace:",
        "[    1.000003]  <TASK>",
        "[    1.000004]  middle+0x1/0x2",
        "[    1.000005]  outer+0x1/0x2",
        "[    1.000006]  </TASK>",
        "[    1.000007] ---[ end trace 0000000000000000 ]---",
    ]
    (found,) = parse(log)
    entries = allow.parse_table(text, "t")
    assert allow.explains(entries, found, "kcsan", V) is entries[0]
    (other,) = parse([line.replace("outer", "other") for line in log])
    assert allow.explains(entries, other, "kcsan", V) is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("functions =", "function =", "unknown key 'function'"),
        ('class = "kcsan"', 'class = "kscan"', "unknown class 'kscan'"),
        ('why = "boot code that polls', 'why = "fine"\n#', "no justification"),
        ('fits = "7.3"\n', "", "fits is missing"),
        ('fits = "7.3"', 'fits = "new"', "not a kernel version range"),
        ('["kcsan"]', '"kcsan"', "flavours must be a list"),
        ('["lapic_cal_handler", "setup_boot_APIC_clock"]', "[]", "an entry has functions, or"),
        ("[[allow]]", "[[allowed]]", "unknown key 'allowed'"),
        ("[[allow]]", "[[allow]", "not an allow-list"),
    ],
)
def test_damaged_entry_is_refused(old, new, said):
    assert old in ENTRY
    with pytest.raises(BadInput, match=said.replace("[", r"\[")):
        allow.parse_table(ENTRY.replace(old, new, 1), "allow.toml")


def test_two_entries_for_one_complaint_are_refused():
    with pytest.raises(BadInput, match="two entries"):
        allow.parse_table(ENTRY + ENTRY, "allow.toml")


def test_entries_that_nothing_asked_for_are_named():
    entries = allow.parse_table(ENTRY, "t")
    name = "kcsan: lapic_cal_handler / setup_boot_APIC_clock"
    assert allow.unused(entries, (), ("kcsan", "plain")) == (name,)
    assert allow.unused(entries, (name,), ("kcsan",)) == ()
    assert allow.unused(entries, (), ("plain",)) == (), "no run could have asked for it"


def test_the_labs_own_list_is_sound():
    folder = paths.images_dir() / "kernel"
    entries = allow.parse_table((folder / "allow.toml").read_text(), "allow.toml")
    known = set(load_flavours(folder / "flavours.toml"))
    assert entries and all(set(e.flavours) <= known for e in entries)


def test_race_of_one_of_the_functions_with_another_one_below_it_is_not_explained():
    lines = race("lapic_cal_handler", "mshv_isr")
    lines.insert(8, "[    1.000008]  setup_boot_APIC_clock+0x2b1/0x8e0")
    (found,) = parse(lines)
    assert allow.explains(allow.parse_table(ENTRY, "t"), found, "kcsan", V) is None


ELSEWHERE = ENTRY.replace(
    'functions = ["lapic_cal_handler", "setup_boot_APIC_clock"]', 'without = ["mshv", "vfio"]'
)


@pytest.mark.parametrize(
    ("sides", "allowed"),
    [
        (("virtqueue_kick", "vring_interrupt"), True),
        (("virtqueue_kick", "mshv_isr"), False),
        (("vfio_pci_mmap", "zap_vma"), False),
    ],
)
def test_race_elsewhere_is_explained_and_one_of_what_is_tested_is_not(sides, allowed):
    entries = allow.parse_table(ELSEWHERE, "t")
    assert (allow.explains(entries, splat(*sides), "kcsan", V) is not None) == allowed


def test_race_elsewhere_that_the_driver_has_called_for_is_not_explained():
    lines = race("virtqueue_kick", "lru_add")
    lines.insert(9, "[    1.000008]  mshv_region_pin+0x2b1/0x8e0 [mshv_root]")
    (found,) = parse(lines)
    assert allow.explains(allow.parse_table(ELSEWHERE, "t"), found, "kcsan", V) is None


@pytest.mark.parametrize("line", ["", 'functions = ["f"]\nwithout = ["mshv"]'])
def test_entry_names_functions_or_what_must_not_be_there(line):
    text = ENTRY.replace('functions = ["lapic_cal_handler", "setup_boot_APIC_clock"]', line)
    with pytest.raises(BadInput, match="functions, or"):
        allow.parse_table(text, "t")


def test_without_is_for_data_races_alone():
    with pytest.raises(BadInput, match="kcsan alone"):
        allow.parse_table(ELSEWHERE.replace('"kcsan"', '"warning"', 1), "t")


def stacks(left, right):
    """A report with these two stacks, innermost function first."""
    lines = race(left[0], right[0])
    for at, names in ((8, right), (5, left)):
        lines[at:at] = [f"[    1.00000{at - 1}]  {name}+0x5a/0x130" for name in names[1:]]
    (found,) = parse(lines)
    assert not found.corrupted
    return found


@pytest.mark.parametrize(
    ("stack", "allowed"),
    [
        (("tick", "asm_sysvec_apic_timer_interrupt", "mshv_vp_ioctl"), True),
        (("mshv_isr", "asm_sysvec_hyperv_callback", "schedule"), False),
        (("copy", "asm_exc_page_fault", "mshv_vp_ioctl"), False),
    ],
)
def test_what_an_interrupt_came_upon_is_no_part_of_the_race(stack, allowed):
    entries = allow.parse_table(ELSEWHERE, "t")
    assert (allow.explains(entries, stacks(stack, ("wait",)), "kcsan", V) is not None) == allowed
    assert (allow.explains(entries, stacks(("wait",), stack), "kcsan", V) is not None) == allowed


UNDER = ELSEWHERE.replace("without", 'under = ["handle_mm_fault"]\nwithout').replace(', "vfio"', "")
FAULT = ("pmd_install", "insert_pfn", "vfio_fault", "handle_mm_fault", "mshv_mmio_map")


@pytest.mark.parametrize(
    ("other", "allowed"),
    [
        (("__do_fault", "handle_mm_fault", "mshv_mmio_map"), True),
        (("__do_fault", "handle_mm_fault", "asm_exc_page_fault"), True),
        (("zap_pmd", "munmap"), False),
        (("mshv_invalidate", "wp_page", "handle_mm_fault"), False),
        (("wp_page", "mshv_invalidate", "handle_mm_fault"), False),
    ],
)
def test_race_of_two_page_faults_is_explained_where_both_are_and_the_driver_is_not_in_one(other, allowed):
    entries = allow.parse_table(UNDER, "t")
    assert (allow.explains(entries, stacks(FAULT, other), "kcsan", V) is not None) == allowed


def test_race_with_an_unknown_other_side_is_not_one_of_two_page_faults():
    lines = race("x", "pmd_install")
    del lines[3:6]
    lines.insert(5, "[    1.000008]  handle_mm_fault+0x1/0x2")
    (found,) = parse([line.replace("x / ", "") for line in lines])
    assert allow.explains(allow.parse_table(UNDER, "t"), found, "kcsan", V) is None


def test_under_alone_says_nothing():
    with pytest.raises(BadInput, match="under with it"):
        allow.parse_table(ENTRY.replace("functions", 'under = ["f"]\nfunctions'), "t")
