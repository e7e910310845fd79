# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own tracepoints, as a second witness beside the hypervisor's ledger."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from lab.model.errors import BadInput
from lab.root.root import Root

_TRACING = "/sys/kernel/tracing"
_EVENT_NAME = re.compile(r"[a-z0-9_]+(:[a-z0-9_]+)?")
_LINE = re.compile(
    r"\s*(?P<task>.+)-(?P<pid>\d+)\s+\[(?P<cpu>\d+)\]\s+\S+\s+(?P<time>\d+\.\d+): (?P<name>\w+): (?P<text>.*)"
)
_LOST = re.compile(r"^CPU:\d+ \[LOST (\d+) EVENTS\]", re.MULTILINE)
_FIELD = re.compile(r"(\w+)[=:] ?(\S+)")


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One event; ``time`` in seconds since boot, ``fields`` the ``name=value`` pairs of its text."""

    task: str
    pid: int
    cpu: int
    time: float
    name: str
    text: str
    fields: dict[str, str] = field(default_factory=dict)


class Tracing:
    """Use as context manager: events are on inside and off again afterwards."""

    def __init__(self, root: Root, events: Iterable[str]) -> None:
        self._root = root
        self._events = list(events)
        for event in self._events:
            if not _EVENT_NAME.fullmatch(event):
                raise BadInput(f"not a trace event: {event!r}", hint="system:event or system")

    def __enter__(self) -> Tracing:
        switches = " && ".join(f"echo 1 >{_switch(event)}" for event in self._events)
        self._root.run(f"cd {_TRACING} && echo >trace && echo 1 >tracing_on && {switches}")
        return self

    def __exit__(self, *exc: object) -> None:
        switches = "; ".join(f"echo 0 >{_switch(event)}" for event in self._events)
        self._root.run(f"cd {_TRACING}; {switches}", check=False)

    def events(self) -> list[TraceEvent]:
        """What was traced so far."""
        return parse_trace(self._root.get(f"{_TRACING}/trace").decode(errors="replace"))


def _switch(event: str) -> str:
    return f"events/{event.replace(':', '/')}/enable"


def trace_loss(text: str) -> int:
    """Events that the buffer lost, as ``trace_pipe`` says it."""
    return sum(int(number) for number in _LOST.findall(text))


def parse_trace(text: str) -> list[TraceEvent]:
    """The ``trace`` file's lines; comments and lines of other shapes are left out."""
    return [
        TraceEvent(
            m["task"].strip(),
            int(m["pid"]),
            int(m["cpu"]),
            float(m["time"]),
            m["name"],
            m["text"],
            dict(_FIELD.findall(m["text"])),
        )
        for line in text.splitlines()
        if not line.startswith("#") and (m := _LINE.fullmatch(line))
    ]
