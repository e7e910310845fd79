# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import paramiko
import pytest

from lab.root.keys import AUTHORIZED_PATH, HOST_KEY_PATH, make_keys
from lab.root.tracefs import parse_trace


def test_saved_key_is_private_and_belongs_to_the_authorized_line(tmp_path: Path) -> None:
    keys = make_keys()
    path = keys.save(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    loaded = paramiko.Ed25519Key.from_private_key_file(str(path))
    assert keys.public == f"{loaded.get_name()} {loaded.get_base64()}"
    data, mode = keys.overlay()[AUTHORIZED_PATH]
    assert data.decode().strip() == keys.public
    assert mode == 0o600


def test_every_run_has_its_own_keys() -> None:
    assert make_keys().public != make_keys().public


@pytest.mark.skipif(shutil.which("dropbearkey") is None, reason="dropbear-bin is not installed")
def test_dropbear_reads_the_host_key_as_the_one_we_expect(tmp_path: Path) -> None:
    keys = make_keys()
    file = tmp_path / "host"
    file.write_bytes(keys.overlay()[HOST_KEY_PATH][0])
    shown = subprocess.run(["dropbearkey", "-y", "-f", str(file)], capture_output=True, text=True, timeout=10)
    assert keys.host_public in shown.stdout


def test_trace_lines_give_task_name_and_fields() -> None:
    text = (
        "# tracer: nop\n"
        "     mshv-vmm-100     [001] .....    12.345678: mshv_handle_gpa_intercept: "
        "partition_id=2 vp_index=0 gfn=0x10000 handled=1\n"
    )
    (event,) = parse_trace(text)
    assert (event.task, event.pid, event.cpu, event.name) == ("mshv-vmm", 100, 1, "mshv_handle_gpa_intercept")
    assert event.time == pytest.approx(12.345678)
    assert event.fields["gfn"] == "0x10000"
