# SPDX-License-Identifier: GPL-2.0-or-later
"""Turn a package or a tarball into a source tree; read a tree's version."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from lab.cache import remove_tree
from lab.model.errors import BadInput, LabUnavailable
from lab.model.series import KernelVersion
from lab.source.command import Done, run

TREE_SPACE = 3 << 30
"""Bytes that must be free before a tree is unpacked (a kernel tree takes 1.8 GiB)."""

_UNPACK_BUDGET = 900.0
_NO_TRUST = "do not trust this tarball"
_TAR = (
    "tar",
    "--extract",
    "--force-local",
    "--no-same-owner",
    "--no-same-permissions",
    "--delay-directory-restore",
)


def unpack_deb(deb: Path, into: Path) -> None:
    """Unpack the source tarball inside a ``linux-source-*`` package so that ``into`` is the tree."""
    script = (
        'set -o pipefail; dpkg-deb --fsys-tarfile "$1"'
        ' | tar -x --to-stdout --wildcards "./usr/src/linux-source-*.tar.xz"'
        ' | xz -dc -T0 | tar -x --no-same-owner --no-same-permissions -C "$2" --strip-components=1'
    )
    into.mkdir(parents=True)
    done = run(
        ["bash", "-c", script, "unpack", deb, into],
        what=f"unpacking {deb.name}",
        timeout=_UNPACK_BUDGET,
        check=False,
    )
    _checked(done, f"unpacking {deb.name}")


def unpack_tarball(tarball: Path, into: Path) -> None:
    """Unpack a kernel tarball (any compression that tar knows) so that ``into`` is the tree.

    BadInput when it is not a tarball or holds no kernel source. tar itself refuses members that
    would leave the folder.
    """
    tarball = tarball.resolve()
    loose = into.parent / "unpacked"
    loose.mkdir()
    done = run(
        [*_TAR, "--file", tarball, "--directory", loose],
        what=f"unpacking {tarball.name}",
        timeout=_UNPACK_BUDGET,
        check=False,
    )
    if done.code != 0 and "No space left" not in done.err:
        detail = "\n".join(done.err.splitlines()[:5])
        raise BadInput(
            "not a tarball that tar can read", where=str(tarball), detail=detail, hint="check the file"
        )
    _checked(done, f"unpacking {tarball.name}")
    _plain_only(loose, tarball)
    entries = [e for e in loose.iterdir() if e.name != "pax_global_header"]
    top = entries[0] if len(entries) == 1 and entries[0].is_dir() else loose
    top.rename(into)
    remove_tree(loose)
    tree_version(into, where=str(tarball))


def tree_version(tree: Path, where: str = "") -> KernelVersion:
    """Version that a tree's Makefile states; BadInput if it is not a kernel tree."""
    try:
        with _plain(tree / "Makefile").open(errors="replace") as f:
            text = f.read(4096)
    except OSError:
        text = ""
    numbers = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL) *= *(\d+)\s*$", text, re.MULTILINE))
    if len(numbers) != 3 or not (tree / "Kbuild").is_file():
        raise BadInput(
            "not a kernel source tree", where=where or str(tree), hint="give the top of a kernel tree"
        )
    return KernelVersion(int(numbers["VERSION"]), int(numbers["PATCHLEVEL"]), int(numbers["SUBLEVEL"]))


def _plain(path: Path) -> Path:
    """The path, if a plain file is there: reading a pipe would take for ever, a device might."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(f"{path} is no plain file")
    return path


def _plain_only(top: Path, tarball: Path) -> None:
    """BadInput if there is anything in a folder but files, folders and links that stay inside."""
    root = os.path.realpath(top)
    for base, dirs, files in os.walk(top):
        for name in (*dirs, *files):
            path = os.path.join(base, name)
            mode = os.lstat(path).st_mode
            inside = os.path.relpath(path, top)
            if stat.S_ISLNK(mode):
                real = os.path.realpath(os.path.join(base, os.readlink(path)))
                if real != root and not real.startswith(root + os.sep):
                    raise BadInput(f"the link {inside} leaves the tree", where=str(tarball), hint=_NO_TRUST)
            elif not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise BadInput(f"{inside} is a device or a pipe", where=str(tarball), hint=_NO_TRUST)


def _checked(done: Done, what: str) -> None:
    if done.code == 0:
        return
    if "No space left" in done.err:
        raise LabUnavailable(
            f"{what}: no space left on device", hint="free 3 GiB, or set HVLAB_CACHE to a larger disk"
        )
    raise LabUnavailable(f"{what} failed", detail="\n".join(done.err.splitlines()[:5]))
