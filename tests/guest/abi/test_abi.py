# SPDX-License-Identifier: GPL-2.0-or-later
"""Our numbers, sizes and offsets against the headers of the kernel that the lab tests by default."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from lab import paths
from lab.child import abi as child_abi
from lab.hypervisor import abi as hypervisor_abi
from lab.progress import NullProgress
from lab.validate.kernels import Selectors, fetch, open_cache, read_series


@pytest.fixture(scope="module")
def tree() -> Path:
    """The source of the default base, fetched by the lab itself."""
    series = read_series(Selectors(series=str(paths.tests_dir() / "series" / "mmio-on-demand")))
    return fetch(Selectors(), series, open_cache(), NullProgress()).tree


def test_stand_in_agrees_with_the_kernel(tree: Path) -> None:
    assert hypervisor_abi.check_abi(tree) == []


def test_vmm_agrees_with_the_kernel(tree: Path) -> None:
    assert child_abi.check_abi(tree) == []


def mutated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: object, header: str, name: str) -> None:
    """Let a check use a copy of our images in which the number ``name`` is one more than it is."""
    images = tmp_path / "images"
    shutil.copytree(paths.images_dir(), images)
    file = images / header
    line = re.compile(rf"^(\s*#define\s+{name}\s+)(0x[0-9a-fA-F]+)", re.MULTILINE)
    text, count = line.subn(lambda m: f"{m[1]}{int(m[2], 16) + 1:#x}", file.read_text())
    assert count == 1, f"{name} is not in {header}"
    file.write_text(text)
    monkeypatch.setattr(module, "images_dir", lambda: images)


@pytest.mark.parametrize("name", ["HC_MAP_GPA_PAGES", "HC_DEPOSIT_MEMORY", "ST_INSUFFICIENT_MEMORY"])
def test_wrong_number_in_the_stand_in_is_reported(
    tree: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    mutated(monkeypatch, tmp_path, hypervisor_abi, "hypervisor/abi.h", name)
    problems = hypervisor_abi.check_abi(tree)
    assert len(problems) == 1 and name.split("_", 1)[1] in problems[0], problems


@pytest.mark.parametrize(
    "name", ["ABI_CALL_GET_REGISTERS", "ABI_MEMORY_UNMAP", "ABI_MSG_UNMAPPED_GPA", "ABI_MAGIC"]
)
def test_wrong_number_in_the_vmm_is_reported(
    tree: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    mutated(monkeypatch, tmp_path, child_abi, "vmm/mshv_abi.h", name)
    assert child_abi.check_abi(tree) != []


def test_vmm_and_stand_in_mean_the_same_registers() -> None:
    """The kernel passes register numbers through without naming them: our two halves must agree."""

    def numbers(header: str, prefix: str) -> dict[str, int]:
        text = (paths.images_dir() / header).read_text()
        found = re.findall(rf"^#define\s+{prefix}(\w+)\s+(0x[0-9a-fA-F]+)u?\b", text, re.MULTILINE)
        return {name: int(value, 16) for name, value in found}

    vmm, stand_in = numbers("vmm/mshv_abi.h", "ABI_REG_"), numbers("hypervisor/abi.h", "REG_")
    # The stand-in names the first of a row only.
    for first, row in {"RAX": "RAX RCX RDX RBX RSP RBP RSI RDI", "ES": "ES CS SS DS FS GS LDTR TR"}.items():
        stand_in |= {name: stand_in[first] + i for i, name in enumerate(row.split())}
    common = vmm.keys() & stand_in.keys()
    assert vmm.keys() - common == {"PENDING_EVENT"}, "a register that the stand-in calls otherwise"
    assert {n: hex(vmm[n]) for n in common} == {n: hex(stand_in[n]) for n in common}


def test_changed_kernel_header_is_reported(tree: Path, tmp_path: Path) -> None:
    """The other side: a kernel that renumbers a call or widens a structure is found out."""
    for part in ("include/hyperv", "include/uapi/linux"):
        shutil.copytree(tree / part, tmp_path / part)
    header = tmp_path / "include/hyperv/hvgdk_mini.h"
    old = header.read_text()
    new, count = re.subn(r"(#define HVCALL_MAP_GPA_PAGES\s+)0x\w+", r"\g<1>0x0777", old)
    assert count == 1
    header.write_text(new)
    assert any("MAP_GPA_PAGES" in p for p in hypervisor_abi.check_abi(tmp_path))
    header.write_text(old)
    uapi = tmp_path / "include/uapi/linux/mshv.h"
    text = uapi.read_text()
    assert text.count("struct mshv_create_vp {\n") == 1
    uapi.write_text(text.replace("struct mshv_create_vp {\n", "struct mshv_create_vp {\n\t__u64 one_more;\n"))
    assert child_abi.check_abi(tmp_path) != []
