# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's command line: what it must contain, and what must never be in it."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from lab.machine.argv import (
    Accel,
    Boot,
    MachineFiles,
    NetPorts,
    QemuInfo,
    below_4g,
    build_argv,
    shell_quoted,
)
from lab.model.machine import EduDevice, IvshmemDevice, MachineSpec

QEMU = QemuInfo(Path("/usr/bin/qemu-system-x86_64"), (7, 2, 22))
SINGLE = Accel("tcg", "single", 2, False, "")
SPEC = MachineSpec(
    "m",
    2,
    1 << 30,
    (IvshmemDevice("shm", 3, 65536), EduDevice("edu", 4)),
    kernel_args=("console=ttyS0", "x=a,b"),
    hypervisor_args=("verbose=2",),
)
FILES = MachineFiles(
    kernel=Path("/k/bzImage"),
    initramfs=Path("/k/initramfs"),
    standin=Path("/k/hv.elf"),
    ram=Path("/dev/shm/ram,1"),
    console_socket=Path("/r/console.sock"),
    console_log=Path("/l/console.log"),
    hypervisor_log=Path("/l/hypervisor.log"),
    qmp_socket=Path("/r/qmp.sock"),
    reset_log=Path("/l/reset.log"),
    devices={"shm": Path("/l/shm.mem")},
)


def argv(spec=SPEC, accel=SINGLE, net=NetPorts(), boot=None, qemu=QEMU, files=FILES) -> list[str]:  # noqa: B008
    return build_argv(spec, qemu, files, net, accel, boot)


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_ram_is_a_shared_file_with_commas_doubled():
    words = argv()
    assert "memory-backend-file,id=ram,size=1073741824,share=on,mem-path=/dev/shm/ram,,1" in words
    assert "memory-backend=ram" in option(words, "-machine")


def test_stand_in_boots_with_kernel_and_initramfs_as_modules():
    words = argv()
    assert option(words, "-kernel") == "/k/hv.elf"
    assert option(words, "-append") == "cpus=2 verbose=2"
    assert option(words, "-initrd") == "/k/bzImage console=ttyS0 x=a,,b,/k/initramfs"


def test_bare_machine_boots_the_kernel_itself():
    from dataclasses import replace

    words = argv(replace(SPEC, hypervisor="none"))
    assert (option(words, "-kernel"), option(words, "-initrd")) == ("/k/bzImage", "/k/initramfs")
    assert option(words, "-append") == "console=ttyS0 x=a,b"


def test_parked_first_cpu_is_one_more_than_the_root_has():
    words = argv(accel=Accel("tcg", "multi", 3, True, ""))
    assert option(words, "-accel") == "tcg,thread=multi"
    assert option(words, "-smp") == "3"
    assert option(words, "-append").split()[:2] == ["cpus=2", "spare"]


def test_network_is_reached_from_loopback_only_and_reaches_nothing():
    netdev = option(argv(), "-netdev")
    assert "restrict=on" in netdev and "hostfwd=tcp:127.0.0.1:0-:22" in netdev
    assert "restrict=off" in option(argv(net=NetPorts(2222, restrict=False)), "-netdev")


def test_console_waits_for_its_pump_and_is_logged():
    chardev = option(argv(), "-chardev")
    assert "wait=on" in chardev and "logfile=/l/console.log" in chardev
    assert "wait=off" in option(argv(boot=Boot(wait=False)), "-chardev")


def test_hypervisor_panic_ends_qemu():
    assert any(word.startswith("isa-debug-exit,iobase=0xf4") for word in argv())


def test_devices_are_in_their_slots():
    words = argv()
    assert "ivshmem-plain,id=shm,memdev=shm-mem,master=on,addr=0x3" in words
    assert "edu,id=edu,addr=0x4" in words
    assert "memory-backend-file,id=shm-mem,size=65536,share=on,mem-path=/l/shm.mem" in words


def test_blank_in_a_module_name_is_refused():
    from dataclasses import replace

    with pytest.raises(ValueError, match="blank"):
        argv(files=replace(FILES, kernel=Path("/my kernels/bzImage")))


def test_data_folders_and_loader_of_a_package_tree_come_first():
    tree = QemuInfo(
        Path("/t/q"), (11, 1, 3), (Path("/t/share/qemu"), Path("/t/share/seabios")), ("/t/ld.so", "/t/q")
    )
    assert argv(qemu=tree)[:6] == ["/t/ld.so", "/t/q", "-L", "/t/share/qemu", "-L", "/t/share/seabios"]


def test_restored_machine_is_told_where_from():
    words = argv(boot=Boot(incoming="exec:cat x", paused=True))
    assert option(words, "-incoming") == "exec:cat x" and "-S" in words


def test_pasted_command_line_gives_the_same_words():
    words = ["printf", "%s\\n", *argv(), "it's a $HOME"]
    run = subprocess.run(["sh", "-c", shell_quoted(words)], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == words[2:]


@pytest.mark.parametrize(
    ("memory", "below"),
    [
        (1 << 30, 1 << 30),
        (0xB0000000 - (1 << 20), 0xB0000000 - (1 << 20)),
        (0xB0000000, 1 << 31),
        (8 << 30, 1 << 31),
    ],
)
def test_ram_below_the_pci_hole(memory, below):
    assert below_4g(memory) == below


def test_device_behind_a_root_port_is_on_the_ports_bus():
    ported = tuple(dataclasses.replace(device, port=True) for device in SPEC.devices)
    words = argv(dataclasses.replace(SPEC, devices=ported))
    assert "pcie-root-port,id=port-shm,chassis=3,addr=0x3" in words
    assert "edu,id=edu,bus=port-edu,addr=0" in words
    shm = next(word for word in words if word.startswith("ivshmem-plain"))
    assert shm.endswith("bus=port-shm,addr=0")
    assert words.index("pcie-root-port,id=port-shm,chassis=3,addr=0x3") < words.index(shm)
