# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of a Linux child's QEMU, and the machine that such a child runs in."""

import pytest

from lab.machine.argv import Accel, MachineFiles, NetPorts, QemuInfo, build_argv
from lab.machine.child_argv import TSC_KHZ, PassedDevice, build_child_argv, kernel_args
from lab.model.errors import BadInput
from lab.model.machine import LinuxChild
from lab.templates import load_machine

MACHINE = "mshv-root-linux-child"


def options(argv, name):
    return [argv[i + 1] for i, word in enumerate(argv) if word == name]


def test_child_has_disks_network_and_as_many_processors_as_asked():
    argv = build_child_argv(LinuxChild(2, 256 << 20), "/init")
    assert options(argv, "-accel") == ["mshv"]
    assert options(argv, "-smp") == ["2"] and options(argv, "-m") == ["size=256M"]
    drives = options(argv, "-drive")
    assert [d.split(",")[1] for d in drives] == ["id=system", "id=own", "id=keys"]
    assert ["readonly=on" in d for d in drives] == [True, False, True]
    assert any(d.startswith("virtio-net-pci,netdev=net") for d in options(argv, "-device"))


def test_child_kernel_arguments_end_with_those_of_the_machine():
    text = kernel_args(LinuxChild(1, 256 << 20, kernel_args=("loglevel=7",)), "/usr/lib/hvlab/init")
    assert text.endswith(" loglevel=7") and "init=/usr/lib/hvlab/init" in text
    assert text.count(TSC_KHZ) == 2, "clock rate and loops per jiffy are the root's to fill in"


@pytest.mark.parametrize(
    ("asked", "model"),
    [
        ({}, "host"),
        ({"child_x2apic": "on"}, "host,+x2apic,x-force-features=on"),
        ({"child_x2apic": "off"}, "host,-x2apic"),
    ],
)
def test_x2apic_is_offered_where_the_machine_says_so(asked, model):
    child = load_machine(MACHINE, asked).child
    assert isinstance(child, LinuxChild)
    assert options(build_child_argv(child, "/init"), "-cpu") == [model]


def test_passed_devices_get_slots_of_their_own_in_the_order_given():
    passed = (PassedDevice("edu0", "0000:00:04.0"), PassedDevice("ivshmem0", "0000:00:03.0"))
    devices = options(build_child_argv(LinuxChild(1, 1 << 28), "/i", passed), "-device")
    assert [d for d in devices if "vfio" in d] == [
        "vfio-pci,id=edu0,host=0000:00:04.0,addr=0x10,x-no-kvm-msi=on,x-no-kvm-msix=on,x-no-kvm-intx=on",
        "vfio-pci,id=ivshmem0,host=0000:00:03.0,addr=0x11,x-no-kvm-msi=on,x-no-kvm-msix=on,x-no-kvm-intx=on",
    ]


def test_root_of_a_linux_child_has_an_iommu_and_two_read_only_disks(tmp_path):
    spec = load_machine(MACHINE)
    assert spec.child == LinuxChild(2, 256 << 20) and spec.iommu == "intel"
    names = ("k", "i", "s", "ram", "cs", "cl", "hl", "q", "r")
    files = MachineFiles(
        *(tmp_path / n for n in names),
        devices={"ivshmem0": tmp_path / "m"},
        disks=(tmp_path / "a,b", tmp_path / "c"),
    )
    qemu = QemuInfo(tmp_path / "qemu", (7, 2, 0))
    argv = build_argv(spec, qemu, files, NetPorts(), Accel("tcg", "single", 2, False, ""))
    drives = options(argv, "-drive")
    assert [d.rpartition("file=")[2] for d in drives] == [f"{tmp_path}/a,,b", f"{tmp_path}/c"]
    assert all("readonly=on" in d for d in drives)
    assert "intel-iommu,intremap=off" in options(argv, "-device")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"child_cpus": "9"}, "cpus of the child = 9"),
        ({"child_memory": "1900M"}, "384M less than the root's"),
        ({"child_memory": "4M"}, "not between 96M"),
        ({"child_devices": "edu1"}, "the child cannot get 'edu1'"),
        ({"iommu": "amd"}, "amd"),
        ({"child_x2apic": "yes"}, "yes"),
    ],
)
def test_a_machine_that_cannot_be_is_refused_with_its_place(params, words):
    with pytest.raises(BadInput) as error:
        load_machine(MACHINE, params)
    assert words in str(error.value) and f"{MACHINE}.toml.j2" in error.value.where, str(error.value)
