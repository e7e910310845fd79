# SPDX-License-Identifier: GPL-2.0-or-later
"""The cache: complete or absent, made once, nothing left by the dead."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lab.cache import Cache, try_lock
from lab.hashing import digest, tree_digest
from lab.model.errors import LabUnavailable
from lab.progress import NullProgress

CHECKOUT = Path(__file__).resolve().parents[3]


def test_an_entry_is_made_once_and_found_again(tmp_path: Path) -> None:
    cache, calls = Cache(tmp_path), []

    def produce(d: Path) -> None:
        calls.append(d)
        (d / "x").write_text("1")

    assert cache.get("thing", "k1") is None
    first = cache.publish("thing", "k1", produce, about={"name": "x"})
    assert cache.publish("thing", "k1", produce) == first == cache.get("thing", "k1")
    assert len(calls) == 1 and (first / "x").read_text() == "1"
    [entry] = cache.entries("thing")
    assert (entry.key, entry.about) == ("k1", {"name": "x"}) and entry.size > 0
    assert cache.stale() == []


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_a_failed_entry_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def produce(d: Path) -> None:
        (d / "half").write_text("half")
        raise error

    with pytest.raises(type(error)):
        Cache(tmp_path).publish("thing", "k", produce)
    assert [p for p in tmp_path.rglob("*") if not p.is_dir()] == []
    assert Cache(tmp_path).get("thing", "k") is None


def test_a_scratch_folder_is_gone_afterwards_and_stale_when_its_owner_was_killed(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(OSError, match="somewhere else"), cache.scratch("work") as folder:
        (folder / "x").write_text("1")
        assert cache.stale() == [], "its owner lives"
        raise OSError(errno.EACCES, "somewhere else")
    assert [p for p in tmp_path.rglob("*") if not p.is_dir()] == []
    code = (
        "import os, signal, sys, pathlib\nfrom lab.cache import Cache\n"
        "with Cache(pathlib.Path(sys.argv[1])).scratch('work') as d:\n"
        "    (d / 'x').write_text('1'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=CHECKOUT, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert [p.name.startswith(".tmp-scratch-") for p in cache.clean()] == [True]
    assert [p for p in tmp_path.rglob("*") if not p.is_dir()] == []


def test_what_its_maker_finishes_while_we_look_is_not_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)
    lock, half = tmp_path / ".locks" / "thing@k", tmp_path / "thing" / ".tmp-k-1"

    def finish_first(path: Path, *, make: bool = True) -> int | None:
        lock.unlink(missing_ok=True)
        if half.exists():
            half.rename(half.with_name("k"))
        return try_lock(path, make=make)

    monkeypatch.setattr("lab.cache.try_lock", finish_first)
    for remove in (False, True):
        half.mkdir(parents=True)
        lock.parent.mkdir(exist_ok=True)
        lock.touch()
        assert (cache.clean() if remove else cache.stale()) == []
        assert not list(lock.parent.iterdir()), "looking must not make locks"
        (half.with_name("k")).rmdir()
        lock.touch()
        assert (cache.clean() if remove else cache.stale()) == []
        assert not list(lock.parent.iterdir())


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    def produce(d: Path) -> None:
        (d / "half").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(LabUnavailable, match="no space left"):
        Cache(tmp_path).publish("thing", "k", produce)
    assert [p for p in tmp_path.rglob("*") if not p.is_dir()] == []
    with pytest.raises(LabUnavailable, match="MiB are free"):
        Cache(tmp_path).require_space(1 << 60, "a kernel build")


def test_a_read_only_tree_does_not_stop_the_clean_up(tmp_path: Path) -> None:
    def produce(d: Path) -> None:
        (d / "sub").mkdir()
        (d / "sub" / "f").write_text("")
        (d / "sub").chmod(0o500)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Cache(tmp_path).publish("thing", "k", produce)
    assert list((tmp_path / "thing").iterdir()) == []


def test_a_second_caller_waits_and_says_for_whom(tmp_path: Path) -> None:
    notes: list[str] = []

    class Notes(NullProgress):
        def note(self, text: str) -> None:
            notes.append(text)

    started, finish, made = threading.Event(), threading.Event(), []

    def slow(d: Path) -> None:
        made.append(d)
        started.set()
        finish.wait(5)

    first = threading.Thread(target=Cache(tmp_path).publish, args=("thing", "k", slow))
    first.start()
    assert started.wait(5)
    with pytest.raises(LabUnavailable, match="still being made by this process"):
        Cache(tmp_path).publish("thing", "k", slow, budget=0.1)
    second = threading.Thread(
        target=Cache(tmp_path).publish, args=("thing", "k", slow), kwargs={"progress": Notes()}
    )
    second.start()
    deadline = time.monotonic() + 5
    while not notes and time.monotonic() < deadline:
        time.sleep(0.05)
    finish.set()
    first.join(5)
    second.join(5)
    assert len(made) == 1
    assert any("thing/k" in n for n in notes)


def test_what_a_killed_process_leaves_is_stale_and_what_a_living_one_makes_is_not(tmp_path: Path) -> None:
    code = (
        "import sys,time; from pathlib import Path; from lab.cache import Cache\n"
        "def slow(d):\n (d / 'half').write_text('x'); print('go', flush=True); time.sleep(60)\n"
        "Cache(Path(sys.argv[1])).publish('thing', 'k', slow)\n"
    )
    env = dict(os.environ, PYTHONPATH=str(CHECKOUT))
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, env=env, text=True
    )
    try:
        assert child.stdout is not None and child.stdout.readline() == "go\n"
        cache = Cache(tmp_path)
        assert cache.stale() == [] and cache.clean() == []
        child.send_signal(signal.SIGKILL)
        child.wait(5)
        assert [p.name for p in cache.stale()][:1] == [f".tmp-k-{child.pid}"]
        assert cache.clean() != []
        assert cache.stale() == []
        assert [p for p in tmp_path.rglob("*") if not p.is_dir()] == []
    finally:
        child.kill()
        child.wait()
        if child.stdout:
            child.stdout.close()


def test_a_lock_taken_on_a_removed_file_is_taken_anew(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    fd = try_lock(path)
    assert fd is not None and try_lock(path) is None
    path.unlink()
    again = try_lock(path)
    assert again is not None and path.exists()
    os.close(fd)
    assert try_lock(path) is None
    os.close(again)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden"])
def test_a_name_cannot_leave_the_cache(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cache name"):
        Cache(tmp_path).get("thing", name)


def test_keys_depend_on_every_part_and_its_borders(tmp_path: Path) -> None:
    f = tmp_path / "f"
    f.write_bytes(b"ab")
    keys = {digest("ab", "c"), digest("a", "bc"), digest(b"ab", "c"), digest(f, "c"), digest("abc")}
    assert len(keys) == 5
    assert all(len(k) == 20 for k in keys)
    assert digest("ab", "c") == digest("ab", "c")


def test_a_tree_key_sees_content_names_modes_and_links_but_no_times(tmp_path: Path) -> None:
    a = tmp_path / "a"
    a.mkdir()
    (a / "f").write_text("1")
    keys = [tree_digest(a)]
    os.utime(a / "f", (0, 0))
    assert tree_digest(a) == keys[0]
    (a / "f").chmod(0o755)
    keys.append(tree_digest(a))
    (a / "f").write_text("2")
    keys.append(tree_digest(a))
    (a / "l").symlink_to("f")
    keys.append(tree_digest(a))
    (a / "f").rename(a / "g")
    keys.append(tree_digest(a))
    assert len(set(keys)) == 5
    with pytest.raises(NotADirectoryError):
        tree_digest(a / "nothing")
