# SPDX-License-Identifier: GPL-2.0-or-later
"""Machine templates: what they render to, and what is refused with which place."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import templates
from lab.model.errors import BadInput
from lab.model.machine import EduDevice, IvshmemDevice, PciDevice, SshAccess
from lab.templates import load_machine, parse_size

MINIMAL = 'name = "m"\ncpus = 1\nmemory = "1G"\n'


@pytest.fixture
def template(tmp_path):
    """Writes a template and returns its path as the user would give it."""

    def write(text: str) -> str:
        path = tmp_path / "m.toml.j2"
        path.write_text(text)
        return str(path)

    return write


def refused(name: str, **params: str) -> BadInput:
    with pytest.raises(BadInput) as caught:
        load_machine(name, params)
    return caught.value


def test_default_machine_is_a_root_with_ivshmem_and_edu():
    spec = load_machine("mshv-root")
    assert (spec.name, spec.cpus, spec.memory, spec.hypervisor) == ("mshv-root", 2, 1 << 30, "stand-in")
    assert spec.devices == (IvshmemDevice("ivshmem0", 3, 4 << 20), EduDevice("edu0", 4))
    assert "console=ttyS0" in spec.kernel_args and "nokaslr" in spec.kernel_args


def test_bare_root_differs_from_mshv_root_only_in_name_and_hypervisor():
    root, bare = load_machine("mshv-root"), load_machine("bare-root")
    differing = {key for key in root.__slots__ if getattr(root, key) != getattr(bare, key)}
    assert differing == {"name", "hypervisor"}


def test_parameters_change_the_machine():
    params = {
        "cpus": "4",
        "memory": "2G",
        "devices": "edu, ivshmem,ivshmem",
        "bar_size": "64K",
        "kernel_args": "earlycon=uart,io,0x3f8 quiet",
        "hypervisor_args": "verbose=2",
    }
    spec = load_machine("mshv-root", params)
    assert (spec.cpus, spec.memory) == (4, 2 << 30)
    assert [device.id for device in spec.devices] == ["edu0", "ivshmem0", "ivshmem1"]
    assert [device.slot for device in spec.devices] == [3, 4, 5]
    assert spec.kernel_args[-2:] == ("earlycon=uart,io,0x3f8", "quiet")
    assert spec.hypervisor_args == ("verbose=2",)


def test_kvm_root_differs_from_mshv_root_only_in_name_and_hypervisor():
    root, kvm = load_machine("mshv-root"), load_machine("kvm-root")
    differing = {key for key in root.__slots__ if getattr(root, key) != getattr(kvm, key)}
    assert differing == {"name", "hypervisor"}
    assert kvm.hypervisor == "kvm" and kvm.booted_by_lab and kvm.runs_children


def test_external_machine_is_an_ssh_access_and_nothing_else():
    spec = load_machine("external", {"host": "box", "port": "2222", "devices": "0000:3b:00.0/2,0000:3b:00.1"})
    assert spec.ssh == SshAccess("box", 2222, "root", "~/.ssh/id_ed25519", "~/.ssh/known_hosts")
    assert spec.devices == (PciDevice("pci0", "0000:3b:00.0", 2), PciDevice("pci1", "0000:3b:00.1", 0))
    assert (spec.cpus, spec.memory, spec.kernel_args, spec.booted_by_lab) == (0, 0, (), False)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "needs the host to reach"),
        ({"host": "-oProxyCommand=x"}, "not a host's name"),
        ({"host": "a b"}, "not a host's name"),
        ({"host": "box", "port": "0"}, "between 1 and 65535"),
        ({"host": "box", "user": "r;t"}, "not a user's name"),
        ({"host": "box", "key": ""}, "needs a value for key"),
        ({"host": "box", "devices": "3b:00.0/2"}, "PCI address in full"),
        ({"host": "box", "devices": "0000:3b:00.0/7"}, "between 0 and 5"),
        ({"host": "box", "devices": "0000:3b:00.0/1,0000:3b:00.0/2"}, "is taken by 'pci0'"),
        ({"host": "box", "cpus": "2"}, "unknown parameter 'cpus'"),
    ],
)
def test_bad_external_machine_is_refused(params, words):
    assert words in str(refused("external", **params))


def test_keys_of_a_booted_machine_are_unknown_to_an_external_one(template):
    path = template('name = "m"\nhypervisor = "external"\ncpus = 2\n')
    assert "unknown key 'cpus' in an external machine" in str(refused(path))
    path = template(MINIMAL + 'host = "box"\n')
    assert "unknown key 'host' in a machine" in str(refused(path))


def test_hyperv_machine_takes_the_users_images():
    params = {"disk": "a.qcow2,b.raw", "vars": "VARS.fd", "cpu_vendor": "intel"}
    spec = load_machine("hyperv", params)
    assert spec.images is not None and spec.hypervisor == "hyperv" and not spec.booted_by_lab
    assert spec.images.disks == ("a.qcow2", "b.raw")
    assert (spec.images.vars, spec.images.cpu_vendor, spec.images.ssh_port) == ("VARS.fd", "intel", 2222)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "needs a disk with Microsoft's hypervisor on it"),
        ({"disk": "a.qcow2"}, "needs a copy of the firmware's variable store"),
        ({"disk": "a.qcow2", "vars": "v", "firmware": ""}, "needs a UEFI code image"),
        ({"disk": "a.qcow2", "vars": "v", "cpu_vendor": "via"}, "not one of amd, intel"),
        ({"disk": "a.qcow2", "vars": "v", "ssh_port": "99999"}, "between 1 and 65535"),
    ],
)
def test_hyperv_machine_without_its_images_says_which_parameter(params, words):
    error = refused("hyperv", **params)
    assert words in str(error)
    assert "hyperv.toml.j2:" in error.where


@pytest.mark.parametrize("name", ["mshv-root", "bare-root", "kvm-root", "external", "hyperv"])
def test_every_parameter_of_a_shipped_template_is_explained(name):
    assert name in templates.available()
    assert all(parameter.help for parameter in templates.parameters(templates.find(name)))


def test_unknown_parameter_names_file_line_and_nearest(template):
    path = template('# first line\n{% set n = param("cpus", 1) %}\n' + MINIMAL)
    error = refused(path, cpu="2")
    assert error.where == f"{path}:2"
    assert "did you mean 'cpus'" in error.what


def test_scheduler_becomes_an_argument_of_the_stand_in():
    assert load_machine("mshv-root").hypervisor_args == ()
    spec = load_machine("mshv-root", {"scheduler": "core", "hypervisor_args": "verbose=1"})
    assert spec.hypervisor_args == ("scheduler=core", "verbose=1")


def test_value_that_is_no_choice_names_them_and_the_nearest(template):
    path = template('{% set how = param("how", "slow", "speed", "slow fast") %}\n' + MINIMAL)
    error = refused(path, how="fats")
    assert error.where == f"{path}:1"
    assert error.what == "how='fats' is not one of slow, fast; did you mean 'fast'?"
    assert load_machine(path, {"how": "fast"}).cpus == 1


def test_unknown_key_names_its_line_and_the_nearest_one(template):
    path = template(MINIMAL + 'kernel_arg = ["quiet"]\n')
    error = refused(path)
    assert error.where == f"{path}:4"
    assert "did you mean 'kernel_args'" in error.what


def test_unknown_key_of_the_second_device_names_the_second_line(template):
    device = '[[device]]\nkind = "edu"\nid = "e{0}"\nslot = {0}\nsize = 1\n'
    path = template(MINIMAL + device.format(3).replace("size = 1\n", "") + device.format(4))
    assert refused(path).where == f"{path}:12"


def test_unknown_template_suggests_the_nearest():
    assert "did you mean 'mshv-root'" in refused("mshv-rot").what


def test_undefined_variable_is_refused_with_its_line(template):
    path = template(MINIMAL + '{% set cpus = param("cpus", 1) %}\n# {{ cpu }}\n')
    error = refused(path)
    assert error.where == f"{path}:5"
    assert "did you mean 'cpus'" in error.what


def test_template_syntax_error_is_refused_with_its_line(template):
    path = template(MINIMAL + "{% if %}\n")
    assert refused(path).where == f"{path}:4"


def test_template_cannot_reach_python(template):
    path = template(MINIMAL + "# {{ ''.__class__.__mro__ }}\n")
    assert "unsafe" in str(refused(path))


def test_text_that_is_not_toml_is_shown(template):
    assert "cpus = = 1" in refused(template("cpus = = 1\n")).detail


def test_missing_file_is_refused(tmp_path):
    assert "no such machine template" in refused(str(tmp_path / "none.toml.j2")).what


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cpus = 0", "between 1 and 8"),
        ("cpus = 9", "between 1 and 8"),
        ("cpus = true", "wrong type"),
        ('cpus = "2"', "wrong type"),
        ('memory = "1T"', "not a size"),
        ('memory = "128M"', "between 512M and 64G"),
        ("memory = 536870913", "whole MiB"),
        ('hypervisor = "standin"', "did you mean 'stand-in'"),
        ('cpu_model = "EPYC,-svm"', "CPU model"),
        ('kernel_args = ["a b"]', "one printable word"),
        ("kernel_args = [1]", "one printable word"),
        ('name = "../x"', "small letters"),
    ],
)
def test_bad_value_is_refused_at_its_line(template, line, words):
    key = line.split()[0]
    kept = [item for item in MINIMAL.splitlines() if not item.startswith(key)]
    path = template("\n".join([*kept, line]) + "\n")
    error = refused(path)
    assert words in str(error)
    assert error.where == f"{path}:{len(kept) + 1}"


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        ('kind = "edu"\nid = "a"\nslot = 2', "between 3 and 30"),
        ('kind = "edu"\nid = "a"\nslot = 31', "between 3 and 30"),
        ('kind = "edu"\nid = "a"', "does not set 'slot'"),
        ('kind = "edo"\nid = "a"\nslot = 3', "did you mean 'edu'"),
        ('kind = "edu"\nid = "a,b"\nslot = 3', "letters, digits"),
        ('kind = "ivshmem-plain"\nid = "a"\nslot = 3\nsize = "3M"', "power of two"),
        ('kind = "ivshmem-plain"\nid = "a"\nslot = 3\nsize = "2K"', "between 4K"),
        ('kind = "edu"\nid = "a"\nslot = 3\n[[device]]\nkind = "edu"\nid = "b"\nslot = 3', "taken by 'a'"),
        ('kind = "edu"\nid = "a"\nslot = 3\n[[device]]\nkind = "edu"\nid = "a"\nslot = 4', "two devices"),
    ],
)
def test_bad_device_is_refused(template, devices, words):
    assert words in str(refused(template(f"{MINIMAL}[[device]]\n{devices}\n")))


def test_plain_multi_threaded_tcg_is_refused_with_the_reason():
    assert "corrupts SVM state" in str(refused("mshv-root", tcg_thread="multi"))


def test_one_cpu_makes_multi_threaded_tcg_harmless():
    assert load_machine("mshv-root", {"tcg_thread": "multi", "cpus": "1"}).tcg_thread == "single"


def test_parking_needs_the_stand_in():
    assert "needs the stand-in" in str(refused("bare-root", tcg_thread="parked"))


def test_parameter_of_the_wrong_type_is_refused():
    assert "not a number" in str(refused("mshv-root", cpus="two"))


@pytest.mark.parametrize("text", ['x" ]', "a\nb", "a\\b"])
def test_parameter_cannot_break_out_of_its_string(text):
    assert "quote, backslash or control" in str(refused("mshv-root", memory=text))


@pytest.mark.parametrize(
    ("text", "size"), [("4096", 4096), ("64K", 65536), ("4M", 4 << 20), ("1GiB", 1 << 30), (7, 7)]
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "1.5G", "-1", "1T", "G"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError):
        parse_size(text)


def test_parameter_declared_twice_is_refused(template):
    text = '{% set a = param("a", 1) %}\n{% set b = param("a", 2) %}\n' + MINIMAL
    assert "declared twice" in str(refused(template(text)))


def test_templates_are_where_the_error_says(template):
    path = template(MINIMAL + "oops = 1\n")
    file, line = refused(path).where.rsplit(":", 1)
    assert Path(file).read_text().splitlines()[int(line) - 1] == "oops = 1"


def test_ports_put_every_device_behind_a_port_of_its_own():
    assert [device.port for device in load_machine("mshv-root").devices] == [False, False]
    assert [device.port for device in load_machine("mshv-root", {"ports": "on"}).devices] == [True, True]
    assert "ports" in str(refused("mshv-root", ports="maybe"))
