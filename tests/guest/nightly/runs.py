# SPDX-License-Identifier: GPL-2.0-or-later
"""Tasks whose variants are stand-ins of a few seconds, and runs of them in processes that can be killed."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import network

from lab.machine.proc import find_by_argument
from lab.model.nightly import BaseFound, BaseGuess, Variant, VariantResult, VariantTask
from lab.nightly import store
from lab.nightly.guard import descendants

HERE = Path(__file__).parent
BUDGET = 180.0
"""Longest time for anything here, on a machine that is busy otherwise."""


class Matrix:
    """Tasks in a folder, and runs of them."""

    def __init__(self, folder: Path, count: int, seconds: float, budget: float = 120.0) -> None:
        self.folder, self.seconds = folder, seconds
        self.token = f"hvt-token-{secrets.token_hex(6)}"
        self.records = []
        for n in range(count):
            series = folder / f"s{n}" / "series.mbox"
            series.parent.mkdir(parents=True)
            series.write_text("good" if n % 2 else "bad")
            guess = BaseGuess(BaseFound.NONE, "not needed")
            task = VariantTask(f"s{n}/v1/plain", "series.mbox", guess, Variant(budget=budget), "plain")
            store.save(series.with_name("task.json"), task)
            self.records.append(series.with_name("task.json"))

    def start(self, net: network.Network | None = None, hosts: str = "hosts.toml") -> subprocess.Popen[str]:
        """Start a run; on the hosts of ``net``, or here."""
        where = str(net.folder / hosts) if net else "-"
        standin = [sys.executable, HERE / "standin.py", self.token, str(self.seconds)]
        argv = [sys.executable, HERE / "driver.py", self.folder / "out", where, *self.records, "--", *standin]
        return subprocess.Popen(
            net.here(argv) if net else [str(a) for a in argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "TMPDIR": str(self.temp())},
            # Whoever was started in the background of a script has inherited that SIGINT is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def temp(self) -> Path:
        """Where whatever is forgotten would lie."""
        (folder := self.folder / "tmp").mkdir(exist_ok=True)
        return folder

    def results(self) -> list[VariantResult | None]:
        """What is there now."""
        files = [r.parent / "plain" / "variant.json" for r in self.records]
        return [store.load(f, VariantResult) if f.exists() else None for f in files]

    def running(self) -> bool:
        """Whether any process of any variant runs, on any host."""
        return any(b"driver.py" not in words for words in self._processes())

    def at_work(self) -> bool:
        """Whether a variant has started what it starts."""
        return any(words.rstrip(b"\0").endswith(self.token.encode()) for words in self._processes())

    def _processes(self) -> list[bytes]:
        found = []
        for process in find_by_argument(self.token):
            with suppress(OSError):
                found.append(Path(f"/proc/{process.pid}/cmdline").read_bytes())
        return found

    def nothing_left(self, budget: float = 5.0) -> None:
        """No process, no temporary file, no half of a result."""
        until(lambda: not self.running(), budget, "processes of variants")
        assert list(self.temp().iterdir()) == []
        assert [p for p in self.folder.rglob("*") if p.name.startswith(".")] == []


def until(what: Callable[[], bool], budget: float, name: str) -> None:
    """Wait until ``what``."""
    deadline = time.monotonic() + budget
    while not what():
        assert time.monotonic() < deadline, f"{name}: not within {budget} s"
        time.sleep(0.1)


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for the end of a run that must succeed; what it said."""
    said, _ = process.communicate(timeout=BUDGET)
    assert process.returncode == 0, said
    return said


def kill_all(process: subprocess.Popen[str]) -> None:
    """SIGKILL to a run and all of its processes on this machine, but not to guards and what they guard."""
    started = set(descendants(process.pid))
    for guarded in [p for p in started if b"lab.nightly.guard" in Path(f"/proc/{p}/cmdline").read_bytes()]:
        started -= {guarded, *descendants(guarded)}
    for pid in [process.pid, *started]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=10)
