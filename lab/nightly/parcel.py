# SPDX-License-Identifier: GPL-2.0-or-later
"""A task on its way to another host, and its result on the way back: tar files of plain files and folders."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from lab.model.errors import BadInput
from lab.nightly import outcome, store
from lab.nightly.outcome import Place

RECORD = "task.json"
RESULT = "result"
MOST_BYTES = 16 << 30
"""A result larger than this is refused."""
MOST_FILES = 200_000
_INCOMING = ".incoming-"


def pack_task(place: Place, out: IO[bytes]) -> None:
    """Write the record and the files that it names; paths in it are those inside the parcel.

    A tree to try the series on (``base.tree``) and ``qemu`` are not sent: they are paths on the host that
    runs it. BadInput when a file cannot be read.
    """
    task, here = place.task, place.file.parent
    with tarfile.open(fileobj=out, mode="w|") as tar:

        def sent(field: str, name: str) -> str:
            inside = f"{field}/{Path(name).name}"  # a folder for each: names stay as they are and cannot meet
            try:
                _add(tar, inside, (here / name).read_bytes())
            except OSError as e:
                raise BadInput(f"cannot read its {field}: {e.strerror}", where=str(here / name)) from e
            return inside

        _add(tar, RECORD, store.dumps(outcome.relocated(task, RESULT, sent)).encode())


def pack_folder(folder: Path, out: IO[bytes]) -> None:
    """Write all plain files and folders below ``folder``; what else is there (sockets, links) is left out."""
    with tarfile.open(fileobj=out, mode="w|") as tar:
        for base, dirs, files in os.walk(folder):
            dirs.sort()
            for name in sorted(files):
                path = Path(base, name)
                if path.is_file() and not path.is_symlink():
                    tar.add(path, str(path.relative_to(folder)), recursive=False, filter=_plain)


def unpack(source: IO[bytes], folder: Path) -> None:
    """Write the files of a tar file below ``folder``, which is ours alone.

    BadInput for anything that is not a plain file or folder, or would lie elsewhere, and for too much of it.
    """
    size = count = 0
    try:
        with tarfile.open(fileobj=source, mode="r|") as tar:
            for member in tar:
                parts = PurePosixPath(member.name).parts
                if not parts or member.name.startswith("/") or ".." in parts:
                    raise BadInput("a parcel holds a path that leads out of it", where=member.name)
                size, count = size + member.size, count + 1
                if size > MOST_BYTES or count > MOST_FILES:
                    raise BadInput(f"a parcel of more than {MOST_BYTES >> 30} GiB or {MOST_FILES} files")
                target = folder.joinpath(*parts)
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                elif member.isreg() and (data := tar.extractfile(member)) is not None:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with target.open("xb") as out:
                        shutil.copyfileobj(data, out)
                    target.chmod(0o755 if member.mode & 0o100 else 0o644)
                else:
                    raise BadInput("a parcel holds something that is no plain file", where=member.name)
    except (tarfile.TarError, FileExistsError, NotADirectoryError, IsADirectoryError) as e:
        raise BadInput(f"a parcel is damaged: {e}") from e


@contextmanager
def incoming(folder: Path) -> Iterator[Path]:
    """A folder beside the files of ``folder`` to unpack a result in; it goes at the end in any case.

    What is in it is moved into ``folder`` when the block ends without an exception, the result last: who
    sees a result sees all of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(_INCOMING + "*"):  # of a run that was killed
        shutil.rmtree(old, ignore_errors=True)
    temp = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=folder))
    try:
        yield temp
        for path in sorted(temp.iterdir(), key=lambda p: p.name == outcome.FILE):
            target = folder / path.name
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            elif path.is_dir():
                target.unlink(missing_ok=True)
            path.replace(target)
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    if info.islnk():  # a second name of a file that is in already
        return None
    return info
