# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding QEMU, and choosing how it executes the guest."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.machine.argv import QemuInfo
from lab.machine.kvm import KvmProbe, host_refuses
from lab.machine.qemu import choose_accel, describe, find_qemu, parse_version
from lab.model.errors import BadInput, LabUnavailable
from lab.model.machine import MachineSpec


def qemu(*version: int) -> QemuInfo:
    return QemuInfo(Path("/q"), version)  # type: ignore[arg-type]


def spec(cpus: int = 2, thread: str = "auto", hypervisor: str = "stand-in") -> MachineSpec:
    return MachineSpec("m", cpus, 1 << 30, (), hypervisor=hypervisor, tcg_thread=thread)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", [(7, 2, 22), (8, 2, 0), (9, 1, 0), (10, 0, 2), (11, 1, 3)])
def test_several_cpus_share_one_tcg_thread_by_default(version):
    accel = choose_accel(spec(), qemu(*version))
    assert (accel.name, accel.thread, accel.cpus, accel.spare) == ("tcg", "single", 2, False)


@pytest.mark.parametrize("version", [(10, 0, 2), (11, 1, 3)])
def test_parked_cpu_comes_on_top_of_the_roots(version):
    accel = choose_accel(spec(thread="parked"), qemu(*version))
    assert (accel.thread, accel.cpus, accel.spare) == ("multi", 3, True)


@pytest.mark.parametrize("version", [(7, 2, 22), (8, 2, 0), (9, 2, 4)])
def test_parked_cpu_is_refused_before_qemu_10(version):
    with pytest.raises(BadInput, match="needs QEMU 10"):
        choose_accel(spec(thread="parked"), qemu(*version))


def test_parked_cpu_is_refused_without_the_stand_in():
    with pytest.raises(BadInput, match="needs the stand-in"):
        choose_accel(spec(thread="parked", hypervisor="none"), qemu(11, 0, 0))


@pytest.mark.parametrize("thread", ["auto", "single", "parked"])
@pytest.mark.parametrize("cpus", [1, 2, 8])
@pytest.mark.parametrize("version", [(10, 0, 0), (12, 0, 0)])
def test_several_threads_never_run_the_root_on_the_first_cpu(thread, cpus, version):
    accel = choose_accel(spec(cpus, thread), qemu(*version))
    assert accel.thread == "single" or (accel.spare and accel.cpus == cpus + 1)


@pytest.mark.parametrize(
    ("version", "thread", "says"),
    [
        ((7, 2, 22), "auto", "QEMU 7.2.22, TCG with one thread: multi-threaded TCG corrupts SVM state"),
        ((10, 0, 2), "auto", "QEMU 10.0.2, TCG with one thread: multi-threaded TCG corrupts SVM state"),
        (
            (11, 1, 3),
            "parked",
            "QEMU 11.1.3, TCG with a thread for each CPU, the first one parked: multi-thr",
        ),
    ],
)
def test_mode_and_reason_are_told(version, thread, says):
    found = qemu(*version)
    assert describe(found, choose_accel(spec(thread=thread), found)).startswith(says)


def test_kvm_only_after_a_probe_that_passed():
    assert choose_accel(spec(), qemu(11, 0, 0), KvmProbe(False, "no")).name == "tcg"
    assert choose_accel(spec(), qemu(11, 0, 0), KvmProbe(True, "yes")).name == "kvm"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", (7, 2, 22)),
        ("QEMU emulator version 11.1 (x)", (11, 1, 0)),
    ],
)
def test_version(text, version):
    assert parse_version(text) == version


def fake_binary(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + body + "\n")
    path.chmod(0o755)
    return path


def test_package_tree_brings_its_data_and_libraries(tmp_path):
    fake_binary(
        tmp_path / "usr/bin/qemu-system-x86_64", "echo QEMU emulator version 10.0.2 lib=$LD_LIBRARY_PATH"
    )
    for folder in ("usr/share/qemu", "usr/share/seabios", "usr/lib/x86_64-linux-gnu/qemu"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "usr/lib/x86_64-linux-gnu/libx.so.1").touch()
    found = find_qemu(str(tmp_path))
    assert found.version == (10, 0, 2)
    assert found.data_dirs == (tmp_path / "usr/share/qemu", tmp_path / "usr/share/seabios")
    assert found.env["LD_LIBRARY_PATH"] == str(tmp_path / "usr/lib/x86_64-linux-gnu")
    assert found.env["QEMU_MODULE_DIR"].endswith("/qemu")
    assert find_qemu(str(tmp_path / "usr/bin/qemu-system-x86_64")) == found


def test_tree_with_its_own_libc_is_started_through_its_own_loader(tmp_path):
    fake_binary(tmp_path / "usr/bin/qemu-system-x86_64", "exit 1")
    libraries = tmp_path / "usr/lib/x86_64-linux-gnu"
    fake_binary(
        libraries / "ld-linux-x86-64.so.2", 'test "$1" = --library-path && echo QEMU emulator version 11.1.3'
    )
    (libraries / "libc.so.6").touch()
    found = find_qemu(str(tmp_path))
    assert found.version == (11, 1, 3)
    assert found.command[:2] == (str(libraries / "ld-linux-x86-64.so.2"), "--library-path")


def test_missing_library_is_quoted(tmp_path):
    fake_binary(tmp_path / "usr/bin/qemu-system-x86_64", "echo libfoo.so.5: cannot open >&2; exit 127")
    with pytest.raises(LabUnavailable) as caught:
        find_qemu(str(tmp_path))
    assert "libfoo.so.5" in caught.value.detail and "unpack" in caught.value.hint


def test_old_qemu_is_refused(tmp_path):
    with pytest.raises(LabUnavailable, match="too old"):
        find_qemu(str(fake_binary(tmp_path / "qemu", "echo QEMU emulator version 5.2.0")))


def test_path_that_is_no_qemu_is_refused(tmp_path):
    with pytest.raises(BadInput, match="neither a QEMU binary"):
        find_qemu(str(tmp_path))


def test_no_qemu_at_all_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabUnavailable) as caught:
        find_qemu()
    assert "apt install" in caught.value.hint


@pytest.fixture
def host(tmp_path):
    """A host that could run nested SVM, as files."""
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nvendor_id\t: AuthenticAMD\n")
    (tmp_path / "module/kvm_amd/parameters").mkdir(parents=True)
    (tmp_path / "module/kvm_amd/parameters/nested").write_text("1\n")
    (tmp_path / "kvm").touch()
    return tmp_path


def refusal(host: Path) -> str:
    return host_refuses(host / "kvm", host, host)


def test_host_with_nested_svm_may_be_probed(host):
    assert refusal(host) == ""


def test_every_missing_piece_of_nested_svm_is_a_reason(host):
    (host / "module/kvm_amd/parameters/nested").write_text("0\n")
    assert "nested SVM is off" in refusal(host)
    (host / "module/kvm_amd/parameters/nested").unlink()
    assert "kvm_amd is not loaded" in refusal(host)
    (host / "cpuinfo").write_text("vendor_id\t: GenuineIntel\n")
    assert "GenuineIntel" in refusal(host)
    (host / "kvm").unlink()
    assert refusal(host).startswith("no ")
