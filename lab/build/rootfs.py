# SPDX-License-Identifier: GPL-2.0-or-later
"""The root partition's file system: busybox, dropbear with its libraries, the VMM, our init.

It is an initramfs in two segments: the part made here, which is the same for every run and cached
by content, and a small overlay per run (keys, modules) that :func:`overlay_cpio` makes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from lab.build.cpio import Archive
from lab.cache import Cache
from lab.hashing import digest, tree_digest
from lab.model.errors import LabUnavailable
from lab.paths import images_dir

INITRAMFS = "initramfs.cpio"
VMM_FOLDER = "/sbin"
"""Where the VMM lies in the root, under the name of its file."""

_FORMAT = "1"
_TOOL_SECONDS = 30.0
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_EMPTY = ("proc", "sys", "dev", "tmp", "run", "mnt", "var/log", "lab")
_ETC = {
    "etc/passwd": b"root:*:0:0:root:/root:/bin/sh\n",
    "etc/group": b"root:x:0:\n",
    # dropbear refuses a login shell that is not listed here
    "etc/shells": b"/bin/sh\n",
    "etc/hosts": b"127.0.0.1 localhost root\n",
}


def build_initramfs(vmm: Path, cache: Cache) -> Path:
    """The uncompressed initramfs with the binary ``vmm`` in ``VMM_FOLDER``; made unless cached.

    LabUnavailable when busybox-static or dropbear are not installed on the host.
    """
    busybox = static_busybox()
    dropbear = _find("dropbear", "dropbear-bin")
    libraries = _libraries(dropbear)
    key = digest(
        _FORMAT,
        tree_digest(images_dir() / "rootfs"),
        vmm,
        vmm.name,
        busybox,
        dropbear,
        *(part for path, real in sorted(libraries.items()) for part in (path, real)),
    )

    def produce(out: Path) -> None:
        (out / INITRAMFS).write_bytes(_pack(vmm, busybox, dropbear, libraries))

    return cache.publish("rootfs", key, produce, about={"what": "root file system"}) / INITRAMFS


def overlay_cpio(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """A cpio segment with ``files`` (path: content and mode), to append to the initramfs.

    Folders above a file are made with mode 0755, or 0700 below ``root/`` as dropbear demands.
    """
    archive = Archive()
    archive.directory("root", 0o700)
    for path, (data, mode) in files.items():
        parts = path.split("/")
        if parts[0] == "root":
            for depth in range(1, len(parts)):
                archive.directory("/".join(parts[:depth]), 0o700)
        archive.file(path, data, mode)
    return archive.pack()


def _pack(vmm: Path, busybox: Path, dropbear: Path, libraries: Mapping[str, Path]) -> bytes:
    archive = Archive()
    for path in _EMPTY:
        archive.directory(path)
    archive.directory("root", 0o700)
    # Before init has mounted devtmpfs the kernel opens /dev/console for it.
    archive.char_device("dev/console", 5, 1)
    archive.char_device("dev/null", 1, 3, 0o666)
    for path, data in _ETC.items():
        archive.file(path, data)
    rootfs = images_dir() / "rootfs"
    archive.file("init", (rootfs / "init").read_bytes(), 0o755)
    archive.file("etc/profile", (rootfs / "profile").read_bytes())
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    archive.file("usr/sbin/dropbear", dropbear.read_bytes(), 0o755)
    archive.file(f"{VMM_FOLDER.lstrip('/')}/{vmm.name}", vmm.read_bytes(), 0o755)
    for path, real in libraries.items():
        archive.file(path.lstrip("/"), real.read_bytes(), 0o755)
    for applet in _applets(busybox):
        if f"bin/{applet}" not in archive:
            archive.symlink(f"bin/{applet}", "busybox")
    return archive.pack()


def _find(tool: str, package: str) -> Path:
    found = shutil.which(tool, path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}")
    if found is None:
        raise LabUnavailable(f"{tool} is not installed", hint=f"install the Debian package {package}")
    return Path(found).resolve()


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_TOOL_SECONDS,
            stdin=subprocess.DEVNULL,
            env={"PATH": _SYSTEM_PATH, "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError) as e:
        raise LabUnavailable(f"{command[0]} does not run: {e}", where=" ".join(command)) from e


def static_busybox() -> Path:
    """Busybox of the host; LabUnavailable unless it is there and static."""
    busybox = _find("busybox", "busybox-static")
    if _run(["ldd", str(busybox)]).returncode == 0:
        raise LabUnavailable(
            "busybox is linked dynamically, the root needs it static",
            where=str(busybox),
            hint="install the Debian package busybox-static",
        )
    return busybox


def _applets(busybox: Path) -> list[str]:
    listed = _run([str(busybox), "--list"])
    if listed.returncode or "sh" not in listed.stdout.split():
        raise LabUnavailable("busybox does not list its applets", where=str(busybox), detail=listed.stderr)
    return sorted(name for name in listed.stdout.split() if "/" not in name)


def _libraries(binary: Path) -> dict[str, Path]:
    listed = _run(["ldd", str(binary)])
    if listed.returncode:
        raise LabUnavailable("the libraries cannot be listed", where=str(binary), detail=listed.stderr)
    return parse_ldd(listed.stdout, str(binary))


def parse_ldd(text: str, binary: str) -> dict[str, Path]:
    """Output of ``ldd binary`` to {path as the loader asks for it: the real file}.

    LabUnavailable when a library is missing.
    """
    found: dict[str, Path] = {}
    for line in text.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        target = (rest if arrow else name).split(" (")[0].strip()
        if "not found" in rest:
            raise LabUnavailable(
                f"the library {name} is missing", where=binary, hint="run apt-get install --fix-broken"
            )
        if target.startswith("/"):
            found[target] = Path(target).resolve()
    return found
