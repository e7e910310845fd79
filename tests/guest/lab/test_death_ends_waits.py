# SPDX-License-Identifier: GPL-2.0-or-later
"""Every death of a guest ends the wait for it within two seconds, says its kind, and leaves nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import paths
from lab.machine import state
from lab.model.errors import GuestDied
from lab.model.kernel import KernelImage
from lab.progress import NullProgress
from lab.templates import load_machine
from lab.validate.bringup import BootRequest, Lab
from lab.validate.kernels import Selectors, prepare

PROMISE = 2.0
PANIC_LINE = b"Kernel panic - not syncing"
WAIT = 60.0


@pytest.fixture(scope="module")
def base() -> KernelImage:
    return prepare(Selectors(), NullProgress())


@pytest.fixture
def private_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("HVLAB_STATE", str(tmp_path))
    yield tmp_path
    assert state.list_labs() == []


def request(kernel: KernelImage, *args: str) -> BootRequest:
    return BootRequest(machine=load_machine("mshv-root", {}), kernel=kernel, kernel_args=args)


class LineClock(threading.Thread):
    """Notes when a line first reaches a console log: the file is written by QEMU itself."""

    def __init__(self, folder: Path, line: bytes) -> None:
        super().__init__(daemon=True)
        self._folder, self._line = folder, line
        self._halt = threading.Event()
        self.seen: float | None = None
        self.start()

    def run(self) -> None:
        while not self._halt.is_set() and self.seen is None:
            for log in self._folder.glob("labs/*/console.log"):
                try:
                    if self._line in log.read_bytes():
                        self.seen = time.monotonic()
                except OSError:
                    continue
            time.sleep(0.005)

    def stop(self) -> float:
        self._halt.set()
        self.join(5.0)
        assert self.seen is not None, "the line never came"
        return self.seen


def test_panic_before_init_ends_the_boot_at_once(private_state: Path) -> None:
    series = paths.tests_dir() / "series" / "panic-early"
    kernel = prepare(Selectors(series=str(series)), NullProgress())
    clock = LineClock(private_state, PANIC_LINE)
    with pytest.raises(GuestDied) as caught:
        Lab.boot(request(kernel), NullProgress())
    ended = time.monotonic()
    assert ended - clock.stop() <= PROMISE
    assert (caught.value.kind, caught.value.phase) == ("panic", "boot")
    assert "hvlab: panic before init, on purpose" in caught.value.what
    assert "hvlab_panic_early" in caught.value.detail


def crash(lab: Lab) -> None:
    lab.root.run("echo c > /proc/sysrq-trigger", check=False, timeout=WAIT)


def triple_fault(lab: Lab) -> None:
    lab.root.run("echo b > /proc/sysrq-trigger", check=False, timeout=WAIT)


def kill_qemu(lab: Lab) -> None:
    lab.machine.identity.kill()


@pytest.mark.parametrize(
    ("deed", "kind", "args"),
    [
        (crash, "panic", ()),
        (triple_fault, "triple-fault", ("reboot=t",)),
        (kill_qemu, "qemu-exit", ()),
    ],
    ids=["panic", "triple-fault", "qemu-killed"],
)
def test_death_while_something_waits(
    private_state: Path, base: KernelImage, deed: Callable[[Lab], None], kind: str, args: tuple[str, ...]
) -> None:
    lab = Lab.boot(request(base, *args), NullProgress())
    try:
        errors: list[GuestDied] = []
        done: list[float] = []

        def wait(how: Callable[[], object]) -> None:
            try:
                how()
            except GuestDied as e:
                errors.append(e)
            done.append(time.monotonic())

        # One waits for a command over SSH, the other for the machine.
        waits = [
            threading.Thread(target=wait, args=(lambda: lab.root.run("sleep 600", timeout=WAIT),)),
            threading.Thread(
                target=wait, args=(lambda: lab.watch.wait(lambda: False, WAIT, "test", "the end"),)
            ),
        ]
        for thread in waits:
            thread.start()
        lab.watch.wait(
            lambda: "sleep" in lab.root.run("ps -o args | grep '[s]leep 600'", check=False).out,
            WAIT,
            "test",
            "the command that the guest is to die under",
        )
        clock = LineClock(private_state, PANIC_LINE) if kind == "panic" else None
        asked = time.monotonic()
        try:
            deed(lab)
        except GuestDied as e:
            errors.append(e)
        for thread in waits:
            thread.join(WAIT)
        assert len(done) == len(waits), "a wait outlived its guest"
        began = clock.stop() if clock else asked
        assert max(done) - began <= PROMISE
        assert {e.kind for e in errors} == {kind}, [str(e) for e in errors]
        assert "console:" in errors[0].detail
    finally:
        lab.close()
