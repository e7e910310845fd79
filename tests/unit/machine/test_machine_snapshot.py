# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots: what is saved, in which order QEMU is asked, and what a restore refuses."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import pytest

from lab.machine import room, snapshot, state
from lab.machine.argv import Accel, QemuInfo
from lab.machine.files import BootFiles
from lab.machine.process import Machine
from lab.model.errors import LabUnavailable
from lab.model.machine import IvshmemDevice, MachineSpec

FAKE = Path(__file__).with_name("fake_qemu.py")
QEMU = QemuInfo(FAKE, (9, 9, 9), (), (sys.executable, "-S", str(FAKE)))
ACCEL = Accel("tcg", "single", 1, False, "test")
SPEC = MachineSpec("m", 1, 1 << 20, (IvshmemDevice("shm", 3, 8192),), hypervisor="none")


@pytest.fixture
def boot(tmp_path, monkeypatch):
    monkeypatch.setenv("HVLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("HVLAB_SHM", str(tmp_path))
    (tmp_path / "kernel").write_text("say ready\n")
    return BootFiles(tmp_path / "kernel", tmp_path / "kernel", None)


@pytest.fixture
def saved(boot, tmp_path):
    """A snapshot of a machine whose RAM says so, and what its monitor was asked."""
    folder = tmp_path / "snapshot"
    folder.mkdir()
    lab = state.create()
    with Machine.start(SPEC, QEMU, ACCEL, boot, lab) as machine:
        with machine.files.ram.open("r+b") as ram:
            ram.seek(0x80000)
            ram.write(b"remember")
        log = lab.path / "monitor.log"
        made = snapshot.save(
            machine,
            folder,
            QEMU,
            ACCEL,
            park=lambda: log.open("a").write("PARK\n"),
            release=lambda: log.open("a").write("RELEASE\n"),
        )
        asked = [line.split()[0] for line in log.read_text().splitlines()]
    lab.remove()
    return made, asked


def test_cpus_are_parked_before_the_stop_and_released_before_they_go_on(saved):
    _, asked = saved
    order = [asked.index(word) for word in ("PARK", "stop", "migrate", "query-migrate", "RELEASE", "cont")]
    assert order == sorted(order)


def test_snapshot_is_read_back_as_it_was_made(saved):
    made, _ = saved
    assert snapshot.load(made.folder) == made
    assert made.bars == (snapshot.Bar(3, 2, 0x1_FE40_0000, True),)
    assert (made.folder / snapshot.RAM).read_bytes()[0x80000:0x80008] == b"remember"


def test_restored_machine_has_the_ram_and_its_bars_before_the_state_is_loaded(saved, boot):
    made, _ = saved
    lab = state.create()
    asked = []

    def release(machine: Machine) -> None:
        assert machine.files.ram.read_bytes()[0x80000:0x80008] == b"remember"
        asked.extend((lab.path / "monitor.log").read_text().splitlines())

    machine = snapshot.restore(made, SPEC, QEMU, ACCEL, boot, lab, release=release)
    try:
        assert machine.device_memory("shm").verify() == []
        assert "-incoming" in (lab.path / "argv.txt").read_text()
        ports = [line.removeprefix("human-monitor-command ") for line in asked if " o /" in line]
        assert ports == [
            "o /w 0xcf8 0x80001818",
            "o /w 0xcfc 0xfe400000",
            "o /w 0xcf8 0x8000181c",
            "o /w 0xcfc 0x1",
            "o /w 0xcf8 0x80001804",
            "o /h 0xcfc 0x2",
        ]
        assert asked[-2].startswith("migrate-incoming exec:cat") and "cont " not in asked
        assert (lab.path / "monitor.log").read_text().splitlines()[-1] == "cont "
    finally:
        machine.stop()
        lab.remove()


@pytest.mark.parametrize(
    ("spec", "qemu", "accel", "words"),
    [
        (dataclasses.replace(SPEC, cpus=2), QEMU, ACCEL, "another machine"),
        (SPEC, dataclasses.replace(QEMU, version=(10, 0, 2)), ACCEL, "this is 10.0.2"),
        (SPEC, QEMU, dataclasses.replace(ACCEL, cpus=3), "1 CPUs"),
    ],
)
def test_restore_of_what_does_not_fit_is_refused(saved, boot, spec, qemu, accel, words):
    made, _ = saved
    lab = state.create()
    with pytest.raises(LabUnavailable, match=words):
        snapshot.restore(made, spec, qemu, accel, boot, lab, release=lambda machine: None)
    lab.remove()


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 99}'])
def test_folder_without_a_snapshot_is_refused(tmp_path, text):
    (tmp_path / snapshot.META).write_text(text)
    with pytest.raises(LabUnavailable, match="no usable snapshot"):
        snapshot.load(tmp_path)


def test_copy_keeps_data_and_holes(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    room.make_sparse(source, 64 << 20)
    with source.open("r+b") as file:
        for at in (0, 8 << 20, (64 << 20) - 5):
            file.seek(at)
            file.write(b"hello")
    copied = room.copy_sparse(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert copied < 1 << 20 and os.stat(target).st_blocks * 512 < 1 << 20


def test_copy_of_a_hole_is_a_hole(tmp_path):
    room.make_sparse(tmp_path / "a", 1 << 20)
    assert room.copy_sparse(tmp_path / "a", tmp_path / "b") == 0
    assert (tmp_path / "b").stat().st_size == 1 << 20


def test_copy_that_fails_says_what(tmp_path):
    with pytest.raises(LabUnavailable, match="cannot copy"):
        room.copy_sparse(tmp_path / "none", tmp_path / "b")
