# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver's own traces: a witness where no stand-in keeps a ledger, and a second one where it does."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from lab.model.ledger import LedgerRecord, LedgerSlice
from lab.root.root import Root
from lab.root.session import Session
from lab.root.tracefs import TraceEvent, parse_trace, trace_loss
from lab.validate import trace_ledger
from lab.validate.witness import BlindWitness

BUFFER_KIB = 4096


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


def _names(probe: trace_ledger.Probe) -> Sequence[str]:
    return probe.name, f"{probe.name}_ret"
