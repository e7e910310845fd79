# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux child under Debian's QEMU: login, console, death, snapshot, MMIO and passthrough from inside it."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.child.bar import HELPER, LinuxBar
from lab.child.linux import LinuxChild
from lab.child.protocol import Access
from lab.hypervisor.names import HYPERCALLS
from lab.judge.splats.parser import parse
from lab.machine.child_argv import child_slot
from lab.model.errors import BadInput, ExitCode, GuestDied
from lab.progress import NullProgress
from lab.root.tracefs import Tracing
from lab.templates import load_machine
from lab.validate.bringup import BootRequest, Images, Lab
from lab.validate.child_files import write_ssh_config
from lab.validate.child_service import access_window
from lab.validate.child_snapshot import Up, boot_with_child, restore_with_child, save
from lab.validate.kernels import Selectors, embedded_series, open_cache, prepare
from lab.validate.linux_child import maps_device, start_linux_child

MACHINE = "mshv-root-linux-child"
PAGE = 4096
MSIS = 20
BEAT = "while :; do date +%s.%N >/run/beat.new; mv /run/beat.new /run/beat; sleep 0.2; done"
QEMU_KILLED = "137"
VFIO_INDEX_SHIFT = 40
"""vm_pgoff of a VFIO mapping has the BAR's index from bit 28 on: as a page number that is address bit 40."""
DELETE_PARTITION = next(code for code, name in HYPERCALLS.items() if name == "DELETE_PARTITION")
EINVAL = 22
EDU_IDENTITY = 0x010000ED


def request(params: dict[str, str], *, fixed: bool = False) -> BootRequest:
    series = str(embedded_series()) if fixed else None
    kernel = prepare(Selectors(series=series), NullProgress(), open_cache())
    spec = load_machine(MACHINE, params)
    return BootRequest(machine=spec, kernel=kernel, template=MACHINE, params=params)


@contextmanager
def running(params: dict[str, str], *, fixed: bool = False) -> Iterator[Up]:
    up = boot_with_child(request(params, fixed=fixed), NullProgress(), snapshots=False)
    try:
        yield up
    finally:
        up.child.close()
        up.lab.close()


@pytest.fixture(scope="module")
def plain() -> Iterator[Up]:
    """Root and child on the stock kernel, no device passed on."""
    with running({}) as up:
        yield up


@pytest.fixture(scope="module")
def passed() -> Iterator[Up]:
    """Root and child on the kernel with our series; the child has both devices."""
    with running({"child_devices": "ivshmem0,edu0"}, fixed=True) as up:
        yield up


@pytest.fixture
def bar(passed: Up) -> Iterator[LinuxBar]:
    with LinuxBar(passed.child.ssh, f"0000:00:{child_slot(0):02x}.0", 2) as bar:
        yield bar


@pytest.fixture(scope="module")
def edu(passed: Up) -> Callable[..., str]:
    """child-io with edu bound to VFIO in the child."""
    bdf = f"0000:00:{child_slot(1):02x}.0"
    passed.child.ssh.bind_vfio(bdf)
    return lambda verb, number: passed.child.ssh.run(f"{HELPER} {verb} {bdf} {number}", timeout=60.0).out


def assert_clean(lab: Lab, child: LinuxChild | None, mark: int = 0) -> None:
    for who, lines in (
        ("root", lab.kernel_log.since(mark)),
        ("child", child.ssh.kmsg_since(0) if child else []),
    ):
        splats = list(parse(lines))
        assert not splats, f"{who}: " + "\n".join(line for s in splats for line in (s.title, *s.text))


# ---- the child itself


def test_any_ssh_client_reaches_the_child_through_the_root(plain: Up) -> None:
    machine = plain.lab.machine
    config = write_ssh_config(machine.lab.path, machine.ssh_port, child=True)
    done = subprocess.run(
        ["ssh", "-F", config, "child", "echo $(hostname) $(nproc) $(findmnt -no FSTYPE /); exit 7"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout.split()) == (7, ["child", "2", "overlay"]), done.stderr


def test_child_has_disk_network_and_clock(plain: Up) -> None:
    ssh, root = plain.child.ssh, plain.lab.root
    written = ssh.run("head -c 3000000 /dev/urandom | tee /var/file | sha256sum; sync").out
    ssh.run("echo 3 >/proc/sys/vm/drop_caches")
    assert ssh.run("sha256sum </var/file").out == written, "the disk gives back something else"
    assert ssh.run("test -b /dev/vdb && findmnt -no SOURCE /mnt/old/mnt/disk").out.strip() == "/dev/vdb"
    assert " 0% packet loss" in root.run("ping -c 3 -W 5 10.9.0.2", timeout=30.0).out
    clock = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
    assert ssh.run(f"cat {clock}").out.strip() in ("tsc", "hyperv_clocksource_tsc_page")
    before = time.monotonic()
    slept = ssh.run("read a b </proc/uptime; sleep 2; read c d </proc/uptime; echo $a $c").out.split()
    took = time.monotonic() - before
    assert 1.9 <= float(slept[1]) - float(slept[0]) <= took + 0.1, f"{slept}, host {took:.2f} s"


def test_console_of_the_child_is_kept_in_the_root(plain: Up) -> None:
    assert "HVLAB-CHILD-READY uptime=" in plain.child.console()
    assert_clean(plain.lab, plain.child)


def test_killed_child_ends_every_wait_at_once_and_gives_all_memory_back() -> None:
    with running({"child_cpus": "1"}) as up:
        lab, child = up.lab, up.child
        mark = lab.hypervisor.position()
        session = child.ssh.open_session("sh -c 'echo started; sleep 600'")
        assert session.receive_line() == "started"
        lab.root.run(f"kill -9 {child.pid}")
        started = time.monotonic()
        with pytest.raises(GuestDied) as died:
            session.receive_line(120.0)
        assert died.value.kind == "child-exit", str(died.value)
        assert time.monotonic() - started < 30, "the wait went on after the child's death"
        assert QEMU_KILLED in died.value.what and "HVLAB-CHILD-READY" in died.value.detail, str(died.value)
        child.close()
        assert not lab.partitions_left()
        deleted = [r for r in lab.hypervisor.since(mark).records if r.code == DELETE_PARTITION]
        assert [r.words[1] for r in deleted] == [0], f"deposited pages left behind: {deleted}"
        assert_clean(lab, None)
        again, _seconds = start_linux_child(lab)
        assert again.ssh.run("nproc").out.strip() == "1"
        again.kill()
        assert not lab.partitions_left()


# ---- snapshot


def test_snapshot_of_root_and_running_child_goes_on_where_it_was() -> None:
    asked = request({})
    images = Images.of(asked, open_cache())
    with tempfile.TemporaryDirectory(prefix="hvt-") as name:
        folder = Path(name)
        with running({}) as first:
            first.child.ssh.run("echo kept >/root/kept; echo disk >/var/kept; sync")
            first.child.ssh.run(f"sh -c '{BEAT}' >/dev/null 2>&1 &")
            uptime = float(first.child.ssh.run("cut -d' ' -f1 /proc/uptime").out)
            first.child.close()
            save(first.lab, images, folder)
            position = first.lab.hypervisor.position()
            assert first.lab.root.run("true").rc == 0, "the saved machine does not go on"
        up = restore_with_child(asked, images, folder)
        try:
            lab, ssh = up.lab, up.child.ssh
            assert ssh.run("cat /root/kept /var/kept").out == "kept\ndisk\n"
            later = float(ssh.run("cut -d' ' -f1 /proc/uptime").out)
            assert uptime < later < uptime + 120, f"uptime of the child: {uptime} then, {later} now"
            beat = ssh.run("cat /run/beat; sleep 1; cat /run/beat").out.split()
            assert float(beat[0]) < float(beat[1]), "what ran in the child stands still"
            records = lab.hypervisor.since(max(0, position - 10)).records
            numbers = [r.seq for r in records]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "the ledger has a gap"
            assert lab.hypervisor.position() > 0 and lab.root.run("uname -r").rc == 0
            for where in (lab.root, ssh):
                drift = abs(float(where.run("date +%s").out) - time.time())
                assert drift < 30, f"the clock is {drift:.0f} s off"
            assert_clean(lab, up.child)
        finally:
            up.child.close()
            up.lab.close()


# ---- passthrough on the kernel with our series


def test_every_page_of_the_bar_is_the_devices_own_on_both_processors(passed: Up, bar: LinuxBar) -> None:
    device = passed.lab.device("ivshmem-plain")
    assert bar.pages == device.pages
    for vp in (0, 1):
        results = bar.access([Access(bar.gpa + page * PAGE, 8, vp=vp) for page in range(bar.pages)])
        wrong = [p for p, r in enumerate(results) if not r.ok or r.value != device.expected_word(p)]
        assert not wrong, f"VP {vp}: {len(wrong)} pages, first {wrong[0]}: {results[wrong[0]]}"
    partition = passed.lab.child_partition()
    spa = passed.lab.bar_spa(device)
    table = {
        run.gfn + i: run.spa + i
        for run in passed.lab.hypervisor.slat(partition)
        for i in range(run.pages)
        if bar.gpa >> 12 <= run.gfn + i < (bar.gpa >> 12) + bar.pages
    }
    assert table == {(bar.gpa >> 12) + i: spa + i for i in range(bar.pages)}, "SLAT and BAR differ"


def test_accesses_of_every_width_reach_the_device_and_nothing_else(passed: Up, bar: LinuxBar) -> None:
    memory = passed.lab.device("ivshmem-plain").memory
    assert memory is not None
    page = bar.pages - 1
    try:
        for width, value in ((1, 0xA5), (2, 0xBEEF), (4, 0x12345678), (8, 0x1122334455667788)):
            at = page * PAGE + 64 * width
            bar.write(width % 2, bar.gpa + at, width, value)
            assert memory.read_int(at, width) == value, f"{width} bytes written"
            assert bar.read(1, bar.gpa + at, width) == value, f"{width} bytes read back"
        touched = {page * PAGE + 64 * width for width in (1, 2, 4, 8)}
        strayed = [m for m in memory.verify() if (m.page * PAGE + m.word * 8) not in touched]
        assert not strayed, str(strayed[0])
        beyond = bar.access([Access(bar.gpa + bar.size, 8)])
        assert not beyond[0].ok
    finally:
        memory.restore(page, 1)


def test_mmio_of_a_lab_goes_through_the_childs_own_mapping(passed: Up) -> None:
    lab = passed.lab
    device = lab.device("ivshmem-plain")
    memory = device.memory
    assert memory is not None

    def mmio(**wanted: Any) -> list[dict[str, Any]]:
        given = {"device": "ivshmem0", "width": 8, "vp": 0, "value": None, "count": 1, **wanted}
        return access_window(lab, **given)

    page = device.pages - 1
    try:
        seen = mmio(offset=page * PAGE, vp=1, count=2)
        assert seen[0] == {"offset": page * PAGE, "width": 8, "value": device.expected_word(page)}, seen
        mmio(offset=page * PAGE + 64, width=4, value=0x2A)
        assert memory.read_int(page * PAGE + 64, 4) == 0x2A
    finally:
        memory.restore(page, 1)
    assert mmio(device="edu0", offset=0, width=4)[0]["value"] == EDU_IDENTITY
    for wrong in ({"vp": 2}, {"device": "nope"}, {"offset": page * PAGE + PAGE - 4}):
        with pytest.raises(BadInput):
            mmio(**{"offset": 0, **wrong})


def test_edu_computes_a_factorial_for_the_child(edu: Callable[..., str]) -> None:
    assert edu("factorial", 10).strip() == "3628800"


def test_each_interrupt_of_edu_arrives_in_the_child_once(passed: Up, edu: Callable[..., str]) -> None:
    mark = passed.lab.hypervisor.position()
    told = edu("msi", MSIS).split()
    assert told[:2] == [f"raised={MSIS}", f"arrived={MSIS}"], told
    asserted = [
        r
        for r in passed.lab.hypervisor.since(mark).records
        if HYPERCALLS.get(r.code) == "ASSERT_VIRTUAL_INTERRUPT"
    ]
    assert len(asserted) >= MSIS, f"{len(asserted)} interrupts went through the hypervisor"


def test_edu_reads_and_writes_the_childs_memory_through_the_iommu(edu: Callable[..., str]) -> None:
    assert edu("dma", 4000).startswith("bytes=4000 ")


def test_passthrough_leaves_no_complaint_in_either_kernel(passed: Up, edu: Callable[..., str]) -> None:
    del edu  # after it: the device was in use
    assert_clean(passed.lab, passed.child)


# ---- and on the stock kernel, why not


@contextmanager
def stock(devices: str) -> Iterator[Lab]:
    lab = Lab.boot(request({"child_devices": devices, "child_cpus": "1"}), NullProgress())
    try:
        yield lab
    finally:
        lab.close()


def test_stock_kernel_refuses_edu_and_the_childs_qemu_says_so() -> None:
    with stock("edu0") as lab, Tracing(lab.root, ["syscalls:sys_exit_ioctl"]):
        mark = lab.hypervisor.position()
        with pytest.raises(GuestDied) as died:
            start_linux_child(lab)
        trace = lab.root.get("/sys/kernel/tracing/trace").decode(errors="replace")
        windows = [r for r in lab.hypervisor.since(mark).records if maps_device(r)]
    assert died.value.kind == "child-exit", str(died.value)
    assert "failed to set guest memory" in died.value.detail, str(died.value)
    assert "cannot give the child edu0" in died.value.what, str(died.value)
    assert "refused the BAR as guest memory before it asked" in died.value.what, str(died.value)
    # vm_pgoff of BAR 0 is 0, and page 0 is RAM: the driver refuses before it asks the hypervisor.
    assert f"sys_ioctl -> {-EINVAL & (1 << 64) - 1:#x}" in trace, f"no EINVAL: {trace[-2000:]}"
    assert not windows, f"the hypervisor was asked for device memory: {windows[0]}"


def test_stock_kernel_asks_for_a_page_that_is_not_the_bars() -> None:
    with stock("ivshmem0") as lab:
        mark = lab.hypervisor.position()
        with pytest.raises(GuestDied) as died:
            start_linux_child(lab)
        windows = [r for r in lab.hypervisor.since(mark).records if maps_device(r)]
        right = lab.bar_spa(lab.device("ivshmem-plain"))
    assert died.value.kind == "child-exit", str(died.value)
    assert "failed to set guest memory" in died.value.detail, str(died.value)
    wrong = 2 << VFIO_INDEX_SHIFT >> 12
    told = f"asked the hypervisor for page {wrong:#x}, but ivshmem0 BAR2 begins at {right:#x}"
    assert told in died.value.what, str(died.value)
    asked = [r for r in windows if r.words[3] == wrong]
    assert asked, f"nobody asked for page {wrong:#x}: {windows}"
    assert asked[0].status and not asked[0].rep_done, f"the stand-in mapped it: {asked[0]}"
    assert not [r for r in windows if r.words[3] == right], "the driver found the right page"


def test_up_on_the_stock_kernel_ends_with_the_reason_in_one_message(hvlab: Any) -> None:
    machine = ("--machine", MACHINE, "--param", "child_devices=ivshmem0", "--param", "child_cpus=1")
    run = hvlab("up", "--name", "stock", *machine, expect=ExitCode.FAIL, timeout=1800.0)
    told = run.err.splitlines()
    first = next(n for n, line in enumerate(told) if "this kernel cannot give the child ivshmem0" in line)
    assert "MSHV_SET_GUEST_MEMORY fails; the driver asked the hypervisor for page 0x" in told[first]
    assert len(told) - first <= 4, f"more than one message: {told[first:]}"
    assert "--series" in "\n".join(told[first:]), "it does not say what to do"
