# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from lab.build.cpio import Archive
from lab.build.rootfs import VMM_FOLDER, build_initramfs, overlay_cpio, parse_ldd
from lab.build.vmm import BINARY
from lab.cache import Cache
from lab.model.errors import LabUnavailable
from lab.paths import images_dir
from lab.root.keys import AUTHORIZED_PATH, make_keys
from lab.root.root import VMM

ALIGN = 512
HEADER = 110


def unpack(data: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """Path to mode, content and device, as the kernel's unpacker walks it: later entries win."""
    found = {}
    at = 0
    while at < len(data):
        if data[at] == 0:
            at += 4
            continue
        assert data[at : at + 6] == b"070701", f"no header at {at}"
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name = data[at + HEADER : at + HEADER + fields[11]]
        assert name.endswith(b"\0")
        start = at + (HEADER + fields[11] + 3) // 4 * 4
        path = name[:-1].decode()
        if path != "TRAILER!!!":
            assert fields[2:4] == [0, 0], "everything belongs to root"
            assert fields[5] == 0, "no times"
            found[path] = (fields[1], data[start : start + fields[6]], (fields[9], fields[10]))
        at = start + (fields[6] + 3) // 4 * 4
    return found


def example() -> Archive:
    archive = Archive()
    archive.file("b/c/file", b"hello", 0o600)
    archive.symlink("b/link", "c/file")
    archive.char_device("dev/console", 5, 1)
    archive.file("empty", b"")
    return archive


def test_archive_holds_what_was_put_in_with_the_folders_above() -> None:
    found = unpack(example().pack())
    assert found["b/c/file"] == (stat.S_IFREG | 0o600, b"hello", (0, 0))
    assert found["b/link"][:2] == (stat.S_IFLNK | 0o777, b"c/file")
    assert found["dev/console"][0] == stat.S_IFCHR | 0o600
    assert found["dev/console"][2] == (5, 1)
    assert found["b/c"][0] == stat.S_IFDIR | 0o755
    assert list(found) == sorted(found), "a folder comes before what it holds"


def test_archive_does_not_depend_on_the_order_of_filling() -> None:
    other = Archive()
    other.file("empty", b"")
    other.char_device("dev/console", 5, 1)
    other.symlink("b/link", "c/file")
    other.file("b/c/file", b"hello", 0o600)
    assert other.pack() == example().pack()


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is not installed")
def test_gnu_cpio_agrees() -> None:
    command = ["cpio", "-t", "--quiet"]
    listed = subprocess.run(command, input=example().pack(), capture_output=True, timeout=10, check=True)
    assert listed.stdout.decode().split() == ["b", "b/c", "b/c/file", "b/link", "dev", "dev/console", "empty"]


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a//b", "a/./b", ""])
def test_path_that_leaves_the_tree_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="plain relative path"):
        Archive().file(path, b"")


def test_file_cannot_become_a_folder() -> None:
    archive = Archive()
    archive.file("a", b"")
    with pytest.raises(ValueError, match="no folder"):
        archive.file("a/b", b"")
    with pytest.raises(ValueError, match="something else"):
        archive.directory("a")


def test_overlay_may_follow_another_segment_and_wins() -> None:
    base = Archive()
    base.file("lab/modules.list", b"old")
    first = base.pack()
    assert len(first) % ALIGN == 0
    second = overlay_cpio({"lab/modules.list": (b"new", 0o644), **make_keys().overlay()})
    assert len(second) % ALIGN == 0
    found = unpack(first + second)
    assert found["lab/modules.list"][1] == b"new"
    assert found[AUTHORIZED_PATH][0] & 0o777 == 0o600
    assert found["root/.ssh"][0] & 0o777 == 0o700, "dropbear ignores keys in a folder open to others"
    assert found["root"][0] & 0o777 == 0o700


def test_ldd_output_gives_the_paths_that_the_loader_asks_for(tmp_path: Path) -> None:
    real = tmp_path / "libz.so.1.2.13"
    real.write_bytes(b"")
    link = tmp_path / "libz.so.1"
    link.symlink_to(real.name)
    text = (
        "\tlinux-vdso.so.1 (0x00007fc2cd48c000)\n"
        f"\tlibz.so.1 => {link} (0x00007fc2cd330000)\n"
        f"\t{real} (0x00007fc2cd48e000)\n"
    )
    assert parse_ldd(text, "x") == {str(link): real, str(real): real}


def test_missing_library_is_named() -> None:
    with pytest.raises(LabUnavailable, match=r"libtomcrypt\.so\.1 is missing"):
        parse_ldd("\tlibtomcrypt.so.1 => not found\n", "dropbear")


def test_init_is_valid_shell() -> None:
    init = images_dir() / "rootfs" / "init"
    assert init.stat().st_mode & 0o111
    shell = ["busybox", "sh"] if shutil.which("busybox") else ["sh"]
    subprocess.run([*shell, "-n", str(init)], check=True, timeout=10)


def test_root_looks_for_the_vmm_where_it_is_put() -> None:
    assert f"{VMM_FOLDER}/{BINARY}" == VMM


needs_tools = pytest.mark.skipif(
    not (shutil.which("busybox") and shutil.which("dropbear", path="/usr/sbin:/usr/bin")),
    reason="busybox-static and dropbear-bin are not installed",
)


@needs_tools
def test_initramfs_has_all_that_a_login_needs_and_is_the_same_each_time(tmp_path: Path) -> None:
    vmm = tmp_path / "vmm"
    vmm.write_bytes(b"the VMM")
    image = build_initramfs(vmm, Cache(tmp_path / "one")).read_bytes()
    assert build_initramfs(vmm, Cache(tmp_path / "two")).read_bytes() == image
    found = unpack(image)
    assert found["sbin/vmm"][:2] == (stat.S_IFREG | 0o755, b"the VMM")
    assert found["init"][1] == (images_dir() / "rootfs" / "init").read_bytes()
    assert found["bin/sh"][1] == b"busybox"
    assert found["bin/busybox"][1][:4] == b"\x7fELF"
    libraries = [path for path in found if "/libc.so" in path or "ld-linux" in path]
    assert len(libraries) == 2
    assert all(found[path][1][:4] == b"\x7fELF" for path in libraries), "real files, not dangling links"


@needs_tools
def test_changed_vmm_makes_another_initramfs(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    vmm = tmp_path / "vmm"
    vmm.write_bytes(b"one")
    first = build_initramfs(vmm, cache)
    vmm.write_bytes(b"two")
    assert build_initramfs(vmm, cache) != first
