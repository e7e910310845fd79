# SPDX-License-Identifier: GPL-2.0-or-later
"""The stand-in's SynIC, ports, doorbells and timers, compiled for the host and driven line by line."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.paths import images_dir

SOURCE = images_dir() / "hypervisor"
HARNESS = Path(__file__).parent.parent / "harness"
GCC = shutil.which("gcc")

SCONTROL, SVERSION, SIEFP, SIMP, EOM, SIRBP, SINT0 = 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x90
CONFIG, COUNT = 0xB0, 0xB1
BASE = 0x40000000
MASKED, AUTO_EOI, POLLING, AS_INTERCEPT = 1 << 16, 1 << 17, 1 << 18, 1 << 19
ENABLE, PERIODIC, LAZY, AUTO_ENABLE, DIRECT = 1, 2, 4, 8, 1 << 12
TIMER_EXPIRED, SINT_NOTICE, SIGNAL = 0x80000010, 0x80000061, 0x80000100
MESSAGE, EVENT, DOORBELL = 1, 2, 4
ANY_VP, ANY_VALUE = 0xFFFFFFFF, 0x80000000
OK, BAD_PARAMETER, DENIED, BAD_VP = 0, 5, 6, 0x0E
BAD_PORT, BAD_CONNECTION, NO_BUFFERS, NO_SYNIC = 0x11, 0x12, 0x13, 0x18
MILLISECOND = 10_000
CHILD = 7


class Machine:
    """Two LPs. Each call is a line to the process and one back; it ends itself after a minute."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def do(self, verb: str, *numbers: int) -> str:
        return self.line(" ".join([verb, *(f"{n:x}" for n in numbers)]))

    def line(self, text: str) -> str:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def number(self, verb: str, *numbers: int) -> int:
        return int(self.do(verb, *numbers), 16)

    def write(self, msr: int, value: int) -> str:
        return self.do("wrmsr", BASE + msr, value)

    def read(self, msr: int) -> int:
        return self.number("rdmsr", BASE + msr)

    def on(self, **sints: int) -> None:
        """Everything enabled; ``s5=0xF3`` sets SINT 5."""
        for page in (SIMP, SIEFP, SIRBP):
            assert self.write(page, self.read(page) | 1) == "ok"
        assert self.write(SCONTROL, 1) == "ok"
        for name, value in sints.items():
            assert self.write(SINT0 + int(name[1:]), value) == "ok"

    def slot(self, sint: int) -> tuple[int, int, int]:
        """Type, flags and first word of a message slot."""
        kind, flags, word = (int(n, 16) for n in self.do("slot", sint).split())
        return kind, flags, word

    def sent(self) -> list[str]:
        """``LP:vector`` of the interrupts since the last time."""
        text = self.do("sent")
        return [] if text == "-" else text.split()

    def end(self) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()
        self._process.wait(timeout=10)


NAMES = ("synic", "port", "store", "child_operand", "stimer", "timer", "time")
"""What of the stand-in is in the harness."""


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("harness") / "event_calls"
    if GCC is None:
        pytest.skip("no gcc")
    done = subprocess.run(
        [GCC, "-O1", "-g", "-std=gnu11", "-fno-builtin", "-no-pie", "-Wno-address-of-packed-member",
         "-include", str(HARNESS / "event_harness.h"), "-I", str(SOURCE), "-o", str(out),
         str(HARNESS / "event_calls.c"),
         *(str(SOURCE / f"{name}.c") for name in NAMES)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def machine(program: Path) -> Iterator[Machine]:
    m = Machine(program)
    yield m
    m.end()
