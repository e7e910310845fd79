# SPDX-License-Identifier: GPL-2.0-or-later
"""A lab that is a machine of others: an existing root partition, reached by SSH and nothing else.

Nothing is booted, bound or tripped on purpose there. The lab uploads its VMM, drives a child with it,
listens to the driver's traces in a trace buffer of its own, and takes all of that away again.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from lab.build.vmm import BINARY, build_vmm
from lab.cache import Cache
from lab.child.protocol import VmmError
from lab.child.vmm import Vmm
from lab.machine.ivshmem import WORDS_PER_PAGE
from lab.model.errors import LabUnavailable
from lab.model.ledger import LedgerRecord, LedgerSlice
from lab.model.machine import MachineSpec, PciDevice
from lab.progress import Progress
from lab.root.root import Root
from lab.root.session import Session
from lab.root.tracefs import TraceEvent, parse_trace, trace_loss
from lab.validate import preflight, trace_ledger
from lab.validate.base import BaseLab, LabDevice
from lab.validate.kernel_log import KernelLog
from lab.validate.kernels import open_cache
from lab.validate.witness import BlindWitness, Witness

FOLDERS = ("/run", "/var/tmp", "/tmp", "/root")
"""Where an uploaded program may be allowed to run; some of them are often mounted noexec."""
_LOG_END = 1 << 62
"""Beyond every kernel log: the VMM only shows that it runs."""
BUFFER_KIB = 4096
IDENTITY_WORDS = (0, 1, WORDS_PER_PAGE - 1)
"""Words of each page that the root reads beforehand: what a child must read there later."""
_DISTINCT = 2
"""Pages that must differ in their first word, at least, for a wrong page to show."""


class TraceWitness(BlindWitness):
    """The driver's own traces in an instance of tracefs."""

    name = "the driver's traces"
    detectors: tuple[str, ...] | None = ()

    def __init__(self, machine: str, root: Root, tracing: str) -> None:
        super().__init__(machine)
        self._root = root
        self._tracing = tracing
        self._instance = f"{tracing}/instances/{trace_ledger.GROUP}-{os.getpid()}"
        self._calls: set[str] = set()
        self._pipe: Session | None = None
        self._events: list[TraceEvent] = []
        self._found: list[LedgerRecord] = []
        self._lost = 0

    def start(self) -> None:
        """Set up what the machine allows; nothing of it is an error."""
        run = self._root.run
        # A lab that was killed there may have left its own; there is one at a time.
        stale = f"{self._tracing}/instances/{trace_ledger.GROUP}-*"
        run(
            f"for i in {stale}; do [ ! -d $i ] || {{ echo 0 >$i/events/enable; rmdir $i; }}; done",
            check=False,
        )
        make = f"mkdir {self._instance} && cd {self._instance} && echo {BUFFER_KIB} >buffer_size_kb"
        if run(make, check=False).rc:
            return
        for probe in trace_ledger.PROBES:
            self._forget(probe)
            lines = [
                f"echo {shlex.quote(line)} >>{self._tracing}/kprobe_events" for line in probe.definitions()
            ]
            lines += [f"echo 1 >{self._event(name)}" for name in _names(probe)]
            if run(" && ".join(lines), check=False).rc == 0:
                self._calls.add(probe.call)
        for name, call in trace_ledger.TRACEPOINTS.items():
            if run(f"echo 1 >{self._instance}/events/mshv/{name}/enable", check=False).rc == 0:
                self._calls.add(call)
        self.sees_ledger = bool(self._calls & {probe.call for probe in trace_ledger.PROBES})
        self.sees_children = {"CREATE_PARTITION", "DELETE_PARTITION"} <= self._calls

    def stop(self) -> None:
        """Take the probes and the instance away."""
        if self._pipe is not None:
            self._pipe.close()
        off = "; ".join(
            [f"echo 0 >{self._event(name)}" for probe in trace_ledger.PROBES for name in _names(probe)]
            + [f"rmdir {self._instance}"]
        )
        self._root.run(f"{off}; :", check=False)
        for probe in trace_ledger.PROBES:
            self._forget(probe)

    def notes(self) -> tuple[str, ...]:
        """What is not observed on this machine."""
        calls = [p.call for p in trace_ledger.PROBES if p.call not in self._calls]
        notes = [f"not observed: {', '.join(calls)} (no kprobe on the driver's function)"] if calls else []
        if not self.sees_children:
            notes.append("not observed: partitions (no tracepoints of mshv)")
        return (*notes, "not observed: the SLAT, statuses of single hypercalls, faults on purpose")

    def position(self) -> int:
        """Number of records so far."""
        return len(self._records()[0]) if self.sees_ledger else 0

    def since(self, position: int) -> LedgerSlice:
        """Records after a position."""
        if not self.sees_ledger:
            return super().since(position)
        found, lost = self._records()
        return LedgerSlice(tuple(found[position:]), lost, len(found))

    def observes(self, call: str) -> bool:
        """Whether there is a probe or tracepoint for this hypercall."""
        return call in self._calls

    def children(self) -> list[int]:
        """Partitions created and not deleted since the lab connected."""
        return trace_ledger.children(self._records()[0]) if self.sees_children else super().children()

    def _records(self) -> tuple[list[LedgerRecord], int]:
        """All records so far. The buffer is read by consuming it, so that it never fills and no event is
        read twice."""
        if self._pipe is None:
            self._pipe = self._root.open_session(f"{self._root.vmm} --drain {self._instance}/trace_pipe")
        self._pipe.send_line("more")
        lines: list[str] = []
        while (line := self._pipe.receive_line()) != "drained":
            lines.append(line)
        if lines:
            text = "\n".join(lines)
            self._events += parse_trace(text)
            self._lost += trace_loss(text)
            self._found = trace_ledger.records(self._events)
        return self._found, self._lost

    def _event(self, name: str) -> str:
        return f"{self._instance}/events/{trace_ledger.GROUP}/{name}/enable"

    def _forget(self, probe: trace_ledger.Probe) -> None:
        gone = "; ".join(
            f"echo -:{trace_ledger.GROUP}/{name} >>{self._tracing}/kprobe_events" for name in _names(probe)
        )
        self._root.run(f"({gone}) 2>/dev/null; :", check=False)


class ExternalLab(BaseLab):
    """Use :meth:`connect`; :meth:`close` leaves the machine as it was."""

    witness: Witness

    def __init__(self, spec: MachineSpec, root: Root) -> None:
        super().__init__(spec, f"{spec.name} {preflight.access_of(spec).host}", None)
        self.root = root
        self.watch = root.watch
        self._release.callback(root.close)
        self.notes: tuple[str, ...] = ()

    @classmethod
    def connect(cls, spec: MachineSpec, progress: Progress, cache: Cache | None = None) -> ExternalLab:
        """Log in, look, upload, listen. Raises BadInput or LabUnavailable; nothing stays then."""
        vmm = build_vmm(cache or open_cache(), BINARY).read_bytes()
        lab = cls(spec, preflight.connect(spec))
        try:
            facts = preflight.ask(lab.root, spec)
            checks = preflight.judge(facts, spec)
            preflight.require(checks, spec)
            lab.release = facts["release"]
            lab._upload(vmm)
            lab.kernel_log = KernelLog(lab.root)
            lab.log_mark = lab.kernel_log.position()
            lab.witness = lab._listen(facts.get("tracing", ""))
            lab.devices = tuple(lab._identify(d) for d in spec.devices if isinstance(d, PciDevice))
            for note in lab.notes:
                progress.note(note)
        except BaseException:
            lab.close()
            raise
        return lab

    def alive(self) -> bool:
        """Whether the connection stands."""
        return self.root.connected()

    def passthrough(self, device: LabDevice) -> None:
        """Nothing: the device is with vfio-pci, or the lab would not have begun."""

    def _upload(self, vmm: bytes) -> None:
        for folder in FOLDERS:
            path = f"{folder}/hvlab-{os.getpid()}-{BINARY}"
            install = f"[ -w {folder} ] && cat >{path} && chmod 700 {path} && {path} --kmsg {_LOG_END}"
            tried = self.root.run(install, stdin=vmm, check=False, timeout=60.0)
            if tried.rc == 0:
                self.root.vmm = path
                self._release.callback(self._remove, path)
                return
            self._remove(path)
        raise LabUnavailable(
            f"no folder of {', '.join(FOLDERS)} lets a program run",
            where=self.name,
            hint="mount one of them without noexec",
            detail=tried.err,
        )

    def _remove(self, path: str) -> None:
        if self.root.connected():
            self.root.run(f"rm -f {path}", check=False)

    def _listen(self, tracing: str) -> Witness:
        witness = TraceWitness(self.spec.name, self.root, tracing)
        if tracing:
            witness.start()
            self._release.callback(lambda: witness.stop() if self.root.connected() else None)
        self.notes = witness.notes()
        return witness

    def _identify(self, device: PciDevice) -> LabDevice:
        """What the root itself reads from the device, before any child can have changed it."""
        pages = self.root.pci_device(device.bdf).bar(device.bar).size >> 12
        vmm = Vmm(self.root)
        vmm.start()
        try:
            number = vmm.map_host(device.bdf, device.bar)
            at = [(page, word) for page in range(pages) for word in IDENTITY_WORDS]
            values = vmm.host_words(number, [page * 4096 + word * 8 for page, word in at])
        except VmmError as e:
            busy = " (another program holds it)" if e.errno_name == "EBUSY" else ""
            raise LabUnavailable(
                f"device {device.bdf} cannot be opened{busy}: {e.text}", where=self.name
            ) from e
        finally:
            vmm.close()
        words = dict(zip(at, values, strict=True))
        if distinct(words, pages) < min(pages, _DISTINCT):
            self.notes += (
                f"not observed: pages of {device.bdf} BAR{device.bar}, whose first words are all alike",
            )
            words = {}
        return LabDevice(device.id, device.kind, device.bdf, device.bar, pages, words=words)


def distinct(words: dict[tuple[int, int], int], pages: int) -> int:
    """How many different first words the pages have: 1 when no wrong page could ever show."""
    return len({words[page, 0] for page in range(pages)})


def _names(probe: trace_ledger.Probe) -> Sequence[str]:
    return probe.name, f"{probe.name}_ret"
