# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's gdbstub: run control of single CPUs, registers, memory, breakpoints.

The remote serial protocol as QEMU speaks it (GDB manual, appendix "Remote Protocol"; QEMU gdbstub/). A CPU
is numbered from 0 here, as in QEMU; the protocol's thread ids begin at 1. Connecting stops the machine.

with Gdb.attach(machine) as gdb:
    gdb.set_breakpoint(address)
    gdb.resume()
    stop = gdb.wait(5.0)
"""

from __future__ import annotations

import re
import select
import socket
import struct
import time
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from lab.machine.process import Machine
from lab.model.errors import LabUnavailable

SOCKET = "gdb.sock"
_ANSWER = 10.0
_CONNECT = 5.0
_POLL = 0.01
_FEATURES = "qSupported:multiprocess+;vContSupported+;xmlRegisters=i386"
_TRAP, _INTERRUPT = 5, 2
_STOP = re.compile(r"^T([0-9a-f]{2})(.*)$", re.DOTALL)
_THREAD = re.compile(r"thread:p[0-9a-f]+\.([0-9a-f]+);")
_WATCH = re.compile(r"(?:r|a)?watch:([0-9a-f]+);")
_ESCAPED = re.compile(rb"\}(.)", re.DOTALL)
_XFER = 0xF00

Kind = Literal["execute", "write", "read", "access"]
_KINDS: dict[Kind, int] = {"execute": 1, "write": 2, "read": 3, "access": 4}


class GdbError(LabUnavailable):
    """The gdbstub refused a request, spoke out of turn, or is gone."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Why the machine stopped: a breakpoint or a step (``trap``), or because it was asked to.

    ``watch`` is the address of a memory watch that was hit.
    """

    cpu: int
    trap: bool
    watch: int | None = None


def encode_packet(body: bytes) -> bytes:
    """A request on the wire: ``$body#checksum``."""
    return b"$" + body + b"#%02x" % (sum(body) & 0xFF)


def decode_packet(buffer: bytes) -> tuple[bytes | None, bytes]:
    """The first whole packet in ``buffer`` (unescaped), and what is left; None when there is none yet.

    Acknowledgements before it are dropped.
    """
    start = buffer.find(b"$")
    if start < 0:
        return None, b""
    end = buffer.find(b"#", start)
    if end < 0 or len(buffer) < end + 3:
        return None, buffer[start:]
    body = _ESCAPED.sub(lambda m: bytes([m[1][0] ^ 0x20]), buffer[start + 1 : end])
    return body, buffer[end + 3 :]


def parse_stop(text: str) -> Stop | None:
    """A stop reply (``T05thread:p01.02;``); None when the text is none, or names no CPU."""
    found = _STOP.match(text)
    if found is None or (thread := _THREAD.search(found[2])) is None:
        return None
    watch = _WATCH.search(found[2])
    return Stop(int(thread[1], 16) - 1, int(found[1], 16) == _TRAP, int(watch[1], 16) if watch else None)


@dataclass(frozen=True, slots=True)
class Register:
    """Where a register is: its number, and offset and size in bytes in the answer to ``g``."""

    number: int
    offset: int
    size: int


def register_map(documents: Iterable[str]) -> dict[str, Register]:
    """Registers by name, in the order of the target description's files."""
    found: dict[str, Register] = {}
    number = offset = 0
    for document in documents:
        for node in _parse_xml(document).iter("reg"):
            number = int(node.get("regnum") or number)
            size = int(node.get("bitsize") or 0) // 8
            found[str(node.get("name"))] = Register(number, offset, size)
            number, offset = number + 1, offset + size
    return found


def _parse_xml(document: str) -> ET.Element:
    return ET.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", document).replace("xi:include", "include"))


class Gdb:
    """One connection, which QEMU allows only one of. Whatever is asked while the machine runs is an error.

    GdbError when the stub refuses or is gone.
    """

    def __init__(self, path: Path, cpus: int) -> None:
        self.cpus = cpus
        self.where = str(path)
        self._buffer = b""
        self._thread: int | None = None
        self._running = False
        self._breakpoints: set[tuple[Kind, int, int]] = set()
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._connect(path)
            self._send(_FEATURES)
            # Connecting stops the machine: a stop reply may come before the answer.
            while "PacketSize" not in (answer := self._receive(_ANSWER)):
                pass
            size = re.search(r"PacketSize=([0-9a-f]+)", answer)
            self._packet = int(size[1], 16) if size else 0x400
            if "c" not in self._ask("vCont?").split(";"):
                raise GdbError("the gdbstub cannot resume single CPUs", where=self.where)
            self._ask("?")
            root = self._read_feature("target.xml")
            included = [str(node.get("href")) for node in _parse_xml(root).iter("include")]
            self.registers_known = register_map([self._read_feature(n) for n in included] or [root])
        except BaseException:
            self._socket.close()
            raise

    @classmethod
    def attach(cls, machine: Machine) -> Gdb:
        """Start the gdbstub of a machine and connect to it; the machine is stopped then."""
        path = machine.lab.path / SOCKET
        machine.qmp.hmp(f"gdbserver unix:{path},server=on,wait=off")
        return cls(path, machine.spec.cpus)

    def __enter__(self) -> Gdb:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take all breakpoints away, let the machine run and disconnect; safe to call twice."""
        if self._socket.fileno() < 0:
            return
        try:
            if self._running:
                self.interrupt()
            self.clear_breakpoints()
            self._ask("D;1")
        except GdbError:
            pass  # it is gone: so are its breakpoints
        finally:
            self._socket.close()

    @property
    def running(self) -> bool:
        """Whether the machine was resumed and has not stopped since, as far as anybody has looked."""
        return self._running

    # ---- registers and memory

    def registers(self, cpu: int) -> dict[str, int]:
        """All registers of a CPU, general ones and those of the system that QEMU tells (cr3, gs_base...)."""
        self._select(cpu)
        raw = bytes.fromhex(self._ask("g").replace("x", "0"))
        return {
            name: int.from_bytes(raw[r.offset : r.offset + r.size], "little")
            for name, r in self.registers_known.items()
            if r.offset + r.size <= len(raw)
        }

    def set_register(self, cpu: int, name: str, value: int) -> None:
        """Write one register."""
        self._select(cpu)
        register = self.registers_known[name]
        self._ok(f"P{register.number:x}={value.to_bytes(register.size, 'little').hex()}")

    def read(self, address: int, size: int, cpu: int = 0) -> bytes:
        """Memory as that CPU sees it now, by virtual address. GdbError when it is not mapped."""
        self._select(cpu)
        data = b""
        while len(data) < size:
            count = min(size - len(data), self._packet // 2 - 16)
            answer = self._ask(f"m{address + len(data):x},{count:x}")
            if answer.startswith("E") or not answer:
                raise GdbError(f"no memory at {address + len(data):#x} for CPU {cpu}", where=self.where)
            data += bytes.fromhex(answer)
        return data

    def read_u64(self, address: int, cpu: int = 0) -> int:
        """A 64-bit word of memory."""
        return int(struct.unpack("<Q", self.read(address, 8, cpu))[0])

    def read_u32(self, address: int, cpu: int = 0) -> int:
        """A 32-bit word of memory."""
        return int(struct.unpack("<I", self.read(address, 4, cpu))[0])

    def write(self, address: int, data: bytes, cpu: int = 0) -> None:
        """Write memory, also where the guest itself may not; code that was translated is dropped."""
        self._select(cpu)
        self._ok(f"M{address:x},{len(data):x}:{data.hex()}")

    def write_physical(self, address: int, data: bytes) -> None:
        """Write memory by physical address, whatever a CPU has mapped; translated code is dropped."""
        self._select(0)
        self._ok("Qqemu.PhyMemMode:1")
        try:
            self._ok(f"M{address:x},{len(data):x}:{data.hex()}")
        finally:
            self._ok("Qqemu.PhyMemMode:0")

    # ---- breakpoints

    def set_breakpoint(self, address: int, kind: Kind = "execute", size: int = 1) -> None:
        """Stop when an instruction there is about to run, or memory there is accessed."""
        if (kind, address, size) not in self._breakpoints:
            self._ok(f"Z{_KINDS[kind]},{address:x},{size:x}")
            self._breakpoints.add((kind, address, size))

    def clear_breakpoint(self, address: int, kind: Kind = "execute", size: int = 1) -> None:
        """Take one away; nothing happens where there is none."""
        if (kind, address, size) in self._breakpoints:
            self._ok(f"z{_KINDS[kind]},{address:x},{size:x}")
            self._breakpoints.discard((kind, address, size))

    def clear_breakpoints(self) -> None:
        """Take all away."""
        for kind, address, size in sorted(self._breakpoints):
            self.clear_breakpoint(address, kind, size)

    # ---- run control

    def resume(self, cpus: Collection[int] | None = None) -> None:
        """Let these CPUs run (None: all); the others stand still."""
        if cpus is not None and not cpus:
            raise ValueError("no CPU to resume")
        self._drain()
        all_of_them = cpus is None or len(set(cpus)) == self.cpus
        which = "" if cpus is None else "".join(f";c:p1.{cpu + 1:x}" for cpu in sorted(cpus))
        self._send("vCont;c" if all_of_them else f"vCont{which}")
        self._running = True

    def step(self, cpu: int, budget: float = _ANSWER) -> Stop:
        """One instruction of one CPU; breakpoints do not stop it. GdbError when it does not end."""
        self._drain()
        self._send(f"vCont;s:p1.{cpu + 1:x}")
        self._running = True
        stop = self.wait(budget)
        if stop is None:
            self.interrupt()
            raise GdbError(f"one instruction of CPU {cpu} took more than {budget:g} s", where=self.where)
        return stop

    def wait(self, budget: float) -> Stop | None:
        """Wait for the machine to stop; None when it still runs after ``budget`` seconds."""
        deadline = time.monotonic() + budget
        while (left := deadline - time.monotonic()) > 0 or budget == 0:
            text = self._receive(max(left, 0.0), None)
            if text and (stop := parse_stop(text)) is not None:
                self._running, self._thread = False, None
                return stop
            if not text:
                break
        return None

    def interrupt(self, budget: float = _ANSWER) -> Stop:
        """Stop all CPUs. The stop may be a breakpoint that was hit just before."""
        self._write(b"\x03")
        stop = self.wait(budget)
        if stop is None:
            raise GdbError(f"the machine does not stop within {budget:g} s", where=self.where)
        return stop

    # ---- the protocol

    def _connect(self, path: Path) -> None:
        deadline = time.monotonic() + _CONNECT
        while True:
            try:
                self._socket.connect(str(path))
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise GdbError(f"no gdbstub: {error}", where=str(path)) from None
                time.sleep(_POLL)

    def _select(self, cpu: int) -> None:
        if self._running:
            raise GdbError("the machine runs: stop it before looking into it", where=self.where)
        if self._thread != cpu:
            self._ok(f"Hgp1.{cpu + 1:x}")
            self._thread = cpu

    def _read_feature(self, name: str) -> str:
        text = ""
        while True:
            answer = self._ask(f"qXfer:features:read:{name}:{len(text):x},{_XFER:x}")
            if answer[:1] not in ("l", "m"):
                raise GdbError(f"no target description {name}: {answer!r}", where=self.where)
            text += answer[1:]
            if answer[0] == "l":
                return text

    def _ok(self, request: str) -> None:
        answer = self._ask(request)
        if answer != "OK":
            raise GdbError(f"{request.split(':')[0]} was answered with {answer!r}", where=self.where)

    def _ask(self, request: str) -> str:
        self._send(request)
        while True:
            answer = self._receive(_ANSWER)
            # A stop that nobody waits for any more (the machine was stopped twice) is no answer.
            if request.startswith("?") or parse_stop(answer) is None:
                return answer

    def _drain(self) -> None:
        """Drop stops that nobody waits for any more, so that the next wait gets its own."""
        while self._receive(0.0, None):
            pass

    def _send(self, body: str) -> None:
        self._write(encode_packet(body.encode("latin1")))

    def _write(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise GdbError(f"the gdbstub is gone: {error}", where=self.where) from None

    def _receive(self, budget: float, late: str | None = "answer") -> str:
        """The next packet. After ``budget`` seconds GdbError, or "" when ``late`` is None."""
        deadline = time.monotonic() + budget
        while True:
            body, self._buffer = decode_packet(self._buffer)
            if body is not None:
                self._write(b"+")
                return body.decode("latin1")
            ready, _, _ = select.select([self._socket], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                if late is None:
                    return ""
                raise GdbError(f"no {late} from the gdbstub within {budget:g} s", where=self.where)
            try:
                data = self._socket.recv(65536)
            except OSError as error:
                raise GdbError(f"the gdbstub is gone: {error}", where=self.where) from None
            if not data:
                raise GdbError("the gdbstub is gone", where=self.where)
            self._buffer += data
