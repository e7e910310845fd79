# SPDX-License-Identifier: GPL-2.0-or-later
"""A tiny "kernel": the make interface of the real one, three C files, one second."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.build.sandbox import Sandbox, probe
from lab.hashing import digest, tree_digest
from lab.model.kernel import AppliedSeries, Flavour, KernelSource, SourceLock
from lab.model.series import KernelVersion

MAKEFILE = """\
VERSION = 7
PATCHLEVEL = 3
SUBLEVEL = 4
S := $(CURDIR)
objs := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard drivers/*/*.c init.c)))
allnoconfig:
\t@cp $(KCONFIG_ALLCONFIG) $(O)/.config
bzImage: $(objs)
\t@mkdir -p $(O)/arch/x86/boot $(O)/include/config
\t@ld -r -o $(O)/vmlinux $(objs)
\t@nm $(O)/vmlinux > $(O)/System.map
\t@cp $(O)/vmlinux $(O)/arch/x86/boot/bzImage
\t@echo 7.3.4-tiny > $(O)/include/config/kernel.release
$(O)/%.o: %.c
\t@echo "  CC      $*.o"
\t@mkdir -p $(dir $@)
\t@gcc -MD -I$(S)/include -c -o $@ $(S)/$<
-include $(objs:.o=.d)
"""

FILES = {
    "Makefile": MAKEFILE,
    "Kbuild": "",
    "Kconfig": "config HYPERV\nconfig MSHV_ROOT\nconfig VFIO\nconfig VFIO_PCI\nconfig VFIO_NOIOMMU\n",
    "init.c": "int init;\n",
    "include/hv.h": "#define HV 1\n",
    "include/linux/other.h": "#define OTHER 1\n",
    "drivers/hv/a.c": '#include "hv.h"\nint a = HV;\n',
    "drivers/hv/b.c": '#include "linux/other.h"\nint b = OTHER;\n',
    "drivers/net/n.c": "int n;\n",
}

WANTED = "CONFIG_HYPERV=y\nCONFIG_MSHV_ROOT=y\nCONFIG_VFIO=y\nCONFIG_VFIO_PCI=y\nCONFIG_VFIO_NOIOMMU=y\n"


@pytest.fixture
def source(tmp_path: Path) -> KernelSource:
    """The tiny kernel's pristine source; its files are an hour old."""
    tree = tmp_path / "pristine"
    for name, text in FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    for path in [tree, *tree.rglob("*")]:
        os.utime(path, (time.time() - 3600, time.time() - 3600))
    lock = SourceLock("tarball", "tiny.tar", "", "0")
    return KernelSource(KernelVersion(7, 3, 4), tree, tree_digest(tree), lock)


@pytest.fixture
def tiny_flavour(tmp_path: Path) -> Flavour:
    """The flavour that the tiny kernel knows."""
    fragment = tmp_path / "tiny.config"
    fragment.write_text(WANTED)
    return Flavour("tiny", (fragment,))


@pytest.fixture
def patch(tmp_path: Path) -> Callable[..., AppliedSeries]:
    """Make an applied series out of file contents (None: deleted). Its files are an hour old."""

    def make(files: dict[str, str | None], subject: str = "hv: change things") -> AppliedSeries:
        key = digest("test", *(f"{k}={v}" for k, v in files.items()))
        overlay = tmp_path / f"overlay-{key}"
        for name, text in files.items():
            (overlay / name).parent.mkdir(parents=True, exist_ok=True)
            if text is not None:
                (overlay / name).write_text(text)
                os.utime(overlay / name, (time.time() - 7200, time.time() - 7200))
        return AppliedSeries(
            key=key,
            overlay=overlay,
            repo=tmp_path,
            files=tuple(n for n, t in files.items() if t is not None),
            deleted=tuple(n for n, t in files.items() if t is None),
            last_patch=dict.fromkeys(files, subject),
        )

    return make


@pytest.fixture
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    """bubblewrap where this machine lets it work; a test can ask for "none" by indirect parameter."""
    wanted = getattr(request, "param", None)
    found = probe()
    if wanted == "bubblewrap" and found is None:
        pytest.skip("bubblewrap does not work on this machine")
    return Sandbox("none") if wanted == "none" or found is None else found
