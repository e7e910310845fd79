# SPDX-License-Identifier: GPL-2.0-or-later
"""Base and patched builds on the tiny kernel: only what a series touches is compiled again."""

from __future__ import annotations

import errno
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.build import kernel
from lab.build.make import MakeFailed, run_make
from lab.build.sandbox import Sandbox
from lab.build.workplace import Workplace, workplace
from lab.cache import Cache
from lab.hashing import tree_digest
from lab.model.errors import KernelBuildFailed, LabUnavailable
from lab.model.kernel import AppliedSeries, Flavour, KernelImage, KernelSource
from lab.progress import NullProgress

Patch = Callable[..., AppliedSeries]

both_ways = pytest.mark.parametrize("sandbox", ["bubblewrap", "none"], indirect=True)


class Lab:
    """The arguments that every build takes."""

    def __init__(self, source: KernelSource, flavour: Flavour, cache: Cache, sandbox: Sandbox) -> None:
        self.source, self.flavour, self.cache, self.sandbox = source, flavour, cache, sandbox
        self.progress = NullProgress()

    def base(self) -> KernelImage:
        return kernel.build_base(self.source, self.flavour, self.cache, self.sandbox, self.progress, 2)

    def patched(self, base: KernelImage, applied: AppliedSeries) -> KernelImage:
        return kernel.build_patched(
            base, self.source, applied, self.flavour, self.cache, self.sandbox, self.progress, 2
        )


@pytest.fixture
def lab(source: KernelSource, tiny_flavour: Flavour, tmp_path: Path, sandbox: Sandbox) -> Lab:
    return Lab(source, tiny_flavour, Cache(tmp_path / "cache"), sandbox)


def compiled(image: KernelImage) -> list[str]:
    log = (image.bzimage.parent / "build.log").read_text()
    return sorted(line.split()[1] for line in log.splitlines() if line.startswith("  CC"))


def symbols(image: KernelImage) -> set[str]:
    return {line.split()[-1] for line in image.system_map.read_text().splitlines()}


@both_ways
def test_base_is_built_once_and_complete(lab: Lab) -> None:
    base = lab.base()
    assert compiled(base) == ["drivers/hv/a.o", "drivers/hv/b.o", "drivers/net/n.o", "init.o"]
    assert (base.release, base.flavour) == ("7.3.4-tiny", "tiny")
    assert "CONFIG_MSHV_ROOT=y" in base.config.read_text()
    assert symbols(base) == {"a", "b", "n", "init"}
    assert base.bzimage.is_file() and base.vmlinux.is_file()
    stamp = base.bzimage.stat().st_mtime_ns
    assert lab.base() == base and base.bzimage.stat().st_mtime_ns == stamp
    assert not (lab.cache.root / "nosandbox").exists()


@both_ways
def test_a_patched_build_compiles_only_what_the_series_touches(lab: Lab, patch: Patch) -> None:
    base = lab.base()
    assert base.build_dir is not None
    before = tree_digest(base.build_dir), tree_digest(lab.source.tree)
    image = lab.patched(base, patch({"drivers/hv/a.c": "int a, a2;\n"}))
    assert compiled(image) == ["drivers/hv/a.o"]
    assert symbols(image) == {"a", "a2", "b", "n", "init"}
    assert (tree_digest(base.build_dir), tree_digest(lab.source.tree)) == before
    assert sorted(p.name for p in image.bzimage.parent.iterdir() if p.is_dir()) == []


def test_a_patched_header_rebuilds_its_users_alone(lab: Lab, patch: Patch) -> None:
    image = lab.patched(lab.base(), patch({"include/linux/other.h": "#define OTHER 2\n"}))
    assert compiled(image) == ["drivers/hv/b.o"]


@both_ways
def test_files_and_folders_come_and_go(lab: Lab, patch: Patch) -> None:
    files: dict[str, str | None] = {
        "drivers/hv/new.c": "int fresh;\n",
        "drivers/added/x.c": "int added;\n",
        "drivers/net/n.c": None,
        "init.c": "int init2;\n",
        "include/deep/er/h.h": "#define DEEP 1\n",
    }
    image = lab.patched(lab.base(), patch(files))
    assert symbols(image) == {"a", "b", "fresh", "added", "init2"}
    assert compiled(image) == ["drivers/added/x.o", "drivers/hv/new.o", "init.o"]


def test_two_series_do_not_see_each_other(lab: Lab, patch: Patch) -> None:
    base = lab.base()
    one = lab.patched(base, patch({"drivers/hv/a.c": "int one;\n"}))
    two = lab.patched(base, patch({"drivers/hv/b.c": "int two;\n"}))
    assert symbols(one) == {"one", "b", "n", "init"}
    assert symbols(two) == {"a", "two", "n", "init"}


def test_a_compile_error_names_file_line_code_and_patch(lab: Lab, patch: Patch) -> None:
    base = lab.base()
    broken = patch({"drivers/hv/b.c": "int b;\n\nint broken = nothing;\nint c;\n"}, "hv: break b")
    with pytest.raises(KernelBuildFailed) as caught:
        lab.patched(base, broken)
    error = caught.value
    assert error.where == "drivers/hv/b.c:3"
    assert error.patch == "hv: break b"
    assert "nothing" in error.what and "hv: break b" in error.hint
    assert ">     3  int broken = nothing;" in error.detail
    assert list((lab.cache.root / "kernel").iterdir()) == []
    assert not (lab.cache.root / "nosandbox").exists()
    assert lab.cache.stale() == []


def test_a_kernel_without_the_driver_is_refused_by_name(lab: Lab) -> None:
    fragment = lab.flavour.fragments[0]
    makefile = lab.source.tree / "Makefile"
    makefile.write_text(
        makefile.read_text().replace("@cp $(KCONFIG_ALLCONFIG)", "@grep -v MSHV $(KCONFIG_ALLCONFIG) >")
    )
    assert "MSHV_ROOT" in fragment.read_text()
    with pytest.raises(
        KernelBuildFailed, match=r"Linux 7.3.4 cannot be configured as a root partition"
    ) as caught:
        lab.base()
    assert "CONFIG_MSHV_ROOT: wanted y, got n" in caught.value.detail


def test_a_build_over_its_budget_is_killed_with_all_it_started(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    makefile = lab.source.tree / "Makefile"
    marker = f"{60 + time.time_ns() % 10**6 / 10**7:.7f}"
    makefile.write_text(makefile.read_text().replace("bzImage: $(objs)", f"bzImage:\n\t@sleep {marker}"))
    monkeypatch.setattr(kernel, "BASE_BUDGET", 0.5)
    started = time.monotonic()
    with pytest.raises(LabUnavailable, match="longer than its budget"):
        lab.base()
    assert time.monotonic() - started < 5
    assert _running(marker) == []
    assert list((lab.cache.root / "kernel-base").iterdir()) == []


@both_ways
def test_an_interrupt_kills_the_build_and_removes_the_half_entry(lab: Lab) -> None:
    makefile = lab.source.tree / "Makefile"
    marker = f"{60 + time.time_ns() % 10**6 / 10**7:.7f}"
    makefile.write_text(makefile.read_text().replace("bzImage: $(objs)", f"bzImage:\n\t@sleep {marker}"))
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        deadline = time.monotonic() + 5
        while not _running(marker) and time.monotonic() < deadline:
            time.sleep(0.02)
        signal.pthread_kill(main, signal.SIGINT)

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        lab.base()
    watcher.join()
    assert _running(marker) == []
    assert list((lab.cache.root / "kernel-base").iterdir()) == []
    assert lab.cache.stale() == []


def test_a_full_disk_is_told_from_an_error_in_the_source(lab: Lab) -> None:
    makefile = lab.source.tree / "Makefile"
    text = 'bzImage:\n\t@echo "ld: final link failed: No space left on device"; false\nunused:'
    makefile.write_text(makefile.read_text().replace("bzImage: $(objs)", text))
    with pytest.raises(LabUnavailable, match="no space left"):
        lab.base()
    assert list((lab.cache.root / "kernel-base").iterdir()) == []


def test_progress_counts_steps_against_the_last_build(
    lab: Lab, patch: Patch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[int, int | None, str]] = []
    monkeypatch.setattr(lab.progress, "step", lambda *a: seen.append(a))
    base = lab.base()
    assert [s[0] for s in seen] == [1, 2, 3, 4]
    seen.clear()
    other = KernelSource(lab.source.version, lab.source.tree, "other", lab.source.lock)
    kernel.build_base(other, lab.flavour, lab.cache, lab.sandbox, lab.progress, 1)
    assert {s[1] for s in seen} == {4}
    assert base.key != "other"


def test_the_cpu_time_of_a_build_is_accounted(lab: Lab, tmp_path: Path) -> None:
    makefile = lab.source.tree / "Makefile"
    burn = "bzImage:\n\t@i=0; while [ $$i -lt 200000 ]; do i=$$((i+1)); done\nunused:"
    makefile.write_text(makefile.read_text().replace("bzImage: $(objs)", burn))
    (tmp_path / "obj").mkdir()
    (tmp_path / "scratch").mkdir()
    with (
        lab.progress.phase("burn"),
        workplace(
            lab.sandbox, lab.source, tmp_path / "obj", None, tmp_path / "scratch", lab.cache, lab.progress
        ) as place,
    ):
        _make(place, tmp_path)
    assert lab.progress.phases[0].cpu > 0.05


def _make(place: Workplace, tmp_path: Path) -> int:
    return run_make(
        place,
        ["bzImage"],
        jobs=1,
        progress=NullProgress(),
        log=tmp_path / "log",
        label="test",
        total=None,
        budget=20,
    )


def test_a_failing_make_says_what_it_said(lab: Lab, tmp_path: Path) -> None:
    makefile = lab.source.tree / "Makefile"
    makefile.write_text(
        makefile.read_text().replace("bzImage: $(objs)", "bzImage:\n\t@echo words; exit 3\nunused:")
    )
    (tmp_path / "obj").mkdir()
    (tmp_path / "scratch").mkdir()
    with (
        pytest.raises(MakeFailed) as caught,
        workplace(
            lab.sandbox, lab.source, tmp_path / "obj", None, tmp_path / "scratch", lab.cache, lab.progress
        ) as place,
    ):
        _make(place, tmp_path)
    assert "words" in caught.value.lines
    assert caught.value.code != errno.ENOSPC


def _running(marker: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", marker.encode()]:
            found.append(path.parent.name)
    return found
