# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels with base fixes, built as modules: which fixes are in which, and what a mutant lost of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.build.module import NotAsModule
from lab.model.errors import SeriesDoesNotApply
from lab.model.kernel import AppliedSeries, KernelImage, KernelSource, SourceLock
from lab.model.series import KernelVersion, Series, VersionRange
from lab.series.fixes import BaseFix
from lab.validate import sides
from lab.validate.sides import Side, SideBuilder, lost

MAIL = """From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: hvlab developers <hvlab@localhost>
Date: Mon, 23 Nov 2026 09:00:00 +0000
Subject: [PATCH] {name}

---
diff --git a/{name}.c b/{name}.c
--- a/{name}.c
+++ b/{name}.c
@@ -1 +1 @@
-one
+two
"""
AT = Path("/nonexistent")


def image(key: str, **more: Any) -> KernelImage:
    return KernelImage(key, "7.3", "debug", AT, AT, AT, AT, build_dir=AT, **more)


def fix(folder: Path, name: str, *, boot: bool = False) -> BaseFix:
    path = folder / f"{name}.patch"
    path.write_text(MAIL.format(name=name))
    return BaseFix(name, path, f"{name} is needed", ("debug",), VersionRange.parse("7.3"), boot=boot)


class Lab:
    """A builder whose kernels are named after what is in them. Files in ``unfit`` cannot be patched, those in
    ``broken`` not be compiled, and those in ``far`` are not of the module."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.unfit: set[str] = set()
        self.broken: set[str] = set()
        self.far: set[str] = set()
        monkeypatch.setattr(sides, "apply", self.apply)
        monkeypatch.setattr(sides, "build_base_modular", self.modular)
        monkeypatch.setattr(sides, "build_module", self.module)
        monkeypatch.setattr(sides, "outside", self.outside)
        builder: Any = SimpleNamespace(
            selectors=SimpleNamespace(kernel_flavour=lambda: SimpleNamespace(name="debug")),
            jobs=1,
            cache=None,
            progress=None,
            sandbox=None,
            armed=lambda made, core, source: made,
        )
        source = KernelSource(KernelVersion(7, 3), AT, "source", SourceLock("tarball", "t", "", ""))
        both = (fix(folder, "early", boot=True), fix(folder, "late"))
        self.sides = SideBuilder(builder, image("base"), source, both)

    def apply(self, source: KernelSource, series: Series, *_: Any) -> AppliedSeries:
        names = [*filter(None, [series.key]), *(f for p in series.patches for f in p.files)]
        if bad := self.unfit & set(names):
            raise SeriesDoesNotApply(f"hunk of {min(bad)}")
        return AppliedSeries("+".join(names), AT, AT, tuple(names), ())

    def modular(self, *_: Any, applied: AppliedSeries | None) -> KernelImage:
        return image("modular" if applied is None else f"modular+{','.join(applied.files[1:])}")

    def module(
        self, modular: KernelImage, source: KernelSource, applied: AppliedSeries, *_: Any
    ) -> KernelImage:
        if bad := self.broken & set(applied.files):
            raise NotAsModule(f"error in {min(bad)}\nand more")
        return image(applied.key, modules=(AT,))

    def outside(self, source: KernelSource, applied: AppliedSeries) -> str:
        return next((f"{name} is far" for name in applied.files if name in self.far), "")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lab:
    return Lab(monkeypatch, tmp_path)


def series(bench: Lab, name: str) -> tuple[Series, AppliedSeries]:
    made = Series(name=name, patches=(), key=name)
    return made, AppliedSeries(name, AT, AT, (f"{name}.c",), ())


def test_both_kernels_get_every_fix_and_keep_the_one_without(bench: Lab) -> None:
    both = bench.sides.both_as_modules(*series(bench, "series"))
    assert both.base.image.fixes == both.patched.image.fixes == ("early", "late")
    assert both.base.image.unfixed is not None and both.base.image.unfixed.fixes == ("early",)
    assert not both.patched.left_out
    assert len(both.notes) == 2


def test_mutant_gets_every_fix_too_and_has_lost_none(bench: Lab) -> None:
    twin = bench.sides.both_as_modules(*series(bench, "series")).patched
    mutant = bench.sides.as_module(*series(bench, "mutant"))
    assert mutant.image.fixes == ("early", "late")
    assert mutant.image.key != twin.image.key
    assert lost(twin, mutant) == ""


def test_fix_that_does_not_build_on_a_mutant_is_left_out_and_named(bench: Lab) -> None:
    twin = bench.sides.both_as_modules(*series(bench, "series")).patched
    bench.broken = {"late.c"}
    mutant = bench.sides.as_module(*series(bench, "mutant"))
    assert mutant.image.fixes == ("early",)
    told = lost(twin, mutant)
    assert told.startswith("without base fix late: it does not build on top of mutant: error in late.c")
    assert "and more" not in told


def test_fix_that_does_not_apply_on_a_mutant_is_left_out_and_named(
    bench: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = bench.sides.both_as_modules(*series(bench, "series")).patched
    bench.unfit = {"late.c"}
    mutant = bench.sides.as_module(*series(bench, "mutant"))
    assert mutant.image.fixes == ("early",)
    assert "late: it does not apply on top of mutant: hunk of late.c" in lost(twin, mutant)


def test_fix_that_does_not_build_on_the_twin_is_an_error(bench: Lab) -> None:
    bench.broken = {"late.c"}
    with pytest.raises(NotAsModule, match=r"late\.c"):
        bench.sides.both_as_modules(*series(bench, "series"))


def test_mutant_that_does_not_build_or_leaves_the_module_is_an_error(bench: Lab) -> None:
    bench.broken = {"mutant.c"}
    with pytest.raises(NotAsModule, match=r"mutant\.c"):
        bench.sides.as_module(*series(bench, "mutant"))
    bench.broken, bench.far = set(), {"mutant.c"}
    with pytest.raises(NotAsModule, match=r"mutant\.c is far"):
        bench.sides.as_module(*series(bench, "mutant"))


def test_fix_that_a_mutant_never_wanted_counts_with_a_question_mark() -> None:
    twin = Side(image("twin", fixes=("late",)), {})
    assert lost(twin, Side(image("mutant"), {})) == "without base fix late: ?"
