# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line for Microsoft's hypervisor, as far as it can be checked without its images."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from lab.machine import hyperv
from lab.machine.argv import Accel, Boot, MachineFiles, NetPorts, QemuInfo, build_argv
from lab.machine.qemu import choose_accel
from lab.model.errors import BadInput
from lab.templates import load_machine

QEMU = QemuInfo(Path("/usr/bin/qemu-system-x86_64"), (10, 0, 2))


@pytest.fixture
def images(tmp_path):
    for name in ("disk.qcow2", "data.img", "VARS.fd", "CODE.fd"):
        (tmp_path / name).touch()
    return tmp_path


def spec_of(folder, **more):
    params = {
        "disk": f"{folder}/disk.qcow2,{folder}/data.img",
        "vars": f"{folder}/VARS.fd",
        "firmware": f"{folder}/CODE.fd",
    }
    return load_machine("hyperv", {**params, **more})


def pairs(argv):
    return list(itertools.pairwise(argv))


@pytest.mark.parametrize(("vendor", "flag"), [("amd", "svm"), ("intel", "vmx")])
def test_guest_sees_the_hosts_processor_with_nesting_and_nothing_of_hyper_v(images, vendor, flag):
    argv = hyperv.build_hyperv_argv(spec_of(images, cpu_vendor=vendor), QEMU)
    assert ("-accel", "kvm") in pairs(argv)
    assert ("-cpu", f"host,+{flag}") in pairs(argv)
    assert "hv-" not in " ".join(argv) and "hv_" not in " ".join(argv)


def test_firmware_is_read_only_and_its_variables_are_the_users_copy(images):
    argv = hyperv.build_hyperv_argv(spec_of(images), QEMU)
    drives = [value for option, value in pairs(argv) if option == "-drive"]
    assert drives[0] == f"if=pflash,unit=0,format=raw,readonly=on,file={images}/CODE.fd"
    assert drives[1] == f"if=pflash,unit=1,format=raw,readonly=off,file={images}/VARS.fd"
    assert drives[2] == f"if=none,id=disk0,format=qcow2,file={images}/disk.qcow2"
    assert drives[3] == f"if=none,id=disk1,format=raw,file={images}/data.img"


def test_only_ssh_reaches_it_and_it_reaches_nothing(images):
    argv = hyperv.build_hyperv_argv(spec_of(images, ssh_port="2300"), QEMU)
    (net,) = (value for option, value in pairs(argv) if option == "-netdev")
    assert "restrict=on" in net and "hostfwd=tcp:127.0.0.1:2300-:22" in net


def test_devices_are_those_of_our_own_machines(images):
    argv = hyperv.build_hyperv_argv(spec_of(images), QEMU)
    devices = [value for option, value in pairs(argv) if option == "-device"]
    assert "ivshmem-plain,id=ivshmem0,memdev=ivshmem0-mem,master=on,addr=0x3" in devices
    assert "edu,id=edu0,addr=0x4" in devices


@pytest.mark.parametrize(
    ("missing", "parameter"), [("CODE.fd", "firmware"), ("VARS.fd", "vars"), ("data.img", "disk")]
)
def test_missing_file_is_named_with_its_parameter(images, missing, parameter):
    (images / missing).unlink()
    with pytest.raises(BadInput) as caught:
        hyperv.check_files(spec_of(images))
    assert caught.value.what == f"{parameter}: no such file"
    assert caught.value.where == str(images / missing)
    assert caught.value.hint


def test_code_image_as_variable_store_is_refused(images):
    with pytest.raises(BadInput, match="code image"):
        hyperv.check_files(spec_of(images, vars=str(images / "CODE.fd")))


def test_host_without_kvm_or_nesting_says_so(images, tmp_path, monkeypatch):
    spec = spec_of(images)
    monkeypatch.setattr(hyperv, "KVM_DEVICE", tmp_path / "none")
    assert hyperv.problems(spec) == ["this host has no /dev/kvm"]
    monkeypatch.setattr(hyperv, "KVM_DEVICE", tmp_path)
    monkeypatch.setattr(hyperv, "NESTED", {"amd": tmp_path / "nested"})
    assert "kvm_amd is not loaded" in hyperv.problems(spec)[0]
    (tmp_path / "nested").write_text("0\n")
    assert "nested virtualisation is off" in hyperv.problems(spec)[0]
    (tmp_path / "nested").write_text("1\n")
    assert hyperv.problems(spec) == []


@pytest.mark.parametrize("name", ["hyperv", "external"])
def test_lab_does_not_boot_a_kernel_on_machines_of_others(images, name):
    spec = spec_of(images) if name == "hyperv" else load_machine("external", {"host": "box"})
    with pytest.raises(BadInput) as caught:
        choose_accel(spec, QEMU)
    assert "hvlab" in caught.value.hint
    files = MachineFiles(*(Path("x") for _ in range(9)))
    with pytest.raises(ValueError, match="not booted by the lab"):
        build_argv(spec, QEMU, files, NetPorts(), Accel("tcg", "single", 1, False, ""), Boot())


def test_kvm_root_boots_the_kernel_directly_with_emulated_svm():
    spec = load_machine("kvm-root")
    accel = choose_accel(spec, QEMU)
    files = MachineFiles(
        *(Path(name) for name in ("bzImage", "ramdisk", "none", "ram", "c", "l", "h", "q", "r")),
        devices={"ivshmem0": Path("mem")},
    )
    argv = build_argv(spec, QEMU, files, NetPorts(), accel, Boot())
    assert ("-kernel", "bzImage") in pairs(argv) and ("-initrd", "ramdisk") in pairs(argv)
    assert ("-cpu", "EPYC,+svm,+npt,-x2apic") in pairs(argv)
    assert ("-accel", "tcg,thread=single") in pairs(argv), "multi-threaded TCG corrupts SVM state"
