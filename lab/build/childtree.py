# SPDX-License-Identifier: GPL-2.0-or-later
"""The file system of a Linux child: a small Debian on a read-only disk, with our init and helper.

No maintainer script runs, so the few files that they would make are written here. What a child changes
goes to a disk of its own that its init lays above this one.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.build.disk import make_ext4
from lab.build.rootfs import static_busybox
from lab.build.vmm import tool_version
from lab.cache import Cache
from lab.hashing import digest, tree_digest
from lab.model.errors import LabUnavailable
from lab.paths import images_dir
from lab.progress import Progress
from lab.source.packages import Packages

IMAGE = "child.ext4"
KIND = "child-image"
LABEL = "hvlab-child"
HELPER = "child-io"
HOME = "usr/lib/hvlab"
"""Folder of what is ours in the child."""
INIT = f"/{HOME}/init"
_RECIPE = "1"
_REQUEST = (
    "base-files",
    "bash",
    "coreutils",
    "dash",
    "dropbear-bin",
    "findutils",
    "grep",
    "hostname",
    "iproute2",
    "kmod",
    "mount",
    "pciutils",
    "procps",
    "sed",
    "tar",
    "util-linux",
)
_FOLDERS = (
    "proc",
    "sys",
    "dev",
    "run",
    "tmp",
    "mnt/disk",
    "mnt/new",
    "mnt/old",
    "etc/dropbear",
    "root",
    HOME,
)
_ETC = {
    "etc/passwd": "root:*:0:0:root:/root:/bin/bash\n",
    "etc/group": "root:x:0:\n",
    "etc/shells": "/bin/sh\n/bin/bash\n",
    "etc/hosts": "127.0.0.1 localhost child\n",
    "etc/hostname": "child\n",
}
_DROPPED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "usr/share/bash-completion",
    "usr/share/lintian",
    "usr/share/zoneinfo",
    "usr/lib/x86_64-linux-gnu/gconv",
)
_MAKE_SECONDS = 120.0


def build_child_image(vmm: Path, cache: Cache, progress: Progress) -> Path:
    """The disk image, made unless cached; ``vmm`` reads the kernel log in the child as in the root.

    LabUnavailable without a mirror, a compiler or mke2fs.
    """
    packages = Packages(cache, progress)
    wanted = packages.resolve(_REQUEST)
    for note in packages.notes:
        progress.note(note)
    busybox = static_busybox()
    tools = "\n".join(tool_version(tool) for tool in ("gcc", "ld"))
    key = digest(_RECIPE, wanted.key, tree_digest(images_dir() / "child"), vmm, busybox, tools)

    def produce(entry: Path) -> None:
        progress.note("making the disk of the Linux child")
        with tempfile.TemporaryDirectory(prefix="tree-", dir=entry) as temp:
            tree, objects = Path(temp, "tree"), Path(temp, "objects")
            tree.mkdir()
            objects.mkdir()
            packages.unpack(wanted, tree)
            _adapt(tree)
            home = tree / HOME
            shutil.copy2(busybox, home / "busybox")
            shutil.copy2(vmm, tree / "usr/sbin/mshv-vmm")
            shutil.copy2(_helper(objects), home / HELPER)
            init = home / "init"
            shutil.copyfile(images_dir() / "child" / "init", init)
            init.chmod(0o755)
            make_ext4(tree, entry / IMAGE, LABEL)

    about = {"what": "Linux child", "packages": " ".join(wanted.files)}
    return cache.publish(KIND, key, produce, about=about, progress=progress) / IMAGE


def _adapt(tree: Path) -> None:
    for name in _DROPPED:
        shutil.rmtree(tree / name, ignore_errors=True)
    for name in _FOLDERS:
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / "root").chmod(0o700)
    for name, text in _ETC.items():
        (tree / name).write_text(text)
    awk = tree / "usr/bin/awk"
    if not awk.exists() and (tree / "usr/bin/mawk").exists():
        awk.symlink_to("mawk")


def _helper(objects: Path) -> Path:
    command = ["make", "-s", "-C", str(images_dir() / "child"), f"O={objects}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_MAKE_SECONDS)
    except (OSError, subprocess.SubprocessError) as e:
        raise LabUnavailable(f"{HELPER} could not be built: {e}", where=" ".join(command)) from e
    if done.returncode:
        raise LabUnavailable(
            f"{HELPER} does not build",
            where=" ".join(command),
            hint="the sources are the lab's own: report this, with the compiler's version",
            detail=done.stdout + done.stderr,
        )
    return objects / HELPER
