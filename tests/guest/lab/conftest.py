# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab as a user has it: the ``hvlab`` command in processes of its own, with folders of its own.

Kernels and images come from the user's cache. State, RAM files, sockets and temporary files lie in
private folders, so whatever a command leaves behind is found there and nowhere else.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import paths
from lab.machine.proc import ProcessId

HVLAB = Path(sys.executable).with_name("hvlab")
SERIES = paths.tests_dir() / "series"
BASE_TIMEOUT = 1800.0
"""Seconds for the first command that needs the base kernel: on empty caches it builds one."""
GONE_SECONDS = 5.0
"""How long killed processes may take to disappear on a loaded machine."""


@dataclasses.dataclass(frozen=True)
class Done:
    """An ended command."""

    argv: list[str]
    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def __str__(self) -> str:
        how = f"{' '.join(self.argv)}\nexit code {self.code}, {self.seconds:.1f} s"
        return f"{how}\nstdout:\n{self.out}\nstderr:\n{self.err}"


class Place:
    """Private folders, and the commands that run with them."""

    def __init__(self) -> None:
        # Short: sockets go below it. Not in pytest's tmp_path, which is kept.
        self.folder = Path(tempfile.mkdtemp(prefix="hvt-", dir="/tmp"))
        shm = paths.shm_dir()
        self.shm = Path(tempfile.mkdtemp(prefix="hvt-", dir=shm)) if shm else self.folder / "shm"
        self.state, self.run_dir, self.temp = (self.folder / name for name in ("state", "run", "tmp"))
        for folder in (self.state, self.run_dir, self.temp, self.shm):
            folder.mkdir(exist_ok=True)
        self.environment = {
            "HVLAB_STATE": str(self.state),
            "HVLAB_SHM": str(self.shm),
            "XDG_RUNTIME_DIR": str(self.run_dir),
            "TMPDIR": str(self.temp),
        }

    def start(self, *args: str | Path, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """``hvlab`` in a process group of its own."""
        # Files, not pipes: a lab that stays up must not keep a reader of ours waiting.
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("wb") as err:
            return subprocess.Popen(
                [str(HVLAB), *map(str, args)],
                stdin=stdin,
                stdout=out,
                stderr=err,
                cwd=self.folder,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )

    def __call__(
        self, *args: str | Path, expect: int | None = 0, timeout: float = 180.0, stdin: bytes = b""
    ) -> Done:
        """Run a verb to its end; fails the test with both outputs when it ends otherwise than expected."""
        started = time.monotonic()
        process = self.start(*args, stdin=subprocess.PIPE)
        try:
            process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        done = self.ended(process, time.monotonic() - started)
        if done.seconds >= timeout:
            pytest.fail(f"took over {timeout:.0f} s: {done}")
        if expect is not None and done.code != expect:
            pytest.fail(f"expected exit code {expect}: {done}")
        return done

    def ended(self, process: subprocess.Popen[bytes], seconds: float = 0.0) -> Done:
        """What a started command has said so far."""
        out, err = ((self.folder / name).read_text(errors="replace") for name in ("stdout", "stderr"))
        argv = [str(a) for a in process.args]  # type: ignore[union-attr]
        code = process.returncode if process.returncode is not None else -1
        return Done(["hvlab", *argv[1:]], code, out, err, seconds)

    def processes(self) -> dict[ProcessId, str]:
        """Every living process that was started from here, by what it inherited or is told."""
        marks = (f"HVLAB_STATE={self.state}".encode(), str(self.folder).encode(), str(self.shm).encode())
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                words = (entry / "environ").read_bytes() + b"\0" + (entry / "cmdline").read_bytes()
            except OSError:
                continue
            identity = ProcessId.of(int(entry.name))
            if identity and identity.alive() and any(mark in words for mark in marks):
                found[identity] = _name(identity.pid)
        return found

    def leftovers(self) -> list[str]:
        """Processes, labs, RAM files, sockets and temporary files; empty when all is gone."""
        deadline = time.monotonic() + GONE_SECONDS
        while (running := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        left = [f"process {p.pid}: {name}" for p, name in running.items()]
        for folder in (self.state / "labs", self.shm, self.run_dir, self.temp):
            left += [str(path) for path in folder.glob("*")] + [str(path) for path in folder.glob(".[!.]*")]
        return sorted(set(left))

    def remove(self) -> None:
        for identity in self.processes():
            identity.kill()
        for folder in (self.folder, self.shm):
            shutil.rmtree(folder, ignore_errors=True)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
    except OSError:
        return "?"


def _used(tidy: Callable[[Place], None]) -> Iterator[Place]:
    place = Place()
    try:
        yield place
        tidy(place)
        left = place.leftovers()
    finally:
        place.remove()
    assert not left, "left behind:\n" + "\n".join(left)


@pytest.fixture
def hvlab() -> Iterator[Place]:
    """The command for one test, which must leave nothing behind."""
    yield from _used(lambda place: None)


@pytest.fixture(scope="module")
def shared_hvlab() -> Iterator[Place]:
    """The command for the tests of one module; labs that they leave up are ended first."""
    yield from _used(lambda place: place("down", "--all") and None)


@dataclasses.dataclass(frozen=True)
class Validated:
    """An ended ``hvlab validate`` with its result."""

    done: Done
    out: Path
    result: dict[str, Any]

    @property
    def code(self) -> int:
        return self.done.code

    def kernel(self, side: str) -> dict[str, Any]:
        kernel: dict[str, Any] = self.result["kernels"][side]["flavours"]["plain"]
        return kernel

    def scenario(self, ident: str) -> dict[str, Any]:
        found = [s for s in self.result["scenarios"] if s["id"] == ident]
        assert len(found) == 1, f"{ident}: {[s['id'] for s in self.result['scenarios']]}"
        return found[0]

    def phase(self, name: str, side: str) -> dict[str, Any] | None:
        found = [p for p in self.result["phases"] if (p["name"], p["side"]) == (name, side)]
        return found[0] if found else None


@pytest.fixture
def validate(hvlab: Place, tmp_path: Path) -> Callable[..., Validated]:
    """``hvlab validate SERIES ... --out DIR`` with its result; exit code and result.json must agree."""
    runs = 0

    def run(*args: str | Path, expect: int, timeout: float = BASE_TIMEOUT) -> Validated:
        nonlocal runs
        runs += 1
        out = tmp_path / f"out-{runs}"
        done = hvlab("validate", *args, "--out", out, expect=expect, timeout=timeout)
        result = json.loads((out / "result.json").read_text())
        assert result["exit_code"] == done.code
        for name in ("junit.xml", "report.html", "summary.txt", "base.lock"):
            assert (out / name).stat().st_size, name
        return Validated(done, out, result)

    return run
