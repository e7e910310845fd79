# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of a lab with a Linux child: what the root needs to start it, and what SSH needs to reach it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from lab.machine.child_argv import CHILD_ADDRESS, KERNEL, KEYS, START
from lab.paths import images_dir
from lab.root.keys import AUTHORIZED_PATH, HOST_KEY_PATH, make_host_key

KNOWN_CHILD = "known_child"
SSH_CONFIG = "ssh_config"


def child_overlay(public: str, kernel: Path, folder: Path) -> dict[str, tuple[bytes, int]]:
    """Files for the root: the child's kernel, its keys (as a disk) and the script that starts it.

    ``public`` may log in to the child; the child's host key goes into the lab's ``folder``.
    """
    private, host_public = make_host_key()
    (folder / KNOWN_CHILD).write_text(host_public + "\n")
    keys = {HOST_KEY_PATH: private, AUTHORIZED_PATH: public.encode() + b"\n"}
    start = (images_dir() / "child" / "start").read_bytes()
    return {
        KERNEL.lstrip("/"): (kernel.read_bytes(), 0o600),
        KEYS.lstrip("/"): (_tar(keys), 0o600),
        START.lstrip("/"): (start, 0o755),
    }


def write_ssh_config(folder: Path, port: int, *, child: bool) -> Path:
    """``ssh -F`` this file knows ``root`` and, with ``child``, ``child`` behind it; any client may use it."""
    known = folder / "known_hosts"
    root_key = (folder / "known_host").read_text()
    lines = [f"[127.0.0.1]:{port} {root_key}"]
    common = {
        "User": "root",
        "IdentityFile": _quoted(folder / "id_ed25519"),
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "LogLevel": "ERROR",
        "ConnectTimeout": "10",
        "UserKnownHostsFile": _quoted(known),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
    }
    hosts: dict[str, dict[str, str]] = {"root": {"HostName": "127.0.0.1", "Port": str(port)}}
    if child:
        lines.append(f"{CHILD_ADDRESS} {(folder / KNOWN_CHILD).read_text()}")
        hosts["child"] = {"HostName": CHILD_ADDRESS, "ProxyJump": "root"}
    known.write_text("".join(lines))
    text = ""
    for name, settings in hosts.items():
        text += f"Host {name}\n" + "".join(f"  {k} {v}\n" for k, v in (settings | common).items())
    path = folder / SSH_CONFIG
    path.write_text(text)
    return path


def _quoted(path: Path) -> str:
    return f'"{str(path).replace("%", "%%")}"'  # ssh expands tokens such as %h in names of files


def _tar(files: dict[str, bytes]) -> bytes:
    """A tar file with the folders that the files lie in, all of it private to root."""
    buffer = io.BytesIO()
    folders: set[str] = set()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            parents = [str(p) for p in reversed(Path(name).parents) if str(p) not in (".", "etc", *folders)]
            for parent in parents:
                folders.add(parent)
                info = tarfile.TarInfo(parent)
                info.type, info.mode = tarfile.DIRTYPE, 0o700
                tar.addfile(info)
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o600
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
