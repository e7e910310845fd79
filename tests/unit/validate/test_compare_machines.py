# SPDX-License-Identifier: GPL-2.0-or-later
"""Which parameter goes to which machine, and what a machine cannot do."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lab.model.errors import BadInput, NotObservable
from lab.templates import find, load_machine
from lab.validate.base import BaseLab, LabDevice
from lab.validate.compare import load_machines, split_params
from lab.validate.external import distinct
from lab.validate.witness import BlindWitness, KvmWitness

BOTH = ["mshv-root", "kvm-root"]


def test_parameter_goes_to_every_machine_that_has_it():
    found = split_params([*BOTH, "external"], ["cpus=1", "host=box", "hypervisor_args=verbose=2"])
    assert found == {
        "mshv-root": ("cpus=1", "hypervisor_args=verbose=2"),
        "kvm-root": ("cpus=1",),
        "external": ("host=box",),
    }


def test_parameter_for_one_machine_goes_to_that_one():
    found = split_params(BOTH, ["kvm-root:cpus=1"])
    assert found == {"mshv-root": (), "kvm-root": ("cpus=1",)}


@pytest.mark.parametrize(
    ("machines", "params", "words"),
    [
        (["mshv-root"], [], "at least two"),
        (["mshv-root", "mshv-root"], [], "at least two"),
        (BOTH, ["cpus"], "not K=V"),
        (BOTH, ["cpu=1"], "no machine here has the parameter 'cpu'"),
        (BOTH, ["external:host=x"], "which is not compared"),
        (["mshv-root", "kvm-rot"], [], "did you mean 'kvm-root'"),
    ],
)
def test_bad_machines_and_parameters_are_refused(machines, params, words):
    with pytest.raises(BadInput, match=words):
        split_params(machines, params)


def test_two_machines_of_one_name_would_share_their_evidence(tmp_path):
    copy = tmp_path / "mine.toml.j2"
    copy.write_text(find("mshv-root").read_text())
    with pytest.raises(BadInput, match="same name"):
        load_machines({"mshv-root": (), str(copy): ()})


def test_machine_that_runs_no_child_cannot_be_compared():
    with pytest.raises(BadInput, match="no scenario can run on machine bare-root"):
        load_machines({"mshv-root": (), "bare-root": ()})


def lab_on(machine):
    lab = BaseLab(load_machine(machine), "lab-1", None)
    lab.witness = BlindWitness(machine)
    return lab


def test_child_on_a_bare_machine_names_the_missing_hypervisor():
    with pytest.raises(NotObservable, match="runs no child: it has no hypervisor") as caught:
        lab_on("bare-root").require_children()
    assert "mshv-root" in caught.value.hint
    lab_on("kvm-root").require_children()


def test_blind_machine_shows_nothing_and_leaves_nothing():
    lab = lab_on("kvm-root")
    for look in (lambda: lab.hypervisor, lambda: lab.witness.since(0), lab.child_partition):
        with pytest.raises(NotObservable):
            look()
    assert lab.partitions_left() == [] and not lab.witness.sees_children


def test_kvm_lists_its_vms_by_their_process():
    root = SimpleNamespace(run=lambda command: SimpleNamespace(out="101\n202\n"))
    assert KvmWitness("kvm-root", root).children() == [101, 202]


def test_device_of_others_is_known_by_what_the_root_read():
    device = LabDevice(
        "pci0", "pci", "0000:3b:00.0", 2, 3, words={(0, 0): 7, (1, 0): 8, (2, 0): 8, (0, 1): 9}
    )
    assert device.expected_word(0, 1) == 9
    assert device.origin(7) == 0
    assert device.origin(8) is None, "two pages begin alike: neither is it"
    assert device.origin(99) is None
    with pytest.raises(NotObservable, match="nobody has read word 5"):
        device.expected_word(0, 5)
    with pytest.raises(NotObservable, match="cannot look into"):
        device.backing_bytes(0, 0, 8)


def test_pages_that_begin_alike_have_no_identity():
    assert distinct({(page, 0): 0xFFFF for page in range(4)}, 4) == 1
    assert distinct({(page, 0): page for page in range(4)}, 4) == 4
