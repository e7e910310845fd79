# SPDX-License-Identifier: GPL-2.0-or-later
"""The skeleton of a recipe, from a kernel's own report of a race: KCSAN's, or KASAN's of a use after free.

A report names both sides and where they were. It does not say what made them come there, nor which kernel is
without the race: such things are marked in the file, for people to fill in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from lab.judge.splats import split
from lab.model.errors import BadInput
from lab.model.splat import Splat, SplatClass

_FRAME = re.compile(
    r" {0,40}(?:\[<[0-9a-f]{8,16}>\] )?(?P<guess>\? )?(?P<name>[A-Za-z_][\w.]{0,200})"
    r"(?:\+(?P<offset>0x[0-9a-f]{1,8})/0x[0-9a-f]{1,8}\b| \([^():]{1,200}:\d)"
)
_SIDE = re.compile(
    r"(?P<what>assert no (?:accesses|writes)|(?:read-write|write|read)(?: \([\w, ]{1,40}\))?) to "
    r"0x[0-9a-f]{1,16} of \d{1,6} bytes by (?:task (?P<pid>\d{1,9})|interrupt) on cpu \d{1,5}:$"
)
_UNKNOWN = "race at unknown origin"
_FREED = re.compile(r"Freed by task (?P<pid>\d{1,9})(?: on cpu \d{1,5} at [\d.]{1,24}s)?:$")
_LATER = re.compile(r"Last potentially related work creation:$")
_HEADING = re.compile(r"Call [Tt]race:$")
_ACCESS = re.compile(r"(?P<what>Read|Write) (?:of size \d{1,6}|at 0x)")
_NAMES = (
    re.compile(r"PID: (?P<pid>\d{1,9}) Comm: (?P<comm>.{1,15}?) (?:Not tainted|Tainted|Kdump|G |#)"),
    re.compile(r"by task (?P<comm>.{1,15})/(?P<pid>\d{1,9})$"),
)
_ACCESSOR = re.compile(r"by task (?:(?P<comm>.{1,15})/)?(?P<pid>\d{1,9})$")
_DETECTOR = re.compile(
    r"(?:dump_stack\w*|show_stack\w*|print_\w+|_*kasan_\w+|__asan_\w+|_*kcsan_\w+|__tsan_\w+|check_region\w*"
    r"|end_report|start_report|__?mem(?:cpy|set|move)\w*)"
)
_CHECK = re.compile(r"__asan_(?:load|store)(?:\d+|N)(?:_noabort)?")
"""A function that looks at every access: it is called before the access, whether that is good or not."""
_CALL = 5
"""Bytes of a call to such a function."""
_FREE = re.compile(
    r"(?:_*kasan_\w+|k(?:v|z)?free\w*|__?kfree\w*|_*kmem_cache_free\w*|vfree\w*|_*slab_free\w*|_*free_\w+"
    r"|poison_slab_object|do_slab_free|kfree_sensitive|kvfree_rcu\w*)"
)
_FREED_LATER = re.compile(r"(?:rcu_\w+|__rcu_\w+|kvfree_rcu\w*|kfree_rcu\w*|srcu_\w+|process_srcu)")
_INTERRUPT = re.compile(
    r"(?:asm_(?:sysvec|common_interrupt)\w*|sysvec_\w+|common_interrupt|__common_interrupt)"
)
_SOFT = re.compile(r"(?:handle_softirqs|__do_softirq|do_softirq\w*|__irq_exit_rcu|irq_exit_rcu)")


_UNTOLD = -1
"""In place of a task's number: the report does not say whose stack it shows."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a stack: where its function goes on when what it has called returns."""

    function: str
    offset: int

    def __str__(self) -> str:
        return f"{self.function}+{self.offset:#x}" if self.offset else self.function


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: ``pid`` is None in an interrupt. ``frames``, innermost first, are without detectors."""

    what: str
    pid: int | None
    frames: tuple[Frame, ...]

    @property
    def soft(self) -> bool:
        """Whether its interrupt is a soft one."""
        names = [frame.function for frame in self.frames]
        return self.pid is None and any(map(_SOFT.fullmatch, names))


@dataclass(frozen=True, slots=True)
class Race:
    """What a report says. ``first`` is to be held at ``at`` when ``second`` does its part, up to ``past``."""

    splat: Splat
    first: Side
    at: Frame
    second: Side
    past: Frame
    remarks: tuple[str, ...] = ()


class NoRace(Exception):
    """A report that no recipe can be made of, and why."""


def recipe_of(splats: Iterable[Splat], log: str, number: int = 1) -> str:
    """TOML of a recipe for the ``number``th report that tells of a race. BadInput when there is none."""
    names: dict[int, str] = {}
    found: list[Race] = []
    refused: list[str] = []
    for splat in splats:
        texts = _texts(splat)
        names.update(_named(texts))
        try:
            if (race := _race(splat, texts)) is not None:
                found.append(race)
        except NoRace as e:
            refused.append(f"line {splat.line + 1}: {splat.title}: {e}")
    if not found:
        if refused:
            raise BadInput(refused[0], where=log, hint="such a recipe is to be written by hand")
        raise BadInput(
            "no report of two threads in this log",
            where=log,
            hint="reports of KCSAN, and of KASAN about a use after free, name them; see hvlab splats",
        )
    if not 1 <= number <= len(found):
        raise BadInput(f"there is no report {number}: the log has {len(found)}", where=log)
    return _toml(found[number - 1], names, len(found))


def _race(splat: Splat, texts: Sequence[str]) -> Race | None:
    """What a splat says of a race; None when it is of another kind. NoRace."""
    if splat.cls is SplatClass.KCSAN:
        return _kcsan(splat, texts)
    if splat.cls is SplatClass.KASAN and "use-after-free" in splat.title:
        return _kasan(splat, texts)
    return None


def _texts(splat: Splat) -> list[str]:
    """Lines of a report without what the log puts before them."""
    lines: list[str] = []
    before = None
    for number, raw in enumerate(splat.text):
        if raw == before and "\\x0a" in raw:
            continue  # a record of several lines, which the parser has kept once for each
        before = raw
        lines += [line.text for line in split(number, raw)]
    return lines


def _named(texts: Iterable[str]) -> Iterator[tuple[int, str]]:
    for text in texts:
        for pattern in _NAMES:
            if found := pattern.search(text):
                yield int(found["pid"]), found["comm"]


def _stack(lines: Iterable[str]) -> tuple[Frame, ...]:
    """Frames up to the first line that is none. NoRace when they have lost their offsets."""
    frames = []
    for line in lines:
        if line.strip() in ("<TASK>", "<IRQ>", "</IRQ>"):
            continue
        found = _FRAME.match(line)
        if found is None:
            break
        if found["guess"]:
            continue
        if found["offset"] is None:
            raise NoRace("its stacks have been decoded, and offsets are gone")
        frames.append(Frame(found["name"], int(found["offset"], 16)))
    return tuple(frames)


# ---- KCSAN


def _kcsan(splat: Splat, texts: Sequence[str]) -> Race:
    if any(text.startswith(_UNKNOWN) for text in texts):
        raise NoRace("it names one side only")
    sides = []
    for number, text in enumerate(texts):
        if found := _SIDE.match(text):
            frames = _own(_stack(texts[number + 1 :]))
            pid = int(found["pid"]) if found["pid"] else None
            sides.append(Side(found["what"], pid, frames))
    if len(sides) != 2:
        raise NoRace("it is cut short: both sides are needed")
    # Who reads is held: it has seen, or is about to see, what the other one changes. An interrupt is not held
    # where a task can be.
    first, second = sorted(sides, key=lambda side: (side.pid is None, not side.what.startswith("read")))
    if not first.frames:
        raise NoRace("it has no stack of one side")
    remarks = [
        "KCSAN itself hardly sees a forced order: it reports what comes by while it waits at an access,",
        "and whom a recipe holds is behind that. Name what the race leads to, if you know.",
    ]
    return Race(splat, first, first.frames[0], second, _past(second.frames), tuple(remarks))


# ---- KASAN


def _kasan(splat: Splat, texts: Sequence[str]) -> Race:
    accessor = next(filter(None, map(_ACCESSOR.search, texts)), None)
    headings = [number for number, text in enumerate(texts) if _HEADING.match(text)]
    freed = [(number, found) for number, text in enumerate(texts) if (found := _FREED.match(text))]
    if accessor is None or not headings:
        raise NoRace("it does not say who used the memory")
    if not freed:
        raise NoRace("it is cut short: it does not say who freed the memory")
    stack = _stack(texts[headings[0] + 1 :])
    frames = _own(stack)
    if not frames:
        raise NoRace("it has no stack of who used the memory")
    access = next(filter(None, map(_ACCESS.match, texts)), None)
    what = access["what"].lower() if access else "access"
    used = Side(what, _pid(accessor["pid"], frames), frames)
    number, found = freed[0]
    by = found["pid"]
    whole = _stack(texts[number + 1 :])
    remarks: list[str] = []
    later = [n for n, text in enumerate(texts) if _LATER.match(text)]
    if any(_FREED_LATER.fullmatch(frame.function) for frame in whole):
        remarks.append("The memory was freed behind a grace period, which must end while the first is held:")
        remarks.append("where it is held in a read-side section, that cannot be.")
        if later:
            # Who asked for it is the racing side; the free itself is a matter of time.
            whole = _stack(texts[later[0] + 1 :])
            by = str(_UNTOLD)
            remarks.append("The second is who asked for that.")
    own = tuple(_without(whole, (_FREE, _FREED_LATER, _DETECTOR)))
    if not own:
        raise NoRace("it has no stack of who freed the memory")
    freer = Side("free", _pid(by, whole), own)
    if used.pid is not None and used.pid == freer.pid:
        raise NoRace(f"task {used.pid} freed the memory that it used: it takes no other")
    at = frames[0]
    if any(_CHECK.fullmatch(frame.function) for frame in takewhile(lambda f: f != at, stack)):
        # Held behind the check, the access itself would not be seen.
        at = Frame(at.function, at.offset - _CALL)
    else:
        remarks.append(f"The report is of {at}, where only a bad access gets to. Better than the entry is")
        remarks.append("a line between where the pointer is taken and where it is used.")
        at = Frame(at.function, 0)
    return Race(splat, used, at, freer, own[0], tuple(remarks))


def _pid(text: str, frames: Iterable[Frame]) -> int | None:
    """A task's number; None when its stack says that it was interrupted."""
    return None if any(_INTERRUPT.fullmatch(f.function) for f in frames) else int(text)


def _own(frames: Iterable[Frame]) -> tuple[Frame, ...]:
    return tuple(_without(frames, (_DETECTOR,)))


def _without(frames: Iterable[Frame], patterns: Sequence[re.Pattern[str]]) -> list[Frame]:
    """Frames without those on top that match."""
    left = list(frames)
    while left and any(pattern.fullmatch(left[0].function) for pattern in patterns):
        left.pop(0)
    return left


def _past(frames: Sequence[Frame]) -> Frame:
    """Where somebody gets once the innermost function has returned."""
    if len(frames) < 2:
        raise NoRace("it has too short a stack of one side: who called it is not in it")
    return frames[1]


# ---- the file


def _toml(race: Race, names: Mapping[int, str], count: int) -> str:
    splat = race.splat
    sanitizer = splat.cls.value
    first, second = _actors(race)
    lines = [
        "# SPDX-License-Identifier: GPL-2.0-or-later",
        f"# Made by hvlab race from-splat of line {splat.line + 1} of a log"
        + (f", which has {count} such reports." if count > 1 else "."),
        "# What it could not know is marked with TODO. Offsets are those of the kernel that wrote the log,",
        '# and of no other: name lines instead, { function = "...", source = "text of the line" }.',
        f"title = {_string(splat.title)}",
        '# TODO: the claims that it is about, as in claims = ["C5"].',
        "claims = []",
        f"wording = {_string(_wording(race))}",
        "",
        "[setup]",
        f"flavour = {_string(sanitizer)}",
        "# TODO: what must be there before: vps, pages, touched, lapic, kernel_args.",
        "",
        *_actor(first, race.first, names),
        "",
        *_actor(second, race.second, names),
        "",
        "[[order]]",
        f"actor = {_string(first)}",
        f"at = {_string(str(race.at))}",
        "",
        f"# {second} is past its part here: what it has called has returned.",
        "[[order]]",
        f"actor = {_string(second)}",
        f"at = {_string(str(race.past))}",
        "",
        *(f"# {remark}" for remark in race.remarks if sanitizer != "kcsan"),
        "[proof]",
        *(f"# {remark}" for remark in race.remarks if sanitizer == "kcsan"),
        f"splat = [{_string(sanitizer)}]",
        "",
        "# TODO: the kernel that has the race: a mutant, the released kernel (stock = true) or the series.",
        "[racy]",
        'series = "mmio-on-demand"',
        "",
        "# TODO: the kernel that has not, without which a recipe shows little.",
        "# [fixed]",
        '# series = "mmio-on-demand"',
    ]
    return "\n".join(lines) + "\n"


def _actors(race: Race) -> tuple[str, str]:
    """Names for both: what they do, or where that is the same, who comes first."""
    first, second = (side.what.split()[0].replace("-", "_") for side in (race.first, race.second))
    known = {"read": "reader", "write": "writer", "free": "freer", "access": "user", "read_write": "updater"}
    names = known.get(first, "checker"), known.get(second, "checker")
    return names if names[0] != names[1] else ("first", "second")


def _actor(name: str, side: Side, names: Mapping[int, str]) -> list[str]:
    lines = [f"[actors.{name}]"]
    if side.pid is None:
        if side.soft:
            lines.insert(0, "# TODO: it was a soft interrupt: only hard ones are known for an actor.")
        lines.append("interrupt = true")
        lines.append('# TODO: what makes it come, if anybody can: does = ["timer 1000"].')
        return lines
    if side.pid in names:
        lines.append(f"comm = {_string(names[side.pid])}")
    else:
        who = "which task it is" if side.pid == _UNTOLD else f"what task {side.pid} is called"
        lines.append(f"# TODO: its name: the log does not say {who}.")
        lines.append(f'comm = "task-{"unknown" if side.pid == _UNTOLD else side.pid}"')
    lines.append('# TODO: what makes it come here: does = ["touch 1"]. Without, it must come by itself.')
    return lines


def _wording(race: Race) -> str:
    first, second = _actors(race)
    return (
        f"From a report, not from a reviewer: {first} ({race.first.what}) is at {race.first.frames[0]} "
        f"while {second} ({race.second.what}) goes through {race.second.frames[0]}."
    )


def _string(text: str) -> str:
    """A basic string of TOML."""

    def one(character: str) -> str:
        if character in '"\\':
            return "\\" + character
        return character if character.isprintable() else f"\\U{ord(character):08x}"

    return '"' + "".join(map(one, text)) + '"'
