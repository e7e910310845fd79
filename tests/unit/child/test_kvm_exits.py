# SPDX-License-Identifier: GPL-2.0-or-later
"""KVM's exits in the hypervisor's words, from the very file that kvm-vmm is built from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lab.child.protocol import MESSAGE_NAMES
from lab.paths import images_dir

HARNESS = Path(__file__).parent / "harness" / "kvm_exits.c"
READ, WRITE, EXECUTE = 0, 1, 2

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    vmm = images_dir() / "vmm"
    binary = tmp_path_factory.mktemp("kvm") / "exits"
    command = ["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Werror", "-I", str(vmm)]
    command += ["-o", str(binary), str(HARNESS), str(vmm / "kvm_exit.c")]
    subprocess.run(command, check=True, timeout=60)
    lines = subprocess.run([binary], check=True, timeout=10, capture_output=True, text=True).stdout
    return {name: words for name, *words in (line.split() for line in lines.splitlines())}


@pytest.mark.parametrize(
    ("exit", "name", "gpa", "access", "rip"),
    [
        ("read-nowhere", "UNMAPPED_GPA", 0x200000, READ, 0x4080),
        ("write-nowhere", "UNMAPPED_GPA", 0x200000, WRITE, 0),
        ("write-read-only", "GPA_INTERCEPT", 0x8000, WRITE, 0),
        ("execute-nowhere", "UNMAPPED_GPA", 0x200000, EXECUTE, 0x200000),
        ("fault-read", "GPA_INTERCEPT", 0x8000, READ, 0),
        ("fault-write", "GPA_INTERCEPT", 0x8000, WRITE, 0),
        ("fault-execute", "GPA_INTERCEPT", 0x8000, EXECUTE, 0),
    ],
)
def test_access_that_does_not_go_through_is_a_memory_intercept(messages, exit, name, gpa, access, rip):
    kind, *words = messages[exit]
    assert MESSAGE_NAMES[int(kind, 0)] == name
    assert [int(word, 0) for word in words[:3]] == [gpa, access, rip]


def test_end_of_the_ring_is_the_port_that_the_payload_writes(messages):
    kind, _, access, _, port = messages["port-out"]
    assert MESSAGE_NAMES[int(kind, 0)] == "X64_IO_PORT_INTERCEPT"
    assert (int(access), int(port, 0)) == (WRITE, 0x10)


@pytest.mark.parametrize(
    ("exit", "name"), [("halt", "X64_HALT"), ("triple-fault", "UNRECOVERABLE_EXCEPTION")]
)
def test_halt_and_shutdown_have_their_messages(messages, exit, name):
    assert MESSAGE_NAMES[int(messages[exit][0], 0)] == name


@pytest.mark.parametrize("exit", ["emulation-in-ram", "unknown"])
def test_exit_without_a_counterpart_is_an_error_and_no_message(messages, exit):
    assert messages[exit] == ["error", "EPROTO"]
