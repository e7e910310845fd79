# SPDX-License-Identifier: GPL-2.0-or-later
"""Ask the real stand-in: operations go in, a root partition of 200 lines does them, answers come out."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from lab.hypervisor.view import HypervisorView
from lab.model.ledger import LedgerRecord

PROBE = Path(__file__).parent / "probe"
PAGE = 4096
MAGIC = b"HLVPCASK"
OPERATION = struct.Struct("<IIQQQQQQQ")
OPS = 64
"""Offset of the first operation: magic, operations done and the flag "all done" come before."""
RAM = 512 << 20
PATIENCE = 120.0
"""Seconds for a boot of a few milliseconds on a loaded machine."""
SCRATCH = 0x4000000
"""First page of RAM that nothing uses: what is deposited and mapped comes from there."""


class Op(IntEnum):
    CPUID = 1
    RDMSR = 2
    WRMSR = 3
    CALL = 4


@dataclass
class Step:
    """One operation and, after the run, its answer."""

    op: Op
    a: int
    b: int = 0
    given: bytes = b""
    what: str = ""
    fault: int | None = None
    """Vector of the exception that it ended in."""
    out: tuple[int, int, int, int] = (0, 0, 0, 0)
    output: bytes = b""
    ends: bool = False
    """The machine powers off in it: there is no answer."""

    @property
    def status(self) -> int:
        return self.out[0] & 0xFFFF


@dataclass
class Script:
    """Operations in order."""

    steps: list[Step] = field(default_factory=list)

    def cpuid(self, leaf: int, what: str = "") -> Step:
        return self._add(Step(Op.CPUID, leaf, what=what))

    def rdmsr(self, msr: int, what: str = "") -> Step:
        return self._add(Step(Op.RDMSR, msr, what=what))

    def wrmsr(self, msr: int, value: int, what: str = "") -> Step:
        return self._add(Step(Op.WRMSR, msr, value, what=what))

    def call(self, code: int, given: bytes = b"", reps: int = 0, varhead: int = 0, what: str = "") -> Step:
        control = code | varhead << 17 | reps << 32
        return self._add(Step(Op.CALL, control, given=given, what=what))

    def _add(self, step: Step) -> Step:
        self.steps.append(step)
        return step

    def image(self) -> bytes:
        """The initrd: operations, then an input and an output page for each hypercall."""
        pages_at = -(-(OPS + OPERATION.size * (len(self.steps) + 1)) // PAGE) * PAGE
        ops, pages = b"", b""
        for step in self.steps:
            b, c = step.b, 0
            if step.op is Op.CALL:
                b = pages_at + len(pages)
                c = b + PAGE
                pages += step.given.ljust(2 * PAGE, b"\0")
            ops += OPERATION.pack(step.op, 0, step.a, b, c, 0, 0, 0, 0)
        return (MAGIC.ljust(OPS, b"\0") + ops).ljust(pages_at, b"\0") + pages

    def take(self, image: bytes) -> None:
        """Read the answers out of the image that the probe wrote into."""
        done, ended = struct.unpack_from("<QQ", image, 8)
        expected = len(self.steps) - int(self.steps[-1].ends)
        assert done == expected, f"the probe ended after {done} of {expected}: {self.steps[done].what}"
        assert bool(ended) is not self.steps[-1].ends, "the machine was to power off by a hypercall"
        for i, step in enumerate(self.steps):
            _, fault, _, _, c, *out = OPERATION.unpack_from(image, OPS + i * OPERATION.size)
            step.fault = fault - 1 if fault else None
            step.out = (out[0], out[1], out[2], out[3])
            if step.op is Op.CALL:
                step.output = image[c : c + PAGE]


def build_probe(folder: Path) -> Path:
    """The probe in the format of a bzImage."""
    gcc, ld, objcopy = (shutil.which(name) for name in ("gcc", "ld", "objcopy"))
    assert gcc and ld and objcopy
    elf, image = folder / "probe.elf", folder / "probe.bin"
    compile_it = [gcc, "-c", "-x", "assembler-with-cpp", "-o", folder / "probe.o", PROBE / "probe.S"]
    link = [
        ld,
        "-nostdlib",
        "-z",
        "noexecstack",
        "--no-warn-rwx-segments",
        "-T",
        PROBE / "probe.ld",
        "-o",
        elf,
    ]
    subprocess.run(compile_it, check=True, timeout=60)
    subprocess.run([*link, folder / "probe.o"], check=True, timeout=60)
    subprocess.run([objcopy, "-O", "binary", elf, image], check=True, timeout=60)
    return image


def ask(
    script: Script, folder: Path, qemu: list[str], elf: Path, symbols: Path, arguments: str = "cpus=1"
) -> list[LedgerRecord]:
    """Run a script on a machine with one CPU. Returns the stand-in's ledger."""
    probe = build_probe(folder)
    initrd, ram, log = folder / "script", folder / "ram", folder / "hv.log"
    initrd.write_bytes(script.image())
    with ram.open("wb") as f:
        f.truncate(RAM)
    argv = [
        *qemu, "-accel", "tcg,thread=single", "-machine", "q35,memory-backend=ram",
        "-object", f"memory-backend-file,id=ram,size={RAM >> 20}M,share=on,mem-path={ram}",
        "-m", f"{RAM >> 20}M",
        "-smp", "1", "-cpu", "EPYC,+svm,+npt,-x2apic", "-nodefaults", "-display", "none", "-no-reboot",
        "-serial", "none", "-debugcon", f"file:{log}", "-kernel", str(elf), "-append", arguments,
        "-initrd", f"{probe} probe,{initrd}",
    ]  # fmt: skip
    try:
        done = subprocess.run(argv, timeout=PATIENCE, capture_output=True, text=True)
    except subprocess.TimeoutExpired as e:
        raise AssertionError(f"the probe did not end; stand-in: {_tail(log)}") from e
    assert done.returncode == 0, f"QEMU: {done.stderr}; stand-in: {_tail(log)}"
    with ram.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        at, size = -PAGE, initrd.stat().st_size
        while (at := memory.find(MAGIC, at + PAGE)) >= 0 and at % PAGE:
            at -= at % PAGE
        assert at >= 0, f"no script in the machine's memory; stand-in: {_tail(log)}"
        image = memory[at : at + size]
    try:
        script.take(image)
    except AssertionError as e:
        raise AssertionError(f"{e}; stand-in: {_tail(log)}") from e
    with HypervisorView(ram, symbols, RAM) as view:
        return list(view.since(0).records)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-12:]) if log.exists() else "(silent)"
