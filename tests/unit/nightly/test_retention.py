# SPDX-License-Identifier: GPL-2.0-or-later
"""What of the cache goes, in which order, and what never does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.cache import META, Cache, Entry, try_lock
from lab.cli.main import main
from lab.machine import state
from lab.model.errors import BadInput
from lab.nightly import retention
from lab.nightly.retention import DAY, Limits, in_order, named_in, own, sweep, too_old
from lab.paths import repo_root

NOW = 1_000 * DAY
MIB = 1 << 20


def entry(root: Path, kind: str, key: str, *, age: float, size: int = MIB) -> Path:
    """An entry as a process left it that ended ``age`` days before NOW."""
    path = root / kind / key
    path.mkdir(parents=True)
    (path / "content").write_text("x")
    about = {"kind": kind, "key": key, "created": NOW - age * DAY, "size": size, "about": {}}
    (path / META).write_text(json.dumps(about))
    os.utime(path / META, (NOW - age * DAY, NOW - age * DAY))
    return path


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own, and no labs."""
    monkeypatch.setenv("HVLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HVLAB_STATE", str(tmp_path / "state"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def left(root: Path) -> list[str]:
    return sorted(f"{p.parent.parent.name}/{p.parent.name}" for p in root.glob(f"*/*/{META}"))


def test_what_was_not_used_for_so_many_days_goes(root: Path) -> None:
    for age in (1, 29, 31, 300):
        entry(root, "kernel", f"k{age}", age=age)
    done = sweep(Cache(root), Limits(keep_days=30), now=NOW)
    assert left(root) == ["kernel/k1", "kernel/k29"]
    assert [(r.what, r.why) for r in done.removed] == [
        ("kernel/k300", "unused for 300 days"),
        ("kernel/k31", "unused for 31 days"),
    ]
    assert (done.before, done.after, done.in_use) == (4 * MIB, 2 * MIB, ())


def test_above_the_budget_the_least_recently_used_goes_and_base_kernels_last(root: Path) -> None:
    entry(root, "kernel-base", "old", age=20)
    entry(root, "source", "older", age=25)
    for age in (1, 2, 3):
        entry(root, "run", f"r{age}", age=age)
    done = sweep(Cache(root), Limits(max_size=3 * MIB), now=NOW)
    assert [r.what for r in done.removed] == ["run/r3", "run/r2"]
    assert done.after == 3 * MIB
    done = sweep(Cache(root), Limits(max_size=MIB), now=NOW)
    assert [r.what for r in done.removed] == ["run/r1", "source/older"]
    assert left(root) == ["kernel-base/old"]


def test_too_old_base_kernels_go_before_the_budget_takes_what_is_young(root: Path) -> None:
    entry(root, "kernel-base", "old", age=40)
    entry(root, "run", "young", age=1)
    assert [r.what for r in sweep(Cache(root), Limits(max_size=MIB), now=NOW).removed] == ["kernel-base/old"]


def test_a_dry_run_says_the_same_and_removes_nothing(root: Path) -> None:
    for age in (1, 2, 31):
        entry(root, "run", f"r{age}", age=age)
    (root / ".locks").mkdir()
    before = sorted(root.rglob("*"))
    limits = Limits(max_size=MIB)
    said = sweep(Cache(root), limits, now=NOW, dry_run=True)
    assert sorted(root.rglob("*")) == before
    assert sweep(Cache(root), limits, now=NOW) == said
    assert [r.what for r in said.removed] == ["run/r31", "run/r2"]


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_is_in_use_stays_and_the_next_one_goes_for_it(root: Path, dry_run: bool) -> None:
    for age in (1, 2, 3):
        entry(root, "run", f"r{age}", age=age)
    lock = try_lock(root / ".locks" / "run@r3")
    assert lock is not None
    done = sweep(Cache(root), Limits(max_size=MIB), now=NOW, dry_run=dry_run)
    assert done.in_use == ("run/r3",)
    assert [r.what for r in done.removed] == ["run/r2", "run/r1"] and done.after == MIB


def test_what_the_arguments_of_a_process_name_stays(root: Path) -> None:
    path = entry(root, "kernel", "k", age=99) / "bzImage"
    entry(root, "kernel", "kk", age=99)
    code = "import sys; print('go', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, f"file={path},x=1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as user:
        assert user.stdout is not None and user.stdout.readline() == b"go\n"
        done = sweep(Cache(root), Limits(), now=NOW)
        user.communicate()
    assert done.in_use == ("kernel/k",) and left(root) == ["kernel/k"]
    assert sweep(Cache(root), Limits(), now=NOW).in_use == () and left(root) == []


def test_what_a_lab_that_is_up_was_booted_from_stays(root: Path) -> None:
    image = entry(root, "kernel", "k", age=99) / "bzImage"
    lab = state.create("mine")
    lab.update(info={"kernel": {"bzimage": str(image)}})
    assert sweep(Cache(root), Limits(), now=NOW).in_use == ("kernel/k",)
    lab.remove()
    assert sweep(Cache(root), Limits(), now=NOW).in_use == () and left(root) == []


def test_neither_links_nor_entries_that_say_they_are_others_are_touched(root: Path, tmp_path: Path) -> None:
    precious = entry(tmp_path / "other", "kernel", "k", age=99)
    (root / "run").mkdir()
    (root / "run" / "k").symlink_to(precious)
    (root / "kernel").symlink_to(precious.parent)
    liar = entry(root, "module", "m", age=99)
    meta = json.loads((liar / META).read_text())
    (liar / META).write_text(json.dumps({**meta, "kind": "..", "key": "other"}))
    done = sweep(Cache(root), Limits(keep_days=0, max_size=0), now=NOW)
    assert done == retention.Sweep(0, 0)
    assert (precious / "content").exists() and (liar / "content").exists()


def test_an_entry_with_links_in_it_goes_without_what_they_lead_to(root: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    (entry(root, "kernel", "k", age=99) / "link").symlink_to(tmp_path / "precious")
    assert len(sweep(Cache(root), Limits(), now=NOW).removed) == 1
    assert (tmp_path / "precious" / "file").exists() and left(root) == []


def test_order_and_age_need_no_disk() -> None:
    def make(kind: str, age: float) -> Entry:
        return Entry(kind, f"{age:g}", Path("x"), 0, NOW - age * DAY, 1, {})

    kinds = [make("kernel-modular", 9), make("run", 1), make("kernel", 3), make("kernel-base", 10)]
    assert [e.kind for e in in_order(kinds)] == ["kernel", "run", "kernel-base", "kernel-modular"]
    assert too_old(kinds[0], Limits(keep_days=8.5), NOW) and not too_old(kinds[0], Limits(keep_days=9), NOW)


def test_an_entry_is_named_by_paths_below_it_only() -> None:
    entries = [Entry("run", key, Path("/c/run", key), 0, 0, 1, {}) for key in ("a", "ab", "b.c-d")]
    words = ["x=/c/run/a/file,y", '{"p": "/c/run/b.c-d"}', "/c/run", "/other/run/ab"]
    assert named_in(entries, Path("/c"), words) == {Path("/c/run/a"), Path("/c/run/b.c-d")}


def test_half_an_entry_that_is_being_made_is_no_entry(root: Path) -> None:
    entry(root, "run", "r", age=99).rename(root / "run" / ".tmp-r-1")
    assert own(Cache(root)) == []


@pytest.mark.parametrize("days", [-1.0, float("nan"), float("inf")])
def test_days_that_are_none_are_refused(days: float) -> None:
    with pytest.raises(BadInput, match="number of days"):
        Limits(keep_days=days)


def test_the_command_says_what_it_did_and_whether_the_budget_holds(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry(root, "run", "r", age=0)
    lock = try_lock(root / ".locks" / "run@r")
    assert main(["gc", "--max-size", "512K", "--keep-days", "1e5", "--json"]) == 4
    said = json.loads(capsys.readouterr().out)
    assert said["cache"]["in_use"] == ["run/r"] and said["freed"] == 0
    assert lock is not None
    assert main(["gc", "--max-size", "1M", "--keep-days", "1e5"]) == 0
    assert "1.0 MiB after" in capsys.readouterr().out


def test_the_command_removes_what_a_killed_process_left(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = root / "run" / ".tmp-r-1"
    half.mkdir(parents=True)
    (half / "x").write_text("x" * 5000)
    assert main(["gc", "--dry-run"]) == 0
    assert "would go  run/.tmp-r-1  8 KiB: left by a killed process" in capsys.readouterr().out
    assert half.exists() and main(["gc"]) == 0 and not half.exists()


def test_the_command_beside_a_build_takes_neither_what_is_made_nor_what_it_is_made_of(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry(root, "kernel-base", "base", age=0)
    entry(root, "run", "r", age=0)
    build = (
        "import sys; from pathlib import Path; from lab.cache import Cache\n"
        "cache = Cache(Path(sys.argv[1]))\n"
        "base = cache.get('kernel-base', 'base')\n"
        "def produce(d):\n"
        "    (d / 'half').write_text('x'); print('go', flush=True); sys.stdin.read()\n"
        "    (d / 'content').write_text((base / 'content').read_text())\n"
        "cache.publish('kernel', 'new', produce)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", build, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=repo_root(),
    ) as builder:
        assert builder.stdout is not None and builder.stdout.readline() == b"go\n"
        assert main(["gc", "--keep-days", "0", "--max-size", "0"]) == 4
        builder.communicate(timeout=20)
    assert builder.returncode == 0
    assert "in use  kernel-base/base" in capsys.readouterr().out
    assert left(root) == ["kernel-base/base", "kernel/new"]
    assert main(["gc", "--keep-days", "0", "--max-size", "0"]) == 0
    assert left(root) == [] and not [p for p in root.rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--max-size", "20X"], "--max-size"),
        (["--keep-days", "-3"], "--keep-days"),
        (["--keep-runs", "-3", "--out", "."], "--keep-runs"),
        (["--out", "nowhere"], "--out nowhere: no such folder"),
        (["--out", "."], "no output of a nightly"),
    ],
)
def test_bad_input_is_named_before_anything_goes(
    root: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    what: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry(root, "run", "r", age=0)
    monkeypatch.chdir(root)
    assert main(["gc", "--keep-days", "0", *words]) == 2
    assert what in capsys.readouterr().err and left(root) == ["run/r"]
