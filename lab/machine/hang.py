# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a machine hangs, asked from outside: nothing in it has to work for that.

Registers come from QEMU's monitor, in two samples: a CPU that moves is a loop or work, one that does
not waits with interrupts off. Stack words that look like return addresses make a rough backtrace. Then
the console is asked for the kernel's own stacks (break, SysRq l and t), in case it still listens.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.machine.argv import CONSOLE_CHARDEV
from lab.machine.qmp import QmpError
from lab.machine.symbols import SymbolTable

if TYPE_CHECKING:
    from lab.machine.process import Machine

_SAMPLE_GAP = 0.2
_TRY_GAP = 0.03
_TRIES = 10
"""More samples, as long as a CPU is found in the hypervisor instead of the kernel."""
_QMP_SECONDS = 3.0
_STACK_WORDS = 256
_FRAMES = 16
_SYSRQ_SECONDS = 1.0
_KERNEL_TEXT = 0xFFFFFFFF80000000


@dataclass(frozen=True, slots=True)
class CpuState:
    """Registers of one CPU as far as a hang report needs them. ``ring`` is the privilege level."""

    index: int
    rip: int
    rsp: int
    rflags: int
    ring: int
    halted: bool

    @property
    def interrupts(self) -> bool:
        """Whether the interrupt flag is set."""
        return bool(self.rflags & 0x200)


def parse_registers(text: str) -> list[CpuState]:
    """CPUs from the output of the monitor's ``info registers -a`` (x86, all QEMU versions since 7)."""
    found = []
    for block in re.split(r"(?m)^(?=CPU#\d+)", text):
        index = re.match(r"CPU#(\d+)", block)
        rip = re.search(r"\b[RE]IP=([0-9a-f]+) [RE]FL=([0-9a-f]+).*?CPL=(\d).*?HLT=(\d)", block)
        rsp = re.search(r"\b[RE]SP=([0-9a-f]+)", block)
        if index and rip and rsp:
            where, flags, stack = int(rip[1], 16), int(rip[2], 16), int(rsp[1], 16)
            found.append(CpuState(int(index[1]), where, stack, flags, int(rip[3]), rip[4] == "1"))
    return found


def parse_words(text: str) -> list[int]:
    """Words from the output of the monitor's ``x /Ngx``."""
    return [int(word, 16) for line in text.splitlines() for word in re.findall(r"0x([0-9a-f]{16})", line)]


def return_addresses(words: list[int], symbols: SymbolTable) -> list[str]:
    """Names of kernel code addresses on a stack. Some are left over from earlier calls."""
    names = [symbols.name(word) for word in words if word >= _KERNEL_TEXT and symbols.find(word)]
    return names[:_FRAMES]


def report(machine: Machine, symbols: SymbolTable | None = None) -> str:
    """What every CPU does. Never raises: a monitor that does not answer is part of the result."""
    try:
        first = _sample(machine)
        time.sleep(_SAMPLE_GAP)
        second = _sample(machine)
        for _ in range(_TRIES if symbols is not None else 0):
            if not any(map(in_hypervisor, second)):
                break
            time.sleep(_TRY_GAP)
            second = _sample(machine)
        lines = [_line(now, before, symbols) for before, now in zip(first, second, strict=False)]
        if symbols is not None:
            for cpu in second:
                lines += _stack(machine, cpu, symbols)
    except QmpError as error:
        return f"CPUs: not known, QEMU's monitor does not answer ({error.what})"
    kernel = _sysrq(machine)
    return "\n".join(["CPUs:", *lines, "kernel's own stacks (SysRq l, t):", kernel or "  it does not answer"])


def in_hypervisor(cpu: CpuState) -> bool:
    """Whether a CPU is below the kernel just now: ring 0, at an address that is none of the kernel's. It is
    there for a moment at each exit."""
    return cpu.ring == 0 and cpu.rip < _KERNEL_TEXT


def _sample(machine: Machine) -> list[CpuState]:
    return parse_registers(machine.qmp.hmp("info registers -a", timeout=_QMP_SECONDS))


def _line(now: CpuState, before: CpuState, symbols: SymbolTable | None) -> str:
    place = symbols.name(now.rip) if symbols is not None else f"{now.rip:#x}"
    doing = "halted" if now.halted else "same place 0.2 s before" if now.rip == before.rip else "moving"
    interrupts = "on" if now.interrupts else "off"
    return f"  CPU {now.index}: {place} (ring {now.ring}, interrupts {interrupts}, {doing})"


def _stack(machine: Machine, cpu: CpuState, symbols: SymbolTable) -> list[str]:
    try:
        text = machine.qmp.hmp(f"x /{_STACK_WORDS}gx {cpu.rsp:#x}", cpu=cpu.index, timeout=_QMP_SECONDS)
    except QmpError:
        return []
    names = return_addresses(parse_words(text), symbols)
    return [f"  CPU {cpu.index} stack, perhaps: " + " < ".join(names)] if names else []


def _sysrq(machine: Machine) -> str:
    start = machine.console.position()
    try:
        for key in ("l", "t"):
            machine.qmp.execute("chardev-send-break", id=CONSOLE_CHARDEV, timeout=_QMP_SECONDS)
            machine.console.send(key)
            time.sleep(_SYSRQ_SECONDS / 2)
    except (QmpError, OSError) as error:
        return f"  not asked: {error}"
    return machine.console.text(start).replace("\r", "").strip()
