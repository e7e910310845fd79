# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux child's side of the lab: accesses in lines, and waits that end with the child."""

from types import SimpleNamespace

import pytest

from lab.child.bar import LinuxBar
from lab.child.linux import LinuxChild
from lab.child.protocol import Access, VmmError
from lab.model.errors import GuestDied, LabError
from lab.root.session import SessionEnded

BDF = "0000:00:10.0"
BASE, SIZE = 0xFE400000, 0x4000


class FakeHelper:
    """child-io as the lab talks to it: memory of a device, or ``answers`` as they are."""

    def __init__(self, command, answers=()):
        self.command, self.answers, self.memory = command, list(answers), {}
        self.lines = [f"ready {SIZE:x}"]

    def send_line(self, line, budget):
        tag, *words = line.split()
        if self.answers:
            self.lines.append(self.answers.pop(0).replace("TAG", tag))
            return
        results = []
        for word in words:
            where, _, value = word.partition("=")
            offset = int(where.split(":")[1], 16)
            if value:
                self.memory[offset] = int(value, 16)
            inside = offset < SIZE
            results.append(("w" if value else f"{self.memory.get(offset, 0):x}") if inside else "!EINVAL")
        self.lines.append(" ".join([tag, "ok", *results]))

    def receive_line(self, budget):
        return self.lines.pop(0)

    def close(self):
        self.command = ""


class FakeSsh:
    def __init__(self, answers=()):
        self.helpers, self.answers, self.commands = [], answers, []

    def pci_device(self, bdf):
        return SimpleNamespace(bar=lambda index: SimpleNamespace(address=BASE, size=SIZE))

    def run(self, command):
        self.commands.append(command)

    def open_session(self, command):
        self.helpers.append(FakeHelper(command, self.answers))
        return self.helpers[-1]


def test_accesses_go_by_offset_to_a_helper_bound_to_their_processor():
    ssh = FakeSsh()
    with LinuxBar(ssh, BDF, 2) as bar:
        assert ssh.commands == [f"echo 1 >/sys/bus/pci/devices/{BDF}/enable"]
        bar.write(1, BASE + 0x1008, 4, 0xABCD)
        assert bar.read(1, BASE + 0x1008, 4) == 0xABCD
        results = bar.access([Access(BASE + 8 * i, 8, vp=i % 2) for i in range(1000)])
        assert [r.value for r in results] == [0xABCD if i == 513 else 0 for i in range(1000)]
        assert sorted(h.command.split(" /usr")[0] for h in ssh.helpers) == ["taskset -c 0", "taskset -c 1"]
    assert all(h.command == "" for h in ssh.helpers), "a helper was left running"


def test_access_that_cannot_be_done_is_no_value():
    bar = LinuxBar(FakeSsh(), BDF, 2)
    good, bad = bar.access([Access(BASE, 8), Access(BASE + SIZE, 8)])
    assert good.ok and not bad.ok and bad.value is None
    with pytest.raises(VmmError) as error:
        bar.read(0, BASE + SIZE, 4)
    assert error.value.errno_name == "EFAULT"


@pytest.mark.parametrize("answer", ["TAG ok", "TAG ok 1 2", "other ok 1", "nonsense"])
def test_helper_that_answers_something_else_is_the_labs_failure(answer):
    with pytest.raises(LabError):
        LinuxBar(FakeSsh([answer]), BDF, 2).access([Access(BASE, 8)])


class FakeRoot:
    """A root whose child's console says ``lines`` and whose QEMU ends after them."""

    factor = 1.0
    watch = SimpleNamespace(check=lambda phase: None)

    def __init__(self, lines, ended=True):
        self.lines, self.ends = list(lines), ended
        self._transport = SimpleNamespace(tunnel=None)

    def run(self, command, timeout=20.0, check=True):
        said = "4711\n" if "start" in command else "134\n" if command.startswith("cat") else "qemu: no\n"
        return SimpleNamespace(out=said, rc=0)

    def open_session(self, command):
        def receive_line(budget):
            if self.lines:
                return self.lines.pop(0)
            if self.ends:
                raise SessionEnded("the command has ended", phase="x")
            raise GuestDied("no answer", kind="driver-hang", phase="x")

        return SimpleNamespace(
            receive_line=receive_line, ended=lambda: self.ends, close=lambda patience=0: None
        )


@pytest.fixture
def key(tmp_path):
    return tmp_path / "key"


def test_boot_ends_with_the_line_of_the_childs_init(key):
    child = LinuxChild(FakeRoot(["BIOS", "HVLAB-CHILD-READY uptime=1"], ended=False), key)
    child.start(["qemu"], address="10.9.0.1", disk_bytes=1)
    assert child.pid == 4711
    child.wait_ready()
    assert not child.ended()


@pytest.mark.parametrize(("ended", "kind"), [(True, "child-exit"), (False, "boot-hang")])
def test_child_that_dies_or_falls_silent_ends_the_wait_with_its_words(key, ended, kind):
    child = LinuxChild(FakeRoot(["BIOS"], ended=ended), key)
    with pytest.raises(GuestDied) as died:
        child.wait_ready()
    assert died.value.kind == kind and "qemu: no" in died.value.detail
    if ended:
        assert "134" in died.value.what


def test_any_wait_on_the_child_looks_at_its_qemu(key):
    child = LinuxChild(FakeRoot([]), key)
    child.attach()
    with pytest.raises(GuestDied) as died:
        child.ssh.watch.check("running something")
    assert died.value.kind == "child-exit" and died.value.phase == "running something"
