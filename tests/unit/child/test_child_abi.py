# SPDX-License-Identifier: GPL-2.0-or-later
"""Our ABI header against a kernel tree: needs one, named by HVLAB_TEST_KERNEL_TREE."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lab.child.abi import check_abi
from lab.model.errors import LabUnavailable

TREE = os.environ.get("HVLAB_TEST_KERNEL_TREE", "")
needs_tree = pytest.mark.skipif(not TREE, reason="HVLAB_TEST_KERNEL_TREE names no kernel tree")


def test_tree_without_the_headers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabUnavailable, match=r"6\.15 or newer"):
        check_abi(tmp_path)


@needs_tree
def test_our_numbers_are_the_kernels() -> None:
    assert check_abi(Path(TREE)) == []


@needs_tree
@pytest.mark.parametrize(
    ("header", "old", "new", "named"),
    [
        ("uapi/linux/mshv.h", "__u64 guest_pfn;", "__u32 guest_pfn;", "abi_memory.gfn size"),
        ("uapi/linux/mshv.h", "MSHV_IOCTL	0xB8", "MSHV_IOCTL	0xB9", "run"),
        ("hyperv/hvhdk.h", "u8 tpr_priority;", "u64 tpr_priority;", "abi_memory_intercept.gpa"),
        ("hyperv/hvgdk_mini.h", "= 0x80000001,", "= 0x80000002,", "GPA intercept"),
    ],
)
def test_changed_kernel_header_is_named(tmp_path: Path, header: str, old: str, new: str, named: str) -> None:
    include = Path(TREE) / "include"
    for part in ("uapi/linux/mshv.h", "hyperv"):
        place = tmp_path / "include" / part
        place.parent.mkdir(parents=True, exist_ok=True)
        if (include / part).is_dir():
            shutil.copytree(include / part, place)
        else:
            shutil.copy(include / part, place)
    changed = tmp_path / "include" / header
    text = changed.read_text()
    assert old in text
    changed.chmod(0o644)
    changed.write_text(text.replace(old, new))
    assert named in check_abi(tmp_path)
