# SPDX-License-Identifier: GPL-2.0-or-later
"""An entry goes only when nobody makes or uses it, whichever process that is."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import lease
from lab.cache import META, Cache, Entry

CHECKOUT = Path(__file__).resolve().parents[3]
HEAD = "import sys; from pathlib import Path; from lab.cache import Cache; c = Cache(Path(sys.argv[1]))\n"
MAKE = HEAD + "c.publish('thing', sys.argv[2], lambda d: (d / 'x').write_text('1') and None)\n"
WAIT = "print('go', flush=True); sys.stdin.read()\n"


@contextmanager
def process(code: str, *args: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has said ``go``; it ends when its input does, at the latest with the context."""
    child = subprocess.Popen(
        [sys.executable, "-c", code, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    )
    try:
        assert child.stdout is not None and child.stdout.readline() == "go\n"
        yield child
    finally:
        child.kill()
        child.communicate()


def made_elsewhere(root: Path, *keys: str) -> dict[str, Entry]:
    """Entries whose makers have ended, so that nobody uses them."""
    code = MAKE.replace("sys.argv[2]", "key").replace("c.publish", "for key in sys.argv[2:]: c.publish")
    subprocess.run([sys.executable, "-c", code, str(root), *keys], cwd=CHECKOUT, check=True, timeout=60)
    return {e.key: e for e in Cache(root).entries()}


def files(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir())


def test_what_nobody_uses_goes_with_all_traces(tmp_path: Path) -> None:
    entry, cache = made_elsewhere(tmp_path, "k")["k"], Cache(tmp_path)
    assert not cache.busy(entry) and entry.path.is_dir()
    assert cache.remove(entry)
    assert files(tmp_path) == []
    assert not cache.remove(entry), "it is gone already"
    assert files(tmp_path) == []


@pytest.mark.parametrize("how", ["c.get('thing', 'k')", "c.publish('thing', 'k', None)"])
def test_what_another_process_was_given_stays_until_that_process_ends(tmp_path: Path, how: str) -> None:
    made_elsewhere(tmp_path, "k")
    cache = Cache(tmp_path)
    with process(HEAD + how + "\n" + WAIT, str(tmp_path)):
        [entry] = cache.entries()
        assert cache.busy(entry)
        assert not cache.remove(entry)
        assert (entry.path / "x").read_text() == "1"
    assert not cache.busy(entry)
    assert cache.remove(entry)


def test_what_this_process_made_or_was_given_is_in_use(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.publish("thing", "k", lambda d: None)
    [entry] = cache.entries()
    assert cache.busy(entry) and not cache.remove(entry)


def test_an_entry_under_its_lock_stays(tmp_path: Path) -> None:
    entry, cache = made_elsewhere(tmp_path, "k")["k"], Cache(tmp_path)
    code = "from lab.progress import NullProgress\nwith c.locked('thing', 'k', NullProgress(), 1):\n  " + WAIT
    with process(HEAD + code, str(tmp_path)):
        assert cache.busy(entry)
        assert not cache.remove(entry)
    assert cache.remove(entry)


def test_what_was_used_since_it_was_looked_at_stays(tmp_path: Path) -> None:
    entry, cache = made_elsewhere(tmp_path, "k")["k"], Cache(tmp_path)
    os.utime(entry.path / META, (entry.used + 1, entry.used + 1))
    assert not cache.remove(entry)
    assert entry.path.is_dir()


def test_who_asks_while_somebody_looks_whether_an_entry_is_used_waits_for_that(tmp_path: Path) -> None:
    entry, cache = made_elsewhere(tmp_path, "k")["k"], Cache(tmp_path)
    looking, ended = threading.Event(), threading.Event()

    def look() -> None:
        with lease.alone(entry.path / META) as free:
            assert free
            looking.set()
            ended.wait(5)

    looker = threading.Thread(target=look)
    looker.start()
    assert looking.wait(5)
    threading.Timer(0.05, ended.set).start()
    assert cache.get("thing", "k") == entry.path and ended.is_set()
    looker.join(5)


def test_while_an_entry_is_held_alone_nobody_is_given_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, cache = made_elsewhere(tmp_path, "k")["k"], Cache(tmp_path)
    monkeypatch.setattr(lease, "PATIENCE", 0.05)
    with lease.alone(entry.path / META) as free:
        assert free
        assert cache.get("thing", "k") is None
    assert cache.get("thing", "k") == entry.path


@pytest.mark.parametrize("again", [False, True])
def test_an_entry_that_goes_while_it_is_asked_for_is_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    entry, cache = made_elsewhere(tmp_path, "k")["k"], Cache(tmp_path)
    moved, lock = tmp_path / "thing" / "moved", fcntl.flock

    def go_first(fd: int, how: int) -> None:
        if not moved.exists():
            entry.path.rename(moved)
            if again:
                entry.path.mkdir()
                (entry.path / META).write_text("{}")
        lock(fd, how)

    monkeypatch.setattr(lease.fcntl, "flock", go_first)
    assert cache.get("thing", "k") == (entry.path if again else None)
    monkeypatch.undo()
    with lease.alone(moved / META) as free:
        assert free, "the one that went is not held"
    if again:
        with lease.alone(entry.path / META) as free:
            assert not free


def test_neither_a_link_nor_what_lies_behind_one_is_removed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "cache", tmp_path / "other"
    entry = made_elsewhere(outside, "k")["k"]
    inside.mkdir()
    (inside / "thing").symlink_to(outside / "thing")
    (inside / "kind").mkdir()
    (inside / "kind" / "k").symlink_to(entry.path)
    (outside / "thing" / ".tmp-k-1").mkdir()
    (outside / ".locks").mkdir(exist_ok=True)
    (outside / ".locks" / "left").touch()
    (inside / ".locks").symlink_to(outside / ".locks")
    before = files(outside)
    cache = Cache(inside)
    for kind in ("thing", "kind"):
        path = inside / kind / "k"
        assert not cache.remove(Entry(kind, "k", path, 0, entry.used, 0, {}))
    assert cache.stale() == [] and cache.clean() == []
    assert files(outside) == before and (outside / "thing" / ".tmp-k-1").is_dir()


def test_not_more_than_so_many_files_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries, cache = made_elsewhere(tmp_path, "a", "b", "c"), Cache(tmp_path)
    monkeypatch.setattr(lease, "MOST", 2)
    before = len(os.listdir("/proc/self/fd"))
    for key in "abcbc":
        assert cache.get("thing", key)
    assert len(os.listdir("/proc/self/fd")) <= max(before, 2) + 2
    assert [cache.busy(entries[key]) for key in "abc"] == [False, True, True]


def test_two_that_remove_and_those_that_make_never_show_half_an_entry(tmp_path: Path) -> None:
    code = HEAD + (
        "print('go', flush=True)\n"
        "n = 0\n"
        "while not Path(sys.argv[2]).exists():\n"
        "    n += sum(c.remove(e) for e in c.entries())\n"
        "print(n)\n"
    )
    users = HEAD + (
        "import os, traceback\n"
        "def fill(d):\n"
        "    for i in range(20): (d / str(i)).write_text('1')\n"
        "for _ in range(4):\n"
        "    if (pid := os.fork()) == 0:\n"
        "        found = len(list(c.publish('thing', 'k', fill).iterdir()))\n"
        "        os._exit(0 if found == 21 else 1)\n"
        "    assert os.waitpid(pid, 0)[1] == 0\n"
    )
    end, root = tmp_path / "end", tmp_path / "cache"
    with process(code, str(root), str(end)) as one, process(code, str(root), str(end)) as two:
        done = subprocess.run([sys.executable, "-c", users, str(root)], cwd=CHECKOUT, timeout=60)
        end.touch()
        counts = [int(child.communicate(timeout=20)[0]) for child in (one, two)]
    assert done.returncode == 0 and 0 < sum(counts) <= 4
    for entry in Cache(root).entries():
        assert Cache(root).remove(entry)
    assert files(root) == []
