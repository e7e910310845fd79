# SPDX-License-Identifier: GPL-2.0-or-later
"""Labs on disk: one folder each, with everything that must be gone when the lab is.

A folder is prepared under a hidden name and renamed into place, and renamed away before it is deleted,
so that a lab is either whole or not there. Whatever lies outside of the folder (RAM file, folder of
sockets) is written down in ``lab.json`` *before* it is made: after a SIGKILL at any moment the record
says what to remove.

Who holds a lab: its owner, while that process (pid and start time) lives; or, for a detached lab that
is up, its QEMU. Nobody else's lab is ever touched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lab import paths
from lab.machine import room
from lab.machine.argv import CONSOLE_OPTION, escape
from lab.machine.proc import ProcessId, find_by_argument
from lab.model.errors import BadInput, LabUnavailable

SCHEMA = 1
RECORD = "lab.json"
LOCK = "lock"
CONSOLE_SOCKET = "console.sock"
QMP_SOCKET = "qmp.sock"

Status = Literal["owned", "up", "stale"]
"""``owned``: a process works with it. ``up``: detached and running. ``stale``: nobody holds it."""

_LOCK_SECONDS = 1.0
_LOCK_POLL = 0.02
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_HIDDEN = re.compile(r"\.(?:new|gone)-(\d+)-(\d+)-")


@dataclass(frozen=True, slots=True)
class LabRecord:
    """Content of ``lab.json``. ``phase`` is ``starting``, ``up`` or ``down``; ``info`` is for other rooms
    (plain JSON values: kernel release, flavour, key paths, what a report wants to say)."""

    name: str
    detached: bool
    created: float
    phase: str = "starting"
    owner: ProcessId | None = None
    qemu: ProcessId | None = None
    run_dir: str = ""
    ram: str = ""
    machine: str = ""
    ssh_port: int = 0
    info: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA


class Lab:
    """A lab's folder. ``path`` is where logs, keys and other files of the lab live."""

    def __init__(self, path: Path, record: LabRecord, lock: int | None = None) -> None:
        self.path = path
        self.record = record
        self._lock = lock

    @property
    def name(self) -> str:
        """The lab's name."""
        return self.record.name

    @property
    def run_dir(self) -> Path:
        """Folder of the lab's sockets: its path is short, because a Unix socket's must be."""
        return Path(self.record.run_dir)

    def status(self) -> Status:
        """Who holds it at this moment."""
        if self.record.owner is not None and self.record.owner.alive():
            return "owned"
        if self.record.detached and self.record.phase == "up" and self.qemu_alive():
            return "up"
        return "stale"

    def qemu_alive(self) -> bool:
        """Whether the recorded QEMU still runs."""
        return self.record.qemu is not None and self.record.qemu.alive()

    def update(self, **changes: Any) -> None:
        """Change the record, on disk first. Raises LabUnavailable when it cannot be written."""
        record = dataclasses.replace(self.record, **changes)
        temporary = self.path / f".{RECORD}.{os.getpid()}"
        try:
            temporary.write_text(json.dumps(dataclasses.asdict(record), indent=1) + "\n")
            temporary.replace(self.path / RECORD)
        except OSError as error:
            raise LabUnavailable(
                f"no record of the lab can be written: {error}", where=str(self.path)
            ) from None
        self.record = record

    def make_run_dir(self) -> Path:
        """The folder for sockets, made on the first call."""
        if not self.record.run_dir:
            self.update(run_dir=str(room.short_folder() / f"{room.PREFIX}{secrets.token_hex(4)}"))
        self.run_dir.mkdir(mode=0o700, exist_ok=True)
        return self.run_dir

    def make_ram(self, size: int) -> Path:
        """A sparse file of ``size`` bytes for the guest's RAM. Raises LabUnavailable without room for it."""
        folder = room.folder_for_ram(size, self.path)
        path = folder / f"{room.PREFIX}{self.name}-{secrets.token_hex(4)}{room.RAM_SUFFIX}"
        self.update(ram=str(path))
        room.make_sparse(path, size)
        return path

    def detach(self) -> None:
        """Leave the running lab to itself: from now on its QEMU holds it."""
        self.update(phase="up", owner=None)
        self.unlock()

    def adopt(self) -> None:
        """Become the owner of a lab that nobody works with. Raises BadInput when somebody does."""
        if self._lock is None:
            self._lock = _flock(self.path / LOCK)
        if self._lock is None:
            raise BadInput(f"lab {self.name!r} is in use by another process", hint="wait until it has ended")
        self.record = _read_record(self.path) or self.record
        self.update(owner=ProcessId.me())

    def unlock(self) -> None:
        """Give the lock back; safe to call twice."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def remove(self) -> None:
        """Kill its QEMU and remove everything that the record names. Raises LabUnavailable."""
        for qemu in self._processes():
            if not qemu.kill():
                raise LabUnavailable(
                    f"QEMU {qemu.pid} does not end", where=f"lab {self.name}", hint="try again later"
                )
        for path in room.outside(self.record.ram, self.record.run_dir):
            room.delete(path)
        gone = self.path.parent / f".gone-{_me()}-{self.path.name}-{secrets.token_hex(2)}"
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(gone)
            room.delete(gone)
        self.unlock()

    def _processes(self) -> list[ProcessId]:
        """The recorded QEMU, and one that was started by an owner killed before it could record it.

        The latter is known by the console socket on its command line, in a folder with a random name.
        """
        found = [self.record.qemu] if self.record.qemu is not None else []
        if room.RUN_NAME.fullmatch(self.run_dir.name):
            found += find_by_argument(f"{CONSOLE_OPTION}{escape(self.run_dir / CONSOLE_SOCKET)},")
        return found


def labs_dir() -> Path:
    """Folder of all labs of this user; created when missing. Raises LabUnavailable."""
    folder = paths.state_root() / "labs"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise LabUnavailable(
            f"no place for labs: {error}", where=str(folder), hint="set HVLAB_STATE to a folder of yours"
        ) from None
    return folder


def create(name: str | None = None, *, detached: bool = False, prefix: str = "lab", machine: str = "") -> Lab:
    """A new lab, owned and locked by this process; without a name, ``prefix-N`` with the next free N.

    Raises BadInput for a bad name or one that is taken, LabUnavailable when nothing can be written.
    """
    _check_name(name if name is not None else prefix)
    folder = labs_dir()
    hidden = folder / f".new-{_me()}-{secrets.token_hex(4)}"
    try:
        hidden.mkdir(mode=0o700)
        lock = _flock(hidden / LOCK)
        for candidate in [name] if name is not None else _candidates(folder, prefix):
            record = LabRecord(candidate, detached, time.time(), owner=ProcessId.me(), machine=machine)
            lab = Lab(hidden, record, lock)
            lab.update()
            try:
                hidden.rename(folder / candidate)  # onto a folder with files in it: refused by the kernel
            except OSError:
                continue
            lab.path = folder / candidate
            return lab
    except OSError as error:
        raise LabUnavailable(f"the lab's folder cannot be made: {error}", where=str(folder)) from None
    room.delete(hidden)
    raise BadInput(
        f"a lab called {name!r} exists already",
        hint=f"choose another --name, or remove it: hvlab down --name {name}",
    )


def check_name(name: str | None) -> None:
    """Raise BadInput unless a new lab can have this name (None: it gets one)."""
    if name is None:
        return
    _check_name(name)
    if (labs_dir() / name).exists():
        raise BadInput(
            f"a lab called {name!r} exists already",
            hint=f"choose another --name, or remove it: hvlab down --name {name}",
        )


def list_labs() -> list[Lab]:
    """Every lab on disk, by name; a folder without a readable record appears as a stale lab."""
    return sorted(_scan(), key=lambda lab: lab.name)


def stale_labs() -> list[Lab]:
    """Labs that nobody holds: what ``doctor --clean`` may remove."""
    return [lab for lab in list_labs() if lab.status() == "stale" and not _locked(lab.path / LOCK)]


def find(name: str | None = None) -> Lab:
    """The lab of that name; without a name, the only one that is up. Raises BadInput."""
    labs = [lab for lab in list_labs() if not lab.path.name.startswith(".")]
    if name is not None:
        _check_name(name)
        for lab in labs:
            if lab.name == name:
                return lab
        known = ", ".join(lab.name for lab in labs) or "none"
        raise BadInput(f"no lab is called {name!r}", hint=f"labs here: {known}; hvlab up starts one")
    running = [lab for lab in labs if lab.status() == "up"]
    if len(running) == 1:
        return running[0]
    if not running:
        raise BadInput("no lab is up", hint="start one with hvlab up")
    names = " or ".join(lab.name for lab in running)
    raise BadInput("several labs are up", hint=f"say which: --name {names}")


def clean(lab: Lab, *, running: bool = False) -> None:
    """Remove a stale lab; with ``running`` also a detached one that is up (that is ``down``).

    Raises BadInput when a live process holds it. What became of the lab since it was listed is looked
    up again under its lock.
    """
    own = _flock(lab.path / LOCK, _LOCK_SECONDS) if lab.path.is_dir() else None
    if own is None and lab.path.is_dir():
        raise BadInput(f"lab {lab.name!r} is in use by another process", hint="end that one first")
    if own is None:
        return
    now = Lab(lab.path, _read_record(lab.path) or lab.record, own)
    status = now.status()
    if status == "owned" or (status == "up" and not running):
        now.unlock()
        by_owner = status == "owned" and now.record.owner is not None
        owner = f"process {now.record.owner.pid}" if by_owner and now.record.owner else "its running QEMU"
        raise BadInput(f"lab {lab.name!r} is held by {owner}", hint=f"hvlab down --name {lab.name} ends it")
    now.remove()


def _scan() -> Iterator[Lab]:
    for path in labs_dir().iterdir():
        if hidden := _HIDDEN.match(path.name):
            owner: ProcessId | None = ProcessId(int(hidden[1]), int(hidden[2]))
        elif _NAME.fullmatch(path.name) and path.is_dir():
            owner = None
        else:
            continue
        record = _read_record(path) or LabRecord(path.name, False, 0.0, phase="down")
        if owner is not None:
            record = dataclasses.replace(record, name=path.name, owner=owner)
        yield Lab(path, record)


def _read_record(path: Path) -> LabRecord | None:
    """The record, or None when there is none that this version understands."""
    try:
        data = json.loads((path / RECORD).read_text())
        known = {item.name for item in dataclasses.fields(LabRecord)}
        values = {key: value for key, value in data.items() if key in known}
        for key in ("owner", "qemu"):
            if values.get(key) is not None:
                values[key] = ProcessId(**values[key])
        return LabRecord(**values)
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _candidates(folder: Path, prefix: str) -> Iterator[str]:
    taken = {path.name for path in folder.iterdir()}
    return (name for number in range(1, 10_000) if (name := f"{prefix}-{number}") not in taken)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name!r} cannot be a lab's name", hint="use small letters, digits and '-', at most 32 of them"
        )


def _me() -> str:
    me = ProcessId.me()
    return f"{me.pid}-{me.start}"


def _flock(path: Path, patience: float = 0.0) -> int | None:
    """An exclusive lock as an open file descriptor; None when another process holds it or the lab is gone.

    A child that a killed owner had just forked holds the owner's lock until it executes its program:
    ``patience`` seconds are for that.
    """
    deadline = time.monotonic() + patience
    while (handle := _try_flock(path)) is None and path.exists() and time.monotonic() < deadline:
        time.sleep(_LOCK_POLL)
    return handle


def _try_flock(path: Path) -> int | None:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(path).st_ino == os.fstat(handle).st_ino:
            return handle
    except OSError:
        pass
    os.close(handle)
    return None


def _locked(path: Path) -> bool:
    if not path.exists():
        return False
    handle = _flock(path, _LOCK_SECONDS)
    if handle is not None:
        os.close(handle)
    return handle is None
