# SPDX-License-Identifier: GPL-2.0-or-later
"""Labs on disk: who holds them, and that nothing of them stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.machine import room, state
from lab.machine.proc import ProcessId
from lab.model.errors import BadInput, LabUnavailable

ROOT = str(Path(__file__).parents[3])
DEAD = ProcessId(2**22 + 1, 1)


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HVLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("HVLAB_SHM", str(tmp_path / "shm"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "shm").mkdir()


@pytest.fixture
def sleeper():
    """A process that the test may kill."""
    with subprocess.Popen(["sleep", "60"]) as process:
        identity = ProcessId.of(process.pid)
        assert identity is not None
        yield identity
        process.kill()


def orphan(lab: state.Lab, **changes: object) -> None:
    """What a lab looks like after its owner was killed."""
    lab.update(owner=DEAD, **changes)
    lab.unlock()


def test_names_are_given_in_order_and_kept_apart():
    assert [state.create(prefix="run").name for _ in range(3)] == ["run-1", "run-2", "run-3"]
    with pytest.raises(BadInput, match="exists already"):
        state.create("run-2")
    assert not [path for path in state.labs_dir().iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["", "..", "a/b", "Big", "-x", "x" * 33, "a b", ".new-1-2-x"])
def test_bad_name_is_refused(name):
    with pytest.raises(BadInput, match="cannot be a lab's name"):
        state.create(name)


def test_record_survives_being_written_and_read():
    lab = state.create("a", detached=True, machine="mshv-root")
    lab.update(ssh_port=2222, info={"flavour": "plain"}, qemu=DEAD)
    assert state.list_labs()[0].record == lab.record


def test_removed_lab_leaves_nothing(tmp_path, sleeper):
    lab = state.create("a")
    run, ram = lab.make_run_dir(), lab.make_ram(1 << 20)
    assert ram.parent == tmp_path / "shm" and ram.stat().st_size == 1 << 20
    lab.update(qemu=sleeper)
    lab.remove()
    assert not run.exists() and not ram.exists() and not sleeper.alive()
    assert list(state.labs_dir().iterdir()) == []


def test_pid_that_now_is_another_process_is_left_alone(sleeper):
    lab = state.create("a")
    orphan(lab, qemu=ProcessId(sleeper.pid, sleeper.start - 1))
    state.clean(lab)
    assert sleeper.alive()


def test_owned_lab_is_not_cleaned():
    lab = state.create("a")
    with pytest.raises(BadInput):
        state.clean(state.find("a"))
    assert lab.path.is_dir() and state.stale_labs() == []


def test_lab_of_a_dead_owner_is_stale_with_its_qemu(sleeper):
    lab = state.create("a")
    orphan(lab, qemu=sleeper)
    assert [stale.name for stale in state.stale_labs()] == ["a"]
    state.clean(state.find("a"))
    assert not sleeper.alive() and state.list_labs() == []


def test_detached_lab_is_up_as_long_as_its_qemu(sleeper):
    lab = state.create("a", detached=True)
    lab.update(qemu=sleeper)
    lab.detach()
    assert state.find().status() == "up" and state.stale_labs() == []
    with pytest.raises(BadInput, match="held by its running QEMU"):
        state.clean(lab)
    sleeper.kill()
    assert [stale.name for stale in state.stale_labs()] == ["a"]


def test_down_ends_a_detached_lab(sleeper):
    lab = state.create("a", detached=True)
    lab.update(qemu=sleeper)
    lab.detach()
    state.clean(state.find("a"), running=True)
    assert not sleeper.alive() and state.list_labs() == []


def test_detached_lab_whose_starter_died_before_it_was_up_is_stale(sleeper):
    lab = state.create("a", detached=True)
    orphan(lab, qemu=sleeper)
    assert [stale.name for stale in state.stale_labs()] == ["a"]


def test_qemu_that_was_never_recorded_is_found_by_its_socket():
    lab = state.create("a", detached=True)
    argument = f"socket,id=console,path={lab.make_run_dir()}/console.sock,server=on"
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)", argument]) as process:
        identity = ProcessId.of(process.pid)
        orphan(lab)
        state.clean(lab)
        assert identity is not None and not identity.alive()


def test_somebody_elses_lock_protects_a_lab():
    lab = state.create("a")
    holder = (
        "import fcntl,sys,time; f=open(sys.argv[1]); fcntl.flock(f,2); print(1,flush=True); time.sleep(60)"
    )
    orphan(lab)
    with subprocess.Popen(
        [sys.executable, "-S", "-c", holder, str(lab.path / state.LOCK)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert state.stale_labs() == []
        with pytest.raises(BadInput, match="in use"):
            state.clean(lab)
        process.kill()
    state.clean(lab)


def test_folder_that_was_half_made_or_half_deleted_is_stale_unless_its_maker_lives():
    me = ProcessId.me()
    for name in (".new-4194305-1-x", ".gone-4194305-1-a-x", f".new-{me.pid}-{me.start}-y"):
        (state.labs_dir() / name).mkdir()
        (state.labs_dir() / name / "file").touch()
    for lab in state.stale_labs():
        state.clean(lab)
    assert [path.name for path in state.labs_dir().iterdir()] == [f".new-{me.pid}-{me.start}-y"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": 1, "unknown": 2}', '{"owner": {"pid": "x"}}'])
def test_damaged_record_is_a_stale_lab(text):
    folder = state.labs_dir() / "a"
    folder.mkdir()
    (folder / state.RECORD).write_text(text)
    assert [lab.name for lab in state.stale_labs()] == ["a"]
    state.clean(state.find("a"))
    assert state.list_labs() == []


def test_damaged_record_cannot_make_anything_else_disappear(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    lab = state.create("a")
    orphan(lab, run_dir=str(precious), ram=str(precious / "thesis.tex"))
    state.clean(lab)
    assert precious.is_dir()


def test_record_of_an_unknown_field_is_still_read():
    lab = state.create("a")
    data = json.loads((lab.path / state.RECORD).read_text())
    (lab.path / state.RECORD).write_text(json.dumps({**data, "later": 1}))
    assert state.find("a").record == lab.record


def test_find_needs_a_name_unless_one_lab_is_up(sleeper):
    with pytest.raises(BadInput, match="no lab is up"):
        state.find()
    for name in ("a", "b"):
        lab = state.create(name, detached=True)
        lab.update(qemu=sleeper)
        lab.detach()
    with pytest.raises(BadInput) as caught:
        state.find()
    assert "--name a or b" in caught.value.hint
    with pytest.raises(BadInput) as caught:
        state.find("c")
    assert "a, b" in caught.value.hint


def test_adopted_lab_has_this_owner(sleeper):
    lab = state.create("a", detached=True)
    lab.update(qemu=sleeper)
    lab.detach()
    other = state.find("a")
    other.adopt()
    assert state.find("a").status() == "owned"
    with pytest.raises(BadInput, match="in use"):
        state.find("a").adopt()


def test_killed_owner_leaves_a_lab_that_can_be_cleaned(tmp_path):
    script = (
        "import sys, time; sys.path[:0] = [sys.argv[1]]\n"
        "from lab.machine import state\n"
        "lab = state.create('a'); lab.make_run_dir(); lab.make_ram(4096)\n"
        "print(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, ROOT], stdout=subprocess.PIPE, env=os.environ.copy()
    ) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        assert state.find("a").status() == "owned"
        owner.kill()
    for lab in state.stale_labs():
        state.clean(lab)
    assert state.list_labs() == [] and not list(tmp_path.glob("**/hvlab-*"))


def test_sockets_stay_within_the_length_of_a_unix_socket_path(monkeypatch, tmp_path):
    deep = tmp_path / ("d" * 80)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    lab = state.create("a")
    path = lab.make_run_dir() / state.CONSOLE_SOCKET
    lab.remove()
    assert len(str(path)) <= room.SOCKET_PATH_MAX


def test_ram_goes_to_the_lab_folder_when_shared_memory_is_full(monkeypatch, tmp_path):
    shm = tmp_path / "shm"
    monkeypatch.setattr(room, "_free", lambda folder: 0 if folder == shm else 1 << 40)
    lab = state.create("a")
    assert lab.make_ram(4096).parent == lab.path


def test_no_room_for_ram_says_where_it_was_looked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(room, "_free", lambda folder: 1 << 20)
    with pytest.raises(LabUnavailable) as caught:
        state.create("a").make_ram(1 << 30)
    assert "no room for 1024 MiB" in caught.value.what
    assert str(tmp_path / "shm") in caught.value.where and "doctor --clean" in caught.value.hint


def test_sparse_files_of_other_labs_count_as_taken(tmp_path):
    before = room._free(tmp_path / "shm")
    room.make_sparse(tmp_path / "shm" / "hvlab-x.ram", 1 << 30)
    assert before - room._free(tmp_path / "shm") >= 1 << 29


def test_state_folder_that_cannot_be_made_is_the_labs_own_problem(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HVLAB_STATE", str(tmp_path / "file"))
    with pytest.raises(LabUnavailable) as caught:
        state.create("a")
    assert "HVLAB_STATE" in caught.value.hint


def test_identity_is_pid_and_start_time(sleeper):
    assert sleeper.alive()
    assert not ProcessId(sleeper.pid, sleeper.start + 1).alive()
    assert ProcessId(sleeper.pid, sleeper.start + 1).kill()
    assert sleeper.alive()
    assert ProcessId.of(DEAD.pid) is None


def test_a_name_is_checked_before_anything_is_built():
    state.check_name(None)
    state.check_name("free")
    with pytest.raises(BadInput, match="cannot be a lab's name"):
        state.check_name("Bad Name")
    taken = state.create("taken")
    with pytest.raises(BadInput, match="exists already"):
        state.check_name("taken")
    taken.remove()
    state.check_name("taken")
