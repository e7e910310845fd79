# SPDX-License-Identifier: GPL-2.0-or-later
"""One report while it is being read: what its lines add, and when it is complete."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lab.judge.splats.frames import behind_locks, frame, instruction_pointer, is_frame, without_reporter
from lab.judge.splats.identity import splat_id
from lab.judge.splats.prefix import LogLine
from lab.judge.splats.rule import End, Facts, Role, Rule, also_titles, title_of
from lab.model.splat import Damage, Splat

TEXT_LIMIT = 400
"""Lines of a report that are kept; a circular lock report with long chains has about 200."""
FRAME_LIMIT = 64
PATIENCE = 300
"""Lines after which a report without an end is given up."""
PATIENCE_AFTER_STACK = 12
"""Lines between the end of the stack and the end marker (registers, modules, lock events)."""

RULER = re.compile(r"={20,}$")
CUT_HERE = "------------[ cut here ]"

_CPU = re.compile(
    r"CPU: (?P<cpu>\d{1,5}) (?:UID: \d+ )?PID: (?P<pid>\d{1,9}) Comm: (?P<task>.{1,32}?) "
    r"(?:Not tainted|Tainted|Kdump|G |#)"
)
_BY = re.compile(r"by task (?:(?P<task>.{1,32})/)?(?P<pid>\d{1,9})(?: on cpu (?P<cpu>\d{1,5}))?:?$")
_CARRIED = re.compile(r"CPU#(?P<cpu>\d{1,5}): (?P<task>.{1,32})/(?P<pid>\d{1,9})$")
_COMM = re.compile(r'  comm "(?P<task>[^"]{1,32})", pid (?P<pid>\d{1,9})')
_ATOMIC = re.compile(r"in_atomic\(\): .{0,80}pid: (?P<pid>\d{1,9}), name: (?P<task>.{1,32})$")
_LOCK = re.compile(r"(?: {0,4}#\d{1,4}: )?[0-9a-f]{0,16} ?\((?P<name>.{1,120}?)\)\{[^}]{1,16}\}")
_RELEASED = re.compile(r".{1,60} is trying to (?:release|contend) lock \((?P<name>.{1,120})\) at:")
_PLACE = re.compile(r"(?P<file>[\w./-]{1,200}\.[ch]):\d{1,6} (?P<what>.{1,100}?)!?$")
_ACCESS = re.compile(r"(?P<access>Read|Write) (?:of size \d|at 0x)")
_VERSION = re.compile(r"(?:#\d+)?(?:/\d+)?$")
_OTHER_STACK = re.compile(
    r"(?:Allocated|Freed|Last potentially|Second to last|The buggy|Showing all locks|Uninit was"
    r"|NMI backtrace for cpu|allocated by|freed by)"
)
_HEADING = re.compile(r"(?:Call [Tt]race:|  backtrace\b)")
_HELD = re.compile(r" {0,4}#\d{1,4}: ")
_ENCLOSURE = re.compile(r" ?<(?P<end>/?)(?P<name>[A-Z]{2,12})>$")
_OOPS_TAIL = re.compile(r"(?:Rebooting in \d|reboot: )")


@dataclass(slots=True)
class Report:
    """An open report. ``feed`` takes its lines, ``done`` says that nothing more is to come."""

    rule: Rule
    groups: dict[str, str]
    start: int
    banner: str = ""
    drops: int = 0
    """Messages that the kernel said it had dropped before this report, as the parser counts them."""
    text: list[str] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)
    locks: list[str] = field(default_factory=list)
    task: str = ""
    cpu: int | None = None
    place: str = ""
    access: str = ""
    fault: str = ""
    """The function of an RIP line above the stack."""
    second_banner: str = ""
    count: int = 0
    last: int = 0
    stack_closed: bool = False
    stack_done_at: int = 0
    in_trace: bool = False
    enclosed: bool = False
    inside: set[str] = field(default_factory=set)
    """Enclosures of the stack (TASK, IRQ, NMI) that are open."""
    complete: bool = False
    done: bool = False
    damage: Damage | None = None

    def __post_init__(self) -> None:
        self._take_groups(self.groups)
        if self.rule.end is End.LINE:
            self.complete = self.done = True

    def feed(self, line: LogLine) -> None:
        """Add a line that belongs to this report and is no banner."""
        self.keep(line)
        text = line.text
        self._end_marker(text)
        if self.done:
            return
        self._facts(text)
        self._stack(text)
        limit = PATIENCE_AFTER_STACK if self.stack_closed else PATIENCE
        if self.count - self.stack_done_at > limit:
            self.done = True

    def keep(self, line: LogLine) -> None:
        """Add a line to the text only."""
        self.count += 1
        self.last = line.number
        if len(self.text) < TEXT_LIMIT:
            self.text.append(line.raw)
        if "\ufffd" in line.raw:
            self.damage = self.damage or Damage.NOISE

    def absorb(self, rule: Rule, groups: dict[str, str], line: LogLine) -> bool:
        """Take a banner that belongs to this report; False if it begins another one."""
        mine = self.rule.role
        if self.frames or self.stack_closed:
            return False
        if mine is Role.CAUSE and rule.role in (Role.CARRIER, Role.OOPS):
            self._take_groups(groups)
            self.second_banner = self.second_banner or line.text
        elif mine is Role.CARRIER and rule.role is Role.CAUSE:
            self._take_groups(groups)
            self.rule, self.groups = rule, groups
            self.banner, self.second_banner = line.text, self.banner
        elif not (rule.role is Role.OOPS and mine in (Role.FAULT, Role.CARRIER, Role.OOPS)):
            return False
        self.feed(line)
        return True

    def awaits_carrier(self) -> bool:
        """True for the message of a BUG whose "cut here" and banner are still to come."""
        return self.rule.role is Role.CAUSE and not self.frames

    def interrupt(self) -> None:
        """Another report begins in the same stream; this one is torn unless it has ended."""
        if self.done:
            return
        if self.rule.end is End.STACK and self.in_trace and self.frames and not self.enclosed:
            self.stack_closed = True
        self.done = True
        if not self._whole():
            self.damage = self.damage or Damage.TORN

    def splat(self, after: str) -> Splat:
        """The finished splat; ``after`` is the id of the first one of the log."""
        frames = without_reporter(self.frames)
        where = frames[0] if frames else ""
        facts = Facts(self.groups, where, behind_locks(frames), self._lock_names(), self.place, self.access)
        title = title_of(self.rule, facts)
        banners = tuple(filter(None, (self.banner, self.second_banner)))
        return Splat(
            cls=self.rule.cls,
            title=title,
            frames=frames,
            line=self.start,
            text=tuple(self.text),
            id=splat_id(self.rule.cls, title, self.frames, self.rule.identity),
            task=self.task,
            cpu=self.cpu,
            after=after,
            also=also_titles(self.rule, facts, banners),
            damage=self.damage or (None if self._whole() else Damage.CUT_SHORT),
        )

    def _whole(self) -> bool:
        """Has the log shown all that identifies this report?"""
        if self.rule.end is End.PANIC:
            # The machine may be gone right after the line that says it all.
            return True
        return self.complete or (self.stack_closed and self.rule.end is not End.RULER)

    def _lock_names(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.locks)))

    def _take_groups(self, groups: dict[str, str]) -> None:
        if groups.get("pid") and self.task in ("", groups["pid"]):
            self.task = f"{groups.get('task') or ''}/{groups['pid']}".lstrip("/")
        if self.cpu is None and groups.get("cpu"):
            self.cpu = int(groups["cpu"])

    def _end_marker(self, text: str) -> None:
        match self.rule.end:
            case End.RULER:
                ended = RULER.match(text) is not None
            case End.TRACE:
                ended = text.startswith("---[ end ")
            case End.PANIC:
                ended = text.startswith("---[ end ") or _OOPS_TAIL.match(text) is not None
            case End.LOCKS:
                ended = self.complete and not _HELD.match(text)
                self.complete = self.complete or _HELD.match(text) is not None
            case _:
                ended = False
        if ended:
            self.complete = self.done = True

    def _facts(self, text: str) -> None:
        """Task, processor, locks and the source line that a report tells beside its stack."""
        if self.cpu is None or "/" not in self.task:
            for pattern in (_CPU, _BY, _CARRIED, _COMM, _ATOMIC):
                m = pattern.search(text) if pattern in (_BY, _CARRIED) else pattern.match(text)
                if m:
                    self._take_groups({k: v for k, v in m.groupdict().items() if v})
                    break
        if len(self.locks) < self.rule.locks and "(" in text:
            m = _LOCK.match(text) or _RELEASED.match(text)
            if m:
                self.locks.append(_VERSION.sub("", m["name"]))
        if not self.access and text.startswith(("Read ", "Write ")):
            m = _ACCESS.match(text)
            self.access = m["access"] if m else ""
        if not self.place and "{place}" in self.rule.title:
            m = _PLACE.match(text)
            if m:
                self.place = f"{m['file']} {m['what']}"

    def _stack(self, text: str) -> None:
        if text == "stack backtrace:":
            # Before it stand the chains of other places; this is the stack of the complaint.
            self.frames.clear()
            self.in_trace = self.stack_closed = False
        elif _HEADING.match(text) and not self.stack_closed:
            if not self.in_trace:
                # What stood above is where preemption was disabled, or the like; but for the faulting place.
                self.frames = [self.fault] if self.fault else []
            self.in_trace = True
        elif text.endswith(">") and _ENCLOSURE.match(text):
            self._enclosure(text)
        elif _OTHER_STACK.match(text) and self.frames:
            self._close_stack()
        elif not self.stack_closed:
            self._frame(text)

    def _enclosure(self, text: str) -> None:
        m = _ENCLOSURE.match(text)
        assert m is not None
        if not m["end"] and m["name"] in self.inside and not self.stack_closed:
            # Two stacks run into each other: the frames are those of two tasks.
            self.damage = Damage.TORN
        self.enclosed = True
        (self.inside.discard if m["end"] else self.inside.add)(m["name"])
        if text.strip() == "</TASK>":
            self._close_stack()

    def _frame(self, text: str) -> None:
        fault = instruction_pointer(text)
        name = frame(text) or fault
        if fault and not self.in_trace:
            self.fault = fault
        if name is not None:
            if len(self.frames) < FRAME_LIMIT and self.frames[-1:] != [name]:
                self.frames.append(name)
        elif self.frames and not is_frame(text) and self._ends_bare_stack(text):
            self._close_stack()

    def _ends_bare_stack(self, text: str) -> bool:
        """Does ``text`` end a stack that is not enclosed in <TASK>?"""
        if self.enclosed:
            return False
        if self.rule.end is End.RULER:
            return not text.strip()
        return self.rule.end is End.STACK and self.in_trace

    def _close_stack(self) -> None:
        self.stack_closed = True
        self.stack_done_at = self.count
        if self.rule.end is End.RULER:
            # The rest of the report may be long (memory state, allocation stacks).
            self.stack_done_at += PATIENCE
        elif self.rule.end is End.STACK:
            self.complete = self.done = True
