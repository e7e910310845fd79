# SPDX-License-Identifier: GPL-2.0-or-later
"""Tasks of the root, read from outside: who runs on a CPU, where a task sleeps, and what it waits for."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from lab.race.debuginfo import DebugInfo
from lab.race.memory import KernelMemory, NotMapped

_COMM = 16
"""TASK_COMM_LEN (include/linux/sched.h)."""
STACK = 16384
"""THREAD_SIZE without KASAN (arch/x86/include/asm/page_64_types.h); with it, twice that."""
_DRIVER = ("mshv_", "hv_")
_MOST_TASKS = 4096
_FRAMES = 24
_CALL, _CALL_INDIRECT = 0xE8, 0xFF
SYMBOLS = ("current_task", "init_task", "__per_cpu_offset")
"""Symbols of the kernel that must be known."""

WAITS: tuple[tuple[str, str], ...] = (
    ("__mutex_lock", "a mutex"),
    ("mutex_lock", "a mutex"),
    ("rwsem_down_read", "a semaphore to read"),
    ("rwsem_down_write", "a semaphore to write"),
    ("down_read", "a semaphore to read"),
    ("down_write", "a semaphore to write"),
    ("__wait_rcu_gp", "an RCU grace period"),
    ("synchronize_rcu", "an RCU grace period"),
    ("synchronize_srcu", "an SRCU grace period"),
    ("native_queued_spin_lock_slowpath", "a spinlock"),
    ("queued_spin_lock_slowpath", "a spinlock"),
    ("queued_read_lock_slowpath", "a rwlock to read"),
    ("queued_write_lock_slowpath", "a rwlock to write"),
    ("smp_call_function", "another CPU to answer an interrupt"),
    ("csd_lock_wait", "another CPU to answer an interrupt"),
    ("flush_work", "a work item to end"),
    ("wait_for_completion", "a completion"),
    ("mmu_interval_read_begin", "an invalidation of its memory to end"),
    ("mshv_vp_wait_for_hv_kick", "the hypervisor to wake its VP"),
)
"""What a frame on a stack says of its task, by what the function's name begins with."""

Symbolise = Callable[[int], str]
"""``function+0x12`` of a kernel address, or the bare address."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Where a task is: ``waits`` says for what, empty when it does not wait; frames, innermost first."""

    waits: str
    on_cpu: bool
    frames: tuple[str, ...]


class Tasks:
    """``symbols``: addresses of :data:`SYMBOLS`; ``cpus``: of the root; ``stack``: bytes of a task's one."""

    def __init__(
        self,
        memory: KernelMemory,
        debug: DebugInfo,
        symbols: Mapping[str, int],
        symbolise: Symbolise,
        cpus: int,
        stack: int = STACK,
    ) -> None:
        self._size = stack
        self._memory = memory
        self._symbols = symbols
        self._symbolise = symbolise
        task, signal = debug.offsets("task_struct"), debug.offsets("signal_struct")
        self._task = task
        self._sp = task["thread"] + debug.offsets("thread_struct")["sp"]
        self._threads = signal["thread_head"]
        self._percpu = [memory.u64(symbols["__per_cpu_offset"] + 8 * cpu) for cpu in range(cpus)]

    def cpu_of(self, registers: Mapping[str, int]) -> int | None:
        """Which of the root's CPUs has these registers; None when it is not the root that runs there."""
        for base in ("gs_base", "k_gs_base"):
            if registers.get(base) in self._percpu:
                return self._percpu.index(registers[base])
        return None

    def current(self, cpu: int) -> int:
        """The task that runs on a CPU of the root."""
        offset = self._percpu[cpu] + self._symbols["current_task"]
        return self._memory.u64(offset & (1 << 64) - 1)

    def in_interrupt(self, cpu: int, stack_pointer: int) -> bool:
        """Whether that CPU is in an interrupt: it is on a stack of its own then, not on its task's. (The bits
        of the preemption counter say so too, but lie elsewhere in each release.)"""
        return not self.on_stack(self.current(cpu), stack_pointer)

    def on_stack(self, task: int, stack_pointer: int) -> bool:
        """Whether that is the stack of that task."""
        base = self._memory.u64(task + self._task["stack"])
        return base <= stack_pointer <= base + self._size

    def owner(self, stack_pointer: int) -> int | None:
        """The task whose stack that is; None for a stack of interrupts. NotMapped when the lists are torn."""
        return next((task for task in self.all() if self.on_stack(task, stack_pointer)), None)

    def comm(self, task: int) -> str:
        """Name of a task."""
        raw = self._memory.read(task + self._task["comm"], _COMM)
        return raw.split(b"\0")[0].decode(errors="replace")

    def pid(self, task: int) -> int:
        """Thread id of a task."""
        return self._memory.u32(task + self._task["pid"])

    def named(self, comm: str) -> int | None:
        """The task of that name; None when there is none."""
        return next((task for task in self.all() if self.comm(task) == comm), None)

    def all(self) -> Iterator[int]:
        """Every thread of every process, as the kernel's lists are now. NotMapped when they are torn."""
        first = self._symbols["init_task"]
        process, left = first, _MOST_TASKS
        while left:
            head = self._memory.u64(process + self._task["signal"]) + self._threads
            node = self._memory.u64(head)
            while node != head and left:
                yield node - self._task["thread_node"]
                node, left = self._memory.u64(node), left - 1
            process = self._memory.u64(process + self._task["tasks"]) - self._task["tasks"]
            if process == first:
                return

    def where(self, task: int) -> Waiting:
        """What a task waits for, by its stack. Of one that runs, where it went to sleep last is no news."""
        # A word of its own in older kernels, a byte among others since 7.x: the lowest byte is right in both.
        on_cpu = bool(self._memory.read(task + self._task["on_cpu"], 1)[0])
        frames = self._frames(task, self._memory.u64(task + self._sp))
        waits = wait_of(frames)
        if not waits and not on_cpu and self._memory.u32(task + self._task["__state"]):
            ours = next((f.split("+")[0] for f in frames if f.startswith(_DRIVER)), "")
            waits = f"an event in {ours}" if ours else ""
        return Waiting(waits, on_cpu, frames)

    def running(self, task: int, stack_pointer: int, instruction: int) -> Waiting:
        """The same of a task that runs, by the registers of its CPU."""
        frames = (self._symbolise(instruction), *self._frames(task, stack_pointer))
        return Waiting(wait_of(frames[:4]), True, frames)

    def _frames(self, task: int, stack_pointer: int) -> tuple[str, ...]:
        """Functions that the words of a stack may return to: a scan, so some may be of earlier calls."""
        base = self._memory.u64(task + self._task["stack"])
        if not base <= stack_pointer < base + self._size:
            return ()
        try:
            raw = self._memory.read(stack_pointer, min(base + self._size - stack_pointer, 4096) & ~7)
        except NotMapped:
            return ()
        found = []
        for (word,) in struct.iter_unpack("<Q", raw):
            if word >> 31 != 0x1FFFFFFFF:
                continue
            name = self._symbolise(word)
            if "+0x" in name and self._follows_call(word):
                found.append(name)
        return tuple(found[:_FRAMES])

    def _follows_call(self, address: int) -> bool:
        try:
            before = self._memory.read(address - 5, 5)
        except NotMapped:
            return False
        return before[0] == _CALL or _CALL_INDIRECT in (before[2], before[3])


def wait_of(frames: tuple[str, ...]) -> str:
    """What frames (innermost first) say is waited for: the innermost that says anything."""
    for frame in frames:
        name = frame.split("+")[0]
        for prefix, what in WAITS:
            if name.startswith(prefix):
                return f"{what} in {name}"
    return ""
