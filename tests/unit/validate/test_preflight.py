# SPDX-License-Identifier: GPL-2.0-or-later
"""What an existing root partition must have, and how its lack is told."""

from __future__ import annotations

import subprocess

import pytest

from lab.model.errors import BadInput, LabUnavailable
from lab.root.keys import make_keys
from lab.templates import load_machine
from lab.validate import preflight

BDF = "0000:3b:00.0"
GOOD = {
    "uid": "0",
    "arch": "x86_64",
    "release": "7.3.4",
    "mshv": "yes",
    "module": "yes",
    "vfio": "yes",
    "tracing": "/sys/kernel/tracing",
    "kprobes": "yes",
    "tracepoints": "yes",
    BDF: "yes",
    f"{BDF}.driver": "vfio-pci",
    f"{BDF}.group": "7",
    f"{BDF}.node": "yes",
}


def spec(**more):
    return load_machine("external", {"host": "box", "devices": f"{BDF}/2", **more})


def judged(**changes):
    facts = {k: v for k, v in {**GOOD, **changes}.items() if v is not None}
    return {check.name: check for check in preflight.judge(facts, spec())}


def test_fit_machine_passes_every_point():
    assert all(check.ok for check in judged().values())
    preflight.require(list(judged().values()), spec())


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"uid": "1000"}, "root", "not root"),
        ({"arch": "aarch64"}, "architecture", "aarch64"),
        ({"mshv": None, "module": None}, "module", "neither built in nor loaded"),
        ({"mshv": None}, "/dev/mshv", "does not run as a root partition"),
        ({"vfio": None}, "vfio", "no /dev/vfio/vfio"),
        ({BDF: None}, f"device {BDF}", "no such PCI device"),
        ({f"{BDF}.driver": "nvme"}, f"device {BDF}", "bound to nvme, not to vfio-pci"),
        ({f"{BDF}.driver": ""}, f"device {BDF}", "bound to no driver"),
        ({f"{BDF}.node": None}, f"device {BDF}", "no VFIO group file"),
    ],
)
def test_what_is_missing_is_named_with_a_way_out(changes, name, words):
    check = judged(**changes)[name]
    assert not check.ok and check.needed
    assert words in check.text and check.hint
    with pytest.raises(LabUnavailable) as caught:
        preflight.require(list(judged(**changes).values()), spec())
    assert words in caught.value.what and "box" in caught.value.where


@pytest.mark.parametrize(
    ("changes", "name"),
    [({"tracing": None}, "tracefs"), ({"kprobes": None}, "kprobes"), ({"tracepoints": None}, "tracepoints")],
)
def test_machine_without_traces_shows_less_and_is_still_fit(changes, name):
    checks = judged(**changes)
    assert not checks[name].ok and not checks[name].needed
    preflight.require(list(checks.values()), spec())


def test_machine_without_a_named_device_is_not_fit():
    alone = load_machine("external", {"host": "box"})
    with pytest.raises(LabUnavailable, match="no device to pass on"):
        preflight.require(preflight.judge(GOOD, alone), alone)


def test_script_is_shell_and_says_what_it_finds():
    done = subprocess.run(
        ["sh", "-c", f"set -- {BDF}\n{preflight._SCRIPT}"], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0 and not done.stderr
    facts = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert facts["uid"].isdigit() and facts["release"]


def test_unknown_host_key_is_refused_before_connecting(tmp_path):
    known = tmp_path / "known_hosts"
    known.write_text("")
    with pytest.raises(BadInput, match=r"no host key of \[box\]:2222 is known"):
        preflight.connect(spec(port="2222", known_hosts=str(known)))


def test_host_key_is_looked_up_by_name_and_port(tmp_path):
    keys = make_keys()
    known = tmp_path / "known_hosts"
    known.write_text(f"[box]:2222 {keys.host_public}\nbox {make_keys().host_public}\n")
    access = spec(port="2222", known_hosts=str(known)).ssh
    assert preflight.known_keys(access) == (keys.host_public,)


def test_any_host_key_is_taken_only_when_asked_for():
    assert preflight.known_keys(spec(known_hosts="accept-any").ssh) == ()


def test_missing_key_file_is_named(tmp_path):
    with pytest.raises(BadInput) as caught:
        preflight.connect(spec(host="127.0.0.1", key=str(tmp_path / "none"), known_hosts="accept-any"))
    assert "no usable private key" in caught.value.what and str(tmp_path / "none") in caught.value.where


def test_no_ssh_says_how_to_try_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "SSH_SECONDS", 0.5)
    key = make_keys().save(tmp_path)
    with pytest.raises(LabUnavailable) as caught:
        preflight.connect(spec(host="127.0.0.1", port="1", key=str(key), known_hosts="accept-any"))
    assert "no SSH to the machine" in caught.value.what
    assert caught.value.hint.endswith(f"ssh -i {key} -p 1 root@127.0.0.1")
