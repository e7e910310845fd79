# SPDX-License-Identifier: GPL-2.0-or-later
"""A child's processors: our own C as host code, driven by harness/child_calls.c."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.paths import images_dir

SOURCE = images_dir() / "hypervisor"
HARNESS = Path(__file__).parent.parent / "harness"
GCC = shutil.which("gcc")

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

# Hyper-V: features, MSRs, leaves, statuses
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
    names += ["overlay", "svm_check"]
    symbols = {"hv_start": 0x10000000, "shared_start": 0x10000000, "shared_end": 0x10200000}
    symbols |= {"heap_start": 0x10200000, "heap_end": 0x10200000, "hv_end": 0x11E00000}
    if GCC is None:
        pytest.skip("no gcc")
    done = subprocess.run(
        [GCC, "-O1", "-g", "-std=gnu11", "-pthread", "-fno-builtin", "-no-pie",
         "-Wno-address-of-packed-member", "-ffunction-sections", "-Wl,--gc-sections", "-Wl,-z,muldefs",
         "-Wl,--unresolved-symbols=ignore-all",
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
