# SPDX-License-Identifier: GPL-2.0-or-later
"""The root partition as seen from inside: commands, files, kernel log, devices."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko

from lab.model.errors import BadInput, GuestDied, LabError
from lab.root.kmsg import KmsgSlice, is_kmsg_end, parse_kmsg
from lab.root.pci import LIST_SCRIPT, PciDevice, bind_script, check_address, parse_devices
from lab.root.session import Session
from lab.root.shell import Shell, stays_behind
from lab.root.stacks import CPUS_SCRIPT, TASKS_SCRIPT
from lab.root.transport import POLL, TRANSPORT_ERRORS, Transport, Watch

_CHUNK = 1 << 16
_QUICK = 20.0
"""Budget in seconds for a command that should take no time."""
_STACKS_SECONDS = 15.0
"""The kernel waits up to 10 s for a CPU that does not answer its NMI."""
_CLOSE_SECONDS = 1.0
_LOG_END = 1 << 63
VMM = "/sbin/mshv-vmm"
"""Where the VMM lies in a root that the lab made."""
_SHELL_GONE = ("session-ended", "ssh")
"""Kinds of GuestDied that the end of one channel looks like, before and while it is written to."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """Outcome of a command: exit status (128 + n when signal n ended it), stdout and stderr as text."""

    rc: int
    out: str
    err: str


class CommandFailed(LabError):
    """A command in the root ended with a status other than 0. ``result`` has its output."""

    def __init__(self, command: str, result: RunResult) -> None:
        super().__init__(
            f"exit status {result.rc}", where=f"in the root: {command}", detail=result.err or result.out
        )
        self.result = result


class Root:
    """SSH into the root, as root, with the key of this run.

    ``watch`` is polled during every wait, at least each quarter of a second, and ends it by raising
    GuestDied. ``host_key`` (``ssh-ed25519 BASE64``, or several such) guards against another machine on the
    port. With ``through`` the connection goes through that root: so a Linux child is reached.
    ``vmm`` is where the VMM program lies in the root. ``factor`` stretches every budget, for a kernel that is
    slow; behind another root it is that one's.
    """

    def __init__(
        self,
        host: str,
        port: int,
        key_path: Path,
        watch: Watch,
        *,
        host_key: str | Sequence[str] = "",
        user: str = "root",
        vmm: str = VMM,
        through: Root | None = None,
        factor: float = 1.0,
    ) -> None:
        dial = None
        self.factor: float = factor if through is None else through.factor
        if through is not None:
            outer = through._transport

            def dial(left: float) -> paramiko.Channel:
                return outer.tunnel(host, port, left)

        self._transport: Transport = Transport(host, port, key_path, watch, host_key, dial, user, self.factor)
        self._kmsg: Session | None = None
        self._shell: Shell | None = None
        self.vmm = vmm

    @property
    def watch(self) -> Watch:
        """The watch given at the start."""
        return self._transport.watch

    def connect(self, budget: float = 30.0) -> None:
        """Log in, trying again for ``budget`` seconds. GuestDied when that fails."""
        self._transport.connect(budget)

    def connected(self) -> bool:
        """Whether the connection stands."""
        return self._transport.connected()

    def close(self) -> None:
        """End the connection and everything that runs on it."""
        self._kmsg = self._shell = None
        self._transport.close()

    def __enter__(self) -> Root:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def run(self, command: str, timeout: float = _QUICK, check: bool = True, stdin: bytes = b"") -> RunResult:
        """Run a shell command. CommandFailed on a status other than 0 (with ``check``), GuestDied
        (kind ``driver-hang``) when it has not ended after ``timeout`` seconds."""
        rc, out, err = self._run(command, timeout, stdin)
        result = RunResult(rc, out.decode(errors="replace"), err.decode(errors="replace"))
        if check and rc:
            raise CommandFailed(command, result)
        return result

    def open_session(self, command: str, budget: float = _QUICK) -> Session:
        """Start a command and talk to it in lines. It ends when the session is closed."""
        phase = f"starting {command.split()[0]} in the root"
        channel = self._transport.open_channel(f"exec {command}", budget * self.factor, phase)
        return Session(self._transport, channel, command, self.factor)

    def put(self, data: bytes, path: str, mode: int = 0o644, timeout: float = 60.0) -> None:
        """Write a file: beside its place, then renamed, so that nobody sees half of it."""
        place, new = shlex.quote(path), shlex.quote(path + ".new")
        self.run(f"cat >{new} && chmod {mode:o} {new} && mv {new} {place}", timeout, stdin=data)

    def get(self, path: str, timeout: float = 60.0) -> bytes:
        """Read a file. CommandFailed when it does not exist."""
        return self.output(f"cat {shlex.quote(path)}", timeout)

    def output(self, command: str, timeout: float = _QUICK) -> bytes:
        """What a shell command prints, as bytes. Errors as in ``run``."""
        rc, out, err = self._run(command, timeout, b"")
        if rc:
            raise CommandFailed(command, RunResult(rc, "", err.decode(errors="replace")))
        return out

    def kmsg_position(self) -> int:
        """The sequence number of the kernel log's next record."""
        return self.kmsg(_LOG_END).next

    def kmsg_since(self, position: int) -> list[str]:
        """Kernel log lines from ``position`` on, as dmesg prints them.

        Records that the kernel overwrote before they were read show as one line that says so.
        """
        return list(self.kmsg(position).lines)

    def kmsg(self, position: int) -> KmsgSlice:
        """Kernel log lines from ``position`` on, with the position after them.

        One reader stays for this: what it has read it need not read again.
        """
        try:
            return self._read_kmsg(position)
        except GuestDied as e:
            if e.kind not in _SHELL_GONE:
                raise
            return self._read_kmsg(position)  # whatever ended the shell, the log may still be there

    def _read_kmsg(self, position: int) -> KmsgSlice:
        reader, self._kmsg = self._kmsg or self.open_session(f"{self.vmm} --kmsg -"), None
        reader.send_line(str(position))
        lines = [reader.receive_line(_QUICK)]
        while not is_kmsg_end(lines[-1]):
            lines.append(reader.receive_line(_QUICK))
        self._kmsg = reader  # not after an error: there the next look starts anew
        return parse_kmsg("\n".join(lines))

    def pci_devices(self) -> list[PciDevice]:
        """All PCI devices of the root with driver and BARs."""
        return parse_devices(self.run(LIST_SCRIPT).out)

    def pci_device(self, bdf: str) -> PciDevice:
        """The device at ``bdf``; BadInput when there is none, naming those that exist."""
        devices = {device.bdf: device for device in self.pci_devices()}
        if bdf not in devices:
            raise BadInput(f"no PCI device {bdf}", hint="devices: " + ", ".join(sorted(devices)))
        return devices[bdf]

    def bind_vfio(self, bdf: str) -> None:
        """Give a device to vfio-pci. CommandFailed when the driver does not take it."""
        self.run(bind_script(check_address(bdf)))

    def stacks(self) -> str:
        """Kernel stacks of the processes and of all kernel tasks that run or wait uninterruptibly,
        and of all CPUs, for reports of a hang.

        The CPUs' part also lands in the kernel log. Never raises: what could not be read is said in
        the text.
        """
        parts = []
        for read in (self._task_stacks, self._cpu_stacks):
            try:
                parts.append(read())
            except (LabError, ValueError) as e:
                parts.append(f"not to be had: {e}\n")
        return "".join(parts)

    def _task_stacks(self) -> str:
        return self.run(TASKS_SCRIPT, _STACKS_SECONDS, check=False).out

    def _cpu_stacks(self) -> str:
        position = self.kmsg_position()
        self.run(CPUS_SCRIPT, _STACKS_SECONDS)
        return "CPUs:\n" + "\n".join(self.kmsg_since(position)) + "\n"

    def _run(self, command: str, timeout: float, stdin: bytes) -> tuple[int, bytes, bytes]:
        timeout *= self.factor
        phase = f"running in the root: {command[:80]}"
        if not stdin and not stays_behind(command):
            return self._in_shell(command, timeout, phase)
        channel = self._transport.open_channel(command, timeout, phase)
        patience = 0.0
        try:
            result = self._exchange(channel, timeout, stdin, phase)
            patience = _CLOSE_SECONDS
            return result
        except TRANSPORT_ERRORS as e:
            raise self._transport.broken(phase, e) from e
        finally:
            self._transport.release(channel, patience)

    def _in_shell(self, command: str, timeout: float, phase: str) -> tuple[int, bytes, bytes]:
        # Taken while it is in use: another thread starts one of its own meanwhile.
        shell, self._shell = self._shell, None
        if shell is None or shell.ended():
            shell = Shell(self._transport, timeout)
        try:
            result = shell.run(command, timeout, phase)
        except BaseException:
            shell.leave()
            raise
        if self._shell is None:
            self._shell = shell
        else:
            shell.leave(_CLOSE_SECONDS)
        return result

    def _exchange(
        self, channel: paramiko.Channel, timeout: float, stdin: bytes, phase: str
    ) -> tuple[int, bytes, bytes]:
        deadline = time.monotonic() + timeout
        out, err = bytearray(), bytearray()
        channel.settimeout(POLL)
        view, sent_all = memoryview(stdin), False
        while True:
            try:
                if view:
                    view = view[channel.send(view[:_CHUNK].tobytes()) :]
                elif not sent_all:
                    channel.shutdown_write()
                    sent_all = True
                elif data := channel.recv(_CHUNK):
                    out += data
                    continue
                else:
                    break
            except TimeoutError:
                pass
            while channel.recv_stderr_ready():
                err += channel.recv_stderr(_CHUNK)
            self.watch.check(phase)
            if time.monotonic() > deadline:
                raise self._transport.hang(phase, timeout)
        while not channel.status_event.wait(POLL):
            self.watch.check(phase)
            if time.monotonic() > deadline:
                raise self._transport.hang(phase, timeout)
        while channel.recv_stderr_ready():
            err += channel.recv_stderr(_CHUNK)
        if channel.exit_status < 0 and not channel.eof_received:
            raise EOFError("the connection ended before the command")
        return channel.exit_status, bytes(out), bytes(err)
