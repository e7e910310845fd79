# SPDX-License-Identifier: GPL-2.0-or-later
"""What a child finds in its processor: local APIC in both modes, NMI, MSR refusals, Hyper-V if announced."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.child.protocol import Access

scenario = pytest.mark.scenario
SOURCE = Path(__file__).parent / "child_code" / "apic.S"
AT = 0x60000
"""Where the code goes in the child's RAM."""
NAMES = (
    *("counts", "results", "x2", "ready"),
    *("self_ipi", "timer_halted", "timer_running", "deadline"),
    *("ipi_send", "ipi_wait", "nmi_send", "nmi_wait_halted", "nmi_wait_running"),
    *("read_msr", "write_msr", "tsc_page", "stimer_direct", "stimer_message", "hypercall_ipi"),
)
"""In the order of the addresses at the head of apic.S."""
SELF, TIMER, IPI, DEADLINE, STIMER, HYPERCALL, SINT = range(0x61, 0x68)
NMI, GP = 2, 13
HYPERV = 0x07400FFF
"""Synthetic processor features: Hyper-V, its MSRs, direct timers, flush and IPI hypercalls."""
TIMER_EXPIRED = 0x80000010


class Code:
    """The routines of apic.S in a child; each call runs one on one VP."""

    def __init__(self, child, image: bytes, *, x2: bool) -> None:
        self.child = child
        self._at = dict(zip(NAMES, struct.unpack_from(f"<{len(NAMES)}Q", image), strict=True))
        child.poke(AT, image)
        self._write("x2", 0, int(x2))

    def _write(self, name: str, index: int, value: int) -> None:
        self.child.poke(self._at[name] + 8 * index, struct.pack("<Q", value))

    def access(self, name: str, vp: int = 0) -> Access:
        return Access(self._at[name], kind="execute", vp=vp)

    def call(self, name: str, *arguments: int, vp: int = 0) -> list[int]:
        """Call it with results[2], results[3], ... as arguments; all eight results."""
        for i, value in enumerate(arguments):
            self._write("results", 2 + i, value)
        (result,) = self.child.access([self.access(name, vp)])
        assert result.message is None, f"{name} ended with {result.message.name} at {result.message.rip:#x}"
        assert result.ok, f"{name} did not end"
        return list(struct.unpack("<8Q", self.child.peek(self._at["results"], 64)))

    def together(self, *names: str) -> None:
        """One routine on each VP at the same time."""
        results = self.child.parallel([[self.access(name, vp)] for vp, name in enumerate(names)])
        for name, (result,) in zip(names, results, strict=True):
            assert result.ok and result.message is None, f"{name}: {result}"

    def count(self, vector: int) -> int:
        return struct.unpack("<Q", self.child.peek(self._at["counts"] + 8 * vector, 8))[0]


@pytest.fixture(scope="session")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    for tool in ("cpp", "as", "ld"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}")
    work = tmp_path_factory.mktemp("child-code")
    steps = (
        ["cpp", "-P", str(SOURCE), "-o", "code.s"],
        ["as", "--64", "-o", "code.o", "code.s"],
        ["ld", f"-Ttext={AT:#x}", "--oformat", "binary", "-e", "0", "-o", "code.bin", "code.o"],
    )
    for step in steps:
        done = subprocess.run(step, cwd=work, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
    return (work / "code.bin").read_bytes()


@pytest.fixture
def code(child, assembled) -> Callable[..., Code]:
    """Factory: a partition with local APICs and the code in it."""

    def make(vps: int = 1, *, x2: bool = False, hyperv: int = 0) -> Code:
        child.create_partition(vps, lapic=True, x2apic=True, hyperv=hyperv)
        return Code(child, assembled, x2=x2)

    return make


both_modes = pytest.mark.parametrize("x2", [False, True], ids=["xapic", "x2apic"])


@scenario(quick=True)
@both_modes
def test_self_ipi_arrives_once(code, evidence, x2):
    c = code(x2=x2)
    c.call("self_ipi")
    evidence.observe("interrupts", str(c.count(SELF)))
    assert c.count(SELF) == 1
    assert c.count(GP) == 0, "an APIC register was refused"


@scenario(quick=True)
@pytest.mark.parametrize("routine", ["timer_halted", "timer_running"])
@both_modes
def test_apic_timer_ends_a_halt_and_interrupts_a_running_vp(code, evidence, x2, routine):
    c = code(x2=x2)
    ticks = 1_000_000
    began, came, *_ = c.call(routine, ticks)
    evidence.observe("timer interrupts", str(c.count(TIMER)))
    assert c.count(TIMER) == 1
    assert came - began >= 8 * ticks, f"{ticks} ticks of 8 TSC each, but it came after {came - began}"


@scenario(quick=True)
def test_deadline_timer_fires_at_its_tsc(code):
    c = code(x2=True)
    wait = 20_000_000
    began, came, *_ = c.call("deadline", wait)
    assert c.count(DEADLINE) == 1 and c.count(GP) == 0
    assert came - began >= wait, f"{wait} TSC ticks to go, but it came after {came - began}"


@scenario(quick=True)
@both_modes
def test_ipi_wakes_a_halted_vp(code, x2):
    c = code(2, x2=x2)
    c.together("ipi_send", "ipi_wait")
    assert c.count(IPI) == 1


@scenario(quick=True)
@pytest.mark.parametrize("waits", ["nmi_wait_halted", "nmi_wait_running"])
@both_modes
def test_nmi_reaches_a_vp_that_takes_no_interrupts(code, x2, waits):
    c = code(2, x2=x2)
    c.together("nmi_send", waits)
    assert c.count(NMI) == 1


@scenario(quick=True)
@pytest.mark.parametrize("msr", [0x12345, 0x40000000, 0xC0010117])
def test_msr_that_a_child_does_not_have_faults(code, evidence, msr):
    c = code()
    c.call("read_msr", msr, 0)
    evidence.observe("#GP", str(c.count(GP)))
    assert c.count(GP) == 1, f"reading MSR {msr:#x} did not fault"
    c.call("write_msr", msr, 1)
    assert c.count(GP) == 2, f"writing MSR {msr:#x} did not fault"


@scenario(quick=True)
def test_what_was_written_to_an_msr_is_read_back(code):
    c = code()
    c.call("write_msr", 0x277, 0x0007040600070404)
    assert c.call("read_msr", 0x277, 0)[3] == 0x0007040600070404
    assert c.count(GP) == 0
    c.call("write_msr", 0x277, 0x02)
    assert c.count(GP) == 1, "PAT took a type that does not exist"


@scenario(quick=True)
def test_reference_tsc_page_is_monotonic_and_agrees_with_the_counter(code, evidence):
    c = code(hyperv=HYPERV)
    sequence, back, last, before, after, first, *_ = c.call("tsc_page")
    evidence.observe("times that the clock went back", str(back))
    assert c.count(GP) == 0, "a synthetic MSR was refused"
    assert sequence, "the page is not valid"
    assert back == 0
    assert before <= first + 1 and last <= after + 1, (
        f"page {first}..{last}, counter {before}..{after}: they are not one clock"
    )
    assert before < 600 * 10_000_000, f"the partition is not {before} x 100 ns old"


@scenario(quick=True)
def test_direct_synthetic_timer_interrupts_at_its_time(code):
    c = code(hyperv=HYPERV)
    armed, came, *_ = c.call("stimer_direct", 50_000)
    assert c.count(STIMER) == 1 and c.count(GP) == 0
    assert came >= armed + 50_000


@scenario(quick=True)
def test_synthetic_timer_sends_its_message(code, evidence):
    c = code(hyperv=HYPERV)
    armed, came, wait, head, payload, expiration, *_ = c.call("stimer_message", 50_000)
    evidence.observe("message type", f"{head & 0xFFFFFFFF:#x}")
    assert c.count(SINT) == 1 and c.count(GP) == 0
    assert head & 0xFFFFFFFF == TIMER_EXPIRED
    assert head >> 32 & 0xFF == 24, "payload size"
    assert payload & 0xFFFFFFFF == 0, "timer 0"
    assert expiration == armed + wait
    assert came >= expiration


@scenario(quick=True)
def test_hypercall_sends_an_ipi(code):
    c = code(hyperv=HYPERV)
    assert c.call("hypercall_ipi")[0] == 0
    assert c.count(HYPERCALL) == 1
