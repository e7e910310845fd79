# SPDX-License-Identifier: GPL-2.0-or-later
"""Build the tiny root partition from ``images/tiny``, and read the table of its cases."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from lab.build.elf import sections
from lab.build.standin import make_freestanding
from lab.build.toolchain import toolchain
from lab.cache import Cache
from lab.hashing import digest, tree_digest
from lab.paths import images_dir

KIND = "tiny"
SECTION = ".cases"
_RECIPE = "1"
_CASE = struct.Struct("<80s16sQ24x")
"""``struct tiny_case`` of images/tiny/tiny.h."""
_ABI = ("types.h", "abi.h", "wire.h", "cpu.h")
"""Headers of the stand-in that the guest is compiled with."""


@dataclass(frozen=True, slots=True)
class TinyGuest:
    """``image`` is in the format of a bzImage; ``initramfs`` is what QEMU must be given beside it."""

    image: Path
    symbols: Path
    initramfs: Path


@dataclass(frozen=True, slots=True)
class TinyCase:
    """One case of the guest's table. ``group`` says how it must be started."""

    name: str
    group: str

    @property
    def argument(self) -> str:
        """The guest's argument that selects this case alone."""
        return "only=" + self.name.replace(" ", "_")


def build_tiny(cache: Cache) -> TinyGuest:
    """The guest, out of the cache or built; LabUnavailable with the compiler's words if it fails."""
    source = images_dir() / "tiny"
    headers = [(images_dir() / "hypervisor" / name).read_text() for name in _ABI]
    key = digest(KIND, _RECIPE, tree_digest(source), *headers, toolchain())

    def produce(entry: Path) -> None:
        make_freestanding(source, entry, ("tiny.bin", "tiny.elf"), "the tiny guest")
        (entry / "empty.initramfs").write_bytes(bytes(4096))

    entry = cache.publish(KIND, key, produce, about={"name": "tiny guest"})
    return TinyGuest(entry / "tiny.bin", entry / "tiny.elf", entry / "empty.initramfs")


def read_cases(symbols: Path) -> tuple[TinyCase, ...]:
    """The guest's own table of cases, in the order in which it runs them. Raises ValueError."""
    table = sections(symbols).get(SECTION, b"")
    if not table or len(table) % _CASE.size:
        raise ValueError(f"{symbols}: a table of {len(table)} bytes")
    return tuple(TinyCase(_text(name), _text(group)) for name, group, _ in _CASE.iter_unpack(table))


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode()
