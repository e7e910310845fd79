# SPDX-License-Identifier: GPL-2.0-or-later
"""A running machine: QEMU, its console, its monitor, and how it ended."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from lab.machine import ivshmem, room, spawn
from lab.machine.argv import Accel, Boot, MachineFiles, NetPorts, QemuInfo, build_argv, shell_quoted
from lab.machine.console import Console, FileTail, LineSplitter, LogSource, SocketSource, last_lines
from lab.machine.deaths import Death, DeathDetector, without_noise
from lab.machine.files import BootFiles, files_of, prepare_files
from lab.machine.proc import ProcessId, cpu_seconds
from lab.machine.qmp import Event, Qmp, QmpError
from lab.machine.state import Lab
from lab.model.errors import BadInput, GuestDied, LabUnavailable
from lab.model.machine import MachineSpec

START_SECONDS = 20.0
"""QEMU opens its sockets within milliseconds; a loaded host may need seconds."""

_PUMP = 0.05
_POLL = 0.01
_DRAIN_SECONDS = 1.0
_CPU_SAMPLE = 1.0
_TAIL = 40


class Machine:
    """One QEMU in one lab folder. Use as a context manager, or call :meth:`stop`.

    A machine that was started here dies with this process, unless the lab is detached.
    """

    def __init__(self, lab: Lab, spec: MachineSpec, files: MachineFiles, identity: ProcessId) -> None:
        self.lab = lab
        self.spec = spec
        self.files = files
        self.identity = identity
        self.accel_reason = ""
        self.exit_status: int | None = None
        """QEMU's exit status once it has ended (negative for a signal, None when it cannot be known)."""
        self.qmp = Qmp(files.qmp_socket, self._on_event)
        self.console: Console
        self.started = time.monotonic()
        self._child: subprocess.Popen[bytes] | None = None
        self._detector = DeathDetector()
        self._death: Death | None = None
        self._on_death: list[Callable[[Death], None]] = []
        self._lock = threading.Lock()
        self._end_expected = False
        self._ended = threading.Event()
        self._stopping = threading.Event()
        self._hypervisor_tail = FileTail(files.hypervisor_log)
        self._console_lines = LineSplitter()
        self._cpu = 0.0
        self._pump_thread = threading.Thread(target=self._pump, name="hvlab-pump", daemon=True)

    @classmethod
    def start(
        cls,
        spec: MachineSpec,
        qemu: QemuInfo,
        accel: Accel,
        boot_files: BootFiles,
        lab: Lab,
        *,
        net: NetPorts | None = None,
        boot: Boot | None = None,
        nonce: int | None = None,
        ram_image: Path | None = None,
    ) -> Machine:
        """Start QEMU in the lab's folder and connect console and monitor.

        ``nonce`` is that of the device memories (default: a new one, kept in the lab's record under
        ``info["nonce"]``), ``ram_image`` a file whose data the RAM starts with. Raises LabUnavailable
        when QEMU does not start, GuestDied when the machine died before it could be connected; nothing
        runs then.
        """
        boot = boot or Boot()
        files = prepare_files(spec, boot_files, lab, nonce)
        if ram_image is not None:
            room.copy_sparse(ram_image, files.ram)
        argv = build_argv(spec, qemu, files, net or NetPorts(), accel, boot)
        (lab.path / "argv.txt").write_text(shell_quoted(argv) + "\n")
        log = lab.path / "qemu.log"
        try:
            child = spawn.start(argv, log=log, env=qemu.env, die_with_me=not lab.record.detached)
        except OSError as error:
            raise LabUnavailable(f"QEMU does not start: {error}", where=str(qemu.path)) from None
        identity = ProcessId.of(child.pid)
        assert identity is not None, "a child that was not waited for has a /proc entry"
        machine = cls(lab, spec, files, identity)
        machine._child = child
        machine.accel_reason = accel.reason
        try:
            lab.update(qemu=identity, machine=spec.name)
            machine._connect(log, wait=boot.wait)
        except BaseException:
            machine.stop()
            raise
        return machine

    @classmethod
    def attach(cls, lab: Lab, spec: MachineSpec) -> Machine:
        """Connect to the QEMU of a lab that is up. The console starts with its whole record.

        The monitor is connected only when it is needed: any number of processes may look at a lab at once.
        Raises BadInput when it does not run any more.
        """
        identity = lab.record.qemu
        if identity is None or not identity.alive():
            raise BadInput(
                f"the machine of lab {lab.name!r} does not run any more",
                where=str(lab.path),
                hint=f"look at its logs there, then hvlab down --name {lab.name}",
            )
        machine = cls(lab, spec, files_of(spec, lab), identity)
        machine.console = Console(machine._log_source(), machine.check)
        machine._pump_thread.start()
        return machine

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def ssh_port(self) -> int:
        """Loopback port that reaches the root's SSH server."""
        return self.lab.record.ssh_port

    @property
    def hypervisor_log(self) -> Path:
        """The stand-in's log (port 0xe9)."""
        return self.files.hypervisor_log

    @property
    def nonce(self) -> int:
        """Nonce of the device memories."""
        return int(self.lab.record.info["nonce"])

    def device_memory(self, device: str) -> ivshmem.DeviceMemory:
        """The host's view of the memory of a device of this machine, by id."""
        return ivshmem.DeviceMemory(self.files.devices[device], self.nonce)

    def alive(self) -> bool:
        """Whether QEMU runs."""
        return not self._ended.is_set() and self.identity.alive()

    def cpu_seconds(self) -> float:
        """CPU seconds that QEMU has used so far, or had used when it ended."""
        now = cpu_seconds(self.identity.pid) if self.identity.alive() else None
        self._cpu = max(self._cpu, now or 0.0)
        return self._cpu

    def check(self, phase: str) -> None:
        """Raise GuestDied if the machine is dead; what every wait calls."""
        if (death := self.death()) is not None:
            raise self.died(death.kind, death.what, phase)

    def died(self, kind: str, what: str, phase: str, where: str = "") -> GuestDied:
        """The error for a death or a hang, with the last words of everything that talks as evidence."""
        parts = [where] if where else []
        parts.append("console:\n" + (self.console.tail(_TAIL) or "(nothing)"))
        if kind in ("hypervisor-panic", "tripwire", "triple-fault", "boot-hang"):
            parts.append("stand-in:\n" + (last_lines(self.hypervisor_log) or "(nothing)"))
        if kind == "qemu-exit":
            said = without_noise(last_lines(self.lab.path / "qemu.log"))
            parts.append("QEMU:\n" + (said or "(nothing)"))
        hint = "this is a defect of QEMU, not of the kernel: run it again" if kind == "tripwire" else ""
        return GuestDied(what, kind=kind, phase=phase, hint=hint, detail="\n".join(parts))

    def death(self) -> Death | None:
        """How the machine died; None while it lives, and after an end that was expected."""
        if self._death is None and not (
            self._pump_thread.is_alive() or self._stopping.is_set() or self._end_expected
        ):
            return Death("qemu-exit", "the console pump has ended")
        return self._death

    def on_death(self, callback: Callable[[Death], None]) -> None:
        """Call back once when the machine dies (in the pump's thread), or now if it is dead already.

        For code that blocks where no watch can look: close what it blocks on.
        """
        with self._lock:
            if self._death is None:
                self._on_death.append(callback)
                return
        callback(self._death)

    def expect_end(self) -> None:
        """From now on the end of QEMU is no death (before a power-off that the caller asks for)."""
        self._end_expected = True

    def wait_end(self, budget: float) -> int | None:
        """Wait until QEMU has ended and its logs are read. Raises TimeoutError."""
        if not self._ended.wait(budget):
            raise TimeoutError(f"QEMU {self.identity.pid} still runs after {budget:g} s")
        return self.exit_status

    def stop(self) -> None:
        """Kill QEMU and release everything but the logs; safe to call twice."""
        self._end_expected = True
        self.cpu_seconds()
        if not self._ended.is_set():
            self.identity.kill()
        if self._pump_thread.is_alive() and threading.current_thread() is not self._pump_thread:
            self._ended.wait(_DRAIN_SECONDS + 1.0)
        self.detach()
        if self._child is not None and self.exit_status is None:  # the pump never ran
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.exit_status = self._child.wait(5.0)
        if self.lab.record.qemu == self.identity and self.lab.path.is_dir():
            self.lab.update(phase="down", qemu=None)

    kill = stop

    def detach(self) -> None:
        """Release console and monitor and let QEMU run."""
        self._stopping.set()
        if self._pump_thread.is_alive() and threading.current_thread() is not self._pump_thread:
            self._pump_thread.join(2.0)
        self.qmp.close()
        if hasattr(self, "console"):
            self.console.close()

    def _connect(self, log: Path, *, wait: bool) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                # A console that did not wait for us may have spoken before we listened: its log has it all.
                source = SocketSource(self.files.console_socket) if wait else self._log_source()
                break
            except OSError as error:
                self._still_starting(log, deadline, error)
        self.console = Console(source, self.check)
        self._pump_thread.start()
        while True:
            try:
                if self.files.qmp_socket.exists():
                    self.qmp.connect()
                    port = self._forwarded_port()
                    break
                self._still_starting(log, deadline, None)
            except QmpError as error:
                self._still_starting(log, deadline, error)
        self.lab.update(ssh_port=port)

    def _log_source(self) -> LogSource:
        return LogSource(self.files.console_log, self.files.console_socket, lambda: not self.identity.alive())

    def _still_starting(self, log: Path, deadline: float, error: Exception | None) -> None:
        if self._has_ended():
            self._died_at_once()
            raise LabUnavailable(
                f"QEMU ended while starting (status {self.exit_status})",
                where=str(self.lab.path),
                hint="its command line is in argv.txt there",
                detail=without_noise(last_lines(log)),
            )
        if time.monotonic() > deadline:
            raise LabUnavailable(
                f"QEMU does not open its sockets within {START_SECONDS:g} s: {error}",
                where=str(self.lab.path),
                detail=without_noise(last_lines(log)),
            )
        time.sleep(_POLL)

    def _died_at_once(self) -> None:
        """Raise GuestDied if something ran in the machine before it ended."""
        if self._pump_thread.is_alive():
            self._ended.wait(_DRAIN_SECONDS + 1.0)
        if self.files.hypervisor_log.exists() and self.hypervisor_log.stat().st_size:
            self.check("start")
        if hasattr(self, "console") and self.console.position():
            self.check("start")

    def _forwarded_port(self) -> int:
        """The port that the host's kernel chose: no race for it, unlike looking for a free one first."""
        text = self.qmp.hmp("info usernet")
        match = re.search(r"HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", text)
        if match is None:
            raise LabUnavailable("QEMU does not say which port it forwards", detail=text)
        return int(match[1])

    def _on_event(self, event: Event) -> None:
        if event.get("event") == "SHUTDOWN":
            self._detector.shutdown_reason = str(event.get("data", {}).get("reason", ""))

    def _pump(self) -> None:
        """The one reader of the console and the stand-in's log, and the one judge of life and death."""
        next_sample = 0.0
        while not self._stopping.is_set():
            more = self._read(_PUMP)
            now = time.monotonic()
            if now >= next_sample:
                self.cpu_seconds()
                next_sample = now + _CPU_SAMPLE
            if self._has_ended():
                self._finish()
                return
            if (death := self._detector.settled(now)) is not None:
                self._set_death(death)
            if not more:
                time.sleep(_POLL)

    def _read(self, timeout: float) -> bool:
        start = self.console.position()
        more = not self.console.closed and self.console.pump(timeout)
        now = time.monotonic()
        for line in self._console_lines.feed(self.console.raw(start)):
            self._detector.console_line(line, now)
        self._detector.console_line(self._console_lines.rest, now)
        for line in self._hypervisor_tail.read():
            self._detector.hypervisor_line(line, now)
        self._detector.hypervisor_line(self._hypervisor_tail.rest, now)
        return more

    def _has_ended(self) -> bool:
        """Whether QEMU has ended; its CPU time is read before the zombie goes."""
        if self._child is None or self.exit_status is not None:
            return not self.identity.alive()
        with self._lock:
            if self._child.returncode is None:
                if os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    return False
                self._cpu = max(self._cpu, cpu_seconds(self._child.pid) or 0.0)
            self.exit_status = self._child.wait()
        return True

    def _finish(self) -> None:
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self._read(0.0) and time.monotonic() < deadline:
            pass
        self._read(0.0)
        if not self._end_expected:
            self._detector.exited(
                self.exit_status,
                last_lines(self.files.reset_log, count=2000),
                last_lines(self.lab.path / "qemu.log"),
            )
            death = self._detector.settled(time.monotonic())
            if death is not None:
                self._set_death(death)
        self.console.close()
        self._ended.set()

    def _set_death(self, death: Death) -> None:
        with self._lock:
            if self._death is not None or self._end_expected:
                return
            self._death = death
            callbacks, self._on_death = self._on_death, []
        for callback in callbacks:
            with contextlib.suppress(Exception):  # the pump goes on, whatever a listener does
                callback(death)
