# SPDX-License-Identifier: GPL-2.0-or-later
"""Registers and stacks of a hung machine made readable."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest

from lab.machine import hang
from lab.machine.hang import parse_registers, parse_words, return_addresses
from lab.machine.symbols import SymbolTable

MAP = """\
ffffffff81000000 T _text
ffffffff81000100 t do_idle
ffffffff81000200 T default_idle
ffffffff82000000 D some_data
"""

REGISTERS = """
CPU#0
RAX=0000000000000000 RBX=ffffffff82c0b8c0 RCX=0000000000000001 RDX=4000000000000000
RSI=0000000000000083 RDI=0000000000005b34 RBP=0000000000000000 RSP=ffffffff82c03e68
RIP=ffffffff8100020b RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1
ES =0000 0000000000000000 00000000 00000000

CPU#1
RAX=0000000000000000 RBX=ffff888003ab8000 RCX=0000000000000001 RDX=4000000000000000
RSI=0000000000000083 RDI=0000000000005b34 RBP=0000000000000000 RSP=00007ffe00001000
RIP=0000000000401000 RFL=00000046 [---Z-P-] CPL=3 II=0 A20=1 SMM=0 HLT=0

CPU#2
EAX=00000000 EBX=00000000 ECX=00000000 EDX=00000000
ESI=00000000 EDI=00000000 EBP=00000000 ESP=00000000
EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=1
"""


def test_registers_of_every_cpu():
    zero, one, two = parse_registers(REGISTERS)
    assert (zero.rip, zero.rsp, zero.ring, zero.halted) == (0xFFFFFFFF8100020B, 0xFFFFFFFF82C03E68, 0, True)
    assert (zero.interrupts, one.interrupts) == (True, False)
    assert (one.index, one.ring, one.halted) == (1, 3, False)
    assert (two.index, two.rip) == (2, 0xFFF0)


def test_text_that_has_no_registers():
    assert parse_registers("CPU#0\nunknown command\n") == []


def test_stack_words_that_are_code_addresses_become_a_backtrace():
    text = (
        "ffffffff82c03e68: 0xffffffff81000205 0x0000000000000001\n"
        "ffffffff82c03e78: 0xffff888003ab8000 0xffffffff81000142\n"
    )
    symbols = SymbolTable.from_system_map(MAP)
    assert return_addresses(parse_words(text), symbols) == ["default_idle+0x5", "do_idle+0x42"]


def test_only_code_of_a_system_map_is_used():
    symbols = SymbolTable.from_system_map(MAP)
    assert symbols.name(0xFFFFFFFF81000100) == "do_idle+0x0"
    assert symbols.name(0xFFFFFFFF82000004) == "0xffffffff82000004"
    assert symbols.name(0x401000) == "0x401000"


def test_tables_can_be_merged():
    both = SymbolTable.from_system_map(MAP) | SymbolTable([(0x10000000, "hv:start")])
    assert both.name(0x10000010) == "hv:start+0x10"
    assert both.name(0xFFFFFFFF81000000) == "_text+0x0"


def test_symbols_of_an_elf_file_agree_with_nm(tmp_path):
    if not shutil.which("gcc"):
        pytest.skip("no gcc to make an ELF file with")
    source, output = tmp_path / "x.c", tmp_path / "x"
    source.write_text("int answer(void) { return 42; } void _start(void) { answer(); }")
    subprocess.run(["gcc", "-nostdlib", "-static", "-no-pie", "-o", output, source], check=True)
    symbols = SymbolTable.from_elf(output, "x:")
    listing = subprocess.run(["nm", output], capture_output=True, text=True, check=True).stdout
    address = int(next(line for line in listing.splitlines() if line.endswith(" answer")).split()[0], 16)
    assert symbols.name(address + 1) == "x:answer+0x1"


def test_what_is_no_elf_file_is_refused(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"\x7fELF\x01")
    with pytest.raises(ValueError):
        SymbolTable.from_elf(path)
    path.write_bytes(b"no elf at all" * 20)
    with pytest.raises(ValueError, match="not a little-endian ELF64"):
        SymbolTable.from_elf(path)


def test_a_cpu_below_the_kernel_is_told_apart_from_one_in_it_or_in_a_program() -> None:
    kernel = hang.CpuState(0, 0xFFFFFFFF81000000, 0, 0x202, 0, False)
    assert not hang.in_hypervisor(kernel)
    assert hang.in_hypervisor(replace(kernel, rip=0x12400170))
    assert not hang.in_hypervisor(replace(kernel, rip=0x401000, ring=3))
