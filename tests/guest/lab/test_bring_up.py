# SPDX-License-Identifier: GPL-2.0-or-later
"""Manual bring-up: up, ssh, console, mmio, ledger, slat, down, doctor, machine show."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from lab import paths
from lab.machine.ivshmem import DeviceMemory, expected_word

SERIES = paths.tests_dir() / "series" / "mmio-on-demand"
FIRST_UP = 1800.0
"""The first command that needs a kernel may have to build it."""
PAGE = 4096
BUSY = 60.0


@pytest.fixture(scope="module")
def up(shared_hvlab: Any) -> dict[str, Any]:
    """What ``hvlab up --json`` says of the lab that the tests of this module look at."""
    done = shared_hvlab("up", "--series", SERIES, "--name", "bench", "--json", timeout=FIRST_UP)
    told: dict[str, Any] = done.json
    return told


def looked_at(place: Any) -> dict[str, Any]:
    """What ``doctor`` sees. Its exit code also counts what others left in the user's cache."""
    seen: dict[str, Any] = place("doctor", "--json", expect=None).json
    return seen


def memory_of(up: dict[str, Any]) -> DeviceMemory:
    folder = Path(up["folder"])
    nonce = json.loads((folder / "lab.json").read_text())["info"]["nonce"]
    return DeviceMemory(folder / "ivshmem0.mem", nonce)


def test_up_says_what_is_up(up: dict[str, Any], shared_hvlab: Any) -> None:
    assert up["name"] == "bench"
    assert 0 < up["seconds"] < BUSY
    assert [w["device"] for w in up["windows"]] == ["ivshmem0", "edu0"]
    assert all(w["gpa"] and not w["error"] for w in up["windows"])
    assert "bench" in looked_at(shared_hvlab)["up"]


def test_payload_has_no_shell(up: dict[str, Any], shared_hvlab: Any) -> None:
    refused = shared_hvlab("ssh", "child", expect=2).err
    assert "payload" in refused and "hvlab mmio" in refused


def test_ssh_runs_a_command_in_the_root(up: dict[str, Any], shared_hvlab: Any) -> None:
    done = shared_hvlab("ssh", "--name", "bench", "--", "uname", "-r")
    assert done.out.strip() == up["kernel"]
    assert shared_hvlab("ssh", "root", "--", "echo $((6 * 7)); exit 5", expect=5).out == "42\n"
    assert shared_hvlab("ssh", "--", "cat", stdin=b"over stdin").out == "over stdin"
    # The root of a hypervisor without KVM: the driver under test is there.
    shared_hvlab("ssh", "--", "test", "-c", "/dev/mshv")


def test_mmio_agrees_with_the_devices_own_memory(up: dict[str, Any], shared_hvlab: Any) -> None:
    with memory_of(up) as memory:
        last = memory.pages - 1
        for page in (0, 1, last):
            (result,) = shared_hvlab("mmio", "read", hex(page * PAGE), "--json").json
            assert result["value"] == expected_word(memory.nonce, page, 0)
        before = memory.read(last * PAGE, PAGE)
        for width, value in ((1, 0xA5), (2, 0xBEEF), (4, 0x12345678), (8, 0x1122334455667788)):
            at = last * PAGE + 64 * width
            shared_hvlab("mmio", "write", hex(at), hex(value), "--width", width)
            assert memory.read_int(at, width) == value
            text = shared_hvlab("mmio", "read", hex(at), "--width", width, "--vp", 1).out
            assert text == f"{at:#x}: {value:#0{2 + 2 * width}x}\n"
            memory.write(at, before[64 * width : 65 * width])
        assert not memory.verify(), "an access landed somewhere else"
        memory.write(PAGE, (0xC0FFEE).to_bytes(8, "little"))
        assert shared_hvlab("mmio", "read", hex(PAGE), "--json").json[0]["value"] == 0xC0FFEE
        memory.restore(1, 1)
        batch = shared_hvlab("mmio", "read", "0x0", "--count", 8, "--json").json
        assert [r["value"] for r in batch] == [expected_word(memory.nonce, 0, i) for i in range(8)]
        beyond = shared_hvlab("mmio", "read", hex(memory.pages * PAGE), expect=2)
        assert "outside of the BAR" in beyond.err
    edu = shared_hvlab("mmio", "read", "0x0", "--device", "edu", "--width", 4, "--json").json
    assert edu[0]["value"] == 0x010000ED
    assert "no device" in shared_hvlab("mmio", "read", "0x0", "--device", "nvme", expect=2).err


def test_ledger_has_the_calls_of_the_driver(up: dict[str, Any], shared_hvlab: Any) -> None:
    shared_hvlab("mmio", "read", "0x0")
    lines = shared_hvlab("ledger", "--json", "-n", 0).out.splitlines()
    records = [json.loads(line) for line in lines]
    assert [r["seq"] for r in records] == sorted(r["seq"] for r in records)
    maps = [r for r in records if r["name"] == "MAP_GPA_PAGES"]
    assert maps and all(r["status"] == 0 for r in maps)
    assert {r["name"] for r in records} >= {"CREATE_PARTITION", "CREATE_VP"}
    assert any("INTERCEPT" in r["name"] for r in records), "intercepts have names too"
    only = shared_hvlab("ledger", "--call", "MAP_GPA_PAGES", "-n", 0).out.splitlines()
    assert len(only) == len(maps)
    assert all("MAP_GPA_PAGES" in line and "SUCCESS" in line for line in only)
    assert any("mshv" in line or "hv_" in line for line in only), "callers are named"
    assert len(shared_hvlab("ledger", "-n", 3).out.splitlines()) == 3


def test_ledger_follow_shows_what_comes(up: dict[str, Any], shared_hvlab: Any) -> None:
    process = shared_hvlab.start("ledger", "--follow", "-n", "0", "--json")
    shown = shared_hvlab.folder / "stdout"
    try:
        deadline = time.monotonic() + BUSY
        while not shown.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        seen = len(shown.read_text().splitlines())
        quiet = dict(os.environ, **shared_hvlab.environment)
        touch = [str(a) for a in process.args[:1]] + ["mmio", "read", "0x0"]
        subprocess.run(touch, env=quiet, check=True, capture_output=True, timeout=BUSY)
        while len(shown.read_text().splitlines()) <= seen and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(shown.read_text().splitlines()) > seen
    finally:
        process.terminate()
        process.wait(BUSY)
    assert b"Traceback" not in (shared_hvlab.folder / "stderr").read_bytes()


def test_slat_shows_the_bar_in_the_child(up: dict[str, Any], shared_hvlab: Any) -> None:
    shared_hvlab("mmio", "read", "0x0")
    tables = shared_hvlab("slat", "--json").json
    ((partition, runs),) = tables.items()
    window = up["windows"][0]
    first = window["gpa"] >> 12
    bar = [r for r in runs if first <= r["gfn"] < first + window["pages"] and not r["no_access"]]
    assert sum(r["pages"] for r in bar) == window["pages"]
    assert len({r["spa"] - r["gfn"] for r in bar}) == 1, "one straight piece of the device"
    listing = shared_hvlab("ssh", "--", "cat", f"/sys/bus/pci/devices/{window['bdf']}/resource").out
    assert int(listing.splitlines()[window["bar"]].split()[0], 16) >> 12 == bar[0]["spa"]
    assert f"GPA {window['gpa']:#014x}" in shared_hvlab("slat", "--partition", partition).out
    assert "no child partition 99" in shared_hvlab("slat", "--partition", 99, expect=2).err


def test_console_log_is_the_kernels(up: dict[str, Any], shared_hvlab: Any) -> None:
    text = shared_hvlab("console", "--log").out
    assert "Linux version " + up["kernel"] in text
    assert "Hyper-V" in text and "HVLAB-READY" in text


def test_two_labs_at_once(up: dict[str, Any], shared_hvlab: Any) -> None:
    """A second lab has its own memory, devices, ports and name; the verbs then want to know which."""
    second = shared_hvlab("up", "--json", timeout=FIRST_UP).json
    try:
        assert second["name"] != up["name"] and second["ssh_port"] != up["ssh_port"]
        several = shared_hvlab("ssh", "--", "true", expect=2).err
        assert "--name" in several and "bench" in several and second["name"] in several
        with memory_of(up) as one, memory_of(second) as other:
            assert one.nonce != other.nonce
            shared_hvlab("mmio", "write", "--name", "bench", "0x100", "0x77", "--width", 1)
            assert one.read_int(0x100, 1) == 0x77
            assert not other.verify()
            one.restore(0, 1)
        taken = shared_hvlab("up", "--name", second["name"], expect=2).err
        assert "exists already" in taken
    finally:
        shared_hvlab("down", "--name", second["name"])
    assert looked_at(shared_hvlab)["up"] == ["bench"]
    assert not Path(second["folder"]).exists()
    shared_hvlab("ssh", "--", "true")


def test_down_leaves_nothing_and_up_survives_its_shell(hvlab: Any) -> None:
    """The shell that started it ends, and its session is killed; the lab lives on until ``down``."""
    command = f"{shlex.quote(hvlab_binary())} up --name orphan --json > up.json 2> up.err; exit 0"
    shell = subprocess.Popen(
        ["setsid", "sh", "-c", command],
        cwd=hvlab.folder,
        env={**os.environ, **hvlab.environment},
        stdin=subprocess.DEVNULL,
    )
    assert shell.wait(FIRST_UP) == 0
    told = json.loads((hvlab.folder / "up.json").read_text())
    (qemu,) = (pid for pid, name in hvlab.processes().items() if "qemu-system" in name)
    # Nobody of that session is left to hang it up, and QEMU is in a session of its own.
    assert os.getsid(qemu.pid) == qemu.pid
    assert hvlab("ssh", "--name", "orphan", "--", "uname", "-r").out.strip() == told["kernel"]
    assert list(hvlab.shm.glob("*.ram")) and list(hvlab.run_dir.glob("hvlab-*"))
    clean = hvlab("doctor", "--clean", "--json").json
    assert clean["up"] == ["orphan"] and qemu.alive(), "doctor --clean must not touch a lab that is up"
    hvlab("down", "--name", "orphan")
    assert not qemu.alive()
    assert hvlab.leftovers() == []
    assert "no lab is called" in hvlab("down", "--name", "orphan", expect=2).err
    after = looked_at(hvlab)
    assert after["up"] == [] and not [x for x in after["left"] if "lab" in x.split()]


def test_failed_boot_leaves_nothing(hvlab: Any) -> None:
    """A boot that panics: exit code 1, what the guest said, and nothing behind."""
    done = hvlab(
        "up", "--append", "panic_on_oops=1 init=/nonexistent rdinit=/nonexistent", expect=1, timeout=FIRST_UP
    )
    assert "Kernel panic" in done.err and "Traceback" not in done.err
    assert hvlab.leftovers() == []


def test_machine_show_prints_a_command_line_to_paste(hvlab: Any) -> None:
    text = hvlab("machine", "show", "--param", "cpus=3", "--param", "bar_size=8M").out
    assert re.search(r"^cpus = 3$", text, re.MULTILINE)
    words = shlex.split(text[text.index("\n# ") :], comments=True)
    assert "qemu-system" in words[0]
    assert any(w.startswith("ivshmem-plain") for w in words) and any(w.startswith("edu") for w in words)
    assert words[words.index("-smp") + 1].split(",")[0] == "3"
    told = hvlab("machine", "show", "--param", "cpus=3", "--json").json
    assert told["machine"]["cpus"] == 3 and "-smp" in told["argv"]
    assert "mshv-root" in hvlab("machine", "list").out


def hvlab_binary() -> str:
    import sys

    return str(Path(sys.executable).with_name("hvlab"))
