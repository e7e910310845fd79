# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference machine: the root runs the child with KVM, and what cannot be seen there is said."""

from __future__ import annotations

import json

import pytest

BASE_TIMEOUT = 1800.0

SCENARIOS = "munmap_under or two_vps_first or removed_region_leaves or half_way"


@pytest.fixture
def up(shared_hvlab):
    done = shared_hvlab("up", "--machine", "kvm-root", "--name", "kvm", "--json", timeout=BASE_TIMEOUT)
    yield done.json
    shared_hvlab("down", "--name", "kvm")


def test_child_under_kvm_reads_and_writes_the_device(shared_hvlab, up):
    windows = {w["device"]: w for w in up["windows"]}
    assert windows["ivshmem0"]["gpa"] is not None and windows["edu0"]["gpa"] is not None, windows
    shared_hvlab("mmio", "write", "--name", "kvm", "--width", "4", "0x5008", "0xc0ffee")
    read = shared_hvlab("mmio", "read", "--name", "kvm", "--width", "4", "--json", "0x5008")
    assert [entry["value"] for entry in read.json] == [0xC0FFEE]
    edu = shared_hvlab("mmio", "read", "--name", "kvm", "--device", "edu", "--width", "4", "--json", "0")
    assert edu.json[0]["value"] == 0x010000ED, "edu's identification"


@pytest.mark.parametrize("verb", ["ledger", "slat"])
def test_ledger_and_slat_say_that_kvm_has_none(shared_hvlab, up, verb):
    done = shared_hvlab(verb, "--name", "kvm", expect=2)
    assert "machine kvm-root has KVM in place of the stand-in" in done.err


def test_mmio_on_a_bare_machine_names_the_missing_hypervisor(shared_hvlab):
    shared_hvlab("up", "--machine", "bare-root", "--name", "bare", timeout=BASE_TIMEOUT)
    try:
        done = shared_hvlab("mmio", "read", "--name", "bare", "0x0", expect=2)
    finally:
        shared_hvlab("down", "--name", "bare")
    assert "machine bare-root runs no child: it has no hypervisor" in done.err


def test_stock_kernel_differs_from_kvm_where_mshv_is_wrong_and_nowhere_else(shared_hvlab, tmp_path):
    done = shared_hvlab(
        "compare", "--stock", "-k", SCENARIOS, "--out", tmp_path, "--json", expect=1, timeout=BASE_TIMEOUT
    )
    words = {
        row["id"]: {cell["machine"]: cell["word"].rstrip("*") for cell in row["cells"]}
        for row in done.json["scenarios"]
    }
    assert words["munmap_under_a_live_region_takes_the_mapping_away[devmem]"] == {
        "mshv-root": "FAIL",
        "kvm-root": "pass",
    }
    removed = "removed_region_leaves_no_slat_entry"
    assert words[f"{removed}[devmem]"] == {"mshv-root": "FAIL", "kvm-root": "pass"}
    assert words[f"{removed}[vfio]"] == {"mshv-root": "-", "kvm-root": "pass"}, "no region on mshv-root: C16"
    assert words["two_vps_first_touching_one_page_both_read_it"] == {"mshv-root": "-", "kvm-root": "pass"}
    assert words["map_refused_half_way_leaves_only_right_pages[1]"] == {
        "mshv-root": "-",
        "kvm-root": "unseen",
    }
    kvm = done.json["machines"][1]["kernels"][0]
    assert {p["name"] for p in kvm["detectors"] if p["fired"]} == {"warn", "hung-task", "panic"}
    assert json.loads((tmp_path / "comparison.json").read_text()) == done.json
