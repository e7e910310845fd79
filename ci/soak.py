# SPDX-License-Identifier: GPL-2.0-or-later
"""A real VMM under load, for a long time: boots of a Linux child in a row, then a soak.

Each boot comes from nothing to an SSH login in the child (2 LPs, 2 VPs) and ends by SIGKILL to the child's
QEMU: the power-off of QEMU 11 sometimes hangs by itself. The soak keeps network, disk and memory-mapped I/O
of the child busy while the root creates and destroys partitions beside it. Nothing may hang, no kernel
may complain, no byte may differ, and every page that a partition was given must come back.

Finished jobs are kept in RESULTS (a JSON file); a second start goes on where the first one ended,
unless the code changed: then it begins anew.

    python ci/soak.py [--boots 20] [--minutes 30] [--results FILE] [--qemu PATH]
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from clean import code_key, load, save

from lab.child.bar import LinuxBar
from lab.child.linux import LinuxChild
from lab.child.memory import DestroyOrder
from lab.child.protocol import Access
from lab.child.vmm import Vmm
from lab.hypervisor import format_record
from lab.hypervisor.names import HYPERCALLS
from lab.judge.splats.parser import parse
from lab.machine.child_argv import CHILD_ADDRESS, child_slot
from lab.model.errors import GuestDied, LabError
from lab.model.ledger import RecordKind
from lab.paths import images_dir
from lab.progress import NullProgress
from lab.root.root import Root
from lab.templates import load_machine
from lab.unwind import unwind_on_signals
from lab.validate.bringup import BootRequest, Lab
from lab.validate.child_snapshot import boot_with_child
from lab.validate.kernels import Selectors, embedded_series, prepare

DEFAULT_RESULTS = Path("hvlab-out") / "soak.json"
MACHINE = "mshv-root-linux-child"
LOAD = "/run/load"
PAGE = 4096
PAGES_AT_ONCE = 64
LOOK_SECONDS = 20.0
"""How often both kernel logs are read."""
SETTLE_SECONDS = 120.0
"""Longest time for a round of load to end after it was told to."""
ORDERS: tuple[DestroyOrder, ...] = ("tidy", "vps", "partition")

Job = dict[str, object]


class Accounts:
    """Pages given to partitions and back, from the ledger as it grows."""

    def __init__(self, lab: Lab) -> None:
        self._view = lab.hypervisor
        self._position = 0
        self._held: Counter[int] = Counter()
        self.totals: Counter[str] = Counter()
        self.bad: list[str] = []

    def update(self) -> None:
        """Take in new records. To be called often enough: the ring keeps 131,072 of them."""
        seen = self._view.since(self._position)
        self._position = seen.end
        self.totals["ledger records lost"] += seen.lost
        for r in seen.records:
            if r.kind is not RecordKind.HYPERCALL:
                continue
            name, pages = HYPERCALLS.get(r.code, ""), r.rep_done - r.rep_start
            if name == "DEPOSIT_MEMORY" and r.words[0] != Lab.root_id:
                self._held[r.words[0]] += pages
                self.totals["pages deposited"] += pages
            elif name == "WITHDRAW_MEMORY" and r.words[0] != Lab.root_id:
                self._held[r.words[0]] -= pages
                self.totals["pages withdrawn"] += pages
            elif name == "DELETE_PARTITION" and r.status == 0:
                self.totals["partitions deleted"] += 1
                left = self._held.pop(r.words[0], 0)
                if r.words[1]:
                    self.bad.append(f"partition {r.words[0]} went with {r.words[1]} pages (ours: {left})")


def main() -> int:
    """Exit 0 when every job is good."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--boots", type=int, default=20, help="boots in a row (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=30.0, help="time of the soak (default: %(default)s)")
    parser.add_argument(
        "--results", type=Path, default=DEFAULT_RESULTS, help="result file (default: %(default)s)"
    )
    parser.add_argument("--qemu", help="QEMU to use (default: the installed one)")
    args = parser.parse_args()
    unwind_on_signals()
    return run_jobs(args.results, args.boots, args.minutes, args.qemu)


def run_jobs(results: Path, boots: int, minutes: float, qemu: str | None) -> int:
    """Boots and soak that are not done yet; 0 when all are good."""
    known = load(results, code_key())
    jobs = known["jobs"]
    assert isinstance(jobs, dict)
    wanted: dict[str, Callable[[], Job]] = {f"boot-{n}": lambda: one_boot(qemu) for n in range(1, boots + 1)}
    if minutes:
        wanted[f"soak-{minutes:g}"] = lambda: soak(minutes, qemu)
    for name, work in wanted.items():
        if name not in jobs:
            try:
                jobs[name] = work()
            except LabError as e:
                jobs[name] = {"good": False, "bad": [str(e)]}
            save(results, known)
        job = jobs[name]
        print(f"{name}: {'good' if job['good'] else 'BAD'}, {job.get('seconds', '?')} s", flush=True)
        for what, number in job.get("counts", {}).items():
            print(f"  {what}: {number}")
        for line in job["bad"]:
            print(f"  {line}")
    bad = [name for name in wanted if not jobs[name]["good"]]
    print(f"{len(wanted) - len(bad)} of {len(wanted)} jobs good; {results}")
    return 1 if bad else 0


def request(qemu: str | None, params: dict[str, str], series: str | None) -> BootRequest:
    """What to boot."""
    kernel = prepare(Selectors(series=series, qemu=qemu), NullProgress())
    spec = load_machine(MACHINE, params)
    return BootRequest(machine=spec, kernel=kernel, qemu=qemu, template=MACHINE, params=params)


def one_boot(qemu: str | None) -> Job:
    """From nothing to a login in the child, and its violent end."""
    up = boot_with_child(request(qemu, {}, None), NullProgress(), snapshots=False)
    try:
        accounts = Accounts(up.lab)
        said = up.child.ssh.run("nproc; cat /proc/uptime").out.split()
        bad = [] if said[0] == "2" else [f"the child has {said[0]} processors"]
        bad += complaints(up.lab, up.child)
        bad += finish(up.lab, up.child, accounts)
    finally:
        up.child.close()
        up.lab.close()
    return {"good": not bad, "bad": bad, "seconds": round(up.seconds, 1)}


def complaints(lab: Lab, child: LinuxChild | None) -> list[str]:
    """Splats of the root and of the child since their boots."""
    found = [f"root: {s.title}" for s in parse(lab.kernel_log.since(0))]
    if child is not None:
        found += [f"child: {s.title}" for s in parse(child.ssh.kmsg_since(0))]
    return found


def finish(lab: Lab, child: LinuxChild, accounts: Accounts) -> list[str]:
    """Kill the child; what of it is left, or was not given back."""
    child.kill()
    left = lab.partitions_left()
    accounts.update()
    bad = [f"partition {ident} is still there" for ident in left]
    given, back = accounts.totals["pages deposited"], accounts.totals["pages withdrawn"]
    if not accounts.totals["partitions deleted"]:
        bad.append("the ledger shows no deleted partition")
    if given != back:
        bad.append(f"{given} pages were given to partitions, {back} came back")
    return bad + accounts.bad + complaints(lab, None)


def soak(minutes: float, qemu: str | None) -> Job:
    """Load in root and child for so many minutes."""
    started = time.monotonic()
    asked = request(qemu, {"child_devices": "ivshmem0"}, str(embedded_series()))
    up = boot_with_child(asked, NullProgress(), snapshots=False)
    lab, child = up.lab, up.child
    try:
        accounts, counts = Accounts(lab), Counter[str]()
        script = (images_dir() / "child" / "load").read_bytes()
        for where in (child.ssh, lab.root):
            where.put(script, LOAD, 0o755)
        start_load(child.ssh, "child")
        start_load(lab.root, f"root {CHILD_ADDRESS}")
        end, look = time.monotonic() + 60 * minutes, 0.0
        bad: list[str] = []
        with LinuxBar(child.ssh, f"0000:00:{child_slot(0):02x}.0", 2) as bar:
            while time.monotonic() < end and not bad:
                bad += device_round(lab, bar, counts)
                vmm_round(lab.root, counts)
                accounts.update()
                if time.monotonic() > look:
                    bad += complaints(lab, child)
                    look = time.monotonic() + LOOK_SECONDS
        for where in (lab.root, child.ssh):
            bad += stop_load(where, counts)
        bad += complaints(lab, child)
        bad += finish(lab, child, accounts)
        if accounts.totals["ledger records lost"]:
            bad.append("the ledger was not read fast enough: the accounts are not whole")
    except GuestDied as e:
        seconds = round(time.monotonic() - started, 1)
        return {"good": False, "bad": [f"{e.phase}: {e}", *autopsy(lab, child)], "seconds": seconds}
    finally:
        child.close()
        lab.close()
    bad += [f"no round of {what}" for what in ("disk", "reading", "fetching") if not counts[what]]
    seconds = round(time.monotonic() - started, 1)
    return {"good": not bad, "bad": bad, "seconds": seconds, "counts": {**counts, **accounts.totals}}


def autopsy(lab: Lab, child: LinuxChild) -> list[str]:
    """What the root can tell of a child that does not answer; the root itself may be the one."""
    try:
        said = [child.console()[-2000:], child.qemu_log()[-1000:], lab.root.stacks()]
        said.append("\n".join(lab.kernel_log.since(0)[-20:]))
    except LabError as e:
        return [f"the root does not answer either: {e}"]
    records = lab.hypervisor.since(max(0, lab.hypervisor.position() - 40)).records
    return [*said, *(format_record(r, resolve=lab.symbolise) for r in records)]


def device_round(lab: Lab, bar: LinuxBar, counts: Counter[str]) -> list[str]:
    """Random pages of the BAR, read by both processors and written by one."""
    device = lab.device("ivshmem-plain")
    assert device.memory is not None
    pages = random.sample(range(bar.pages), PAGES_AT_ONCE)
    bad = []
    for vp in (0, 1):
        for page, result in zip(
            pages, bar.access([Access(bar.gpa + page * PAGE, 8, vp=vp) for page in pages]), strict=True
        ):
            if result.value != device.expected_word(page):
                bad.append(f"VP {vp} reads {result.value!r} from page {page} of the BAR")
    value, page = random.getrandbits(64), pages[0]
    bar.write(0, bar.gpa + page * PAGE + 8, 8, value)
    if device.memory.read_int(page * PAGE + 8, 8) != value:
        bad.append(f"a write to page {page} of the BAR went elsewhere")
    device.memory.restore(page, 1)
    counts["accesses to the BAR"] += 2 * PAGES_AT_ONCE + 1
    return bad


def vmm_round(root: Root, counts: Counter[str]) -> None:
    """A partition with two processors that run, gone again in one of the ways a VMM can go."""
    vmm = Vmm(root)
    vmm.start()
    vmm.create_partition(vps=2)
    region = vmm.map_anonymous(0x100000, 64)
    vmm.parallel([[Access(region.gpa + PAGE * i, 8, vp=vp) for i in range(64)] for vp in (0, 1)])
    number = counts["partitions created and destroyed"]
    if number % 4 == 3:
        vmm.kill()
    else:
        vmm.destroy(ORDERS[number % 4])
        vmm.quit()
    counts["partitions created and destroyed"] += 1


def start_load(where: Root, how: str) -> None:
    """Begin; a session that ends leaves the load running."""
    where.run(f"setsid {LOAD} {how} </dev/null >/dev/null 2>&1", timeout=60.0)


def stop_load(where: Root, counts: Counter[str]) -> list[str]:
    """End; the rounds done are added to ``counts``."""
    where.run("rm -f /run/soak")
    deadline = time.monotonic() + SETTLE_SECONDS
    while where.run(f"pgrep -f '{LOAD} (roo[t]|chil[d])'", check=False).out.strip():
        if time.monotonic() > deadline:
            return ["the load does not end"]
        time.sleep(1.0)
    for path in where.run("ls /run/soak.*", check=False).out.split():
        name = path.rpartition(".")[2]
        if name != "bad":
            counts[name] += int(where.run(f"cat {path}").out)
    return where.run("cat /run/soak.bad").out.splitlines()


if __name__ == "__main__":
    sys.exit(main())
