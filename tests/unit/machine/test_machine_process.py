# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine's life and death, with a script in the place of QEMU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.machine import hang, state, watch
from lab.machine.argv import Accel, QemuInfo
from lab.machine.files import BootFiles
from lab.machine.process import Machine
from lab.machine.qmp import QmpError
from lab.machine.watch import Watch
from lab.model.errors import BadInput, GuestDied, LabUnavailable
from lab.model.machine import IvshmemDevice, MachineSpec

FAKE = Path(__file__).with_name("fake_qemu.py")
QEMU = QemuInfo(FAKE, (9, 9, 9), (), (sys.executable, "-S", str(FAKE)))
ACCEL = Accel("tcg", "single", 1, False, "test")
SPEC = MachineSpec("m", 1, 1 << 20, (IvshmemDevice("shm", 3, 8192),), hypervisor="none")


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts a machine that follows a script; everything is gone afterwards."""
    monkeypatch.setenv("HVLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("HVLAB_SHM", str(tmp_path))
    monkeypatch.setattr(hang, "_SAMPLE_GAP", 0.0)
    monkeypatch.setattr(hang, "_SYSRQ_SECONDS", 0.0)
    (tmp_path / "initrd").touch()
    machines = []

    def begin(*script: str, detached: bool = False) -> Machine:
        kernel = tmp_path / f"script-{len(machines)}"
        kernel.write_text("\n".join(script))
        lab = state.create(detached=detached)
        files = BootFiles(kernel, tmp_path / "initrd", None)
        try:
            machine = Machine.start(SPEC, QEMU, ACCEL, files, lab)
        except BaseException:
            lab.remove()
            raise
        machines.append(machine)
        return machine

    yield begin
    for machine in machines:
        machine.stop()
        if machine.lab.path.exists():
            machine.lab.remove()
    assert not list(tmp_path.glob("hvlab-*"))


def wait_for_death(machine: Machine, phase: str = "drive") -> tuple[GuestDied, float]:
    started = time.monotonic()
    with pytest.raises(GuestDied) as caught:
        Watch(machine).wait(lambda: None, 10.0, phase, "nothing")
    return caught.value, time.monotonic() - started


def test_output_reaches_the_record_the_log_and_a_subscriber(start):
    machine = start("sleep 0.1", "say hello", "say READY 7")
    heard: list[bytes] = []
    machine.console.subscribe(lambda position, data: heard.append(data))
    assert machine.console.wait_for(r"READY (\d)", 5, "boot")[1] == "7"
    deadline = time.monotonic() + 5
    while b"READY 7" not in b"".join(heard) and time.monotonic() < deadline:
        time.sleep(0.01)  # subscribers are told after whoever waits
    assert b"hello" in b"".join(heard)
    assert machine.files.console_log.read_text().splitlines()[0] == "hello"
    assert machine.ssh_port == 40022


def test_typing_goes_to_the_console(start):
    machine = start("say ready", "echo")
    machine.console.wait_for("ready", 5, "boot")
    position = machine.console.position()
    machine.console.send("typed")
    machine.console.wait_for("typed", 5, "boot", start=position)


def test_panic_ends_a_wait_within_two_seconds_with_the_rest_of_the_splat(start):
    machine = start("sleep 0.2", "say [1.0] Kernel panic - not syncing: oh no", "sleep 0.5", "say last words")
    error, seconds = wait_for_death(machine, "first scenario")
    assert (error.kind, error.phase) == ("panic", "first scenario")
    assert "oh no" in error.what and "last words" in error.detail
    assert seconds < 2.2


def test_end_of_the_process_does_not_hide_the_panic_before_it(start):
    machine = start("sleep 0.1", "say Kernel panic - not syncing: quick", "exit 0")
    error, seconds = wait_for_death(machine)
    assert error.kind == "panic" and seconds < 1.5


def test_hypervisor_panic_is_told_from_a_tripwire(start):
    error, _ = wait_for_death(start("sleep 0.1", "hypervisor HV PANIC: lp 0: out of pages", "exit 255"))
    assert error.kind == "hypervisor-panic" and "out of pages" in error.what
    error, _ = wait_for_death(start("sleep 0.1", "hypervisor HV PANIC: tripwire: lp 0", "exit 255"))
    assert error.kind == "tripwire" and "not of the kernel" in error.hint


def test_killed_qemu_names_the_signal(start):
    error, seconds = wait_for_death(start("sleep 0.1", "kill 9"))
    assert error.kind == "qemu-exit" and "SIGKILL" in error.what
    assert seconds < 1.5


def test_triple_fault_is_read_from_the_reset_log(start):
    error, _ = wait_for_death(start("sleep 0.1", "reset Triple fault", "exit 0"))
    assert error.kind == "triple-fault"


def test_death_before_the_monitor_is_connected_is_a_death_too(start):
    with pytest.raises(GuestDied) as caught:
        machine = start("hypervisor HV PANIC: at once", "exit 255")
        machine.wait_end(5.0)  # a busy host may have connected the monitor first
        Watch(machine).check("boot")
    assert caught.value.kind == "hypervisor-panic" and "at once" in caught.value.what


@pytest.mark.parametrize("command", ["qmp_capabilities", "human-monitor-command"])
def test_death_while_the_monitor_is_connected_is_a_death_too(start, command):
    with pytest.raises(GuestDied) as caught:
        start("hypervisor HV PANIC: just now", f"until {command}")
    assert caught.value.kind == "hypervisor-panic" and "just now" in caught.value.what


def test_expected_end_is_no_death(start):
    machine = start("sleep 0.3", "exit 3")
    machine.expect_end()
    assert machine.wait_end(5.0) == 3
    Watch(machine).check("down")
    assert not machine.alive()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("note: vmm[110] exited with irqs disabled", "note: vmm[110] exited with irqs disabled"),
        ("Oops: 0000 [#1] SMP|RIP: 0010:f+0x1/0x2|CPU: 1 UID: 0 PID: 110 Comm: vmm", "Oops: 0000 [#1] SMP"),
        ("Oops: 0000 [#1] SMP|CPU: 1 UID: 0 PID: 1101 Comm: vmm", ""),
        ("WARNING: x.c:1|CPU: 1 UID: 0 PID: 110 Comm: vmm", ""),
    ],
)
def test_kernel_tells_which_task_it_has_lost(start, words, said):
    machine = start("sleep 0.1", *(f"say {line}" for line in words.split("|")), "say over")
    machine.console.wait_for("over", 5, "boot")
    watch = Watch(machine)
    assert watch.lost_task(110) == said
    assert watch.lost_task(10) == ""


def test_waiting_for_a_text_ends_with_the_machine(start):
    machine = start("sleep 0.1", "say almost", "exit 0")
    with pytest.raises(GuestDied):
        machine.console.wait_for("never", 10, "boot")


def test_death_calls_back_whoever_blocks(start):
    machine = start("sleep 0.2", "kill 9")
    told = []
    machine.on_death(told.append)
    wait_for_death(machine)
    machine.on_death(told.append)
    assert [death.kind for death in told] == ["qemu-exit", "qemu-exit"]


def test_silence_at_boot_is_a_hang_that_shows_the_console(start, monkeypatch):
    monkeypatch.setattr(watch, "BOOT_SILENCE", 0.3)
    machine = start("say the last line")
    with pytest.raises(GuestDied) as caught:
        Watch(machine).wait(lambda: None, 10.0, "boot", "ssh", booting=True)
    assert caught.value.kind == "boot-hang"
    assert "the last line" in caught.value.detail


def test_used_up_budget_is_a_hang_that_names_the_cause(start):
    machine = start("say x")
    with pytest.raises(GuestDied) as caught:
        Watch(machine).wait(lambda: None, 0.1, "drive", "an answer of the VMM")
    assert caught.value.kind == "driver-hang" and "an answer of the VMM" in caught.value.what


def test_qemu_that_refuses_its_command_line_is_quoted(start):
    with pytest.raises(LabUnavailable) as caught:
        start("refuse: no such device")
    assert "no such device" in caught.value.detail


def test_monitor_errors_and_timeouts_are_ours(start):
    machine = start("say x")
    assert machine.qmp.execute("query-name") == {}
    with pytest.raises(QmpError, match="refused on purpose"):
        machine.qmp.execute("refuse")
    with pytest.raises(QmpError, match="no answer within"):
        machine.qmp.execute("sleep", timeout=0.2)
    machine.stop()
    with pytest.raises(QmpError):
        machine.qmp.execute("query-status")


def test_detached_machine_outlives_its_starter_and_can_be_attached(start):
    machine = start("say booted", detached=True)
    machine.console.wait_for("booted", 5, "boot")
    machine.lab.detach()
    machine.detach()
    lab = state.find()
    assert (lab.name, lab.status()) == (machine.lab.name, "up")
    again = Machine.attach(lab, SPEC)
    assert again.console.wait_for("booted", 5, "attach")
    assert again.device_memory("shm").verify() == []
    os.kill(again.identity.pid, signal.SIGKILL)
    error, _ = wait_for_death(again)
    assert error.kind == "qemu-exit"
    again.detach()
    with pytest.raises(BadInput, match="does not run any more"):
        Machine.attach(state.find(lab.name), SPEC)


def test_stop_keeps_logs_and_reports_cpu_time(start):
    machine = start("burn 0.1", "say x")  # the kernel counts in hundredths of a second
    machine.console.wait_for("x", 5, "boot")
    machine.stop()
    machine.stop()
    assert machine.exit_status == -signal.SIGKILL
    assert machine.cpu_seconds() > 0
    assert machine.lab.record.phase == "down" and machine.lab.record.qemu is None
    assert (machine.lab.path / "console.log").read_text().strip() == "x"


OWNER = """
import sys, time
sys.path[:0] = [sys.argv[1]]
from pathlib import Path
from lab.machine import spawn
log = Path(sys.argv[2])
code = "import time; print(1, flush=True); time.sleep(60)"
child = spawn.start([sys.executable, "-S", "-c", code], log=log, die_with_me=sys.argv[3] == "1")
while not log.stat().st_size:
    time.sleep(0.01)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("tied", [True, False])
def test_child_dies_with_its_killed_owner_unless_detached(tmp_path, tied):
    from lab.machine.proc import ProcessId

    root = str(Path(__file__).parents[3])
    argv = [sys.executable, "-c", OWNER, root, str(tmp_path / "log"), str(int(tied))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        child = ProcessId.of(int(owner.stdout.readline()))
        assert child is not None and child.alive()
        owner.kill()
    try:
        deadline = time.monotonic() + (2.0 if tied else 0.3)
        while child.alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert child.alive() != tied
    finally:
        child.kill()
