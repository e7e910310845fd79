# SPDX-License-Identifier: GPL-2.0-or-later
"""SIGKILL of the lab's Python in every phase, then ``hvlab doctor --clean``: nothing stays.

The state is private, the cache is the user's: kernels are needed. What the killed process had in the cache
is told from the entries of others by its process id.
"""

from __future__ import annotations

import difflib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import paths
from lab.machine.proc import ProcessId

SERIES = paths.tests_dir() / "series" / "mmio-on-demand"
PHASE_BUDGET = 300.0
"""Seconds until the phase to kill in must have been reached, with the base kernel in the cache."""
FIRST = 1800.0
DIE = 5.0
FILE = "drivers/hv/mshv_root_main.c"
ONE = "map_refused_at_region_set_or_touch_leaks_nothing"


@pytest.fixture(scope="module")
def base_source() -> Path:
    """The pristine source tree that the lab fetched; the base kernel is in the cache afterwards."""
    from lab.progress import NullProgress
    from lab.validate.kernels import Selectors, fetch, open_cache, prepare

    prepare(Selectors(), NullProgress())
    return fetch(Selectors(), None, open_cache(), NullProgress()).tree


@pytest.fixture
def new_series(base_source: Path, tmp_path: Path) -> Path:
    """A patch that nobody has built yet: it really has to be applied, built and armed."""
    old = (base_source / FILE).read_text().splitlines(keepends=True)
    new = [*old, f"/* {secrets.token_hex(8)} */\n"]
    diff = "".join(difflib.unified_diff(old, new, f"a/{FILE}", f"b/{FILE}"))
    mail = tmp_path / "new.patch"
    mail.write_text(
        "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n"
        "From: Somebody <somebody@example.org>\nDate: Mon, 23 Nov 2026 04:01:24 +0000\n"
        f"Subject: [PATCH] mshv: Add a comment\n\nNothing changes.\n\n---\n"
        f"diff --git a/{FILE} b/{FILE}\n{diff}--\n2.39.5\n"
    )
    return mail


def descendants(pid: int) -> list[ProcessId]:
    """Every process below ``pid`` now, sandboxed ones too."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        for child in children.get(todo.pop(), ()):
            todo.append(child)
            if identity := ProcessId.of(child):
                found.append(identity)
    return found


def program(identity: ProcessId) -> str:
    try:
        return Path(f"/proc/{identity.pid}/comm").read_text().strip()
    except OSError:
        return ""


def in_cache(pid: int) -> list[Path]:
    """Half-written entries of a process."""
    return [p for p in paths.cache_root().glob("*/.tmp-*") if p.name.endswith(f"-{pid}")]


def held_locks(pid: int) -> list[Path]:
    """Lock files that carry its id."""
    found = []
    for path in (paths.cache_root() / ".locks").glob("*"):
        try:
            if path.read_text().strip() == str(pid):
                found.append(path)
        except OSError:
            continue
    return found


def wait_for(process: subprocess.Popen[bytes], reached: Callable[[], bool], place: Any, what: str) -> None:
    deadline = time.monotonic() + PHASE_BUDGET
    while not reached():
        if process.poll() is not None:
            pytest.fail(f"ended before {what}: {place.ended(process)}")
        if time.monotonic() > deadline:
            pytest.fail(f"never came to {what}: {place.ended(process)}")
        time.sleep(0.02)


def kill(process: subprocess.Popen[bytes], *, survives: tuple[str, ...] = ()) -> list[ProcessId]:
    """SIGKILL to the lab's Python alone. Everything below it ends by itself, but for ``survives``."""
    below = descendants(process.pid)
    assert below, "killed in a phase in which nothing ran"
    process.send_signal(signal.SIGKILL)
    process.wait(DIE)
    stay = [p for p in below if program(p) in survives]
    deadline = time.monotonic() + DIE
    while (alive := [p for p in below if p.alive() and p not in stay]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive, f"outlived the lab: {[(p.pid, program(p)) for p in alive]}"
    return stay


def clean_up(place: Any, pid: int) -> None:
    """``doctor --clean`` says that it removed something, and then nothing of it is anywhere."""
    done = place("doctor", "--clean", "--json").json
    assert done["left"] == [] and done["up"] == []
    assert in_cache(pid) == [] and held_locks(pid) == []
    assert place.leftovers() == []
    assert place("doctor", "--json").json["left"] == []


@pytest.fixture
def killed(hvlab: Any) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes to end whatever happens."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def started_in(
    hvlab: Any, killed: list[subprocess.Popen[bytes]], *args: str | Path
) -> subprocess.Popen[bytes]:
    process: subprocess.Popen[bytes] = hvlab.start(*args)
    killed.append(process)
    return process


def test_during_the_build(hvlab: Any, killed: list[Any], new_series: Path) -> None:
    process = started_in(hvlab, killed, "validate", new_series, "-k", ONE, "--out", hvlab.folder / "out")

    def compiling() -> bool:
        return bool(in_cache(process.pid)) and any(program(p) == "cc1" for p in descendants(process.pid))

    wait_for(process, compiling, hvlab, "the compiler")
    kill(process)
    assert in_cache(process.pid), "the kill came too late to show anything"
    clean_up(hvlab, process.pid)


def test_during_the_boot_of_both_kernels(hvlab: Any, killed: list[Any], new_series: Path) -> None:
    process = started_in(hvlab, killed, "validate", new_series, "-k", ONE, "--out", hvlab.folder / "out")
    wait_for(process, lambda: bool(list(hvlab.shm.glob("*.ram"))) and qemus(process.pid) > 0, hvlab, "a boot")
    kill(process)
    assert list(hvlab.shm.glob("*.ram")) and list((hvlab.state / "labs").iterdir())
    clean_up(hvlab, process.pid)


def test_while_scenarios_run(hvlab: Any, killed: list[Any]) -> None:
    out = hvlab.folder / "out"
    process = started_in(hvlab, killed, "validate", SERIES, "--out", out)

    def driving() -> bool:
        report = out / "patched" / "report.jsonl"
        return report.exists() and '"outcome"' in report.read_text()

    wait_for(process, driving, hvlab, "the first outcome")
    kill(process)
    assert list(hvlab.shm.glob("*.ram"))
    clean_up(hvlab, process.pid)


def test_process_of_the_scenarios_alone(hvlab: Any, killed: list[Any]) -> None:
    """Its guests die with it, and ``validate`` still comes to an end: doubt, never a pass."""
    out = hvlab.folder / "out"
    process = started_in(hvlab, killed, "validate", SERIES, "--out", out)

    def driver() -> int | None:
        for p in descendants(process.pid):
            try:
                words = Path(f"/proc/{p.pid}/cmdline").read_bytes()
            except OSError:
                continue
            if f"--hvlab-out={out / 'patched'}".encode() in words and program(p).startswith("python"):
                return p.pid
        return None

    def driving() -> bool:
        report = out / "patched" / "report.jsonl"
        return driver() is not None and report.exists() and '"outcome"' in report.read_text()

    wait_for(process, driving, hvlab, "the first outcome")
    victim = driver()
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    assert process.wait(PHASE_BUDGET) == 3, hvlab.ended(process)
    done = hvlab.ended(process)
    assert "Traceback" not in done.err
    assert "ended early" in " ".join(done.out.split())
    hvlab("doctor", "--clean")
    assert hvlab.leftovers() == []


def test_up_during_its_boot(hvlab: Any, killed: list[Any]) -> None:
    """A lab that was to outlive its shell has a QEMU that nobody ends: ``doctor --clean`` does."""
    process = started_in(hvlab, killed, "up", "--name", "half")
    wait_for(process, lambda: qemus(process.pid) > 0, hvlab, "QEMU")
    (qemu,) = kill(process, survives=("qemu-system-x86",))
    assert qemu.alive()
    refused = hvlab("doctor", expect=4)
    assert "half" in refused.out and "doctor --clean" in refused.out
    clean_up(hvlab, process.pid)
    assert not qemu.alive()


def test_clean_leaves_what_a_live_owner_holds(hvlab: Any, killed: list[Any], new_series: Path) -> None:
    """The same process that builds and boots goes on undisturbed while others clean up."""
    process = started_in(hvlab, killed, "validate", new_series, "-k", ONE, "--out", hvlab.folder / "out")
    stdout, stderr = hvlab.folder / "stdout", hvlab.folder / "stderr"
    wait_for(process, lambda: bool(in_cache(process.pid)), hvlab, "the build")
    mine = in_cache(process.pid)
    # The running command keeps writing into its own files.
    stdout.rename(hvlab.folder / "first.out"), stderr.rename(hvlab.folder / "first.err")
    hvlab("doctor", "--clean", expect=None)
    assert all(p.exists() for p in mine) or process.poll() is None
    wait_for(process, lambda: bool(list(hvlab.shm.glob("*.ram"))), hvlab, "a boot")
    hvlab("doctor", "--clean", expect=None)
    assert process.wait(PHASE_BUDGET) == 0, (hvlab.folder / "first.err").read_text()
    assert hvlab.leftovers() == []


def qemus(pid: int) -> int:
    """Guests below a process; not ``qemu --version``."""
    count = 0
    for p in descendants(pid):
        try:
            count += b"-machine" in Path(f"/proc/{p.pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
    return count
