# SPDX-License-Identifier: GPL-2.0-or-later
"""Threads that are held: how each is kept where it is and let go, and what it had in its registers."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lab.machine.gdb import Gdb
from lab.model.race import HoldKind
from lab.race.memory import KernelMemory, NotMapped

STUB = b"\xf3\x90\xeb\xfc"
"""pause; jmp to the pause: what a thread under a spin hold executes."""
STUB_ROOM = 8
"""Bytes that a stub takes, with the jump back that replaces its own."""
_JUMP_AT = 2
_JUMP, _JUMP_SIZE = 0xE9, 5
INTERRUPTS_ON = 1 << 9
"""EFLAGS.IF."""
_POINTERS = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", *(f"r{n}" for n in range(8, 16)))
_KERNEL_HALF = 0x1FFFF
"""Bits 63..47 of a kernel address."""
POISON = 0x6B
"""POISON_FREE (include/linux/poison.h)."""
_POISONED = 32
"""Bytes that are looked at."""


@dataclass(slots=True)
class Held:
    """A thread that is kept at ``address``.

    ``stub`` is where it spins, 0 under another hold; ``step`` the number of its step; ``deaf``: its CPU has
    interrupts off. ``mapped`` names the registers that pointed to memory of the kernel then; of a call that
    the hypervisor holds no registers are known.
    """

    cpu: int
    address: int
    kind: HoldKind
    stub: int = 0
    step: int = 0
    registers: Mapping[str, int] = field(default_factory=dict)
    mapped: frozenset[str] = frozenset()
    deaf: bool = False

    @property
    def how(self) -> str:
        """The hold in words."""
        return f"{self.kind}, interrupts off" if self.deaf else str(self.kind)


def held_at(memory: KernelMemory, cpu: int, registers: Mapping[str, int], kind: HoldKind, step: int) -> Held:
    """What is known of a thread that has come to its point on a CPU that stands still."""
    return Held(
        cpu,
        registers["rip"],
        kind,
        step=step,
        registers=dict(registers),
        mapped=frozenset(name for name in _POINTERS if _behind(memory, registers.get(name, 0)) is not None),
        deaf=not registers["eflags"] & INTERRUPTS_ON,
    )


def spin(gdb: Gdb, memory: KernelMemory, held: Held, stub: int) -> None:
    """Let a thread go round in a stub."""
    held.stub = stub
    gdb.write_physical(memory.physical(stub), STUB)
    gdb.set_register(held.cpu, "rip", stub)


def leave_stub(gdb: Gdb, memory: KernelMemory, held: Held) -> None:
    """Let a thread go on from its stub: it is at the pause or at the jump, and that becomes the way back."""
    at = held.stub + _JUMP_AT
    distance = held.address - (at + _JUMP_SIZE)
    gdb.write_physical(memory.physical(at), bytes([_JUMP]) + struct.pack("<i", distance))


def free_cpus(cpus: int, held: Iterable[Held]) -> list[int] | None:
    """The CPUs that may run while some are frozen; None for all."""
    frozen = {h.cpu for h in held if h.kind is HoldKind.FREEZE}
    return [cpu for cpu in range(cpus) if cpu not in frozen] if frozen else None


def freed_memory(memory: KernelMemory, held: Held, actor: str) -> list[str]:
    """Registers of a held actor that point to memory which is not there any more, or which the allocator has
    poisoned (slub_debug=P)."""
    found = []
    for name, value in held.registers.items():
        if name not in held.mapped:
            continue
        data = _behind(memory, value)
        if data is None:
            found.append(f"{name} of {actor} points to freed memory: {value:#x} is not mapped any more")
        elif data == bytes([POISON]) * _POISONED:
            found.append(f"{name} of {actor} points to freed memory: {value:#x} holds {POISON:#x}")
    return found


def _behind(memory: KernelMemory, address: int) -> bytes | None:
    """Some bytes of the kernel's memory at an address; None where it has none, or it is no address."""
    if address >> 47 != _KERNEL_HALF:
        return None
    try:
        return memory.read(address, _POISONED)
    except NotMapped:
        return None
