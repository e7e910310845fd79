# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine that SSH alone reaches. It is one of our own here, and only its SSH port is used."""

from __future__ import annotations

import pytest

from lab import paths

BASE_TIMEOUT = 1800.0

DEVICE = "0000:00:03.0"
SCENARIOS = (
    "default_maps or bar_of_several or munmap_under or removed_region_leaves or half_way or killed_vmm"
)
END_CHILD = "killall mshv-vmm; while pidof mshv-vmm; do sleep 0.1; done; :"
LEFT = "cat /sys/kernel/tracing/kprobe_events; ls /sys/kernel/tracing/instances; ls /run | grep hvlab-; :"


@pytest.fixture(scope="module")
def address(shared_hvlab, tmp_path_factory):
    """Parameters of the template ``external`` for a lab that is up; its own child is ended."""
    series = paths.tests_dir() / "series" / "mmio-on-demand"
    up = shared_hvlab("up", "--series", series, "--name", "far", "--json", timeout=BASE_TIMEOUT).json
    shared_hvlab("ssh", "--name", "far", "--", END_CHILD)
    folder = shared_hvlab.state / "labs" / "far"
    known = tmp_path_factory.mktemp("ssh") / "known_hosts"
    known.write_text(f"[127.0.0.1]:{up['ssh_port']} {(folder / 'known_host').read_text()}")
    yield [
        "host=127.0.0.1",
        f"port={up['ssh_port']}",
        f"key={folder / 'id_ed25519'}",
        f"known_hosts={known}",
        f"devices={DEVICE}/2",
    ]
    shared_hvlab("down", "--name", "far")


def params(address, **changes):
    words = dict(item.split("=", 1) for item in address) | changes
    return [word for key, value in words.items() for word in ("--param", f"{key}={value}")]


def test_doctor_says_that_the_machine_is_fit(shared_hvlab, address):
    done = shared_hvlab("doctor", "--machine", "external", *params(address), "--json")
    checks = {check["name"]: check for check in done.json["checks"]}
    assert all(check["ok"] for check in checks.values()), done
    assert checks[f"device {DEVICE}"]["text"].startswith("BAR2, vfio-pci")


@pytest.mark.parametrize(
    ("changes", "words", "code"),
    [
        ({"devices": "0000:00:02.0/0"}, "bound to virtio-pci, not to vfio-pci", 4),
        ({"devices": "0000:00:1d.0/0"}, "no such PCI device", 4),
        ({"devices": ""}, "no device to pass on is named", 4),
        ({"port": "1"}, "no SSH to the machine", 4),
        ({"known_hosts": "/dev/null"}, "no host key of", 2),
        ({"key": "/dev/null"}, "no usable private key", 2),
    ],
)
def test_doctor_names_what_is_missing(shared_hvlab, address, changes, words, code):
    if "port" in changes:
        changes = {**changes, "known_hosts": "accept-any"}
    done = shared_hvlab(
        "doctor", "--machine", "external", *params(address, **changes), expect=code, timeout=60
    )
    assert words in done.out + done.err, done


def test_scenarios_over_ssh_alone_agree_with_our_own_machine(shared_hvlab, address, tmp_path):
    machines = ["--machine", "mshv-root", "--machine", "external"]
    # "devices" is a parameter of both templates, and means the other machine's own here.
    words = [w.replace("devices=", "external:devices=") for w in params(address)]
    done = shared_hvlab(
        "compare", *machines, *words, "-k", SCENARIOS, "--out", tmp_path, "--json", timeout=BASE_TIMEOUT
    )
    found = {
        row["id"]: {cell["side"]: cell["word"].rstrip("*") for cell in row["cells"]}
        for row in done.json["scenarios"]
    }
    assert found["bar_of_several_pages_reaches_the_device"] == {
        "base": "FAIL",
        "patched": "pass",
        "running": "pass",
    }
    # Decided by the kprobes on the driver's map function: how many pages one touch maps.
    assert found["default_maps_the_whole_region_with_one_touch"]["running"] == "pass"
    assert found["killed_vmm_leaves_nothing_mapped[vfio]"]["running"] == "pass", "by the driver's tracepoints"
    assert found["map_refused_half_way_leaves_only_right_pages[1]"]["running"] == "unseen"
    external = done.json["machines"][1]
    assert any("detectors were not tripped" in note for note in external["notes"])
    assert any("not observed: the SLAT" in note for note in external["notes"])
    evidence = tmp_path / "external" / "evidence" / "default_maps_the_whole_region_with_one_touch"
    ledger = (evidence / "ledger.txt").read_text()
    assert "MAP_GPA_PAGES" in ledger, ledger
    assert not shared_hvlab("ssh", "--name", "far", "--", LEFT).out.strip(), (
        "probes, buffers or programs were left"
    )
