# SPDX-License-Identifier: GPL-2.0-or-later
"""How a machine died, from its last words and its exit."""

from __future__ import annotations

import pytest

from lab.machine.deaths import DeathDetector

PANIC = "[    1.01] Kernel panic - not syncing: VFS: Unable to mount root fs"
END = "[    1.02] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs ]---"


def test_panic_settles_within_the_second_that_the_splat_may_need():
    detector = DeathDetector()
    detector.console_line(PANIC, 10.0)
    assert detector.settled(10.5) is None
    death = detector.settled(11.0)
    assert death is not None
    assert (death.kind, death.what) == ("panic", "Kernel panic - not syncing: VFS: Unable to mount root fs")


def test_unfinished_line_is_completed_and_the_end_marker_is_not_the_reason():
    detector = DeathDetector()
    for line in ("[ 1.0] Kernel panic - not sync", "[ 1.0] Kernel panic - not syncing: a", PANIC[:60], END):
        detector.console_line(line, 10.0)
    death = detector.settled(12.0)
    assert death is not None and death.what == "Kernel panic - not syncing: a"


@pytest.mark.parametrize(
    ("rest", "kind"),
    [
        ("triple fault of the root, rip 0x1", "triple-fault"),
        ("tripwire: hypervisor state in the VMCB", "tripwire"),
        ("out of memory", "hypervisor-panic"),
    ],
)
@pytest.mark.parametrize("cut", [10, 14, 17, 25])
def test_kind_is_that_of_the_whole_line_of_the_stand_in(rest, kind, cut):
    """The log is read while it is written: the first piece may say no more than HV PANIC."""
    line = f"HV PANIC: lp 0: {rest}"
    detector = DeathDetector()
    detector.hypervisor_line(line[:cut], 10.0)
    detector.hypervisor_line(line, 10.1)
    death = detector.settled(12.0)
    assert death is not None and (death.kind, death.what) == (kind, line)


@pytest.mark.parametrize(
    "line", ["[ 1.0] BUG: unable to handle page fault", "panic_on_warn=1", "Kernel command line: panic=1", ""]
)
def test_other_lines_are_no_death(line):
    detector = DeathDetector()
    detector.console_line(line, 1.0)
    detector.hypervisor_line(line, 1.0)
    assert detector.settled(100.0) is None


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("HV PANIC: lp 1: out of pages", "hypervisor-panic"),
        ("HV PANIC: tripwire: lp 0: nested paging bit lost", "tripwire"),
        ("HV PANIC: lp 0: hypervisor state in the VMCB of the root", "tripwire"),
        ("HV PANIC: lp 0: triple fault of the root", "triple-fault"),
    ],
)
def test_hypervisor_panic_kinds(line, kind):
    detector = DeathDetector()
    detector.hypervisor_line(line, 1.0)
    death = detector.settled(2.0)
    assert death is not None and (death.kind, death.what) == (kind, line)


def test_tripwire_explains_the_panic_that_came_first():
    detector = DeathDetector()
    detector.console_line(PANIC, 1.0)
    detector.hypervisor_line("HV PANIC: tripwire: x", 1.5)
    death = detector.settled(2.0)
    assert death is not None and death.kind == "tripwire"


@pytest.mark.parametrize(
    ("status", "reset", "reason", "kind", "words"),
    [
        (0, "CPU Reset (CPU 0)\nTriple fault\n", "guest-reset", "triple-fault", "triple fault"),
        (255, "", "", "hypervisor-panic", "without a word"),
        (-9, "", "", "qemu-exit", "SIGKILL"),
        (-7, "", "", "qemu-exit", "RAM file"),
        (0, "CPU Reset", "guest-reset", "qemu-exit", "reset"),
        (0, "", "guest-shutdown", "qemu-exit", "powered"),
        (1, "", "", "qemu-exit", "status 1: real error"),
        (None, "", "", "qemu-exit", "has ended"),
    ],
)
def test_exit_without_last_words(status, reset, reason, kind, words):
    detector = DeathDetector()
    detector.shutdown_reason = reason
    detector.exited(status, reset, "real error\nqemu: warning: TCG doesn't support requested feature: x\n")
    death = detector.settled(0.0)
    assert death is not None and death.kind == kind and words in death.what


def test_exit_after_a_panic_is_that_panic_at_once():
    detector = DeathDetector()
    detector.console_line(PANIC, 5.0)
    detector.exited(0, "", "")
    death = detector.settled(5.0)
    assert death is not None and death.kind == "panic"
