# SPDX-License-Identifier: GPL-2.0-or-later
"""When the module alone is enough, and when a module does not belong to its kernel."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab.build import elf
from lab.build.modscope import boot_hooks, module_sources, outside, own_headers
from lab.build.module import (
    NotAsModule,
    can_build_module_only,
    check_module,
    keep_module_kit,
    read_symbols,
    start_from_last,
)
from lab.cache import Cache
from lab.hashing import file_sha256
from lab.model.kernel import AppliedSeries, KernelImage, KernelSource

MAKEFILE = """\
obj-$(CONFIG_HYPERV_VMBUS)\t+= hv_vmbus.o
obj-$(CONFIG_MSHV_ROOT)\t\t+= mshv_root.o
hv_vmbus-y := vmbus_drv.o
mshv_root-y := mshv_root_main.o mshv_synic.o \\
\t       mshv_regions.o
mshv_root-$(CONFIG_DEBUG_FS) += mshv_debugfs.o
obj-$(CONFIG_HYPERV) += hv_common.o
obj-y += mshv_common.o
"""

HV = {
    "Makefile": MAKEFILE,
    "mshv_root_main.c": '#include "mshv.h"\n#include "mshv_root.h"\nmodule_init(x);\n',
    "mshv_synic.c": '#include "mshv.h"\n',
    "mshv_regions.c": '#include "mshv_root.h"\n__setup("old", f);\n',
    "mshv_debugfs.c": '#include "mshv_counters.c"\n',
    "mshv_counters.c": "int c;\n",
    "mshv_root.h": '#include "mshv_trace.h"\n',
    "mshv_trace.h": "\n",
    "mshv.h": "\n",
    "mshv_common.c": '#include "mshv.h"\n',
    "hv_common.c": "\n",
    "vmbus_drv.c": "\n",
}

Patch = Callable[..., AppliedSeries]


@pytest.fixture
def hv(source: KernelSource, tmp_path: Path) -> KernelSource:
    tree = tmp_path / "hv-tree"
    for name, text in HV.items():
        (tree / "drivers/hv" / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / "drivers/hv" / name).write_text(text)
    return replace(source, tree=tree)


def test_sources_and_headers_of_the_module_are_read_from_its_folder(hv: KernelSource) -> None:
    own = module_sources(MAKEFILE)
    assert own == {"mshv_root_main.c", "mshv_synic.c", "mshv_regions.c", "mshv_debugfs.c"}
    headers = own_headers(hv.tree / "drivers/hv", own)
    assert headers == {"mshv_root.h", "mshv_trace.h", "mshv_counters.c"}, (
        "mshv.h is part of built-in code too"
    )


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"drivers/hv/mshv_regions.c": "int x;\n"}, ""),
        ({"drivers/hv/mshv_trace.h": "int x;\n", "Documentation/x.rst": "doc\n"}, ""),
        ({"drivers/hv/mshv_regions.c": '#ifndef MODULE\n__setup("new", f);\n#endif\n'}, ""),
        ({"drivers/hv/mshv_regions.c": '__setup("old", f);\nint y;\n'}, ""),
        ({"drivers/hv/mshv_regions.c": '__setup("new", f);\n'}, "__setup"),
        ({"drivers/hv/mshv_synic.c": 'early_param("x", f);\n'}, "early_param"),
        ({"drivers/hv/mshv.h": "int x;\n"}, "drivers/hv/mshv.h is not only part"),
        ({"drivers/hv/hv_common.c": "int x;\n"}, "not only part of mshv_root"),
        ({"drivers/hv/Makefile": "x\n"}, "not only part of mshv_root"),
        ({"include/hyperv/hvhdk.h": "int x;\n"}, "not only part of mshv_root"),
        ({"drivers/hv/mshv_new.c": "int x;\n"}, "not only part of mshv_root"),
        ({"drivers/hv/mshv_trace.h": None}, "is removed"),
    ],
)
def test_a_series_inside_the_module_and_one_outside(
    hv: KernelSource, patch: Patch, files: dict[str, str | None], reason: str
) -> None:
    applied = patch(files)
    assert (reason in outside(hv, applied)) if reason else outside(hv, applied) == ""
    assert can_build_module_only(hv, applied) is (reason == "")


def test_boot_hooks_count_unless_modules_are_excluded() -> None:
    text = (
        '#ifdef CONFIG_X\n__setup("a", f);\n#endif\n'
        '#ifndef MODULE\n__setup("b", f);\n#else\n__setup("c", f);\n#endif\n'
        "#if !defined(MODULE) /* built in */\ncore_initcall(d);\n#endif\n"
        "module_init(e);\nmodule_param(g, bool, 0);\nlate_initcall(h);\n"
    )
    assert boot_hooks(text) == ['__setup("a", f);', '__setup("c", f);']


def module_file(tmp_path: Path, name: str, vermagic: str, symbols: dict[str, int]) -> Path:
    rows = "".join(f'{{ {crc:#x}, "{symbol}" }},' for symbol, crc in symbols.items())
    code = (
        'static const char info[] __attribute__((section(".modinfo"), used)) = '
        f'"name=m\\0vermagic={vermagic}";\n'
        "struct v { unsigned long crc; char name[56]; };\n"
        f'static const struct v versions[] __attribute__((section("__versions"), used)) = {{ {rows} }};\n'
    )
    path = tmp_path / name
    argv = ["gcc", "-x", "c", "-c", "-o", str(path), "-"]
    subprocess.run(argv, input=code.encode(), check=True, timeout=20)
    return path


def test_a_module_must_have_the_magic_and_the_checksums_of_its_base(tmp_path: Path) -> None:
    symbols = tmp_path / "Module.symvers"
    symbols.write_text(
        "0x0000abcd\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n0xfedcba98\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n"
    )
    good = {"kfree": 0xABCD, "printk": 0xFEDCBA98}
    base = module_file(tmp_path, "base.ko", "7.3.4-hvlab SMP", good)
    assert elf.modinfo(base) == {"name": "m", "vermagic": "7.3.4-hvlab SMP"}
    assert elf.checksums(base) == good == read_symbols(symbols)
    check_module(module_file(tmp_path, "same.ko", "7.3.4-hvlab SMP", good), base, symbols)
    for name, magic, imports, says in (
        ("magic.ko", "7.3.5 SMP", good, "version magic is '7.3.5 SMP'"),
        (
            "crc.ko",
            "7.3.4-hvlab SMP",
            {**good, "kfree": 0xABCE},
            "kfree has checksum 0x0000abce, the base has",
        ),
        ("unknown.ko", "7.3.4-hvlab SMP", {**good, "secret": 1}, "secret has checksum .* the base lacks it"),
        ("none.ko", "7.3.4-hvlab SMP", {}, "no symbol checksums"),
    ):
        with pytest.raises(NotAsModule, match=says):
            check_module(module_file(tmp_path, name, magic, imports), base, symbols)


def test_what_is_not_a_module_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("no")
    with pytest.raises(ValueError, match="not a 64-bit ELF"):
        elf.sections(tmp_path / "x")


def test_the_kit_for_modules_leaves_out_the_bulk(tmp_path: Path) -> None:
    obj, kit = tmp_path / "obj", tmp_path / "kit"
    for name in (
        "vmlinux",
        "vmlinux.o",
        "vmlinux.symvers",
        ".vmlinux.objs",
        "Module.symvers",
        ".config",
        "arch/x86/boot/bzImage",
        "kernel/bounds.s",
        "kernel/.bounds.s.cmd",
        "kernel/fork.o",
        "kernel/.fork.o.cmd",
        "include/generated/autoconf.h",
        "scripts/mod/modpost",
        "scripts/module-common.o",
        "drivers/hv/mshv_synic.o",
        "drivers/hv/.mshv_synic.o.cmd",
    ):
        (obj / name).parent.mkdir(parents=True, exist_ok=True)
        (obj / name).write_text(name)
    rows = ["0x1\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n", "0x2\town\tdrivers/hv/mshv_root\tEXPORT_SYMBOL\t\n"]
    (obj / "Module.symvers").write_text("".join(rows))
    (obj / "source").symlink_to("/src")
    os.utime(obj / "kernel", (1000, 1000))
    keep_module_kit(obj, kit)
    kept = sorted(str(p.relative_to(kit)) for p in kit.rglob("*") if not p.is_dir() or p.is_symlink())
    assert kept == [
        ".config",
        "Module.symvers",
        "drivers/hv/.mshv_synic.o.cmd",
        "drivers/hv/mshv_synic.o",
        "hvlab-modpost",
        "hvlab.symvers",
        "include/generated/autoconf.h",
        "kernel/.bounds.s.cmd",
        "kernel/bounds.s",
        "scripts/mod/modpost",
        "scripts/module-common.o",
        "source",
    ]
    assert (kit / "hvlab.symvers").read_text() == rows[0], "the module's own exports would be there twice"
    assert (kit / "hvlab-modpost").stat().st_mode & 0o111


def test_the_next_version_of_a_series_starts_from_the_objects_of_the_last(
    tmp_path: Path, patch: Patch
) -> None:
    cache, hv = Cache(tmp_path / "cache"), "drivers/hv"
    p = tmp_path
    modular = KernelImage("modular", "7.3.4", "plain", p, p, p, p)
    first = patch({f"{hv}/a.c": "int a;\n", f"{hv}/b.c": "int b;\n"})

    def produce(entry: Path) -> None:
        (entry / "objects").mkdir()
        (entry / "objects" / "a.o").write_text("patched a")
        (entry / "warnings.txt").write_text(f"{hv}/a.c:1: 'a' defined but not used\n")
        said = {n: [file_sha256(first.overlay / n), 1000] for n in first.files}
        (entry / "sources.json").write_text(json.dumps(said))

    cache.publish("module", "first", produce, about={"base": "modular"})

    def start(applied: AppliedSeries, base: KernelImage = modular) -> tuple[dict[str, bool], str]:
        obj = tmp_path / "obj"
        (obj / hv).mkdir(parents=True, exist_ok=True)
        (obj / hv / "a.o").write_text("base a")
        stamps, said = start_from_last(cache, base, applied, obj)
        assert bool(said) == ((obj / hv / "a.o").read_text() == "patched a")
        return {n: s == 1000 for n, s in stamps.items()}, (obj / hv / "a.o").read_text()

    edited = patch({f"{hv}/a.c": "int a;\n", f"{hv}/b.c": "int b2;\n", f"{hv}/c.c": "int c;\n"})
    assert start(edited) == ({f"{hv}/a.c": True, f"{hv}/b.c": False, f"{hv}/c.c": False}, "patched a")
    fewer = patch({f"{hv}/a.c": "int a;\n"})
    assert start(fewer) == ({f"{hv}/a.c": False}, "base a"), "b.c is pristine again, its object is not"
    assert start(edited, replace(modular, key="other"))[1] == "base a"


def test_the_most_alike_module_is_the_start_not_the_newest(tmp_path: Path, patch: Patch) -> None:
    cache, hv, p = Cache(tmp_path / "cache"), "drivers/hv", tmp_path
    modular = KernelImage("modular", "7.3.4", "plain", p, p, p, p)

    def publish(name: str, applied: AppliedSeries) -> None:
        def produce(entry: Path) -> None:
            (entry / "objects").mkdir()
            (entry / "objects" / "a.o").write_text(name)
            (entry / "warnings.txt").touch()
            said = {n: [file_sha256(applied.overlay / n), 1000] for n in applied.files}
            (entry / "sources.json").write_text(json.dumps(said))

        cache.publish("module", name, produce, about={"base": "modular"})

    publish("alike", patch({f"{hv}/a.c": "int a;\n", f"{hv}/b.c": "int b;\n"}))
    publish("newest", patch({f"{hv}/a.c": "int x;\n"}))
    obj = tmp_path / "obj"
    (obj / hv).mkdir(parents=True)
    edited = patch({f"{hv}/a.c": "int a;\n", f"{hv}/b.c": "int b2;\n"})
    stamps, _ = start_from_last(cache, modular, edited, obj)
    assert (obj / hv / "a.o").read_text() == "alike"
    assert stamps[f"{hv}/a.c"] == 1000 and stamps[f"{hv}/b.c"] > 1000
