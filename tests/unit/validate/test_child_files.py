# SPDX-License-Identifier: GPL-2.0-or-later
"""What a lab with a Linux child hands to the root and to SSH clients."""

import io
import stat
import subprocess
import tarfile

from lab.root.keys import AUTHORIZED_PATH, HOST_KEY_PATH, make_keys
from lab.validate.child_files import child_overlay, write_ssh_config


def test_keys_of_the_child_are_a_private_tar_file_of_whole_blocks(tmp_path):
    kernel = tmp_path / "bzImage"
    kernel.write_bytes(b"kernel")
    files = child_overlay("ssh-ed25519 AAAA", kernel, tmp_path)
    assert files["lab/child/bzImage"][0] == b"kernel"
    data = files["lab/child/keys.tar"][0]
    assert len(data) % 512 == 0, "QEMU takes whole sectors only"
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {m.name: m for m in tar.getmembers()}
        assert tar.extractfile(AUTHORIZED_PATH).read() == b"ssh-ed25519 AAAA\n"
    assert stat.S_IMODE(members["root/.ssh"].mode) == 0o700 and "etc" not in members
    assert stat.S_IMODE(members[HOST_KEY_PATH].mode) == 0o600


def test_any_ssh_client_finds_root_and_child_with_the_config(tmp_path):
    folder = tmp_path / "a lab of %h"
    folder.mkdir()
    keys = make_keys()
    keys.save(folder)
    child_overlay(keys.public, folder / "known_host", folder)
    config = write_ssh_config(folder, 4711, child=True)
    shown = subprocess.run(["ssh", "-G", "-F", config, "child"], capture_output=True, text=True, timeout=20)
    settings = dict(line.split(" ", 1) for line in shown.stdout.splitlines() if " " in line)
    assert settings["hostname"] == "10.9.0.2" and settings["proxyjump"] == "root", shown.stderr
    # ssh prints the one as it is written and the other as it is used.
    assert settings["identityfile"].replace("%%", "%") == str(folder / "id_ed25519")
    assert settings["userknownhostsfile"] == str(folder / "known_hosts")
    assert f"[127.0.0.1]:4711 {keys.host_public}" in (folder / "known_hosts").read_text()
