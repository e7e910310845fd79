# SPDX-License-Identifier: GPL-2.0-or-later
"""Objects that count what they run: how they are built, and how their counters become gcov's JSON.

Kbuild profiles an object for which ``GCOV_PROFILE_<name>.o`` is set (scripts/Makefile.lib); the base has
``CONFIG_GCOV_KERNEL`` for the rest. The compiler's notes (.gcno) are kept beside the image. Notes come
from a stranger's build and counters from a stranger's kernel, so gcov runs in the sandbox of builds.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from lab.build.sandbox import Sandbox
from lab.model.errors import KernelBuildFailed, LabUnavailable
from lab.model.kernel import KernelImage

OPTION = "GCOV_KERNEL"
_NOTES = "gcno"
# Else "return -EINVAL;" behind a condition has no counts: the constant moves to where the paths meet, before
# anything is counted, and the line is gone.
_KEEP_JUMPS = tuple(f"-fno-tree-{name}" for name in ("ccp", "fre", "forwprop", "dce", "copy-prop", "vrp"))
_BUDGET = 120.0
_MAX_JSON = 64 << 20


def key(profiled: Sequence[str]) -> tuple[str, ...]:
    """What profiling adds to the key of a build; nothing without it."""
    return ("gcov", *_KEEP_JUMPS, *sorted(profiled)) if profiled else ()


def flags(profiled: Sequence[str]) -> list[str]:
    """Arguments of make that profile these C files (and others of the same name that get rebuilt)."""
    stems = sorted({PurePosixPath(p).stem for p in profiled})
    counted = [f"GCOV_PROFILE_{stem}.o=y" for stem in stems]
    return counted + [f"CFLAGS_{stem}.o={' '.join(_KEEP_JUMPS)}" for stem in stems]


def keep_notes(obj: Path, profiled: Sequence[str], entry: Path) -> None:
    """Copy the compiler's notes out of an object tree; files that this kernel does not build have none.

    KernelBuildFailed when there is none at all, or one is no plain file.
    """
    kept = 0
    for name in profiled:
        note = obj / PurePosixPath(name).with_suffix(".gcno")
        if note.resolve() != obj.resolve() / note.relative_to(obj):
            raise KernelBuildFailed(f"the build left no plain file for {name}", where=str(note.name))
        if note.is_file():
            to = entry / _NOTES / note.relative_to(obj)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(note, to)
            kept += 1
    if profiled and not kept:
        raise KernelBuildFailed(
            "the build profiled nothing: no file of the series is part of this kernel, "
            f"or its configuration lacks {OPTION}",
            where=", ".join(profiled),
        )


def notes_of(image: KernelImage) -> dict[str, Path]:
    """{object without its ending, such as drivers/hv/mshv_regions: notes} of a profiled kernel."""
    entry = (image.modules[0] if image.modules else image.bzimage).parent / _NOTES
    return {str(p.relative_to(entry).with_suffix("")): p for p in sorted(entry.rglob("*.gcno"))}


def to_json(notes: Path, counters: bytes, sandbox: Sandbox, scratch: Path) -> str:
    """What gcov says of one object's counters in one guest. LabUnavailable when gcov fails."""
    with tempfile.TemporaryDirectory(prefix="gcov-", dir=scratch) as temp:
        place = Path(temp)
        place.chmod(0o777)
        shutil.copyfile(notes, place / "object.gcno")
        (place / "object.gcda").write_bytes(counters)
        inside = str(place) if sandbox.kind == "none" else "/gcov"
        command = ["gcov", "--json-format", "--branch-probabilities", "object.gcda"]
        argv = sandbox.argv(command, ro={}, rw={place: inside}, cwd=inside, env={})
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_BUDGET)
        except (OSError, subprocess.TimeoutExpired) as e:
            raise _failed(notes, str(e)) from e
        made = [p for p in place.glob("*.json.gz") if p.is_file() and not p.is_symlink()]
        # It exits with 0 also for counters that do not belong to the notes, and takes them for nothing run.
        if done.returncode or done.stderr or len(made) != 1:
            raise _failed(notes, done.stderr.decode(errors="replace").strip())
        try:
            with gzip.open(made[0]) as packed:
                text = packed.read(_MAX_JSON + 1)
        except (OSError, EOFError, zlib.error) as e:
            raise _failed(notes, str(e)) from e
        if len(text) > _MAX_JSON:
            raise _failed(notes, f"it wrote more than {_MAX_JSON >> 20} MiB")
        return text.decode(errors="replace")


def check(notes: Mapping[str, Path]) -> None:
    """LabUnavailable without gcov (package gcc) on this machine."""
    if notes and shutil.which("gcov") is None:
        raise LabUnavailable("gcov is missing", hint="install the package gcc, which has it")


def _failed(notes: Path, detail: str) -> LabUnavailable:
    return LabUnavailable(
        "gcov cannot read the counters",
        where=notes.name,
        hint="gcov must be of the same GCC version as the compiler that built the kernel",
        detail=detail,
    )
