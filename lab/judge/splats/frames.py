# SPDX-License-Identifier: GPL-2.0-or-later
"""Stack frames of a report: which lines are frames, and which frames say something."""

from __future__ import annotations

import re
from collections.abc import Sequence

SYMBOL = r"[A-Za-z_$.][\w$.]{0,200}"
"""A kernel symbol name, as %pS prints it."""
_OFFSET = r"\+0x[0-9a-f]{1,8}/0x[0-9a-f]{1,8}"
_FRAME = re.compile(
    rf" {{0,40}}(?:\[<[0-9a-f]{{8,16}}>\] )?(?P<guess>\? )?(?P<name>{SYMBOL})"
    rf"(?:{_OFFSET}(?: \[[^\]]{{1,80}}\])?(?: ?\([^)]{{1,300}}\))?"
    r"| \([^():]{1,200}:\d{1,6}[^)]{0,300}\))"
    r"(?: \[?[\w -]{1,80}\]?)?(?: \([EPF]{1,3}\))?$"
)
_RIP = re.compile(rf"(?:RIP: 0010:|pc : )(?P<name>{SYMBOL}){_OFFSET}")
_SUFFIX = re.compile(r"\.(?:isra|constprop|part|cold|llvm)(?:\.\d+)?")

# What a reporter and the trap that leads to it put on top of the stack; only skipped at the very top.
_REPORTER = re.compile(
    r"(?:dump_stack\w*|show_stack\w*|print_\w+|kasan_\w+|__kasan_\w+|__asan_\w+|__tsan_\w+|kcsan_\w+"
    r"|__ubsan_\w+|ubsan_\w+|__msan_\w+|kmsan_\w+|__warn\w*|warn_slowpath_\w+|report_bug|handle_bug"
    r"|exc_\w+|asm_exc_\w+|die|die_addr|oops_\w+|page_fault_oops|no_context|panic|vpanic|nmi_panic"
    r"|__lock_acquire|lock_acquire|lock_release|lockdep_\w+|check_\w+|mark_\w+|validate_chain"
    r"|__might_\w+|__schedule_bug|__schedule|schedule\w*|preempt_schedule\w*|io_schedule\w*"
    r"|refcount_warn_saturate|__list_(?:add|del_entry)_valid\w*|debug_object_\w+"
    r"|debug_check_no_obj_freed|debug_print_object|warn_bogus_\w+|bad_page|debug_check_\w+|register_lock_class|add_chain_cache|alloc_debug_\w+"
    r"|slab_err|object_err|check_preemption_disabled"
    r"|debug_smp_processor_id|watchdog_\w+|rcu_sched_clock_irq|native_\w*halt|(?:__)?mem(?:cpy|set|move)\w*"
    r"|__?kmalloc\w*|_?_?kmem_cache_alloc\w*|__kvmalloc\w*|kmemdup\w*)"
)
_LOCKING = re.compile(
    r"(?:_raw_(?:spin|read|write)_\w+|(?:spin|read|write)_\w*lock\w*|(?:__|ww_)?mutex_\w+|down_\w+|up_\w+"
    r"|rwsem_\w+|rt_(?:spin|mutex)_\w+|__?wake_up\w*|swake_up\w*|complete\w*|__?might_\w+)"
)
_ENTRY = re.compile(
    r"(?:do_syscall_64|entry_\w+|asm_\w+|ret_from_fork\w*|kthread|secondary_startup\w*|common_startup\w*"
    r"|x64_sys_call|cpu_startup_entry|start_secondary|start_kernel|x86_64_start\w*)"
)


def frame(text: str) -> str | None:
    """The function of a reliable stack frame line, None for other lines and for ``? guesses``."""
    if "+0x" not in text and " (" not in text:
        return None
    m = _FRAME.match(text)
    return base_name(m["name"]) if m and not m["guess"] else None


def is_frame(text: str) -> bool:
    """True for stack frame lines, guesses too."""
    return ("+0x" in text or " (" in text) and _FRAME.match(text) is not None


def instruction_pointer(text: str) -> str | None:
    """The function in an ``RIP:`` line that points into the kernel."""
    m = _RIP.match(text)
    return base_name(m["name"]) if m else None


def base_name(symbol: str) -> str:
    """``foo`` for ``foo.isra.0`` and ``foo.cold``: what the compiler splits off is still foo."""
    return _SUFFIX.sub("", symbol)


def without_reporter(names: Sequence[str]) -> tuple[str, ...]:
    """``names`` (innermost first) without the reporter's own frames on top."""
    for i, name in enumerate(names):
        if not _REPORTER.fullmatch(name):
            return tuple(names[i:])
    return ()


def behind_locks(names: Sequence[str]) -> str:
    """The innermost function that is no lock function itself: who took the lock. Empty if none."""
    return next((name for name in names if not _LOCKING.fullmatch(name)), "")


def innermost(names: Sequence[str], count: int) -> tuple[str, ...]:
    """The ``count`` innermost frames that tell one defect from another."""
    return without_reporter(names)[:count]


def outermost(names: Sequence[str], count: int) -> tuple[str, ...]:
    """The ``count`` outermost frames below the entry code: stable where the interrupted place is not."""
    inside = [name for name in without_reporter(names) if not _ENTRY.fullmatch(name)]
    return tuple(inside[-count:])
