# SPDX-License-Identifier: GPL-2.0-or-later
"""What a child sees of its processor: local APIC, MSRs, CPUID, page tables (our own C, as host code)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.paths import images_dir

SOURCE = images_dir() / "hypervisor"
HARNESS = Path(__file__).parent / "harness"
GCC = shutil.which("gcc")
pytestmark = pytest.mark.skipif(GCC is None, reason="no gcc")

LAPIC, X2APIC = 1 << 13, 1 << 22
BOTH = LAPIC | X2APIC
ID, TPR, PPR, EOI, LDR, DFR, SVR, ESR = 0x20, 0x80, 0xA0, 0xB0, 0xD0, 0xE0, 0xF0, 0x280
ICR, ICR_HIGH, LVT_TIMER, LVT_LINT0, LVT_ERROR = 0x300, 0x310, 0x320, 0x350, 0x370
INITIAL, CURRENT, DIVIDE = 0x380, 0x390, 0x3E0
ON = 0x1FF
"""SVR: enabled, spurious vector 0xff."""
FIXED, LOWEST, SMI, NMI, INIT, SIPI, EXTINT = 0, 1, 2, 4, 5, 6, 7
APIC_BASE = 0x1B
BASE = 0xFEE00000
ENABLE, X2, BSP = 1 << 11, 1 << 10, 1 << 8
DONE, FAULT, UNKNOWN = "0", "1", "2"
NEVER = "ffffffffffffffff"
V_IRQ = 1


class Machine:
    """Verbs of harness/child_calls.c, run in one go; one answer each."""

    def __init__(self, program: Path, flags: int, features: int = 0) -> None:
        self._program = program
        self._flags = flags
        self._features = features
        self._lines: list[str] = []

    def do(self, verb: str, *numbers: int) -> int:
        """Add a line; its place among the answers."""
        self._lines.append(" ".join([verb, *(f"{n:x}" for n in numbers)]))
        return len(self._lines) - 1

    def answers(self) -> list[str]:
        done = subprocess.run(
            [str(self._program), f"{self._flags:x}", f"{self._features:x}"],
            input="\n".join(self._lines) + "\n",
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode == 0, f"harness failed ({done.returncode}) after {done.stdout}"
        lines = [line.strip() for line in done.stdout.splitlines()]
        assert len(lines) == len(self._lines), f"{self._lines} gave {lines}"
        return lines

    def last(self, verb: str, *numbers: int) -> str:
        """Add a line and run everything so far; the answer to this line."""
        self.do(verb, *numbers)
        return self.answers()[-1]


Make = Callable[..., Machine]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("harness") / "child_calls"
    names = [p.stem for p in SOURCE.glob("lapic*.c")] + [p.stem for p in SOURCE.glob("child_*.c")]
    names = [n for n in names if n not in ("child_exit", "child_message")]
    names += ["npt", "pages", "partition", "mem", "stimer", "vp", "vp_registers", "vp_state"]
    symbols = {"hv_start": 0x10000000, "shared_start": 0x10000000, "shared_end": 0x10200000}
    symbols |= {"heap_start": 0x10200000, "heap_end": 0x10200000, "hv_end": 0x11E00000}
    assert GCC
    done = subprocess.run(
        [GCC, "-O1", "-g", "-std=gnu11", "-fno-builtin", "-no-pie", "-Wno-address-of-packed-member",
         "-ffunction-sections", "-Wl,--gc-sections", "-Wl,-z,muldefs", "-Wl,--unresolved-symbols=ignore-all",
         "-include", str(HARNESS / "child_harness.h"), "-I", str(SOURCE), "-I", str(HARNESS), "-o", str(out),
         str(HARNESS / "child_calls.c"), str(HARNESS / "child_machine.c"),
         *(str(SOURCE / f"{name}.c") for name in names),
         *(f"-Wl,--defsym={name}={value:#x}" for name, value in symbols.items())],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def machine(program: Path) -> Make:
    """Factory: a partition with these creation flags; its local APICs are switched on."""

    def make(flags: int = BOTH, *, on: bool = True, x2: bool = False, features: int = 0) -> Machine:
        m = Machine(program, flags, features)
        for vp in range(3 if on else 0):
            m.do("write", vp, SVR, ON)
        if x2:
            for vp in range(3):
                m.do("wrmsr", vp, APIC_BASE, BASE | ENABLE | X2 | (0 if vp else BSP))
        return m

    return make


# ---- priorities


@pytest.mark.parametrize(
    ("requested", "in_service", "cr8", "pending", "ppr"),
    [
        ([0x30], [], 0, 0x30, 0),
        ([0x30, 0x45], [], 0, 0x45, 0),
        ([0x30], [], 2, 0x30, 0x20),
        ([0x30], [], 3, -1, 0x30),
        ([0x3F], [], 3, -1, 0x30),
        ([0x30], [0x30], 0, -1, 0x30),
        ([0x3F], [0x31], 0, -1, 0x30),
        ([0x41], [0x31], 0, 0x41, 0x30),
        ([0x41], [0x31], 5, -1, 0x50),
        ([0xFF], [0xEF], 14, 0xFF, 0xE0),
        ([0xFF], [], 15, -1, 0xF0),
        ([], [0x55], 5, -1, 0x50),
    ],
)
def test_the_next_interrupt_is_above_tpr_and_above_what_is_in_service(
    machine: Make, requested: list[int], in_service: list[int], cr8: int, pending: int, ppr: int
) -> None:
    m = machine()
    for vector in in_service:
        m.do("send", 0, 0, 0, FIXED, vector, 0)
        m.do("offer", 0)
        m.do("taken", 0)
    for vector in requested:
        m.do("send", 0, 0, 0, FIXED, vector, 0)
    m.do("cr8", 0, cr8)
    at = m.do("pending", 0)
    answers = [m.do("ppr", 0)] and m.answers()
    assert (int(answers[at]), int(answers[at + 1], 16)) == (pending, ppr)


def test_an_interrupt_that_tpr_holds_back_is_offered_for_the_moment_cr8_falls(machine: Make) -> None:
    m = machine()
    m.do("cr8", 0, 8)
    m.do("send", 0, 0, 0, FIXED, 0x51, 0)
    offered = int(m.last("offer", 0).split()[0], 16)
    assert offered & V_IRQ, "nothing offered"
    assert offered >> 8 & 0xF == 4, "TCG takes it at priority >= TPR: one class below is right"
    assert offered >> 12 & 1 == 0, "TPR must count"
    assert offered >> 24 & 0xFF == 0x51


def test_taking_an_interrupt_moves_it_into_service_and_eoi_ends_it(machine: Make) -> None:
    m = machine()
    m.do("send", 0, 0, 0, FIXED, 0x41, 0)
    m.do("offer", 0)
    m.do("taken", 0)
    places = [m.do("irr", 0), m.do("isr", 0), m.do("write", 0, EOI, 0), m.do("isr", 0), m.do("eoimessage")]
    answers = m.answers()
    assert [answers[i] for i in places] == ["", "41", "1", "", "0"]


def test_eoi_of_a_level_triggered_interrupt_tells_the_vmm(machine: Make) -> None:
    m = machine()
    m.do("send", 0, 0, 0, FIXED, 0x41, 1)
    m.do("offer", 0)
    m.do("taken", 0)
    assert m.last("read", 0, 0x1A0) == "1 2", "trigger mode bit of 0x41"
    m.do("write", 0, EOI, 0)
    assert m.last("eoimessage") == "1"


def test_a_disabled_apic_takes_no_interrupt_but_nmi_and_init(machine: Make) -> None:
    m = machine(on=False)
    m.do("send", 1, 0, 0, FIXED, 0x41, 0)
    m.do("send", 1, 0, 0, NMI, 0, 0)
    assert m.last("irr", 1) == ""
    assert m.last("state", 1).split()[1] == "1"


# ---- NMI


def test_an_nmi_blocks_the_next_until_behind_its_iret(machine: Make) -> None:
    m = machine()
    nmi = 0x80000202
    m.do("send", 0, 0, 0, NMI, 0, 0)
    first = m.do("offer", 0)
    m.do("left", 0, 0x1000, 0)
    m.do("send", 0, 0, 0, NMI, 0, 0)
    blocked = m.do("offer", 0)
    m.do("iret", 0)
    m.do("left", 0, 0x1000, 0)
    at_iret = m.do("offer", 0)
    m.do("left", 0, 0x2000, 0)
    behind = m.do("offer", 0)
    answers = m.answers()
    events = [int(answers[i].split()[1], 16) for i in (first, blocked, at_iret, behind)]
    assert events == [nmi, 0, 0, nmi]


def test_a_delivery_that_a_page_fault_interrupts_is_not_given_back_as_an_exception(machine: Make) -> None:
    m = machine()
    assert m.last("left", 0, 0, 0x80000302) == "80000202", "an NMI stays an NMI"
    assert m.last("left", 0, 0, 0x80000341) == "0", "an interrupt is still requested"
    assert m.last("left", 0, 0, 0x80000B0E) == "80000b0e", "a real exception is given back"


# ---- destinations


@pytest.mark.parametrize(
    ("setup", "dest", "logical", "reached"),
    [
        ([], 1, 0, {1}),
        ([], 0xFF, 0, {0, 1, 2}),
        ([], 9, 0, set()),
        ([(0, LDR, 1 << 24), (1, LDR, 2 << 24), (2, LDR, 4 << 24)], 6, 1, {1, 2}),
        ([(0, DFR, 0), (1, DFR, 0), (2, DFR, 0),
          (0, LDR, 0x11 << 24), (1, LDR, 0x12 << 24), (2, LDR, 0x21 << 24)], 0x13, 1, {0, 1}),
        ([(0, LDR, 1 << 24), (1, LDR, 2 << 24), (2, LDR, 4 << 24)], 0xFF, 1, {0, 1, 2}),
    ],
)  # fmt: skip
def test_xapic_destinations(
    machine: Make, setup: list[tuple[int, int, int]], dest: int, logical: int, reached: set[int]
) -> None:
    m = machine()
    for vp, register, value in setup:
        m.do("write", vp, register, value)
    any_one, kicked = m.last("send", dest, logical, 0, FIXED, 0x41, 0).split()
    assert {i for i in range(3) if int(kicked, 16) >> i & 1} == reached
    assert any_one == str(int(bool(reached)))


@pytest.mark.parametrize(
    ("dest", "logical", "reached"),
    [(1, 0, {1}), (0xFFFFFFFF, 0, {0, 1, 2}), (0xFF, 0, set()), (0x6, 1, {1, 2}), (0x10001, 1, set())],
)
def test_x2apic_destinations(machine: Make, dest: int, logical: int, reached: set[int]) -> None:
    kicked = machine(x2=True).last("send", dest, logical, 1, FIXED, 0x41, 0).split()[1]
    assert {i for i in range(3) if int(kicked, 16) >> i & 1} == reached


def test_lowest_priority_chooses_the_least_busy_and_takes_turns(machine: Make) -> None:
    m = machine()
    m.do("cr8", 0, 5)
    turns = [m.do("send", 0xFF, 0, 0, LOWEST, 0x41, 0) for _ in range(4)]
    answers = m.answers()
    assert [answers[i] for i in turns] == ["1 2", "1 4", "1 2", "1 4"], "VP 0 is busy"


@pytest.mark.parametrize(
    ("icr", "reached"), [(0x40041, {0}), (0x80041, {0, 1, 2}), (0xC0041, {1, 2}), (0x41, {2})]
)
@pytest.mark.parametrize("x2", [False, True])
def test_command_register_shorthands(machine: Make, icr: int, reached: set[int], x2: bool) -> None:
    m = machine(x2=x2)
    if x2:
        assert m.last("wrmsr", 0, 0x830, 2 << 32 | icr) == DONE
    else:
        m.do("write", 0, ICR_HIGH, 2 << 24)
        m.do("write", 0, ICR, icr)
    places = [m.do("irr", vp) for vp in range(3)]
    answers = m.answers()
    assert {vp for vp, i in enumerate(places) if answers[i] == "41"} == reached


def test_init_and_sipi_bring_an_ap_to_its_vector_and_a_second_sipi_is_ignored(machine: Make) -> None:
    m = machine()
    m.do("send", 1, 0, 0, INIT, 0, 1)
    assert m.last("state", 1) == "1 0 0 0"
    m.do("send", 1, 0, 0, SIPI, 0x12, 0)
    assert m.last("state", 1) == "0 0 0 12000"
    m.do("send", 1, 0, 0, SIPI, 0x34, 0)
    assert m.last("state", 1) == "0 0 0 12000"
    m.do("send", 1, 0, 0, INIT, 0, 0)
    assert m.last("state", 1) == "0 0 0 12000", "the deassert is no INIT"


def test_smi_reaches_nobody(machine: Make) -> None:
    assert machine().last("send", 1, 0, 0, SMI, 0, 0) == "0 0"


def test_vectors_below_16_are_errors_of_sender_and_receiver(machine: Make) -> None:
    m = machine()
    m.do("write", 0, LVT_ERROR, 0xE0)
    m.do("write", 0, ICR, 0x40005)
    m.do("send", 1, 0, 0, FIXED, 7, 0)
    m.do("write", 0, ESR, 0)
    m.do("write", 1, ESR, 0)
    sender, receiver, error = m.do("read", 0, ESR), m.do("read", 1, ESR), m.do("irr", 0)
    answers = m.answers()
    assert [answers[i] for i in (sender, receiver, error)] == ["1 20", "1 40", "e0"]


# ---- x2APIC


@pytest.mark.parametrize(
    ("path", "last"),
    [
        ([ENABLE | X2], DONE),
        ([0], DONE),
        ([0, ENABLE], DONE),
        ([0, ENABLE | X2], FAULT),
        ([ENABLE | X2, ENABLE], FAULT),
        ([ENABLE | X2, 0], DONE),
        ([X2], FAULT),
        ([ENABLE | 1], FAULT),
        ([ENABLE | 1 << 50], FAULT),
    ],
)
def test_apic_base_transitions(machine: Make, path: list[int], last: str) -> None:
    m = machine()
    for mode in path[:-1]:
        assert m.last("wrmsr", 0, APIC_BASE, BASE | mode) == DONE
    assert m.last("wrmsr", 0, APIC_BASE, BASE | path[-1]) == last


def test_a_partition_without_x2apic_refuses_the_mode_and_hides_it(machine: Make) -> None:
    m = machine(LAPIC)
    assert m.last("wrmsr", 0, APIC_BASE, BASE | ENABLE | X2) == FAULT
    assert not int(m.last("cpuid", 0, 1, 0).split()[2], 16) >> 21 & 1
    assert int(machine(BOTH).last("cpuid", 0, 1, 0).split()[2], 16) >> 21 & 1


def test_x2apic_registers_read(machine: Make) -> None:
    m = machine(x2=True)
    assert m.last("rdmsr", 2, 0x802) == "0 2"
    assert m.last("rdmsr", 2, 0x80D) == "0 4", "LDR follows from the id"
    assert m.last("wrmsr", 0, 0x830, 1 << 32 | 0x41) == DONE
    assert m.last("rdmsr", 0, 0x830) == "0 100000041"
    assert m.last("rdmsr", 1, 0x822) == "0 2", "IRR of the target"


@pytest.mark.parametrize("msr", [0x80E, 0x80B, 0x831, 0x83F, 0x800, 0x8FF, 0x840, 0x80C])
def test_x2apic_msrs_that_cannot_be_read_fault(machine: Make, msr: int) -> None:
    assert machine(x2=True).last("rdmsr", 0, msr).split()[0] == FAULT


@pytest.mark.parametrize(
    ("msr", "value"),
    [(0x802, 1), (0x803, 0), (0x80D, 1), (0x80A, 0), (0x839, 0), (0x80B, 1), (0x828, 1), (0x808, 0x100),
     (0x80F, 1 << 32), (0x832, 1 << 20), (0x83E, 4), (0x83F, 0x141), (0x830, 1 << 13)],
)  # fmt: skip
def test_x2apic_writes_to_what_is_read_only_or_reserved_fault(machine: Make, msr: int, value: int) -> None:
    assert machine(x2=True).last("wrmsr", 0, msr, value) == FAULT


def test_x2apic_msrs_fault_in_xapic_mode_and_are_unknown_without_an_apic(machine: Make) -> None:
    assert machine().last("rdmsr", 0, 0x802).split()[0] == FAULT
    assert machine(0, on=False).last("rdmsr", 0, 0x802).split()[0] == UNKNOWN


def test_self_ipi_msr(machine: Make) -> None:
    m = machine(x2=True)
    assert m.last("wrmsr", 1, 0x83F, 0x66) == DONE
    assert m.last("irr", 1) == "66"


# ---- timer: the clock counts 8 TSC ticks as one, times the divider


def test_one_shot_timer_fires_once(machine: Make) -> None:
    m = machine()
    m.do("write", 0, DIVIDE, 0xB)
    m.do("write", 0, LVT_TIMER, 0x50)
    m.do("write", 0, INITIAL, 1000)
    assert m.last("next", 0) == f"{8000:x}"
    m.do("tsc", 4000)
    assert m.last("read", 0, CURRENT) == f"1 {500:x}"
    assert m.last("pending", 0) == "-1"
    m.do("tsc", 4000)
    assert m.last("pending", 0) == str(0x50)
    m.do("offer", 0)
    m.do("taken", 0)
    m.do("write", 0, EOI, 0)
    m.do("tsc", 100000)
    assert m.last("pending", 0) == "-1"
    assert m.last("next", 0) == NEVER


def test_periodic_timer_keeps_its_phase(machine: Make) -> None:
    m = machine()
    m.do("write", 0, DIVIDE, 0xB)
    m.do("write", 0, LVT_TIMER, 0x20050)
    m.do("write", 0, INITIAL, 1000)
    m.do("tsc", 8000 * 3 + 100)
    assert m.last("pending", 0) == str(0x50)
    assert m.last("next", 0) == f"{8000 - 100:x}"


def test_deadline_timer_fires_at_the_tsc_and_zero_disarms_it(machine: Make) -> None:
    m = machine()
    m.do("write", 0, LVT_TIMER, 0x40050)
    m.do("wrmsr", 0, 0x6E0, 1000000 + 5000)
    assert m.last("next", 0) == f"{5000:x}"
    m.do("tsc", 4999)
    assert m.last("pending", 0) == "-1"
    m.do("tsc", 1)
    assert m.last("pending", 0) == str(0x50)
    assert m.last("rdmsr", 0, 0x6E0) == "0 0", "a deadline that was reached reads 0"
    m.do("wrmsr", 0, 0x6E0, 9999999)
    m.do("wrmsr", 0, 0x6E0, 0)
    assert m.last("next", 0) == NEVER


def test_deadline_is_in_the_childs_tsc(machine: Make) -> None:
    m = machine()
    m.do("wrmsr", 0, 0x10, 50)
    m.do("write", 0, LVT_TIMER, 0x40050)
    m.do("wrmsr", 0, 0x6E0, 350)
    assert m.last("next", 0) == f"{300:x}"


def test_deadline_outside_its_mode_and_the_count_inside_it_do_nothing(machine: Make) -> None:
    m = machine()
    m.do("write", 0, LVT_TIMER, 0x50)
    m.do("wrmsr", 0, 0x6E0, 1)
    assert m.last("rdmsr", 0, 0x6E0) == "0 0"
    m.do("write", 0, LVT_TIMER, 0x40050)
    m.do("write", 0, INITIAL, 7)
    assert m.last("next", 0) == NEVER


def test_a_masked_timer_has_no_deadline_and_a_switched_off_apic_masks_it(machine: Make) -> None:
    m = machine()
    m.do("write", 0, INITIAL, 1000)
    m.do("write", 0, LVT_TIMER, 0x10050)
    assert m.last("next", 0) == NEVER
    m.do("write", 0, LVT_TIMER, 0x50)
    m.do("write", 0, SVR, 0xFF)
    assert m.last("next", 0) == NEVER
    assert m.last("read", 0, LVT_TIMER) == "1 10050"


@pytest.mark.parametrize("mode", [0x50, 0x20050])
def test_state_image_round_trip_is_exact(machine: Make, mode: int) -> None:
    m = machine()
    m.do("write", 0, LDR, 4 << 24)
    m.do("write", 0, LVT_LINT0, 0x700)
    m.do("write", 0, LVT_TIMER, mode)
    m.do("write", 0, DIVIDE, 0x3)
    m.do("write", 0, INITIAL, 123456)
    m.do("send", 0, 0, 0, FIXED, 0x41, 1)
    m.do("send", 0, 0, 0, FIXED, 3, 0)
    m.do("tsc", 77777)
    assert m.last("roundtrip", 0) == "0"


# ---- MSRs


@pytest.mark.parametrize(
    ("msr", "value", "result"),
    [
        (0xC0000080, 0xD01, DONE),
        (0xC0000080, 1 << 12, FAULT),
        (0xC0000080, 1 << 40, FAULT),
        (0x277, 0x0007040600070406, DONE),
        (0x277, 0x0007040600070402, FAULT),
        (0x176, 0xFFFF800000000000, DONE),
        (0x176, 0x0000800000000000, FAULT),
        (0xFE, 0, FAULT),
        (0x2FF, 0xC06, DONE),
        (0x2FF, 1 << 12, FAULT),
        (0x200, 0x12345006, DONE),
        (0x200, 0x12345306, FAULT),
        (0x201, 0xFFFF000800, DONE),
        (0xC0000103, 5, DONE),
        (0xC0000103, 1 << 32, FAULT),
        (0xC0010114, 0, FAULT),
        (0xC0010117, 0x1000, FAULT),
        (0x12345, 1, UNKNOWN),
        (0x40000000, 1, UNKNOWN),
    ],
)
def test_msr_writes(machine: Make, msr: int, value: int, result: str) -> None:
    assert machine().last("wrmsr", 0, msr, value) == result


def test_unknown_msr_is_no_storage(machine: Make) -> None:
    m = machine()
    m.do("wrmsr", 0, 0x12345, 0x55)
    assert m.last("rdmsr", 0, 0x12345).split()[0] == UNKNOWN


# ---- CPUID


def test_what_the_vmm_registers_replaces_what_the_mask_says(machine: Make) -> None:
    m = machine()
    plain = m.last("cpuid", 0, 0x80000002, 0)
    m.do("result", 0, 0x80000002, 0, 0, 1, 0x00FF00FF << 32 | 0x12345678)
    got = m.last("cpuid", 0, 0x80000002, 0).split()
    expected = [int(w, 16) for w in plain.split()]
    expected[1] = (expected[1] & ~0x00FF00FF) | (0x12345678 & 0x00FF00FF)
    assert [int(w, 16) for w in got] == expected
    assert m.last("cpuid", 1, 0x80000002, 0) == plain, "results belong to one VP"


def test_a_subleaf_result_goes_before_the_general_one(machine: Make) -> None:
    m = machine()
    full = 0xFFFFFFFF << 32
    m.do("result", 0, 4, 0, 0, 0, full | 0x11)
    m.do("result", 0, 4, 1, 1, 0, full | 0x22)
    assert m.last("cpuid", 0, 4, 1).split()[0] == "22"
    assert m.last("cpuid", 0, 4, 2).split()[0] == "11"
    m.do("result", 0, 4, 1, 1, 0, full | 0x33)
    assert m.last("cpuid", 0, 4, 1).split()[0] == "33", "registering again replaces"


def test_osxsave_follows_cr4_whatever_was_registered(machine: Make) -> None:
    m = machine()
    m.do("result", 0, 1, 0, 0, 2, 0xFFFFFFFF << 32 | 3 << 26)
    assert int(m.last("cpuid", 0, 1, 0).split()[2], 16) >> 27 & 1 == 0
    m.do("control", 0, 0, 0, 1 << 18, 0, 0)
    assert int(m.last("cpuid", 0, 1, 0).split()[2], 16) >> 27 & 1 == 1


def test_many_results_take_pages_of_the_pool(machine: Make) -> None:
    m = machine()
    for leaf in range(250):
        m.do("result", 0, 0x10000 + leaf, 0, 0, 0, 0xFFFFFFFF << 32 | leaf)
    assert m.last("cpuid", 0, 0x10000 + 3, 0).split()[0] == "3"
    assert m.last("cpuid", 0, 0x10000 + 249, 0).split()[0] == "f9"


# ---- page tables: PML4 in page 1, then 2, 3, 4; the page in 5

READ, WRITE, EXECUTE, EXEMPT, SUPERVISOR, USER = 1, 2, 4, 8, 0x40, 0x80
P, W, U, NX = 1, 2, 4, 1 << 63
CR0, CR4, EFER = 0x80010001, 0x20, 0xD00
OK, NOT_PRESENT, PRIVILEGE, BAD_TABLE, UNMAPPED, NO_READ, NO_WRITE = range(7)


def tables(m: Machine, leaf: int, *, middle: int = P | W | U, cr4: int = CR4, cpl: int = 0) -> None:
    for page in range(1, 6):
        m.do("map", page, page, 7)
    for page, entry in (
        (1, 0x2000 | P | W | U),
        (2, 0x3000 | middle),
        (3, 0x4000 | P | W | U),
        (4, 0x5000 | leaf),
    ):
        m.do("poke", page * 4096, entry)
    m.do("control", 0, CR0, 0x1000, cr4, EFER, cpl)


@pytest.mark.parametrize(
    ("leaf", "middle", "cr4", "cpl", "flags", "result"),
    [
        (P | W | U, P | W | U, CR4, 0, READ | WRITE, OK),
        (P | U, P | W | U, CR4, 0, READ, OK),
        (P | U, P | W | U, CR4, 0, WRITE, PRIVILEGE),
        (P | W | U, P | U, CR4, 0, WRITE, PRIVILEGE),
        (P | W, P | W | U, CR4, 3, READ, PRIVILEGE),
        (P | W, P | W | U, CR4, 3, READ | EXEMPT, OK),
        (P | W, P | W | U, CR4, 0, READ | USER, PRIVILEGE),
        (P | W, P | W | U, CR4, 3, READ | SUPERVISOR, OK),
        (P | W | NX, P | W | U, CR4, 0, EXECUTE, PRIVILEGE),
        (P | W | U, P | W | U, CR4 | 1 << 20, 0, EXECUTE, PRIVILEGE),
        (P | W | U, P | W | U, CR4 | 1 << 21, 0, READ, PRIVILEGE),
        (0, P | W | U, CR4, 0, READ, NOT_PRESENT),
        (P, 0, CR4, 0, 0, NOT_PRESENT),
    ],
)
def test_translation_looks_at_the_rights_of_every_level(
    machine: Make, leaf: int, middle: int, cr4: int, cpl: int, flags: int, result: int
) -> None:
    m = machine()
    tables(m, leaf, middle=middle, cr4=cr4, cpl=cpl)
    code, gpa = m.last("translate", 0, 0x123, flags).split()
    assert int(code) == result
    assert gpa == ("5123" if result == OK else "0")


def test_translation_looks_at_the_second_level_too(machine: Make) -> None:
    m = machine()
    tables(m, P | W | U)
    m.do("map", 5, 5, 1)
    assert m.last("translate", 0, 0, READ).split()[0] == str(OK)
    assert m.last("translate", 0, 0, WRITE).split()[0] == str(NO_WRITE)
    m.do("map", 5, 5, 0)
    assert m.last("translate", 0, 0, READ).split()[0] == str(NO_READ)
    assert m.last("translate", 0, 0, 0) == f"{OK} 5000", "nothing to validate"
    m.do("poke", 4 * 4096, 0x77000 | P | W | U)
    assert m.last("translate", 0, 0, READ).split()[0] == str(UNMAPPED)
    m.do("poke", 4096, 0x88000 | P | W | U)
    assert m.last("translate", 0, 0, 0).split()[0] == str(UNMAPPED), "a table that is not there"


def test_translation_refuses_reserved_bits(machine: Make) -> None:
    m = machine()
    tables(m, P | W | U)
    m.do("poke", 2 * 4096 - 4096, 0x2000 | P | W | U | 1 << 7)
    assert m.last("translate", 0, 0, READ).split()[0] == str(BAD_TABLE)


# ---- instructions on the APIC page


@pytest.mark.parametrize(
    ("code", "length", "read"),
    [
        ("8b0425b000e0fe", 7, True),
        ("8b08", 2, True),
        ("890425b000e0fe", 7, False),
        ("8988b0000000", 6, False),
        ("c780b000000041000000", 10, False),
        ("67890c25b000e0fe", 8, False),
        ("8708", 2, True),
        ("f08708", 3, True),
        ("a1b000e0fe00000000", 9, True),
    ],
)
def test_instructions_of_operating_systems_are_decoded(
    machine: Make, code: str, length: int, read: bool
) -> None:
    padded = bytes.fromhex(code).ljust(16, b"\x90")
    words = [int.from_bytes(padded[i : i + 8], "big") for i in (0, 8)]
    handled, _rax, _rcx, rip = machine().last("mmio", 0, TPR, 0x20, *words).split()
    assert (handled, int(rip, 16)) == ("1", length)


@pytest.mark.parametrize("code", ["00", "0fb600", "8a00", "8bc0", "ff00"])
def test_other_instructions_go_to_the_vmm(machine: Make, code: str) -> None:
    padded = bytes.fromhex(code).ljust(16, b"\x90")
    words = [int.from_bytes(padded[i : i + 8], "big") for i in (0, 8)]
    assert machine().last("mmio", 0, TPR, 0x20, *words).split()[0] == "0"


def test_access_beside_the_registers_is_an_error_of_the_xapic(machine: Make) -> None:
    m = machine()
    m.do("mmio", 0, 0x3F0, 0, 0x8B08 << 48, 0)
    m.do("write", 0, ESR, 0)
    assert m.last("read", 0, ESR) == "1 80"


# ---- Hyper-V

PRESENT, HV1, SYNIC, STIMER, APIC_MSRS, HYPERCALL, TSC = 1, 2, 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 9
DIRECT, FLUSH, CLUSTER = 1 << 22, 1 << 25, 1 << 26
ALL = 0x07C00FFF
OS_ID, HYPERCALL_PAGE, REF_COUNT, REF_TSC = 0x40000000, 0x40000001, 0x40000020, 0x40000021
SCONTROL, SIEFP, SIMP, EOM, SINT2 = 0x40000080, 0x40000082, 0x40000083, 0x40000084, 0x40000092
STIMER_CONFIG, STIMER_COUNT = 0x400000B0, 0x400000B1
VENDOR, FEATURES, HINTS = 0x40000000, 0x40000003, 0x40000004
ST_CODE, ST_INPUT, ST_ALIGN, ST_PARAMETER, ST_DENIED, ST_BUFFERS, ST_CONNECTION = 2, 3, 4, 5, 6, 0x13, 0x12
RESUME, MESSAGE = 0, 1
GFN = 0x900


def synic(m: Machine, *, sint: int = 0x67) -> None:
    """SynIC on, SINT 2 on that vector, message and event pages on."""
    for msr, value in (
        (SIMP, GFN << 12 | 1),
        (SIEFP, (GFN + 1) << 12 | 1),
        (SINT2, sint),
        (SCONTROL, 1),
    ):
        m.do("wrmsr", 0, msr, value)


def test_leaves_follow_the_features(machine: Make) -> None:
    m = machine(features=ALL)
    vendor = m.last("cpuid", 0, VENDOR, 0).split()
    text = b"".join(int(w, 16).to_bytes(4, "little") for w in vendor[1:])
    assert (vendor[0], text) == ("40000006", b"Microsoft Hv")
    assert int(m.last("cpuid", 0, 1, 0).split()[2], 16) >> 31 == 1
    few = machine(features=PRESENT | HV1 | SYNIC)
    assert few.last("cpuid", 0, FEATURES, 0).split()[0] == f"{1 << 2:x}"
    assert int(few.last("cpuid", 0, HINTS, 0).split()[0], 16) & (1 << 2 | 1 << 10) == 0, (
        "no flush, no IPI call"
    )


def test_without_the_features_there_is_no_hypervisor(machine: Make) -> None:
    m = machine()
    assert m.last("cpuid", 0, VENDOR, 0) == "0 0 0 0"
    assert int(m.last("cpuid", 0, 1, 0).split()[2], 16) >> 31 == 0
    assert m.last("rdmsr", 0, OS_ID).split()[0] == UNKNOWN
    hidden = machine(features=PRESENT)
    assert hidden.last("cpuid", 0, VENDOR, 0) == "0 0 0 0"
    assert int(hidden.last("cpuid", 0, 1, 0).split()[2], 16) >> 31 == 1


@pytest.mark.parametrize(
    ("feature", "msr"), [(SYNIC, SCONTROL), (STIMER, STIMER_CONFIG), (HYPERCALL, OS_ID), (TSC, REF_TSC)]
)
def test_each_synthetic_msr_needs_its_feature(machine: Make, feature: int, msr: int) -> None:
    assert machine(features=ALL).last("rdmsr", 0, msr).split()[0] == DONE
    assert machine(features=ALL & ~feature).last("rdmsr", 0, msr).split()[0] == FAULT


@pytest.mark.parametrize("msr", [0x40000002, REF_COUNT, 0x40000022, 0x40000081])
def test_read_only_synthetic_msrs_cannot_be_written(machine: Make, msr: int) -> None:
    assert machine(features=ALL).last("wrmsr", 0, msr, 1) == FAULT


def test_hypercall_page_appears_once_the_guest_said_who_it_is(machine: Make) -> None:
    m = machine(features=ALL)
    m.do("map", GFN, 5, 3)
    m.do("wrmsr", 0, HYPERCALL_PAGE, GFN << 12 | 1)
    assert m.last("slat", GFN) == "5 3"
    m.do("wrmsr", 0, OS_ID, 0x1234)
    m.do("wrmsr", 0, HYPERCALL_PAGE, GFN << 12 | 1)
    assert m.last("slat", GFN) == "hypercall 5", "read and execute"
    m.do("wrmsr", 0, OS_ID, 0)
    assert m.last("slat", GFN) == "5 3", "what was there comes back"


def test_an_overlay_hides_what_the_vmm_maps_meanwhile(machine: Make) -> None:
    m = machine(features=ALL)
    m.do("wrmsr", 0, REF_TSC, GFN << 12 | 1)
    assert m.last("slat", GFN) == "tsc 5"
    m.do("remap", GFN, 9, 7)
    assert m.last("slat", GFN) == "tsc 5"
    m.do("wrmsr", 0, SIMP, GFN << 12 | 1)
    assert m.last("slat", GFN) == "tsc 5", "of two overlays the partition's is seen"
    m.do("wrmsr", 0, REF_TSC, 0)
    assert m.last("slat", GFN) == "simp 7"
    m.do("wrmsr", 0, SIMP, 0)
    assert m.last("slat", GFN) == "9 7"


def test_an_overlay_moves_and_leaves_nothing(machine: Make) -> None:
    m = machine(features=ALL)
    m.do("wrmsr", 0, SIMP, GFN << 12 | 1)
    m.do("wrmsr", 0, SIMP, (GFN + 5) << 12 | 1)
    assert m.last("slat", GFN) == "none"
    assert m.last("slat", GFN + 5) == "simp 7"
    assert m.last("wrmsr", 0, SIMP, 1 << 50 | 1) == FAULT


def test_a_message_goes_into_its_slot_and_raises_its_vector(machine: Make) -> None:
    m = machine(features=ALL)
    synic(m)
    assert m.last("post", 0, 2, 7) == "0"
    assert m.last("page", 0, 0, 512) == f"{8 << 32 | 7:x}"
    assert m.last("irr", 0) == "67"


def test_a_second_message_waits_for_eom_and_says_so(machine: Make) -> None:
    m = machine(features=ALL)
    synic(m)
    m.do("post", 0, 2, 7)
    m.do("post", 0, 2, 8)
    assert int(m.last("page", 0, 0, 512), 16) >> 40 & 1 == 1, "message pending flag"
    m.do("free", 0, 2)
    m.do("wrmsr", 0, EOM, 0)
    assert int(m.last("page", 0, 0, 512), 16) & 0xFFFFFFFF == 8


def test_messages_wait_for_the_synic_and_are_not_lost(machine: Make) -> None:
    m = machine(features=ALL)
    m.do("wrmsr", 0, SIMP, GFN << 12 | 1)
    m.do("wrmsr", 0, SINT2, 0x67)
    m.do("post", 0, 2, 7)
    assert m.last("page", 0, 0, 512) == "0"
    m.do("wrmsr", 0, SCONTROL, 1)
    assert int(m.last("page", 0, 0, 512), 16) & 0xFF == 7


def test_sixteenth_waiting_message_is_refused(machine: Make) -> None:
    m = machine(features=ALL)
    places = [m.do("post", 0, 2, 7) for _ in range(16)]
    answers = m.answers()
    assert [answers[i] for i in places] == ["0"] * 15 + [f"{ST_BUFFERS:x}"]


def test_event_flags_are_signalled_once(machine: Make) -> None:
    m = machine(features=ALL)
    synic(m)
    assert m.last("signal", 0, 2, 65) == "0 1"
    assert m.last("page", 0, 1, 2 * 256 + 8) == "2"
    assert m.last("signal", 0, 2, 65) == "0 0"
    assert m.last("signal", 0, 2, 2048).split()[0] == f"{ST_PARAMETER:x}"


def test_auto_eoi_vector_never_gets_into_service(machine: Make) -> None:
    m = machine(features=ALL)
    synic(m, sint=0x67 | 1 << 17)
    m.do("post", 0, 2, 7)
    m.do("offer", 0)
    m.do("taken", 0)
    assert m.last("isr", 0) == "" and m.last("irr", 0) == ""


def test_unmasked_sint_needs_a_vector_that_can_interrupt(machine: Make) -> None:
    m = machine(features=ALL)
    assert m.last("wrmsr", 0, SINT2, 0x0F) == FAULT
    assert m.last("wrmsr", 0, SINT2, 0x1000F) == DONE, "masked"
    assert m.last("wrmsr", 0, SINT2, 1 << 40 | 0x67) == FAULT


def test_direct_timer_one_shot(machine: Make) -> None:
    m = machine(features=ALL)
    m.do("wrmsr", 0, STIMER_CONFIG, 0x1008 | 0x55 << 4)
    m.do("wrmsr", 0, STIMER_COUNT, 1000)
    assert m.last("pending", 0) == "-1"
    m.do("tsc", 1000 * 100)
    assert m.last("pending", 0) == str(0x55)
    assert int(m.last("rdmsr", 0, STIMER_CONFIG).split()[1], 16) & 1 == 0, "a one-shot timer disables itself"


def test_direct_timer_needs_its_feature_and_a_vector(machine: Make) -> None:
    assert machine(features=ALL & ~DIRECT).last("wrmsr", 0, STIMER_CONFIG, 0x1001 | 0x55 << 4) == FAULT
    m = machine(features=ALL)
    assert m.last("wrmsr", 0, STIMER_CONFIG, 0x1001 | 0x0F << 4) == FAULT
    assert m.last("wrmsr", 0, STIMER_CONFIG, 1 << 13) == FAULT, "reserved bit"


def test_periodic_timer_message_waits_for_its_slot(machine: Make) -> None:
    m = machine(features=ALL)
    synic(m)
    m.do("wrmsr", 0, STIMER_CONFIG, 0x3 | 2 << 16)
    m.do("wrmsr", 0, STIMER_COUNT, 1000)
    m.do("wrmsr", 0, STIMER_CONFIG, 0x3 | 2 << 16)
    m.do("post", 0, 2, 7)
    m.do("tsc", 1500 * 100)
    m.do("pending", 0)
    assert int(m.last("page", 0, 0, 512), 16) & 0xFFFFFFFF == 7
    m.do("free", 0, 2)
    m.do("wrmsr", 0, EOM, 0)
    assert int(m.last("page", 0, 0, 512), 16) & 0xFFFFFFFF == 0x80000010


def test_frozen_time_stands_still_and_goes_on_where_it_was(machine: Make) -> None:
    m = machine(features=ALL)
    m.do("tsc", 5000)
    before = m.last("rdmsr", 0, REF_COUNT)
    m.do("freeze", 1)
    m.do("tsc", 700000)
    assert m.last("rdmsr", 0, REF_COUNT) == before
    m.do("freeze", 0)
    assert m.last("rdmsr", 0, REF_COUNT) == before
    m.do("tsc", 100)
    assert int(m.last("rdmsr", 0, REF_COUNT).split()[1], 16) == int(before.split()[1], 16) + 1


def enlightened(m: Machine) -> None:
    m.do("wrmsr", 0, OS_ID, 1)
    m.do("wrmsr", 0, HYPERCALL_PAGE, GFN << 12 | 1)


@pytest.mark.parametrize(
    ("control", "rdx", "r8", "status"),
    [
        (0x1000B, 0x41, 0x1, 0),
        (0x1000B, 0x0F, 0x1, ST_PARAMETER),
        (0x10008, 1, 0, 0),
        (0x1005D, 7, 0, 0),
        (0x1005D, 8, 0, ST_CONNECTION),
        (0x10040, 0, 0, ST_DENIED),
        (0x17777, 0, 0, ST_CODE),
        (1 << 32 | 0x1000B, 0x41, 1, ST_INPUT),
        (0x10002, 0, 0, ST_INPUT),
        (0x0002, 0x5004, 0, ST_ALIGN),
        (0x0002, 0x5FF8, 0, ST_INPUT),
        (0x0002, 0x5000, 0, 0),
    ],
)
def test_hypercalls_of_a_child(machine: Make, control: int, rdx: int, r8: int, status: int) -> None:
    m = machine(features=ALL)
    m.do("map", 5, 5, 7)
    enlightened(m)
    what, rax, rip, _ = m.last("vmmcall", 0, control, rdx, r8, 0).split()
    assert (int(what), int(rax, 16) & 0xFFFF, int(rip, 16)) == (RESUME, status, 3)


def test_a_hypercall_needs_its_feature_the_page_and_ring_0(machine: Make) -> None:
    m = machine(features=ALL)
    assert m.last("vmmcall", 0, 0x10008, 0, 0, 0).split()[1:3] == ["77", "0"], "#UD: no hypercall page"
    enlightened(m)
    assert m.last("vmmcall", 0, 0x10008, 0, 0, 3).split()[1:3] == ["77", "0"], "#UD: ring 3"
    less = machine(features=ALL & ~CLUSTER)
    enlightened(less)
    assert int(less.last("vmmcall", 0, 0x1000B, 0x41, 1, 0).split()[1], 16) == ST_DENIED


def test_hypercall_input_that_is_not_mapped_reaches_the_vmm_as_a_fault(machine: Make) -> None:
    m = machine(features=ALL)
    enlightened(m)
    assert m.last("vmmcall", 0, 0x0002, 0x7000, 0, 0) == f"{MESSAGE} 77 0 400"


def test_everything_a_child_had_of_hyperv_goes_back_to_the_pool(machine: Make) -> None:
    plain, rich = machine(on=False), machine(features=ALL, on=False)
    rich.do("map", GFN, 5, 3)
    plain.do("map", GFN, 5, 3)
    rich.do("wrmsr", 0, SIMP, GFN << 12 | 1)
    rich.do("wrmsr", 0, REF_TSC, GFN << 12 | 1)
    assert rich.last("pool") == plain.last("pool")


# ---- events and registers of the VMM

INTERRUPTION, EVENT0, EVENT1, ACTIVITY, STATE = 0x10002, 0x10004, 0x10005, 4, 0x10003
PAGE_FAULT = 14 << 16 | 1 | 1 << 8 | 2 << 32


def test_a_pending_page_fault_sets_cr2_and_is_delivered(machine: Make) -> None:
    m = machine()
    assert m.last("setreg", 0, EVENT0, PAGE_FAULT, 0xDEAD000) == "0"
    assert m.last("getreg", 0, EVENT0) == f"0 {PAGE_FAULT:x} dead000"
    interruption = 1 | 3 << 1 | 1 << 4 | 14 << 16 | 2 << 32
    assert m.last("event", 0) == f"{interruption:x} dead000 0"
    assert m.last("getreg", 0, EVENT0) == "0 0 0"


def test_a_pending_external_interrupt_and_types_that_are_refused(machine: Make) -> None:
    m = machine()
    m.do("setreg", 0, EVENT0, 1 | 5 << 1 | 0x30 << 8, 0)
    assert m.last("event", 0).split()[2] == "130"
    assert m.last("setreg", 0, EVENT0, 1 | 2 << 1, 0) == "50"
    assert m.last("setreg", 0, EVENT1, 1, 0) == "50"


@pytest.mark.parametrize(
    ("value", "status", "reads"), [(0, "0", "0"), (1, "0", "1"), (2, "0", "2"), (4, "0", "4"), (8, "50", "0")]
)
def test_activity_of_a_vp(machine: Make, value: int, status: str, reads: str) -> None:
    m = machine()
    assert m.last("setreg", 1, ACTIVITY, value) == status
    assert m.last("getreg", 1, ACTIVITY).split()[1] == reads


def test_interrupt_state_round_trip(machine: Make) -> None:
    m = machine()
    m.do("setreg", 0, STATE, 3)
    assert m.last("getreg", 0, STATE) == "0 3 0"


@pytest.mark.parametrize("name", [0x123, 0x90099, 0xC0000, 0xFFFFFFFF])
def test_register_that_is_none_is_refused(machine: Make, name: int) -> None:
    m = machine(features=ALL)
    assert m.last("getreg", 0, name).split()[0] == "5"
    assert m.last("setreg", 0, name, 0) == "5"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (0x90002, 0x1234),
        (0xA0002, 0x67),
        (0xA0010, 1),
        (0xA0013, GFN << 12 | 1),
        (0xB0000, 0x1001 | 0x55 << 4),
    ],
)
def test_synthetic_registers_are_the_msrs(machine: Make, name: int, value: int) -> None:
    m = machine(features=ALL)
    assert m.last("setreg", 0, name, value) == "0"
    assert m.last("getreg", 0, name).split()[1] == f"{value:x}"
    msr = {9: OS_ID - 2, 10: 0x40000090, 11: STIMER_CONFIG}[name >> 16] + (name & 0xFFFF)
    msr = {0x400000A0: SCONTROL, 0x400000A3: SIMP}.get(msr, msr)
    assert m.last("rdmsr", 0, msr) == f"0 {value:x}"


@pytest.mark.parametrize(
    ("value", "status"), [(BASE | ENABLE | X2, "0"), (BASE | X2, "50"), (BASE | 1, "50")]
)
def test_apic_base_register_is_checked_but_knows_no_transitions(
    machine: Make, value: int, status: str
) -> None:
    m = machine()
    m.do("setreg", 0, 0x80003, BASE)
    assert m.last("setreg", 0, 0x80003, value) == status
