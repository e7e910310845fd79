# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.model.errors import BadInput
from lab.root.pci import LIST_SCRIPT, bind_script, check_address, parse_devices

LISTED = """\
device 0000:00:03.0 0x1af4 0x1110 0x050000 vfio-pci
0x00000000feb41000 0x00000000feb410ff 0x0000000000040200
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x00000000febe0000 0x00000000febeffff 0x000000000014220c
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
device 0000:00:1f.2 0x8086 0x2922 0x010601
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x000000000000c040 0x000000000000c05f 0x0000000000040101
0x00000000febf1000 0x00000000febf1fff 0x0000000000040200
"""


def test_bars_have_address_size_and_kind() -> None:
    ivshmem, ahci = parse_devices(LISTED)
    bar = ivshmem.bar(2)
    assert (bar.address, bar.size, bar.prefetchable) == (0xFEBE0000, 0x10000, True)
    assert ivshmem.driver == "vfio-pci"
    assert (ahci.vendor, ahci.device, ahci.driver) == (0x8086, 0x2922, "")
    assert [bar.index for bar in ahci.bars] == [5], "an I/O port BAR is no memory BAR"


def test_missing_bar_names_those_that_exist() -> None:
    with pytest.raises(BadInput, match="memory BARs: 0, 2"):
        parse_devices(LISTED)[0].bar(4)


@pytest.mark.parametrize("bdf", ["00:03.0", "0000:00:03.8", "0000:00:03.0; reboot", "../x", ""])
def test_what_is_no_full_pci_address_never_reaches_the_shell(bdf: str) -> None:
    with pytest.raises(BadInput, match="not a PCI address"):
        check_address(bdf)


def fake_sysfs(tmp_path: Path) -> Path:
    devices = tmp_path / "devices"
    device = devices / "0000:00:03.0"
    device.mkdir(parents=True)
    for name, text in {"vendor": "0x1af4\n", "device": "0x1110\n", "class": "0x050000\n"}.items():
        (device / name).write_text(text)
    (device / "resource").write_text("0x1000 0x1fff 0x200\n" * 13)
    return devices


def run_here(script: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    script = script.replace("/sys/bus/pci", str(tmp_path))
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=10)


def test_listing_script_and_parser_fit_together(tmp_path: Path) -> None:
    fake_sysfs(tmp_path)
    (device,) = parse_devices(run_here(LIST_SCRIPT, tmp_path).stdout)
    assert (device.bdf, device.vendor, device.driver, len(device.bars)) == ("0000:00:03.0", 0x1AF4, "", 6)


def test_binding_that_does_not_happen_fails(tmp_path: Path) -> None:
    fake_sysfs(tmp_path)
    done = run_here(bind_script("0000:00:03.0"), tmp_path)
    assert done.returncode == 1
    assert "did not take the device" in done.stderr
    assert (tmp_path / "drivers_probe").read_text() == "0000:00:03.0\n"


def test_binding_takes_the_device_from_its_driver_first(tmp_path: Path) -> None:
    devices = fake_sysfs(tmp_path)
    (tmp_path / "drivers/other").mkdir(parents=True)
    (devices / "0000:00:03.0/driver").symlink_to(tmp_path / "drivers/other")
    run_here(bind_script("0000:00:03.0"), tmp_path)
    assert (tmp_path / "drivers/other/unbind").read_text() == "0000:00:03.0\n"
    assert (devices / "0000:00:03.0/driver_override").read_text() == "vfio-pci\n"


def test_bound_device_is_left_alone(tmp_path: Path) -> None:
    devices = fake_sysfs(tmp_path)
    (tmp_path / "drivers/vfio-pci").mkdir(parents=True)
    (devices / "0000:00:03.0/driver").symlink_to(tmp_path / "drivers/vfio-pci")
    assert run_here(bind_script("0000:00:03.0"), tmp_path).returncode == 0
    assert not (tmp_path / "drivers_probe").exists()
